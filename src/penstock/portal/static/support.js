// The support page: find a subscriber, see what holds for him and what he was refused, and help.

import { get, rowsOf } from "./api.js";
import { showCaptures } from "./captures.js";
import { facts, find, h, replace, table } from "./dom.js";
import { showExplain } from "./explain.js";
import { enter, openPage } from "./frame.js";
import { showNames } from "./names.js";
import { attempt } from "./news.js";
import { showOverrides } from "./overrides.js";
import { showPause } from "./pause.js";
import { showSchedules } from "./schedules.js";
import { showSearch, showServices } from "./services.js";
import { Subscriber } from "./subscriber.js";
import { ago, t, until, when, word } from "./texts.js";
import { showVerdicts } from "./verdicts.js";

const FOUND = 20;
const EVENTS = 10;

await enter("support", "operator");
const { services: offered, safe_search: hasSearch } = await get("/services");
find("#search").closest("section").hidden = !hasSearch;
const results = find("#results");

// ---- finding ---------------------------------------------------------------------------------------------------------
const isAddress = (text) => /^\d{1,3}(\.\d{1,3}){3}$/.test(text) || (text.includes(":") && /^[0-9a-f:.]+$/i.test(text));

find("#finder").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = find("#query").value.trim();
  attempt(async () => {
    const found = isAddress(text) ? await findByAddress(text) : rowsOf(await get("/subscribers", { prefix: text, limit: FOUND }));
    if (found.length === 1) open(found[0].id);
    else showFound(found);
  });
});

async function findByAddress(address) {
  try {
    return [await get("/subscribers/by-address", { address })];
  } catch (error) {
    if (error.status !== 404) throw error;
    return [];
  }
}

function showFound(found) {
  const rows = found.map((one) => h("li", {}, h("button", { class: "plain", onclick: () => open(one.id) }, one.id), h("span", { class: "soft small" }, one.profile ?? t("support.unprotected"))));
  const text = found.length ? t(found.length === FOUND ? "support.first" : "support.found", { count: found.length }) : t("support.nobody");
  replace(results, h("p", { class: "soft small" }, text), rows.length ? h("ul", { class: "rows tight scroll" }, rows) : []);
}

// The subscriber is in the address: a page can be kept, sent, and asked for again.
function open(id) {
  const here = new URL(location.href);
  here.searchParams.set("id", id);
  history.pushState({}, "", here);
  replace(results);
  return attempt(() => show(id));
}

// ---- one subscriber -------------------------------------------------------------------------------------------------
let explain;
let current;

async function show(id) {
  const subscriber = new Subscriber(id);
  current = subscriber;
  showPause(find("#pause"), subscriber);
  showServices(find("#services"), subscriber, offered);
  showSearch(find("#search"), subscriber);
  showNames(find("#names"), subscriber);
  showSchedules(find("#schedules"), subscriber, offered);
  showOverrides(find("#overrides"), subscriber);
  subscriber.watch(showState);
  const [told] = await Promise.all([get(subscriber.path), subscriber.load()]);
  showPlaces(told);
  find("#found").hidden = false;
  find("#start").hidden = true;
  explain ??= showExplain(find("#explain"), () => current.id);
  find("#name").focus();
  await Promise.all([showEvents(subscriber), showCaptures(find("#captures"), subscriber)]);
}

function showState({ id, profile, owners, devices, now, choices }) {
  replace(find("#name"), id);
  const style = now.paused ? "warn" : now.services.length ? "good" : "";
  const state = now.paused ? t("me.paused") : profile ? t("me.protected", { count: now.services.length }) : t("support.unprotected");
  replace(find("#state"), h("span", { class: `tag mark ${style}` }, state));
  const next = now.next_change && `${until(now.next_change)} (${ago(now.next_change)})`;
  replace(find("#holds"), facts([
    [t("support.profile"), profile ?? t("support.none")],
    [t("support.services"), now.services.length ? now.services.map((name) => word("service", name)).join(", ") : t("support.none")],
    [t("safe_search.title"), t(`level.${now.safe_search ?? "off"}`)],
    [t("youtube.title"), t(`level.${now.youtube ?? "off"}`)],
    [t("support.own"), t("support.own.count", { allow: choices.allow.length, deny: choices.deny.length, schedules: choices.schedules.length })],
    [t("support.next"), next],
    [t("support.owners"), owners.length ? owners.map(opener) : null],
    [t("support.devices"), devices.length ? devices.map(opener) : null],
  ]));
}

const opener = (id) => h("button", { class: "plain tiny", onclick: () => open(id) }, id);

function showPlaces(told) {
  const columns = [
    [t("places.place"), ({ place }) => h("code", {}, place)],
    [t("places.source"), ({ source, nas }) => `${word("source", source)}${nas ? ` · ${nas}` : ""}`],
    [t("places.since"), ({ since }) => h("span", { class: "nowrap" }, since ? when(since) : "–")],
    [t("places.until"), ({ expires }) => h("span", { class: "nowrap" }, expires ? until(expires) : t("places.open"))],
  ];
  const about = facts([[t("support.fail"), t(`fail.${told.fail}`)], [t("support.heard"), told.last_heard && `${when(told.last_heard)} (${ago(told.last_heard)})`], [t("support.number"), told.number]]);
  replace(find("#places"), told.sessions.length ? table(t("places.title"), columns, told.sessions) : h("p", { class: "nothing" }, t("places.nothing")), h("div", { class: "below" }, about));
}

let events = [];

// The latest, or with `isOlder` those behind what is shown.
async function showEvents(subscriber, isOlder = false) {
  const before = isOlder ? events.at(-1).id : null;
  const found = rowsOf(await get(`${subscriber.path}/events`, { limit: EVENTS, before }));
  events = isOlder ? [...events, ...found] : found;
  const act = ({ host }) => host && h("button", { class: "plain tiny", "aria-label": t("explain.of", { host }), onclick: () => explain(host) }, t("explain.short"));
  showVerdicts(find("#events"), events, { act });
  find("#older").hidden = found.length < EVENTS;
}

find("#again").addEventListener("click", () => attempt(() => showEvents(current), t("support.refreshed")));
find("#older").addEventListener("click", () => attempt(() => showEvents(current, true)));

function showAddressed() {
  const id = new URLSearchParams(location.search).get("id");
  if (id) attempt(() => show(id));
}

window.addEventListener("popstate", showAddressed);
openPage();
showAddressed();
