// Elements from data. Text is always text: nothing here or elsewhere reads markup from a string.

const SVG = "http://www.w3.org/2000/svg";

const shown = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...shown(children));
  return element;
}

export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export const find = (selector, root = document) => root.querySelector(selector);

// Puts `children` into `container`. Who reads keeps his place: wide tables stay scrolled as they were, and the focus, if it
// was in there, goes to the element with the same id, else to the container.
export function replace(container, ...children) {
  const held = container.contains(document.activeElement) ? document.activeElement : null;
  const scrolled = [...container.querySelectorAll(".wide")].map(({ id, scrollLeft }) => [id, scrollLeft]);
  container.replaceChildren(...shown(children));
  for (const [id, left] of scrolled) if (left && document.getElementById(id)) document.getElementById(id).scrollLeft = left;
  if (!held || held.isConnected) return;
  const again = held.id && document.getElementById(held.id);
  if (!again) container.tabIndex = -1;
  (again || container).focus({ preventScroll: true });
}

let serial = 0;
export const nextId = (stem) => `${stem}-${(serial += 1)}`;

// A table: columns are [title, cell of a row, class of its cells]; the first column heads its row.
export function table(caption, columns, rows, { fold = false } = {}) {
  const heads = columns.map(([title, , kind]) => h("th", { scope: "col", class: kind }, title));
  const lines = rows.map((row) =>
    h("tr", {}, columns.map(([, cell, kind], at) => h(at ? "td" : "th", { scope: at ? null : "row", class: kind }, cell(row)))));
  const whole = h("table", { class: fold && "fold" }, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, lines));
  return fold ? whole : h("div", { class: "wide", id: `wide-${caption.replace(/\W+/g, "-")}`, tabindex: "0", role: "group", "aria-label": caption }, whole);
}

export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([word, value]) => [h("dt", {}, word), h("dd", {}, value)]));
}
