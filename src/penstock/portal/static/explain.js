// What would happen to a host for a subscriber, and which list and service say so.

import { get } from "./api.js";
import { facts, h, nextId, replace } from "./dom.js";
import { attempt } from "./news.js";
import { actionTag } from "./verdicts.js";
import { t, when, word } from "./texts.js";

// `id` gives the subscriber's id when it is asked.
export function showExplain(place, id, { isBrief = false } = {}) {
  const field = nextId("explain");
  const input = h("input", { type: "text", id: field, placeholder: "www.example.com", autocapitalize: "none", autocomplete: "off", spellcheck: "false", required: true });
  const result = h("div", { "aria-live": "polite" });
  const ask = async (event) => {
    event.preventDefault();
    await attempt(async () => {
      const told = await get("/explain", { host: input.value.trim(), subscriber: id() });
      replace(result, answer(told, isBrief));
    });
  };
  const form = h("form", { onsubmit: ask }, h("div", { class: "field" }, h("label", { for: field }, t("explain.host")), h("div", { class: "entry" }, input, h("button", {}, t("explain.ask")))));
  replace(place, h("div", { class: "stack" }, form, result));
  return (host) => {
    input.value = host;
    form.requestSubmit();
    input.focus();
  };
}

function answer(told, isBrief) {
  const rows = [
    [t("explain.because"), wordReason(told)],
    [t("explain.category"), told.category && word("category", told.category)],
    [t("explain.service"), told.service && word("service", told.service)],
    ...(isBrief ? [] : [[t("explain.profile"), told.profile], [t("explain.list"), told.list && h("code", {}, told.list)], [t("explain.feed"), told.feed], [t("explain.entry"), told.entry && h("code", {}, told.entry)], [t("explain.dns"), told.dns], [t("explain.built"), when(told.built)]]),
  ];
  return h("div", { class: "stack" }, h("p", { class: "row" }, h("b", {}, told.host), actionTag(told.action)), facts(rows));
}

// In the reader's language where the parts say it all; else in the judge's own words.
function wordReason({ action, category, service, reason }) {
  if (category && service) return t("explain.listed", { category: word("category", category), service: word("service", service) });
  return action === "forward" && !category ? t("explain.unlisted") : reason;
}
