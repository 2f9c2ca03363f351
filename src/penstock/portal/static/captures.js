// Recordings of a subscriber's refused flows: begun, listed, fetched, thrown away.

import { at, call, get, rowsOf } from "./api.js";
import { h, nextId, replace } from "./dom.js";
import { attempt, confirm } from "./news.js";
import { si, t, until, when } from "./texts.js";

const DURATIONS_S = [15, 60, 300, 600];
const SIZES_MB = [1, 5, 20];
const LOOK_MS = 2000;

export async function showCaptures(place, subscriber) {
  const [seconds, megabytes] = [nextId("seconds"), nextId("size")];
  const rows = h("div", { "aria-live": "polite" });
  const path = `${subscriber.path}/captures`;
  const choice = (id, values, key) => h("select", { id }, values.map((value) => h("option", { value: String(value) }, t(key, { count: value }))));
  const times = choice(seconds, DURATIONS_S, "seconds");
  const sizes = choice(megabytes, SIZES_MB, "megabytes");
  const begin = async (event) => {
    event.preventDefault();
    const done = await attempt(() => call("POST", path, { seconds: Number(times.value), megabytes: Number(sizes.value) }), t("captures.begun"));
    if (done) await look();
  };
  const form = h("form", { class: "form", onsubmit: begin },
    h("div", { class: "pair" }, h("div", { class: "field" }, h("label", { for: seconds }, t("captures.seconds")), times), h("div", { class: "field" }, h("label", { for: megabytes }, t("captures.size")), sizes)),
    h("div", { class: "row" }, h("button", {}, t("captures.begin"))));
  replace(place, h("div", { class: "stack" }, form, rows));
  const look = async () => {
    if (!rows.isConnected) return;
    const captures = rowsOf(await get(path));
    replace(rows, captures.length ? h("ul", { class: "rows tight" }, captures.map((one) => row(one, path, look))) : h("p", { class: "nothing small" }, t("captures.nothing")));
    if (captures.some(isRunning)) setTimeout(() => look().catch(() => {}), LOOK_MS);
  };
  try {
    await look();
  } catch (error) {
    if (error.status !== 404) throw error; // a box that cannot record has nothing there
    place.closest("section").hidden = true;
  }
}

const isRunning = ({ state }) => state === "running";

function row(one, path, look) {
  const state = isRunning(one) ? t("captures.running", { until: until(one.ends) }) : t("captures.done", { packets: one.packets, size: si(one.size_bytes) });
  const remove = async () => {
    const texts = { title: t("captures.sure"), text: t("captures.sure.text"), yes: t("remove"), no: t("cancel") };
    if (await confirm(texts)) await attempt(() => call("DELETE", `${path}${at(String(one.id))}`).then(look), t("captures.removed"));
  };
  return h("li", {},
    h("div", { class: "grow" }, h("b", {}, when(one.begun)), h("p", { class: "hint" }, state)),
    !isRunning(one) && one.packets > 0 && h("a", { class: "small", href: `/api/v1${path}${at(String(one.id))}`, download: "", "aria-label": t("captures.fetch.of", { begun: when(one.begun) }) }, t("captures.fetch")),
    h("button", { class: "cross", "aria-label": t("captures.remove", { begun: when(one.begun) }), title: t("remove"), onclick: remove }, "✕"));
}
