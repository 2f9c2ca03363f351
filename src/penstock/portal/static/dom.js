// Elements from data. Text is always text: nothing here or elsewhere reads markup from a string.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export const find = (selector, root = document) => root.querySelector(selector);

// Puts `children` into `container` and the focus back on the element with the same id, if it was there.
export function replace(container, ...children) {
  const held = container.contains(document.activeElement) ? document.activeElement.id : "";
  container.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  if (held) document.getElementById(held)?.focus({ preventScroll: true });
}

let serial = 0;
export const nextId = (stem) => `${stem}-${(serial += 1)}`;

// A table: columns are [title, cell of a row, class of its cells]; the first column heads its row.
export function table(caption, columns, rows, { fold = false } = {}) {
  const heads = columns.map(([title, , kind]) => h("th", { scope: "col", class: kind }, title));
  const lines = rows.map((row) =>
    h("tr", {}, columns.map(([, cell, kind], at) => h(at ? "td" : "th", { scope: at ? null : "row", class: kind }, cell(row)))));
  const whole = h("table", { class: fold && "fold" }, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, lines));
  return fold ? whole : h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": caption }, whole);
}

export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([word, value]) => [h("dt", {}, word), h("dd", {}, value)]));
}
