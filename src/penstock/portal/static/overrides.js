// Names that a subscriber may go to for a while, whatever else holds.

import { at } from "./api.js";
import { h, nextId, replace } from "./dom.js";
import { bareName } from "./names.js";
import { ago, t, until } from "./texts.js";

const DURATIONS_MIN = [15, 60, 240, 1440];

export function showOverrides(place, subscriber) {
  const [name, duration] = [nextId("override"), nextId("minutes")];
  const input = h("input", { type: "text", id: name, placeholder: "www.example.com", autocapitalize: "none", autocomplete: "off", spellcheck: "false", required: true });
  const select = h("select", { id: duration }, DURATIONS_MIN.map((minutes) => h("option", { value: String(minutes), selected: minutes === 60 }, t(minutes < 60 ? "minutes" : "hours", { count: minutes < 60 ? minutes : minutes / 60 }))));
  const grant = async (event) => {
    event.preventDefault();
    const host = bareName(input.value);
    if (await subscriber.change("POST", "/overrides", { name: host, minutes: Number(select.value) }, t("overrides.granted", { name: host }))) input.value = "";
  };
  const form = h("form", { class: "form", onsubmit: grant },
    h("div", { class: "field" }, h("label", { for: name }, t("overrides.name")), input),
    h("div", { class: "entry" }, h("div", { class: "field" }, h("label", { for: duration }, t("overrides.for")), select), h("button", { class: "low" }, t("overrides.grant"))));
  const rows = h("div", {});
  replace(place, h("div", { class: "stack" }, form, rows));
  subscriber.watch(({ choices }) => {
    const open = choices.overrides.filter(({ until_s }) => until_s > Date.now() / 1000);
    const items = open.map((one) => h("li", {}, h("div", { class: "grow" }, h("b", {}, one.name), h("p", { class: "hint" }, t("overrides.until", { until: until(one.until_s), ago: ago(one.until_s) }))),
      h("button", { class: "cross", "aria-label": t("overrides.take", { name: one.name }), title: t("remove"), onclick: () => subscriber.change("DELETE", `/overrides${at(one.name)}`, undefined, t("overrides.taken", { name: one.name })) }, "✕")));
    replace(rows, items.length ? h("ul", { class: "rows tight" }, items) : h("p", { class: "nothing small" }, t("overrides.nothing")));
  });
}
