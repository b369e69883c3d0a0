// The studies page: files dropped anywhere on it are stored, and the list then shows them.

import { collect } from "./dropped_files.js";
import { UploadPanel } from "./upload_panel.js";

function bringsFiles(event) {
  return event.dataTransfer?.types.includes("Files");
}

function takeDrops(veil) {
  const panel = new UploadPanel(document.querySelector("#upload-panel"), {
    onStored: () => window.htmx.trigger("#search", "submit"),
  });
  let depth = 0;

  function hover(change) {
    depth = Math.max(depth + change, 0);
    veil.hidden = depth === 0;
  }

  document.addEventListener("dragenter", (event) => bringsFiles(event) && hover(1));
  document.addEventListener("dragleave", (event) => bringsFiles(event) && hover(-1));
  document.addEventListener("dragover", (event) => bringsFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (bringsFiles(event)) {
      event.preventDefault();
      hover(-depth);
      panel.add(collect(event.dataTransfer));
    }
  });
}

// Who may not upload has nothing to drop on.
const veil = document.querySelector("#drop-veil");
if (veil) {
  takeDrops(veil);
}

// Another day than the presets is entered in the date fields: show them at once with the cursor in the first.
document.querySelector("#search").addEventListener("change", (event) => {
  if (event.target.name === "period" && event.target.value === "dates") {
    document.querySelector("#search [name=from]").focus();
  }
});
