// The files in a ZIP, read one at a time in the browser: the ZIP itself is never sent.
// A ZIP that lies about its sizes (a "bomb") can't hurt: an entry is cut off where it exceeds what it declared.

const PART_BYTES = 16 * 1024 ** 2;

export class ZipFault extends Error {
  constructor(kind, detail = "") {
    super(detail || kind);
    this.kind = kind;
    this.detail = detail;
  }
}

let library;

async function loadLibrary(address) {
  if (!library) {
    await import(address).catch(() => {
      throw new ZipFault("noLibrary");
    });
    library = globalThis.zip;
    // No workers: their code comes from blob: addresses, which the content security policy forbids.
    library.configure({ useWebWorkers: false, useCompressionStream: true });
  }
  return library;
}

// Promises the file entries as items { name, inZip, file }, where file() promises a Blob and raises ZipFault.
export async function zipEntries(name, blob, { address, largestBytes }) {
  const zip = await loadLibrary(address);
  let entries;
  try {
    entries = await new zip.ZipReader(new zip.BlobReader(blob)).getEntries();
  } catch (error) {
    throw new ZipFault("zipBroken", error.message);
  }
  return entries
    .filter((entry) => !entry.directory)
    .map((entry) => ({ name: `${name}/${entry.filename}`, inZip: true, file: () => unpack(zip, entry, largestBytes) }));
}

async function unpack(zip, entry, largestBytes) {
  if (entry.encrypted) {
    throw new ZipFault("zipEncrypted");
  }
  if (entry.uncompressedSize > largestBytes) {
    throw new ZipFault("limit");
  }
  const collector = new BoundedCollector(entry.uncompressedSize);
  try {
    await entry.getData(collector.writable, { checkSignature: true, checkOverlappingEntry: true });
  } catch (error) {
    const lies = [zip.ERR_INVALID_UNCOMPRESSED_SIZE, zip.ERR_OVERLAPPING_ENTRY].includes(error.message);
    throw collector.exceeded || lies ? new ZipFault("bomb") : new ZipFault("zipBroken", error.message);
  }
  return collector.blob();
}

// Collects a stream in a Blob, and stops it as soon as there is more than was declared.
class BoundedCollector {
  constructor(mostBytes) {
    this.parts = [];
    this.pending = [];
    this.pendingBytes = 0;
    this.size = 0;
    this.exceeded = false;
    this.writable = new WritableStream({ write: (chunk) => this.take(chunk, mostBytes) });
  }

  take(chunk, mostBytes) {
    this.size += chunk.byteLength;
    this.exceeded = this.size > mostBytes;
    if (this.exceeded) {
      throw new RangeError("more than declared");
    }
    this.pending.push(chunk);
    this.pendingBytes += chunk.byteLength;
    if (this.pendingBytes > PART_BYTES) {
      this.blob();
    }
  }

  // Browsers keep large Blobs on disk; what is collected so far need not stay in memory.
  blob() {
    this.parts = [new Blob([...this.parts, ...this.pending])];
    this.pending = [];
    this.pendingBytes = 0;
    return this.parts[0];
  }
}
