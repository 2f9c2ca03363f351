// Tokens: who may come in, made and taken back. A token is shown once.

import { at, call, get, rowsOf } from "./api.js";
import { h, nextId, replace, table } from "./dom.js";
import { attempt, confirm } from "./news.js";
import { t, until, when, word } from "./texts.js";

const ROLES = ["support", "selfcare", "operator"];
const DAYS = [1, 30, 90, 365];

export async function showTokens(place) {
  const rows = h("div", {});
  const once = h("div", { "aria-live": "polite" });
  replace(place, h("div", { class: "stack" }, rows, once, maker(once, () => look())));
  const look = async () => showRows(rows, rowsOf(await get("/tokens")), look);
  await look();
}

function showRows(place, tokens, look) {
  const revoke = async ({ id, name }) => {
    const texts = { title: t("tokens.sure", { name }), text: t("tokens.sure.text"), yes: t("tokens.revoke"), no: t("cancel") };
    if (await confirm(texts)) await attempt(() => call("DELETE", `/tokens${at(String(id))}`).then(look), t("tokens.revoked", { name }));
  };
  const columns = [
    [t("tokens.name"), ({ name }) => name],
    [t("tokens.role"), ({ role, subscriber }) => `${word("role", role)}${subscriber ? ` · ${subscriber}` : ""}`],
    [t("tokens.expires"), ({ expires }) => h("span", { class: "nowrap" }, expires ? until(expires) : t("tokens.never"))],
    [t("tokens.used"), ({ last_used }) => h("span", { class: "nowrap" }, last_used ? when(last_used) : t("tokens.unused"))],
    [h("span", { class: "unseen" }, t("tokens.revoke")), (token) => h("button", { class: "plain tiny", "aria-label": t("tokens.revoke.of", { name: token.name }), onclick: () => revoke(token) }, t("tokens.revoke")), "act"],
  ];
  replace(place, tokens.length ? table(t("tokens.title"), columns, tokens) : h("p", { class: "nothing" }, t("tokens.nothing")));
}

function maker(once, look) {
  const ids = { name: nextId("token"), role: nextId("token"), subscriber: nextId("token"), days: nextId("token") };
  const name = h("input", { type: "text", id: ids.name, required: true, maxlength: "60", autocomplete: "off" });
  const subscriber = h("input", { type: "text", id: ids.subscriber, autocomplete: "off" });
  const whose = h("div", { class: "field", hidden: true }, h("label", { for: ids.subscriber }, t("tokens.subscriber")), subscriber);
  const chooseRole = (event) => {
    whose.hidden = event.target.value !== "selfcare";
    subscriber.required = !whose.hidden;
  };
  const role = h("select", { id: ids.role, onchange: chooseRole }, ROLES.map((one) => h("option", { value: one }, word("role", one))));
  const days = h("select", { id: ids.days }, DAYS.map((one) => h("option", { value: String(one), selected: one === 90 }, t("days", { count: one }))));
  const make = async (event) => {
    event.preventDefault();
    const wanted = { name: name.value.trim(), role: role.value, subscriber: whose.hidden ? null : subscriber.value.trim(), days: Number(days.value) };
    await attempt(async () => {
      const made = await call("POST", "/tokens", wanted);
      replace(once, h("div", { class: "note good" }, h("p", {}, t("tokens.once", { name: wanted.name }))), h("code", { class: "once" }, made.token));
      form.reset();
      chooseRole({ target: role });
      await look();
    }, t("tokens.made"));
  };
  const form = h("form", { class: "form", onsubmit: make },
    h("div", { class: "pair" }, h("div", { class: "field" }, h("label", { for: ids.name }, t("tokens.name")), name), h("div", { class: "field" }, h("label", { for: ids.role }, t("tokens.role")), role)),
    whose,
    h("div", { class: "field" }, h("label", { for: ids.days }, t("tokens.days")), days),
    h("div", { class: "row" }, h("button", { class: "first" }, t("tokens.make"))));
  return h("div", {}, h("h3", {}, t("tokens.new")), form);
}
