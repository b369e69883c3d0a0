// The panel of an upload: progress, studies, the result of each file. Drawn at most a few times a second.

import { UploadQueue } from "./upload_queue.js";
import { UploadResults } from "./upload_results.js";
import { fill } from "./words.js";

const DRAW_MILLISECONDS = 150;
const STUDIES_MILLISECONDS = 1500;
const MOST_STUDIES_ASKED = 50;
const LEFT_FROM_FILES = 20;

export class UploadPanel {
  constructor(element, { onStored = () => {} } = {}) {
    this.element = element;
    this.onStored = onStored;
    this.texts = JSON.parse(element.dataset.texts);
    this.numbers = new Intl.NumberFormat(element.dataset.language);
    this.plurals = new Intl.PluralRules(element.dataset.language);
    this.part = (name) => element.querySelector(`.upload-${name}`);
    this.results = new UploadResults(element, this.texts, this.numbers, Number(element.dataset.largest));
    this.studies = new Map();
    this.found = 0;
    this.done = 0;
    this.state = "idle";
    this.queue = new UploadQueue({
      instances: element.dataset.instances,
      zip: element.dataset.zip,
      parallel: Number(element.dataset.parallel),
      largestBytes: Number(element.dataset.largest),
      onFound: (number) => this.change(() => (this.found += number)),
      onResult: (result) => this.change(() => this.take(result)),
      onIdle: () => this.finish(),
    });
    this.part("cancel").addEventListener("click", () => this.cancel());
    this.part("retry").addEventListener("click", () => this.retry());
    this.part("close").addEventListener("click", () => this.close());
    window.addEventListener("beforeunload", (event) => this.state === "sending" && event.preventDefault());
  }

  add(items) {
    if (this.state !== "sending") {
      this.begin();
    }
    this.queue.add(items);
  }

  begin() {
    this.element.hidden = false;
    this.state = "sending";
    this.startedAt = performance.now();
    this.doneBefore = this.done;
    this.change(() => {});
    clearInterval(this.studiesTimer);
    this.studiesTimer = setInterval(() => this.askStudies(), STUDIES_MILLISECONDS);
  }

  take(result) {
    this.done += 1;
    this.results.add(result);
    if (result.orthancStudyId) {
      const study = this.studies.get(result.orthancStudyId) ?? { files: 0, entry: null };
      study.files += 1;
      this.studies.set(result.orthancStudyId, study);
    }
  }

  cancel() {
    this.queue.cancel();
    this.state = "cancelled";
    this.settle();
  }

  retry() {
    const items = this.results.takeFailed();
    this.done -= items.length;
    this.found -= items.length;
    this.add(items);
  }

  close() {
    clearInterval(this.studiesTimer);
    this.element.hidden = true;
    this.results.clear();
    this.studies.clear();
    this.found = this.done = 0;
    this.draw();
  }

  finish() {
    if (this.state === "sending") {
      this.state = "done";
      this.settle();
    }
  }

  settle() {
    this.change(() => {});
    this.askStudies().then(() => this.onStored());
  }

  change(act) {
    act();
    this.drawTimer ??= setTimeout(() => {
      this.drawTimer = undefined;
      this.draw();
    }, DRAW_MILLISECONDS);
  }

  draw() {
    const busy = this.state === "sending";
    const failed = this.results.failedCount;
    this.part("progress").max = Math.max(this.found, 1);
    this.part("progress").value = this.done;
    this.part("progress").hidden = !busy;
    this.part("cancel").hidden = !busy;
    this.part("close").hidden = busy;
    this.part("retry").hidden = busy || this.results.retriable.length === 0;
    this.write("#upload-title", this.title(failed));
    this.write(".upload-count", this.countWords(busy));
    this.results.draw();
    this.drawStudies();
  }

  title(failed) {
    if (this.state === "sending") {
      return this.found === 0 ? this.texts.reading : this.texts.sending;
    }
    return this.state === "cancelled" ? this.texts.cancelled : failed ? this.texts.doneWithFaults : this.texts.done;
  }

  countWords(busy) {
    const words = fill(this.texts.progress, { done: this.numbers.format(this.done), total: this.numbers.format(this.found) });
    const done = this.done - this.doneBefore;
    if (!busy || done < LEFT_FROM_FILES) {
      return words;
    }
    const seconds = ((performance.now() - this.startedAt) / 1000 / done) * (this.found - this.done);
    return `${words} · ${fill(this.texts.left, { time: this.spanWords(seconds) })}`;
  }

  spanWords(seconds) {
    const [value, unit] = seconds < 60 ? [seconds, "second"] : [seconds / 60, "minute"];
    const format = new Intl.NumberFormat(this.element.dataset.language, { style: "unit", unit, unitDisplay: "short" });
    return format.format(Math.ceil(value));
  }

  write(selector, words) {
    const element = this.element.querySelector(selector);
    if (element.textContent !== words) {
      element.textContent = words;
    }
  }

  filesWords(number) {
    const isOne = this.plurals.select(number) === "one";
    return fill(isOne ? this.texts.file : this.texts.files, { count: this.numbers.format(number) });
  }

  async askStudies() {
    const unknown = [...this.studies].filter(([, study]) => !study.entry).map(([id]) => id).slice(0, MOST_STUDIES_ASKED);
    if (unknown.length > 0) {
      try {
        const response = await fetch(`${this.element.dataset.studies}?ids=${unknown.join(",")}`, { headers: { Accept: "application/json" } });
        for (const entry of response.ok ? await response.json() : []) {
          this.studies.get(entry.orthancStudyId).entry = entry;
        }
      } catch {
        return; // The next turn asks again.
      }
    }
    if (this.state !== "sending" && [...this.studies.values()].every((study) => study.entry)) {
      clearInterval(this.studiesTimer);
    }
    this.drawStudies();
  }

  drawStudies() {
    const list = this.part("studies");
    const known = [...this.studies.values()].filter((study) => study.entry);
    known.slice(list.children.length).forEach((study) => list.append(studyItem(study.entry, this.texts)));
    [...list.children].forEach((item, place) => {
      item.querySelector(".value").textContent = this.filesWords(known[place]?.files ?? 0);
    });
    if (known.length === 0) {
      list.replaceChildren();
    }
  }
}

function studyItem(entry, texts) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = entry.address;
  link.textContent = entry.patient || texts.noName;
  const details = document.createElement("span");
  details.textContent = [entry.patientId, entry.date, entry.description].filter(Boolean).join(" · ");
  const value = document.createElement("span");
  value.className = "value";
  item.append(link, details, value);
  return item;
}
