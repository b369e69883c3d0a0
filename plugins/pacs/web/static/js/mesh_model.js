// The page of a model: shows it once it is made. The page itself is renewed by htmx until then.

import { openStage } from "./mesh_stage.js";

// More than this is not fetched without being asked for: a phone on a slow line.
const FETCHED_AT_ONCE_BYTES = 25_000_000;

async function present(section) {
  const words = JSON.parse(section.dataset.words);
  const note = section.querySelector(".stage-note");
  if (Number(section.dataset.size) > FETCHED_AT_ONCE_BYTES && !section.dataset.asked) {
    offer(section, note, words);
    return;
  }
  note.textContent = words.loading;
  const stage = await openStage(section.querySelector("canvas"), section.dataset.library);
  try {
    const answer = await fetch(section.dataset.model);
    if (!stage || !answer.ok) throw new Error(`no stage or no model (${answer.status})`);
    stage.show(await answer.arrayBuffer());
    note.textContent = "";
    section.dataset.shown = "yes";
  } catch (fault) {
    console.warn(fault.message);
    note.textContent = words.failed;
  }
  section.addEventListener("click", (event) => {
    const view = event.target.closest("[data-view]");
    if (view && stage) stage.look(view.dataset.view);
  });
}

function offer(section, note, words) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = words.ask;
  button.addEventListener("click", () => {
    button.remove();
    section.dataset.asked = "yes";
    present(section);
  });
  note.replaceChildren(button);
}

function presentNew() {
  const section = document.querySelector(".stage[data-model]:not([data-seen])");
  if (section) {
    section.dataset.seen = "yes";
    present(section);
  }
}

presentNew();
document.addEventListener("htmx:afterSettle", presentNew);
// Once saving has begun, its menu is in the way.
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful && event.target.matches("form[hx-post]")) {
    event.target.closest("details.menu")?.removeAttribute("open");
  }
});
