// The operator's page: is it us, what happens now, what is in force, who may look.

import { call, get, rowsOf } from "./api.js";
import { find, h, replace, table } from "./dom.js";
import { enter, openPage } from "./frame.js";
import { showHealth } from "./health.js";
import { Live } from "./live.js";
import { attempt, confirm } from "./news.js";
import { ago, count, fullTime, t, when, word } from "./texts.js";
import { showTokens } from "./tokens.js";

const LOOK_MS = 5000;
const AUDITED = 12;

await enter("operator");
const live = new Live();

// ---- the switch ----------------------------------------------------------------------------------------------------
let isOn = null;

function showSwitch(status) {
  isOn = status.is_on;
  const button = h("button", { id: "switch", class: isOn ? "grave" : "first", onclick: turn }, t(isOn ? "switch.off" : "switch.on"));
  replace(find("#switch-state"), h("span", { class: `tag mark ${isOn ? "good" : "bad"}` }, t(isOn ? "switch.is.on" : "switch.is.off")), button);
}

async function turn() {
  const wanted = !isOn;
  const texts = wanted
    ? { title: t("switch.on.sure"), text: t("switch.on.text"), yes: t("switch.on"), no: t("cancel") }
    : { title: t("switch.off.sure"), text: t("switch.off.text"), yes: t("switch.off"), no: t("cancel") };
  if (!(await confirm(texts, !wanted))) return;
  await attempt(() => call("PUT", "/switch", { on: wanted }).then(look), t(wanted ? "switch.turned.on" : "switch.turned.off"));
}

find("#reload").addEventListener("click", () => attempt(() => call("POST", "/reload").then(look), t("reload.done")));

// ---- what is in force -------------------------------------------------------------------------------------------------
async function look() {
  const [status, lists] = await Promise.all([get("/status"), get("/lists").then(rowsOf)]);
  live.status = status;
  showSwitch(status);
  showHealth(status);
  showVersions(status);
  showLists(lists, status);
}

function showVersions({ version, layout, lists }) {
  const built = lists.built ? t("versions.built", { built: when(lists.built), ago: ago(lists.built) }) : "";
  replace(find("#versions"), h("p", { class: "soft small" }, [t("versions.program", { version }), t("versions.layout", { layout: String(layout) }), t("versions.names", { names: lists.names, generation: String(lists.generation) }), built].filter(Boolean).join(" · ")));
}

function showLists(lists, status) {
  const columns = [
    [t("lists.category"), ({ category }) => word("category", category)],
    [t("lists.source"), ({ source }) => h("code", {}, source)],
    [t("lists.entries"), ({ entries }) => (entries === null ? "–" : count(entries)), "number"],
    [t("lists.built"), ({ built }) => moment(built, when)],
    [t("lists.fetched"), ({ fetched }) => moment(fetched, ago)],
    [t("lists.next"), ({ next_fetch: next }) => moment(next, ago)],
    [t("lists.state"), ({ error }) => (error ? h("span", { class: "fault" }, error) : h("span", { class: "tag good" }, t("lists.good")))],
  ];
  const news = [status.lists.is_reloading && h("p", { class: "note" }, t("lists.reloading")), status.guard.is_held && h("p", { class: "note warn" }, t("lists.held", { share: count(100 * status.guard.share) }))];
  replace(find("#lists"), news, lists.length ? table(t("lists.title"), columns, lists) : h("p", { class: "nothing" }, t("lists.nothing")));
}

const moment = (at, format) => (at ? h("time", { class: "nowrap", title: fullTime(at) }, format(at)) : "–");

let entries = [];

// The latest, or with `isOlder` those behind what is shown. To look is itself written down: so only when somebody asks.
async function showAudit(isOlder = false) {
  const found = rowsOf(await get("/audit", { limit: AUDITED, before: isOlder ? entries.at(-1).id : null }));
  entries = isOlder ? [...entries, ...found] : found;
  const columns = [
    [t("audit.time"), ({ time }) => h("time", { class: "nowrap" }, when(time))],
    [t("audit.token"), ({ token_name: name }) => name ?? "–"],
    [t("audit.role"), ({ role }) => (role ? word("role", role) : "–")],
    [t("audit.act"), ({ method, path }) => h("code", {}, `${method} ${path}`)],
    [t("audit.subscriber"), ({ subscriber }) => subscriber ?? "–"],
    [t("audit.status"), ({ status }) => h("span", { class: `tag ${status === null ? "" : status < 400 ? "good" : "bad"}` }, String(status ?? "–"))],
  ];
  replace(find("#audit"), entries.length ? table(t("audit.title"), columns, entries) : h("p", { class: "nothing" }, t("audit.nothing")));
  find("#audit-older").hidden = found.length < AUDITED;
}

find("#audit-again").addEventListener("click", () => attempt(() => showAudit()));
find("#audit-older").addEventListener("click", () => attempt(() => showAudit(true)));

openPage();
await Promise.all([look(), showTokens(find("#tokens")), showAudit()]);
setInterval(() => document.hidden || look().catch(() => {}), LOOK_MS);
