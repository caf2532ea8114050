// Turns each series of pictures into one picture with a slider; without this script all of them are shown.
"use strict";
for (const film of document.querySelectorAll(".film")) {
  const frames = [...film.querySelectorAll("figure")];
  if (frames.length < 2) continue;
  const label = document.createElement("label");
  const slider = document.createElement("input");
  label.textContent = "images shown";
  Object.assign(slider, { type: "range", min: 0, max: frames.length - 1, value: frames.length - 1 });
  slider.setAttribute("aria-label", `${film.dataset.name}, images shown`);
  const show = () => {
    frames.forEach((frame, number) => { frame.hidden = number !== Number(slider.value); });
    const caption = frames[slider.value].querySelector("figcaption");
    slider.setAttribute("aria-valuetext", caption ? caption.textContent : String(slider.value));
  };
  slider.addEventListener("input", show);
  label.append(slider);
  film.prepend(label);
  film.classList.add("slider");
  show();
}
