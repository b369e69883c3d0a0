// Texts come translated from the server, with names in braces where values belong.

export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}
