// The subscriber's own page.

import { get, rowsOf } from "./api.js";
import { drawWeek } from "./bars.js";
import { find, h, replace } from "./dom.js";
import { showExplain } from "./explain.js";
import { enter, openPage } from "./frame.js";
import { moved, showNames } from "./names.js";
import { showPause } from "./pause.js";
import { showSchedules } from "./schedules.js";
import { showSearch, showServices } from "./services.js";
import { Subscriber } from "./subscriber.js";
import { t, word } from "./texts.js";
import { showVerdicts } from "./verdicts.js";

const RECENT = 6;

const me = await enter("selfcare");
openPage();
const { services: offered, safe_search: hasSearch } = await get("/services");
find("#search").closest("section").hidden = !hasSearch;

async function show(id) {
  const subscriber = new Subscriber(id);
  showPause(find("#pause"), subscriber);
  showServices(find("#services"), subscriber, offered);
  showSearch(find("#search"), subscriber);
  showNames(find("#names"), subscriber);
  showSchedules(find("#schedules"), subscriber, offered);
  subscriber.watch(showState);
  await subscriber.load();
  await Promise.all([showWeek(subscriber), showRecent(subscriber)]);
  return subscriber;
}

function showState({ now, id }) {
  const text = now.paused ? t("me.paused") : now.services.length ? t("me.protected", { count: now.services.length }) : t("me.unprotected");
  const style = now.paused ? "warn" : now.services.length ? "good" : "";
  replace(find("#state"), h("span", { class: `tag mark ${style}` }, text));
  replace(find("#name"), id);
}

async function showWeek(subscriber) {
  const week = await get(`${subscriber.path}/week`);
  drawWeek(find("#week"), week.days);
  const most = week.hosts.slice(0, 5).map(({ host, category, count }) => h("li", {}, h("span", { class: "grow" }, h("b", {}, host), " ", h("span", { class: "soft small" }, category ? word("category", category) : "")), h("span", { class: "number" }, t("times", { count }))));
  replace(find("#most"), most.length ? [h("h3", {}, t("week.most")), h("ul", { class: "rows tight" }, most)] : []);
}

async function showRecent(subscriber) {
  const events = rowsOf(await get(`${subscriber.path}/events`, { limit: RECENT }));
  const act = ({ host }) => host && h("button", { class: "plain tiny", "aria-label": t("names.allow.host", { host }), onclick: () => subscriber.choose(moved(subscriber.choices, "allow", host), t("names.allow.added", { name: host })) }, t("names.allow.short"));
  showVerdicts(find("#recent"), events, { isBrief: true, act });
}

let current = await show(me.subscriber);
showExplain(find("#explain"), () => current.id, { isBrief: true });

// Devices: each has choices of its own above those of the whole connection.
const devices = current.devices;
find("#devices").hidden = devices.length === 0;
const tabs = [me.subscriber, ...devices].map((id, n) => h("button", { "aria-pressed": String(n === 0), onclick: (event) => choose(event.currentTarget, id) }, n ? id.slice(me.subscriber.length + 1) : t("devices.all")));
replace(find("#device-tabs"), tabs);

async function choose(tab, id) {
  for (const other of tabs) other.setAttribute("aria-pressed", String(other === tab));
  current = await show(id);
}
