// What a file is, told from its first bytes (DICOM PS3.10 section 7.1), so that only DICOM is sent.

const HEADER_BYTES = 132;
const PREFIX_AT = 128;
const FIRST_GROUPS = new Set([0x0002, 0x0008]);
const ZIP_MAGIC = 0x04034b50;
const ZIP_EMPTY_MAGIC = 0x06054b50;

// Returns "dicom", "zip", "empty" or "other".
export async function kindOf(blob) {
  if (blob.size === 0) {
    return "empty";
  }
  const view = new DataView(await blob.slice(0, HEADER_BYTES).arrayBuffer());
  if (view.byteLength >= 4 && [ZIP_MAGIC, ZIP_EMPTY_MAGIC].includes(view.getUint32(0, true))) {
    return "zip";
  }
  return hasPrefix(view) || startsWithElement(view) ? "dicom" : "other";
}

function hasPrefix(view) {
  return view.byteLength >= HEADER_BYTES && view.getUint32(PREFIX_AT, false) === 0x4449434d;
}

// Old files have neither preamble nor prefix and begin with an element of group 0002 or 0008.
function startsWithElement(view) {
  if (view.byteLength < 8 || !FIRST_GROUPS.has(view.getUint16(0, true)) || view.getUint16(2, true) > 0x0100) {
    return false;
  }
  const explicit = /^[A-Z]{2}$/.test(String.fromCharCode(view.getUint8(4), view.getUint8(5)));
  return explicit || view.getUint32(4, true) <= 256;
}

export function isDirectoryOfDisc(name) {
  return /(^|\/)DICOMDIR$/i.test(name);
}
