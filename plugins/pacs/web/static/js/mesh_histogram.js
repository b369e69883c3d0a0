// The histogram of a tissue with its threshold: two sliders under the bars, or one where there is no upper end.

import { fill } from "./words.js";

const BARS = 256;
const HEIGHT = 48;

export class Histogram {
  // `changed` is called when a slider was moved.
  constructor(element, words, changed) {
    this.words = words;
    this.svg = element.querySelector(".bars");
    this.all = element.querySelector(".all");
    this.chosen = element.querySelector(".chosen");
    this.low = element.querySelector('[name="low"]');
    this.high = element.querySelector('[name="high"]');
    this.window = element.querySelector('[name="window"]');
    this.output = element.querySelector("output");
    this.tissue = element.querySelector('[name="tissue"]');
    this.counts = null;
    for (const slider of [this.low, this.high]) {
      slider.addEventListener("input", () => this.own(changed));
    }
    this.window.addEventListener("change", () => this.own(changed));
    this.draw();
  }

  // Takes the figures of the series, and the threshold of a tissue.
  take({ low, width, counts, otsu, unit, presets }, tissue) {
    Object.assign(this, { first: low, width, counts, unit });
    const last = low + width * counts.length;
    for (const slider of [this.low, this.high]) {
      Object.assign(slider, { min: Math.floor(low), max: Math.ceil(last), step: last - low > 50 ? 1 : "any" });
    }
    if (tissue !== "own") {
      const range = presets[tissue] ?? { low: otsu, high: null };
      this.low.value = range.low ?? low;
      this.high.value = range.high ?? last;
      this.window.checked = range.high !== null && range.low !== null;
      this.isBelow = range.low === null;
    }
    this.draw();
  }

  // The values between which the tissue lies; no upper end: null.
  range() {
    const low = this.isBelow ? Math.floor(this.first ?? -1024) - 1 : Number(this.low.value);
    const high = this.isBelow || this.window.checked ? Math.max(Number(this.high.value), low + 1) : null;
    return { low, high };
  }

  own(changed) {
    this.tissue.value = "own";
    this.draw();
    changed();
  }

  draw() {
    const { low, high } = this.range();
    this.low.hidden = Boolean(this.isBelow);
    this.high.hidden = !this.isBelow && !this.window.checked;
    this.window.closest("label").hidden = Boolean(this.isBelow);
    if (!this.counts) return;
    const tallest = Math.log1p(Math.max(...this.counts));
    const bars = this.counts.map((count) => HEIGHT - (Math.log1p(count) / tallest) * HEIGHT);
    const isChosen = (bar) => {
      const value = this.first + (bar + 0.5) * this.width;
      return value >= low && (high === null || value <= high);
    };
    this.svg.setAttribute("viewBox", `0 0 ${BARS} ${HEIGHT}`);
    this.all.setAttribute("d", area(bars, () => true));
    this.chosen.setAttribute("d", area(bars, isChosen));
    this.output.textContent = this.told(low, high);
  }

  told(low, high) {
    const [from, to] = [low, high].map((value) => (value === null ? "" : `${Math.round(value)}${this.unit ? ` ${this.unit}` : ""}`));
    if (this.isBelow) return fill(this.words.below, { high: to });
    if (high !== null) return fill(this.words.between, { low: Math.round(low), high: to });
    return fill(this.tissue.value === "otsu" ? this.words.automatic : this.words.threshold, { low: from });
  }
}

function area(bars, isShown) {
  return bars.map((top, bar) => (isShown(bar) ? `M${bar} ${HEIGHT}V${top.toFixed(1)}h1V${HEIGHT}z` : "")).join("");
}
