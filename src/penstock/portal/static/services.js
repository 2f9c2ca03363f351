// Services as switches, and the levels of safe search as rows of buttons.

import { h, nextId, replace } from "./dom.js";
import { list, t, word } from "./texts.js";

const LEVELS = ["off", "moderate", "strict"];

// `offered` is what GET /services says.
export function showServices(place, subscriber, offered) {
  subscriber.watch(() => {
    const rows = offered.map((service) => row(subscriber, service));
    replace(place, rows.length ? h("ul", { class: "rows" }, rows) : h("p", { class: "nothing" }, t("services.nothing")));
  });
}

function row(subscriber, { name, categories, report_only: isTrial }) {
  const { choices, now } = subscriber;
  const isActive = now.services.includes(name);
  const isAdded = isActive && now.added.has(name) && choices.services[name] !== true;
  const isOn = choices.services[name] ?? (isActive && !isAdded);
  const id = `service-${name.replace(/[^a-z0-9]+/gi, "-")}`;
  const change = (event) => subscriber.choose({ services: { ...choices.services, [name]: event.target.checked } });
  const input = h("input", { type: "checkbox", role: "switch", class: "switch", id, checked: isOn, onchange: change, "aria-describedby": `${id}-about` });
  const about = t("services.about", { categories: list(Object.keys(categories).map((category) => word("category", category))) });
  const tags = [isTrial && h("span", { class: "tag" }, t("services.trial")), isAdded && h("span", { class: "tag warn" }, t("services.scheduled"))];
  return h("li", {}, h("div", { class: "grow" }, h("div", { class: "row" }, h("label", { for: id }, word("service", name)), tags), h("p", { class: "hint", id: `${id}-about` }, about)), input);
}

export function showSearch(place, subscriber) {
  subscriber.watch(() => {
    replace(place, ["safe_search", "youtube"].map((field) => levels(subscriber, field)));
  });
}

function levels(subscriber, field) {
  const name = nextId(field);
  const value = subscriber.choices[field] ?? subscriber.now[field] ?? "off";
  const offered = LEVELS.map((level) => {
    const id = `${field}-${level}`;
    const input = h("input", { type: "radio", name, id, value: level, checked: level === value, onchange: () => subscriber.choose({ [field]: level }) });
    return h("label", { for: id }, input, h("span", {}, t(`level.${level}`)));
  });
  return h("fieldset", { class: "choice-row" }, h("legend", {}, t(`${field}.title`)), h("div", { class: "segments" }, offered));
}
