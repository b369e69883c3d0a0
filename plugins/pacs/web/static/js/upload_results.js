// The result of each file, by outcome. The list holds a limited number of rows, whatever the number of files.

import { fill } from "./words.js";

const MOST_ROWS = 500;
const ORDER = ["failed", "damaged", "tooLarge", "refused", "skipped", "present", "stored"];
const FAULTS = new Set(["failed", "damaged", "tooLarge", "refused"]);

export class UploadResults {
  constructor(element, texts, numbers, largestBytes) {
    Object.assign(this, { texts, numbers, largestBytes });
    this.list = element.querySelector(".upload-results");
    this.filters = element.querySelector(".upload-filters");
    this.more = element.querySelector(".upload-more");
    this.clear();
  }

  clear() {
    this.results = [];
    this.counts = new Map();
    this.filter = "";
    this.redraw();
  }

  redraw() {
    this.drawn = 0;
    this.shown = 0;
    this.list.replaceChildren();
    this.draw();
  }

  get failedCount() {
    return [...FAULTS].reduce((sum, outcome) => sum + this.count(outcome), 0);
  }

  // Files that another attempt may store: those that failed on the way, not those that are bad themselves.
  get retriable() {
    return this.results.filter((result) => result.outcome === "failed" && result.item.file);
  }

  add(result) {
    this.results.push(result);
    this.counts.set(result.outcome, this.count(result.outcome) + 1);
  }

  takeFailed() {
    const items = this.retriable.map((result) => result.item);
    this.results = this.results.filter((result) => !(result.outcome === "failed" && result.item.file));
    this.counts.set("failed", this.count("failed") - items.length);
    this.redraw();
    return items;
  }

  draw() {
    const fresh = document.createDocumentFragment();
    for (; this.drawn < this.results.length && this.shown < MOST_ROWS; this.drawn += 1) {
      const result = this.results[this.drawn];
      if (!this.filter || result.outcome === this.filter) {
        fresh.append(this.row(result));
        this.shown += 1;
      }
    }
    this.list.append(fresh);
    const matching = this.filter ? this.count(this.filter) : this.results.length;
    this.more.hidden = matching <= this.shown;
    this.more.textContent = fill(this.texts.more, { count: this.numbers.format(matching - this.shown) });
    this.drawFilters();
  }

  count(outcome) {
    return this.counts.get(outcome) ?? 0;
  }

  drawFilters() {
    const present = ORDER.filter((outcome) => this.count(outcome) > 0);
    const wanted = present.length > 1 ? ["", ...present] : present;
    for (const button of [...this.filters.children]) {
      if (!wanted.includes(button.dataset.filter)) {
        button.remove();
      }
    }
    wanted.forEach((outcome, place) => this.drawFilter(outcome, place));
  }

  drawFilter(outcome, place) {
    let button = this.filters.querySelector(`[data-filter="${outcome}"]`);
    if (!button) {
      button = document.createElement("button");
      button.type = "button";
      button.className = "chip";
      button.dataset.filter = outcome;
      button.append(`${this.texts[outcome || "all"]} `, document.createElement("span"));
      button.lastChild.className = "figure";
      button.addEventListener("click", () => {
        this.filter = outcome;
        this.redraw();
      });
      this.filters.insertBefore(button, this.filters.children[place] ?? null);
    }
    button.lastChild.textContent = this.numbers.format(outcome ? this.count(outcome) : this.results.length);
    button.setAttribute("aria-pressed", String(this.filter === outcome));
  }

  row(result) {
    const row = document.createElement("li");
    row.dataset.outcome = result.outcome;
    const name = cell("name", result.item.name);
    name.title = result.item.name;
    row.append(cell("lamp", ""), name, cell("word", this.texts[result.outcome]));
    if (result.reason) {
      row.append(cell("why", this.reasonWords(result)));
    }
    return row;
  }

  reasonWords(result) {
    const size = { style: "unit", unit: "megabyte", maximumFractionDigits: 0 };
    const limit = new Intl.NumberFormat(this.numbers.resolvedOptions().locale, size).format(this.largestBytes / 1e6);
    return fill(this.texts[result.reason] ?? result.reason, { ...result, limit });
  }
}

function cell(className, text) {
  const span = document.createElement("span");
  span.className = className;
  span.textContent = text;
  return span;
}
