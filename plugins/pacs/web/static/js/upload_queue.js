// Sends files a few at a time, opens ZIPs, and tells the outcome of each.
// Outcomes: stored, present, skipped, damaged, tooLarge, refused, failed; the reason is a key of the panel's texts.

import { isDirectoryOfDisc, kindOf } from "./dicom_sniff.js";
import { ZipFault, zipEntries } from "./zip_entries.js";

const UNREADABLE = [400, 422];
const DISK_FULL = [18, 19];
const OUTCOME_OF_ZIP_FAULT = {
  limit: "tooLarge",
  bomb: "refused",
  nested: "refused",
  zipEncrypted: "refused",
  zipBroken: "damaged",
  noLibrary: "failed",
};

export class UploadQueue {
  // onFound(number), onResult({ item, outcome, reason, detail, size, orthancStudyId }), onIdle()
  constructor({ instances, zip, parallel, largestBytes, onFound, onResult, onIdle }) {
    Object.assign(this, { instances, zip, parallel, largestBytes, onFound, onResult, onIdle });
    this.waiting = [];
    this.sources = [];
    this.running = 0;
    this.reading = false;
    this.abort = new AbortController();
  }

  get cancelled() {
    return this.abort.signal.aborted;
  }

  get idle() {
    return this.running === 0 && !this.reading && this.waiting.length === 0 && this.sources.length === 0;
  }

  add(items) {
    if (this.cancelled) {
      this.abort = new AbortController();
    }
    this.sources.push(items);
    this.read();
  }

  cancel() {
    this.abort.abort();
    this.waiting = [];
    this.sources = [];
  }

  async read() {
    if (this.reading) {
      return;
    }
    this.reading = true;
    const { signal } = this.abort;
    while (this.sources.length > 0 && !signal.aborted) {
      await this.drain(this.sources.shift(), signal);
    }
    this.reading = false;
    this.pump();
  }

  async drain(items, signal) {
    try {
      for await (const item of items) {
        if (signal.aborted) {
          return;
        }
        this.onFound(1);
        this.waiting.push(item);
        this.pump();
      }
    } catch {
      this.onFound(1);
      this.onResult({ item: { name: "…" }, outcome: "failed", reason: "unreadable" });
    }
  }

  pump() {
    while (this.running < this.parallel && this.waiting.length > 0) {
      this.running += 1;
      this.handle(this.waiting.shift()).finally(() => {
        this.running -= 1;
        this.pump();
      });
    }
    if (this.idle) {
      this.onIdle();
    }
  }

  async handle(item) {
    const { signal } = this.abort;
    const result = await this.judge(item, signal);
    if (!signal.aborted && result) {
      this.onResult({ item, ...result });
    }
  }

  // Returns the result of one file; null for a ZIP, whose entries have results of their own.
  async judge(item, signal) {
    try {
      const blob = await item.file();
      const kind = await kindOf(blob);
      if (kind === "zip") {
        return await this.open(item, blob, signal);
      }
      return judgeByLook(item, blob, kind, this.largestBytes) ?? (await this.send(blob, signal));
    } catch (error) {
      return faultOf(error);
    }
  }

  // Opens a ZIP: its entries wait like other files, and are unpacked when their turn comes.
  async open(item, blob, signal) {
    if (item.inZip) {
      return { outcome: "refused", reason: "nested" };
    }
    const entries = await zipEntries(item.name, blob, { address: this.zip, largestBytes: this.largestBytes });
    if (!signal.aborted) {
      this.onFound(entries.length - 1);
      this.waiting.push(...entries);
    }
    return null;
  }

  async send(blob, signal) {
    let response;
    try {
      response = await fetch(this.instances, { method: "POST", body: blob, signal, headers: { Accept: "application/json" } });
    } catch {
      return { outcome: "failed", reason: "network" };
    }
    const answer = await response.json().catch(() => ({}));
    return { ...outcomeOf(response, answer), size: blob.size };
  }
}

function judgeByLook(item, blob, kind, largestBytes) {
  if (kind === "empty") {
    return { outcome: "skipped", reason: "empty" };
  }
  if (isDirectoryOfDisc(item.name)) {
    return { outcome: "skipped", reason: "dicomdir" };
  }
  if (kind === "other") {
    return { outcome: "skipped", reason: "noHeader" };
  }
  return blob.size > largestBytes ? { outcome: "tooLarge", reason: "limit" } : null;
}

function outcomeOf(response, answer) {
  if (response.ok) {
    const outcomes = { Success: "stored", AlreadyStored: "present", FilteredOut: "refused" };
    const outcome = outcomes[answer.Status] ?? "stored";
    return { outcome, reason: outcome === "refused" ? "filtered" : "", orthancStudyId: answer.ParentStudy };
  }
  if (UNREADABLE.includes(response.status)) {
    return { outcome: "damaged", reason: "cutShort", detail: answer.detail };
  }
  if (DISK_FULL.includes(answer.OrthancStatus) || response.status === 507) {
    return { outcome: "failed", reason: "diskFull" };
  }
  const why = answer.Details || answer.Message || answer.detail || response.statusText;
  return { outcome: "failed", reason: "server", status: response.status, why };
}

function faultOf(error) {
  if (error instanceof ZipFault) {
    return { outcome: OUTCOME_OF_ZIP_FAULT[error.kind], reason: error.kind, why: error.detail };
  }
  return { outcome: "failed", reason: "unreadable" };
}
