// The upload page: the drop zone and the pickers.

import { collect, picked } from "./dropped_files.js";
import { UploadPanel } from "./upload_panel.js";

const zone = document.querySelector("#drop-zone");
const panel = new UploadPanel(document.querySelector("#upload-panel"));

function connectPicker(buttonId, inputId) {
  const button = document.getElementById(buttonId);
  const input = document.getElementById(inputId);
  button.disabled = false;
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    panel.add(picked([...input.files]));
    input.value = "";
  });
}

connectPicker("choose-files", "files");
connectPicker("choose-folder", "folder");

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  zone.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) {
    zone.classList.remove("over");
  }
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  zone.classList.remove("over");
  panel.add(collect(event.dataTransfer));
});
