// The explorer's page. A code is what an image is made of, as latents.json has it; all arithmetic is the server's.
"use strict";

const at = id => document.getElementById(id);
const state = {about: null, a: null, b: null, kept: [], slot: "a", moved: 0};

// The token stands after # in the address that `ganlab explore` printed, which is sent nowhere; a reload keeps it.
if (location.hash.length > 1) {
  sessionStorage.setItem("token", location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}

function say(text) { at("said").textContent = text; }

async function ask(name, body, kind = "application/json") {
  const headers = {Authorization: `Bearer ${sessionStorage.getItem("token") ?? ""}`};
  const how = body === undefined ? {headers} : {method: "POST", headers: {...headers, "Content-Type": kind}, body};
  for (let tries = 0; ; tries++) {
    const answer = await fetch(`/api/${name}`, how).catch(() => { throw new Error("No answer: has `ganlab explore` ended?"); });
    if (answer.status === 503 && tries < 20) { // others are waiting for the same networks
      await new Promise(resolve => setTimeout(resolve, 250));
      continue;
    }
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    return found;
  }
}

const question = (name, what) => ask(name, JSON.stringify(what));

// Runs an action, and shows what went wrong.
async function doing(text, action) {
  say(text);
  document.body.dataset.busy = "";
  try {
    say((await action()) ?? "");
  } catch (error) {
    say(error.message);
  }
  delete document.body.dataset.busy;
}

function show(image, png) {
  const bytes = Uint8Array.from(atob(png), letter => letter.charCodeAt(0));
  const url = URL.createObjectURL(new Blob([bytes], {type: "image/png"}));
  image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth <= 64), {once: true});
  for (const end of ["load", "error"]) image.addEventListener(end, () => URL.revokeObjectURL(url), {once: true});
  image.src = url;
  image.hidden = false;
}

function nameOf(code) {
  const label = code.label === undefined ? "" : `, class ${state.about.classes[code.label]}`;
  const truncation = code.truncation === undefined ? "" : `, truncation ${code.truncation}`;
  return (code.seed === undefined ? "latents of its own" : `seed ${code.seed}, image ${code.image}`) + label + truncation;
}

// Fills a sheet with pictures, which are buttons if they can be chosen.
function fill(sheet, images, caption, choose) {
  sheet.replaceChildren(...images.map(found => {
    const figure = document.createElement("figure"), image = document.createElement("img");
    const text = document.createElement("figcaption");
    show(image, found.png);
    image.alt = text.textContent = caption(found);
    if (!choose) {
      image.alt = "";
      figure.append(image, text);
      return figure;
    }
    const button = document.createElement("button");
    button.type = "button";
    button.append(image);
    button.addEventListener("click", event => choose(found, event.shiftKey ? "b" : state.slot));
    button.code = found.code;
    figure.append(button);
    return figure;
  }));
}

function mark() {
  for (const button of document.querySelectorAll(".sheet button")) {
    const slots = ["a", "b"].filter(slot => state[slot] && state[slot].code === button.code);
    if (slots.length) button.dataset.slot = slots.join(" and ").toUpperCase();
    else delete button.dataset.slot;
  }
}

function choose(found, slot) {
  state[slot] = found;
  show(at(slot), found.png);
  at(`${slot}-name`).textContent = `${slot.toUpperCase()}: ${nameOf(found.code)}`;
  if (slot === "a") {
    state.there = null;
    zero();
    for (const id of ["near", "judged", "facts-said"]) at(id).replaceChildren(); // they were of another A
    const {seed, image, truncation} = found.code;
    const also = truncation === undefined ? "" : ` --truncation ${truncation}`;
    at("command").textContent = seed === undefined ? "" : `ganlab sample RUN --seed ${seed} --images ${image}${also}`;
  }
  mark();
}

const sliders = () => [...at("directions").querySelectorAll("input")];

function zero() {
  for (const slider of sliders()) slider.value = 0;
  at("layer").value = state.about.layers;
  at("layer-said").textContent = "";
}

const move = () => change("make", {codes: [state.a.code], moves: sliders().map(slider => Number(slider.value))});

function mix() {
  const layer = Number(at("layer").value);
  at("layer-said").textContent = `${layer} of ${state.about.layers}, and B in the others`;
  return change("mix", {from: state.a.code, to: state.b.code, layer});
}

async function change(name, what) {
  const turn = ++state.moved, {images: [found]} = await question(name, what);
  if (turn !== state.moved) return; // a later one is under way
  state.there = found;
  show(at("a"), found.png);
}

function seeds() {
  const many = Math.max(...state.about.image) > 256 ? 8 : 24;
  const [seed, first] = [at("seed"), at("first")].map(input => Math.max(0, Math.floor(Number(input.value) || 0)));
  const label = at("class").value === "" ? {} : {label: Number(at("class").value)};
  const truncation = at("truncation").value === "" ? {} : {truncation: Number(at("truncation").value)};
  const codes = Array.from({length: many}, (_, number) => ({seed, image: first + number, ...label, ...truncation}));
  return doing("making images", async () => {
    const {images} = await question("make", {codes});
    fill(at("grid"), images, found => nameOf(found.code), choose);
    if (!state.a) {
      choose(images[0], "a");
      choose(images[1], "b");
    }
    mark();
  });
}

