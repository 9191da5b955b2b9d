// Text and spans. Spans count code points, as the verdict file does; text is only ever set as text, never as HTML.

export const byId = (id) => document.getElementById(id);

export function make(tag, { text, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

export function merge(spans) {
  const merged = [];
  for (const [start, end] of [...spans].sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
    const last = merged.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else merged.push([start, end]);
  }
  return merged;
}

export function showMarked(element, text, spans, kind) {
  const points = Array.from(text);
  const part = (a, b) => points.slice(a, b).join("");
  const pieces = [];
  let at = 0;
  for (const [start, end] of merge(spans)) {
    pieces.push(part(at, start), make("mark", { class: kind, text: part(start, end) }));
    at = end;
  }
  element.replaceChildren(...pieces, part(at));
}

// The selected characters of an element, without blanks at the ends; null if nothing in it is selected.
export function selectedSpan(element) {
  const selection = getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0).cloneRange();
  const all = document.createRange();
  all.selectNodeContents(element);
  if (range.compareBoundaryPoints(Range.END_TO_START, all) >= 0 || range.compareBoundaryPoints(Range.START_TO_END, all) <= 0) return null;
  if (range.compareBoundaryPoints(Range.START_TO_START, all) < 0) range.setStart(all.startContainer, all.startOffset);
  if (range.compareBoundaryPoints(Range.END_TO_END, all) > 0) range.setEnd(all.endContainer, all.endOffset);
  const before = document.createRange();
  before.setStart(all.startContainer, all.startOffset);
  before.setEnd(range.startContainer, range.startOffset);
  const chosen = range.toString();
  const start = Array.from(before.toString()).length + Array.from(chosen).length - Array.from(chosen.trimStart()).length;
  const length = Array.from(chosen.trim()).length;
  return length ? [start, start + length] : null;
}

// Words as [start, end] in code points.
export function words(text) {
  const found = [];
  let unit = 0;
  let point = 0; // the same place, in code points
  for (const match of text.matchAll(/\S+/gu)) {
    const start = point + Array.from(text.slice(unit, match.index)).length;
    point = start + Array.from(match[0]).length;
    unit = match.index + match[0].length;
    found.push([start, point]);
  }
  return found;
}
