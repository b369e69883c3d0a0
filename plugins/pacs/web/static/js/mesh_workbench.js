// The workbench: what becomes a model is chosen here, and a coarse one follows each choice at once.

import { Histogram } from "./mesh_histogram.js";
import { openStage } from "./mesh_stage.js";
import { fill } from "./words.js";

const PAUSE_MILLISECONDS = 150;
const FORMATS = ["stl", "ply", "obj", "glb", "3mf"];
const CRUMB_MM3 = 100;
const REDUCTIONS = { print: { deviation_mm: 0.1 }, small: { share: 0.95 }, all: null };
const STEPS = 1000;
const MILLIMETERS = 1000;

const bench = document.querySelector("#workbench");
const form = document.querySelector("#recipe");
const note = document.querySelector("#stage-note");
const words = JSON.parse(bench.dataset.words);

let stage = null;
let histogram = null;
let isAsking = false;
let isOutdated = false;
let timer = 0;
// Of the whole model, in LPS mm: what the sliders of the box run over.
let extent = null;

// --- the recipe -------------------------------------------------------------------------------------------------

function recipe() {
  const field = form.elements;
  const parts = [...document.querySelectorAll(".part")].map(partOf).concat([...document.querySelectorAll('[name="region"]:checked')].map(regionOf));
  const keep = field.keep.value;
  return {
    ...(bench.dataset.subVolume && { sub_volume: bench.dataset.subVolume }),
    parts: parts.map((part, place) => ({ ...part, name: distinct(parts, part.name, place) })),
    keep: keep === "largest" ? "largest" : "all",
    min_volume_mm3: keep === "clean" ? CRUMB_MM3 : 0,
    close_holes_mm: Number(field.holes.value),
    smooth_iterations: Number(field.smooth.value),
    coordinates: field.coordinates.value,
    reduce: REDUCTIONS[field.fineness.value],
    box_mm: box(),
    formats: FORMATS,
  };
}

function partOf(element) {
  const at = (name) => element.querySelector(`[name="${name}"]`);
  const tissue = at("tissue").value;
  const color = at("color").value;
  if (tissue === "own") {
    const { low, high } = element.histogram?.range() ?? { low: 0, high: null };
    return { name: "window", color, select: { kind: "window", low, high } };
  }
  return { name: tissue, color, select: tissue === "otsu" ? { kind: "otsu" } : { kind: "preset", preset: tissue } };
}

function regionOf(input) {
  const { kind, number, instance, name } = input.dataset;
  const color = input.closest("li").querySelector('[type="color"]').value;
  const clean = name.replace(/[\u0000-\u001f\u007f/\\]/g, " ").trim().slice(0, 60);
  return { name: clean || number, color, select: { kind, number: Number(number), sop_instance_uid: instance } };
}

function distinct(parts, name, place) {
  const before = parts.slice(0, place).filter((part) => part.name === name).length;
  return before ? `${name} ${before + 1}` : name;
}

// --- the box ----------------------------------------------------------------------------------------------------

function box() {
  if (!document.querySelector("#box").open || !extent) return null;
  const found = {};
  let isWhole = true;
  for (const range of document.querySelectorAll(".range")) {
    const [low, high] = ends(range);
    isWhole &&= low === 0 && high === STEPS;
    const [from, to] = extent[range.dataset.axis];
    found[`${range.dataset.axis}_mm`] = [low, high].map((step) => Math.round((from + ((to - from) * step) / STEPS) * 10) / 10);
  }
  return isWhole ? null : found;
}

function ends(range) {
  const [first, second] = [...range.querySelectorAll("input")].map((input) => Number(input.value));
  return [Math.min(first, second - 10), Math.max(second, first + 10)];
}

// The model has glTF's axes, in meters: X to the left, Y to the head, Z to the front of the patient.
function lpsOf([low, high]) {
  return {
    x: [low[0] * MILLIMETERS, high[0] * MILLIMETERS],
    y: [-high[2] * MILLIMETERS, -low[2] * MILLIMETERS],
    z: [low[1] * MILLIMETERS, high[1] * MILLIMETERS],
  };
}

function drawBox() {
  const chosen = box();
  for (const range of document.querySelectorAll(".range")) {
    const [low, high] = ends(range);
    const [from, to] = extent?.[range.dataset.axis] ?? [0, 0];
    range.querySelector("output").textContent = extent ? `${Math.round(((to - from) * (high - low)) / STEPS)} mm` : "";
  }
  if (!stage) return;
  if (!chosen) {
    stage.box(null);
    return;
  }
  const { x_mm: x, y_mm: y, z_mm: z } = chosen;
  stage.box([x[0], z[0], -y[1]].map((one) => one / MILLIMETERS), [x[1], z[1], -y[0]].map((one) => one / MILLIMETERS));
}

// --- the preview ------------------------------------------------------------------------------------------------

function refresh() {
  clearTimeout(timer);
  timer = setTimeout(preview, PAUSE_MILLISECONDS);
}