function keep(...found) {
  state.kept.push(...found);
  fill(at("kept-images"), state.kept, each => nameOf(each.code), choose);
  mark();
}

function save() {
  if (!state.kept.length) return say("Nothing is kept yet.");
  const {format, ganlab, run, nimg, weights} = state.about;
  const text = JSON.stringify({format, ganlab, run, nimg, weights, images: state.kept.map(found => found.code)}, null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "application/json"}));
  link.download = "latents.json";
  link.click();
  URL.revokeObjectURL(link.href);
  say(`${state.kept.length} saved`);
}

async function load(file) {
  let found;
  try { found = JSON.parse(await file.text()); } catch { found = null; }
  if (found?.format !== state.about.format || !Array.isArray(found.images)) throw new Error(`${file.name} is no latents.json.`);
  for (let start = 0; start < found.images.length; start += 64)
    keep(...(await question("make", {codes: found.images.slice(start, start + 64)})).images);
  const others = found.weights !== state.about.weights;
  return `${found.images.length} loaded${others ? "; they were chosen with other weights, so their images may be others" : ""}`;
}

function picture() {
  const [file] = at("picture").files;
  if (!file) throw new Error("Choose a picture first.");
  if (file.size > 8e6) throw new Error("The picture has more than 8 MB.");
  return file;
}

const actions = {
  walk: () => doing("walking", async () => {
    const {images} = await question("walk", {from: state.a.code, to: state.b.code, steps: 8});
    fill(at("between"), images, found => nameOf(found.code), choose);
    mark();
  }),
  nearest: () => doing("reading the real images", async () => {
    const {images, compared} = await question("nearest", {code: state.a.code});
    fill(at("near"), images, found => `${found.distance.toFixed(3)}: number ${found.number}`);
    at("facts-said").textContent = `Of ${compared.toLocaleString("en")} real images: the root mean square of the ` +
      "difference of pixels in [0, 1].";
  }),
  judge: () => doing("asking", async () => {
    fill(at("judged"), (await question("judge", {code: state.a.code})).images, found => found.title);
  }),
  project: () => doing("searching, for at most 20 seconds", async () => {
    const file = picture(), found = await ask("project", file, file.type);
    fill(at("made"), [{png: found.given, title: "as the model sees it"}, {...found.images[0], title: "found"}],
      each => each.title);
    choose(found.images[0], "a");
    return `Found, and chosen as A: PSNR ${found.psnr.toFixed(1)} dB.`;
  }),
  remake: () => doing("working", async () => {
    const file = picture();
    fill(at("made"), (await ask("remake", file, file.type)).images, found => found.title);
  }),
  "keep-a": () => { keep(state.there ?? state.a); },
  "keep-b": () => { keep(state.b); },
  swap: () => { const {a, b} = state; choose(b, "a"); choose(a, "b"); },
  settle: () => { if (state.there) choose(state.there, "a"); },
  reset: () => { choose(state.a, "a"); },
  save,
};

function directions(count) {
  at("of-directions").hidden = count === 0;
  at("directions").replaceChildren(...Array.from({length: count}, (_, number) => {
    const label = document.createElement("label"), slider = document.createElement("input");
    Object.assign(slider, {type: "range", min: -5, max: 5, step: 0.1, value: 0});
    slider.addEventListener("input", () => doing("", move));
    label.append(`direction ${number + 1}`, slider);
    return label;
  }));
}

async function start() {
  const about = state.about = await ask("about");
  at("run").textContent = document.title = about.run;
  at("about").textContent = `${about.model}, ${about.image.join("x")} px, ${about.nimg.toLocaleString("en")} images seen in training`;
  at("of-latents").hidden = at("of-kept").hidden = at("project").hidden = !about.latent;
  at("remake").hidden = !about.remakes;
  at("nearest").hidden = !about.reals;
  at("judge").hidden = !about.judges;
  at("of-facts").hidden = !about.reals && !about.judges;
  at("class-label").hidden = !about.classes.length;
  at("class").append(...about.classes.map((name, number) => new Option(name, number)));
  at("truncation-label").hidden = about.truncation === null;
  at("truncation").max = about.truncation ?? 0;
  at("of-layers").hidden = !about.layers;
  at("layer").max = about.layers;
  directions(about.directions);
  for (const [id, action] of Object.entries(actions)) at(id).addEventListener("click", action);
  for (const id of ["seed", "first", "class", "truncation"]) at(id).addEventListener("change", seeds);
  at("layer").addEventListener("input", () => doing("", mix));
  at("choose").addEventListener("submit", event => event.preventDefault());
  for (const radio of document.querySelectorAll("[name=slot]")) radio.addEventListener("change", () => { state.slot = radio.value; });
  at("load").addEventListener("change", event => doing("loading", () => load(event.target.files[0])));
  if (about.latent) await seeds();
}

doing("loading", start).then(() => { document.body.dataset.ready = ""; });
