"use strict";
// A model's functions by onnxruntime-web. What Python tells of the model is in the element `facts`.
const facts = JSON.parse(document.getElementById("facts").textContent);
const at = id => document.getElementById(id);
const say = text => { at("status").textContent = text; };
const SHOWN = 16;
const sessions = {};
let ort, turn = 0, line = Promise.resolve();

// A file of the page: held in it, compressed, or fetched and compared with its hash.
async function bytesOf(name) {
  const held = at(name);
  if (held) {
    const packed = Uint8Array.from(atob(held.textContent), letter => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }
  const { url, integrity } = facts.fetched[name];
  const answer = await fetch(url, { integrity });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

async function start() {
  const [glue, wasm] = facts.runtime;
  const url = URL.createObjectURL(new Blob([await bytesOf(glue)], { type: "text/javascript" }));
  ort = await import(url);
  ort.env.wasm.numThreads = 1;  // more need headers that a static page does not have
  ort.env.wasm.wasmBinary = await bytesOf(wasm);
  for (const each of facts.functions) sessions[each.name] = await ort.InferenceSession.create(await bytesOf(each.file));
}

// Run a function on one sample; one at a time, as a session allows.
function run(made, feeds) {
  line = line.catch(() => {}).then(async () => (await sessions[made.name].run(feeds))[made.output]);
  return line;
}

// Draw floats in [-1, 1], [1, c, h, w], as bytes: clipped, and rounded to even as torch does.
function draw(canvas, tensor) {
  const [, c, h, w] = tensor.dims, size = h * w, bytes = new Uint8ClampedArray(4 * size);
  for (let i = 0; i < size; i++) {
    for (let k = 0; k < 3; k++) bytes[4 * i + k] = tensor.data[(c < 3 ? 0 : k) * size + i] * 127.5 + 127.5;
    bytes[4 * i + 3] = c === 4 ? tensor.data[3 * size + i] * 127.5 + 127.5 : 255;
  }
  canvas.width = w;
  canvas.height = h;
  canvas.classList.toggle("small", w <= 64);
  canvas.getContext("2d").putImageData(new ImageData(bytes, w, h), 0, 0);
}

// --- truncation of normal latents: numbers beyond it become quantiles of a normal number within, as by ganlab

function ndtr(x) {  // the normal distribution function (Marsaglia 2004)
  let sum = x, term = x;
  for (let k = 3; Math.abs(term) > 1e-17 * Math.abs(sum); k += 2) sum += term *= x * x / k;
  return 0.5 + sum * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
}

function within(latents, shares, bound) {
  const beyond = ndtr(-bound);
  return latents.map((value, k) => {
    if (Math.abs(value) <= bound) return value;
    let [low, high] = [-bound, bound];
    for (let step = 0; step < 40; step++) {
      const middle = (low + high) / 2;
      if (ndtr(middle) < beyond + shares[k] * (1 - 2 * beyond)) low = middle;
      else high = middle;
    }
    return low;
  });
}

// --- images of latents

function generator() {
  const made = facts.functions[0], dims = facts.latent;
  const floatsIn = text => new Float32Array(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer);
  const all = floatsIn(facts.latents), replacing = facts.shares && floatsIn(facts.shares);
  const row = (numbers, number) => numbers?.slice(number * dims, (number + 1) * dims);
  const seed = number => ({ latents: row(all, number), shares: row(replacing, number), label: facts.labels[number] });
  const none = () => at("truncation").value === at("truncation").max;

  function seen({ latents, shares }) {  // as the network gets them
    return facts.truncation !== "latents" || none() ? latents : within(latents, shares, Number(at("truncation").value));
  }

  function make(latents, label) {
    const feeds = { latents: new ort.Tensor("float32", latents, [1, dims]) };
    if (facts.truncation === "input") {
      feeds.truncation = new ort.Tensor("float32", Float32Array.of(Number(at("truncation").value)), [1]);
    }
    if (facts.classes.length) {
      const chosen = Number(at("class").value);
      feeds.labels = new ort.Tensor("int64", BigInt64Array.of(BigInt(chosen < 0 ? label : chosen)), [1]);
    }
    return run(made, feeds);
  }

  function drawn() {  // a sample of this browser's own
    const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    const [low, high] = facts.prior.uniform ?? [];
    const one = facts.prior.normal ? () => facts.prior.normal * normal() : () => low + (high - low) * Math.random();
    const label = Math.floor(Math.random() * Math.max(facts.classes.length, 1));
    const shares = Float32Array.from({ length: dims }, Math.random);
    return { latents: Float32Array.from({ length: dims }, one), shares, label, title: "new" };
  }

  let pictures = [];
  async function show() {
    const mine = ++turn;
    at("grid").replaceChildren(...pictures.map(({ title }) => {
      const figure = document.createElement("figure"), canvas = document.createElement("canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", title);
      const caption = document.createElement("figcaption");
      caption.textContent = title;
      figure.append(canvas, caption);
      return figure;
    }));
    const canvases = at("grid").querySelectorAll("canvas");
    for (const [number, picture] of pictures.entries()) {
      const tensor = await make(seen(picture), picture.label);
      if (mine !== turn) return;
      draw(canvases[number], tensor);
    }
    say("Ready.");
    document.body.dataset.turn = mine;
  }
  function showSeeds() {
    const first = Number(at("seeds").value);
    pictures = Array.from({ length: SHOWN }, (_, k) => first + k).map(number => ({
      ...seed(number),
      title: `seed ${number}` + (facts.numbers[number] ? `, image ${facts.numbers[number]}` : ""),
    }));
    return show();
  }

  // On the sphere where latents are normal: the chord's middle is shorter than any of them.
  function between(a, b, share) {
    let weights = [1 - share, share];
    if (facts.prior?.normal) {
      const dot = (x, y) => x.reduce((sum, value, k) => sum + value * y[k], 0);
      const angle = Math.acos(Math.min(1, Math.max(-1, dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)))));
      if (Math.sin(angle) > 1e-4) weights = weights.map(weight => Math.sin(weight * angle) / Math.sin(angle));
    }
    return a.map((value, k) => weights[0] * value + weights[1] * b[k]);
  }
  async function walk() {
    const [from, to] = ["from", "to"].map(id => {
      const last = facts.numbers.length - 1;
      return seed(Math.min(last, Math.max(0, Math.trunc(Number(at(id).value)) || 0)));
    });
    const latents = between(seen(from), seen(to), Number(at("place").value));
    draw(at("walk"), await make(latents, from.label));
  }
  async function play() {
    const playing = at("play").getAttribute("aria-pressed") !== "true";
    at("play").setAttribute("aria-pressed", playing);
    for (let step = 0; at("play").getAttribute("aria-pressed") === "true"; step++) {
      at("place").value = 0.5 - 0.5 * Math.cos(step * Math.PI / 60);
      await walk();
      await new Promise(requestAnimationFrame);
    }
  }

  at("seeds").addEventListener("change", showSeeds);
  at("class")?.addEventListener("change", () => { show(); walk(); });
  at("truncation")?.addEventListener("input", () => {
    at("strength").textContent = none() ? "none" : Number(at("truncation").value).toFixed(2);
    show();
    walk();
  });
  at("new")?.addEventListener("click", () => { pictures = Array.from({ length: SHOWN }, drawn); show(); });
  for (const id of ["from", "to", "place"]) at(id).addEventListener("input", walk);
  at("play").addEventListener("click", play);
  return Promise.all([showSeeds(), walk()]);
}