// One at a time, so that nobody takes others' turns with previews that nobody waits for any more: what was chosen
// meanwhile comes next.
async function preview() {
  if (isAsking) {
    isOutdated = true;
    return;
  }
  const wanted = recipe();
  if (!stage) return;
  if (!wanted.parts.length) {
    stage.clear();
    say(words.empty);
    return;
  }
  isAsking = true;
  say(words.working, true);
  try {
    await show(wanted);
  } catch (fault) {
    if (!isOutdated) {
      stage.clear();
      stage.wake();
      say(fault instanceof TypeError ? words.offline : fault.message);
    }
  }
  isAsking = false;
  if (isOutdated) {
    isOutdated = false;
    preview();
  }
}

async function show(wanted) {
  const started = performance.now();
  const answer = await post(bench.dataset.preview, wanted);
  if (!answer.ok) throw new Error((await problem(answer)) || words.failed);
  stage.show(await answer.arrayBuffer());
  if (!wanted.box_mm && stage.bounds) {
    extent = lpsOf(stage.bounds);
    drawBox();
  }
  const seconds = ((performance.now() - started) / 1000).toLocaleString(document.documentElement.lang, { maximumFractionDigits: 1 });
  say(fill(words.coarse, { seconds }));
  bench.dataset.previews = Number(bench.dataset.previews ?? 0) + 1;
}

function say(text, isWorking = false) {
  note.textContent = text;
  note.classList.toggle("working", isWorking);
}

function post(address, content) {
  const headers = { "Content-Type": "application/json", Accept: "application/json, model/gltf-binary" };
  return fetch(address, { method: "POST", headers, body: JSON.stringify(content) });
}

async function problem(answer) {
  try {
    const { detail, words: told } = await answer.json();
    return told ?? detail;
  } catch {
    return "";
  }
}

// --- tissues ----------------------------------------------------------------------------------------------------

function addPart(tissue) {
  const element = document.querySelector("#part").content.firstElementChild.cloneNode(true);
  const select = element.querySelector('[name="tissue"]');
  if (tissue) select.value = tissue;
  document.querySelector("#parts").append(element);
  element.histogram = new Histogram(element, words, refresh);
  adopt(element);
  select.addEventListener("change", () => { paint(element); adopt(element); });
  element.querySelector("[data-remove]").addEventListener("click", () => { element.remove(); count(); refresh(); });
  paint(element);
  count();
}

// A slider that is moved makes the threshold one's own.
function adopt(element) {
  const select = element.querySelector('[name="tissue"]');
  if (histogram) {
    for (const option of select.querySelectorAll("[data-preset]")) option.hidden = option.disabled = !(option.value in histogram.presets);
    if (select.selectedOptions[0]?.disabled) select.value = "otsu";
    element.histogram.take(histogram, select.value);
  }
  refresh();
}

function paint(element) {
  const option = element.querySelector('[name="tissue"]').selectedOptions[0];
  element.querySelector('[name="color"]').value = option.dataset.color;
}

function count() {
  const parts = document.querySelectorAll(".part");
  for (const part of parts) part.querySelector("[data-remove]").hidden = parts.length === 1;
}

async function startTissues() {
  addPart();
  const answer = await fetch(bench.dataset.histogram, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  histogram = await answer.json();
  for (const element of document.querySelectorAll(".part")) { adopt(element); paint(element); }
}

// --- ordering ---------------------------------------------------------------------------------------------------

async function order(event) {
  event.preventDefault();
  const button = form.querySelector('[type="submit"]');
  const fault = document.querySelector("#fault");
  button.disabled = true;
  fault.hidden = true;
  try {
    const answer = await post(bench.dataset.order, recipe());
    if (answer.status !== 202) throw new Error((await problem(answer)) || words.refused);
    location.assign(answer.headers.get("Location"));
  } catch (error) {
    fault.textContent = error instanceof TypeError ? words.offline : error.message;
    fault.hidden = false;
    button.disabled = false;
  }
}

// --- the page ---------------------------------------------------------------------------------------------------

form.addEventListener("submit", order);
form.addEventListener("change", (event) => {
  if (event.target.matches("[data-go]")) {
    location.assign(event.target.value);
    return;
  }
  if (event.target.name === "fineness") {
    for (const hint of form.querySelectorAll("[data-hint]")) hint.hidden = hint.dataset.hint !== event.target.value;
    return;
  }
  if (!event.target.closest(".histogram")) refresh();
});
form.addEventListener("input", (event) => {
  if (event.target.closest(".range")) {
    drawBox();
    refresh();
  }
});
document.querySelector("#box").addEventListener("toggle", () => { drawBox(); refresh(); });
document.querySelector("#add-part")?.addEventListener("click", () => addPart("own"));
bench.addEventListener("click", (event) => {
  const view = event.target.closest("[data-view]");
  if (view && stage) stage.look(view.dataset.view);
});

openStage(document.querySelector("#stage"), bench.dataset.library).then((opened) => {
  stage = opened;
  if (!stage) say(words.noViewer);
  refresh();
});
if (document.querySelector("#part")) {
  startTissues();
}
