// Events as rows: what was asked for, what became of it, and why.

import { h, replace, table } from "./dom.js";
import { t, when, word } from "./texts.js";

const STYLES = { block: "bad", redirect: "bad", empty: "warn", warn: "warn", report: "warn" };

export const actionTag = (action) => h("span", { class: `tag ${STYLES[action] ?? "good"}` }, word("action", action));

// Of some reasons people ask what it means for them, not what became of a packet.
function wordReason(reason) {
  const told = word("why", reason);
  return told === reason ? word("reason", reason) : told;
}

const why = ({ reason, category, service, hook }) => [category && word("category", category), service && word("service", service), !category && !service && wordReason(reason), hook && t("verdicts.hook", { hook })].filter(Boolean).join(" · ");

// `act` gives what stands behind each row, such as a button.
export function showVerdicts(place, events, { isBrief = false, subscriber = false, act = null } = {}) {
  if (!events.length) {
    replace(place, h("p", { class: "nothing" }, t("verdicts.nothing")));
    return;
  }
  const columns = [
    [t("verdicts.host"), (event) => [h("b", {}, event.host ?? t("verdicts.nameless")), h("span", { class: "hint" }, why(event))], "host"],
    [t("verdicts.action"), ({ action }) => actionTag(action)],
    !isBrief && [t("verdicts.proto"), ({ proto }) => (proto ?? "–").toUpperCase()],
    subscriber && [t("verdicts.subscriber"), (event) => event.subscriber],
    [t("verdicts.time"), (event) => h("time", { class: "nowrap soft" }, when(event.time))],
    !isBrief && [t("verdicts.id"), ({ flow }) => h("code", {}, flow ?? "–")],
    act && [h("span", { class: "unseen" }, t("verdicts.act")), act, "act"],
  ].filter(Boolean);
  replace(place, table(t("verdicts.caption"), columns, events, { fold: true }));
}