// --- images of images

function translator() {
  const [c, h, w] = facts.input, size = h * w;

  function floats() {
    const { data } = at("given").getContext("2d").getImageData(0, 0, w, h), values = new Float32Array(c * size);
    for (let i = 0; i < size; i++) {
      const [r, g, b] = data.slice(4 * i, 4 * i + 3);
      const bytes = c < 3 ? [Math.round((299 * r + 587 * g + 114 * b) / 1000)] : [r, g, b, data[4 * i + 3]];
      for (let k = 0; k < c; k++) values[k * size + i] = bytes[k] / 127.5 - 1;
    }
    return new ort.Tensor("float32", values, [1, c, h, w]);
  }
  async function show() {
    const [file] = at("file").files;
    if (!file) return;
    let picture;
    try {
      picture = await createImageBitmap(file, { colorSpaceConversion: "none" });
    } catch {
      say(`${file.name}: no picture that this browser can read.`);
      return;
    }
    const scale = Math.max(w / picture.width, h / picture.height), given = at("given");
    const [width, height] = [picture.width * scale, picture.height * scale];
    given.width = w;
    given.height = h;
    const context = given.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, (w - width) / 2, (h - height) / 2, width, height);
    say("Running the network …");
    const chosen = at("direction")?.value ?? facts.functions[0].name;
    draw(at("made"), await run(facts.functions.find(each => each.name === chosen), { images: floats() }));
    say("Ready.");
    document.body.dataset.turn = ++turn;
  }
  at("file").addEventListener("change", show);
  at("direction")?.addEventListener("change", show);
  for (const id of ["given", "made"]) [at(id).width, at(id).height] = [w, h];
  say("Ready: choose a picture.");
}

(async () => {
  try {
    await start();
    await (facts.latent ? generator() : translator());
    document.body.dataset.ready = "yes";
  } catch (error) {
    const served = location.protocol === "file:" && Object.keys(facts.fetched).length;
    say(served ? "A browser opens this page only from a web server: python -m http.server, in its folder."
      : `The network could not be loaded: ${error.message ?? error}`);
    if (!served) throw error;
  }
})();
