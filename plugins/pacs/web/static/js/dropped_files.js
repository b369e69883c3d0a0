// Files out of a drop or a picker, folders walked through, one at a time so that thousands don't have to fit at once.
// Each item: { name, file } where file() promises a Blob.

async function* entriesOf(directory) {
  const reader = directory.createReader();
  for (;;) {
    // A reader gives at most a hundred entries a time, and an empty list at the end.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) {
      return;
    }
    yield* entries;
  }
}

async function* walk(entry) {
  if (entry.isFile) {
    const name = entry.fullPath.replace(/^\//, "");
    yield { name, file: () => new Promise((resolve, reject) => entry.file(resolve, reject)) };
  } else if (entry.isDirectory) {
    for await (const inner of entriesOf(entry)) {
      yield* walk(inner);
    }
  }
}

async function* walkAll(entries, files) {
  for (const entry of entries) {
    yield* walk(entry);
  }
  yield* picked(files);
}

// The content of a drop. What it holds must be asked for during the event, hence no generator itself.
export function collect(dataTransfer) {
  const entries = [];
  const files = [];
  for (const item of dataTransfer.items) {
    if (item.kind === "file") {
      const entry = item.webkitGetAsEntry?.();
      if (entry) {
        entries.push(entry);
      } else {
        files.push(item.getAsFile());
      }
    }
  }
  return walkAll(entries, files);
}

export async function* picked(files) {
  for (const file of files) {
    yield { name: file.webkitRelativePath || file.name, file: async () => file };
  }
}
