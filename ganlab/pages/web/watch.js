// Asks once a second what is new, less often while nobody looks, and says so when the server is gone.
"use strict";
const at = name => document.getElementById(name);
const nothing = at("charts").firstElementChild;
let seen = "";

function show(state) {
  seen = state.tag;
  at("summary").textContent = state.summary;
  const drawn = state.charts.map(text => {
    const figure = document.createElement("figure");
    figure.append(document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true));
    return figure;
  });
  at("charts").replaceChildren(...(drawn.length ? drawn : [nothing]));
  if (state.picture) {
    const image = new Image();
    const caption = document.createElement("figcaption");
    image.src = "/pictures/" + encodeURIComponent(state.picture.name);
    image.alt = caption.textContent = state.picture.about;
    image.decode().then(() => at("samples").replaceChildren(image, caption), () => { seen = ""; });
  }
  at("events").replaceChildren(...state.events.map(event => {
    const row = document.createElement("tr");
    for (const name of ["time", "nimg", "event", "facts"]) row.insertCell().textContent = event[name];
    return row;
  }));
}

async function ask() {
  try {
    const answer = await fetch("/now?seen=" + encodeURIComponent(seen));
    if (answer.status === 200) show(await answer.json());
    else if (answer.status !== 204) throw new Error(`it answered ${answer.status}`);
    at("trouble").textContent = "";
    document.body.dataset.state = "live";
  } catch (error) {
    at("trouble").textContent = `The server does not answer (${error.message}): is ganlab watch still running?`;
    document.body.dataset.state = "alone";
  }
  setTimeout(ask, document.hidden ? 15000 : 1000);
}
ask();
