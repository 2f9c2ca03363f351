// Counters once a second: the panel "is it us?", the charts, and the table of reasons, all from one stream.

import { find, h, replace, table } from "./dom.js";
import { Lines } from "./lines.js";
import { compact, count, si, t, word } from "./texts.js";

const SILENT_MS = 5000;
const SLOW_US = 1000;
const REASONS = 12;
const LATE = "process_late"; // the cause whose packets nobody judged in time

const perSecond = (value) => t("unit.per_s", { value: compact(value) });
const bits = (value) => t("unit.bits", { value: si(value) });
const micros = (value) => t("unit.us", { value: count(Math.round(value)) });

export class Live {
  constructor() {
    this.status = null;
    this.before = null;
    this.heard_ms = Date.now();
    this.charts = {
      bits: new Lines(find("#chart-bits"), { title: t("live.bits"), format: bits, axis: si, series: [{ name: "down", title: t("live.down") }, { name: "up", title: t("live.up") }] }),
      packets: new Lines(find("#chart-packets"), { title: t("live.packets"), format: perSecond, series: [{ name: "forwarded", title: t("live.forwarded") }, { name: "judged", title: t("live.judged") }] }),
      refused: new Lines(find("#chart-refused"), { title: t("live.refused"), format: perSecond, series: [{ name: "answered", title: t("live.answered") }, { name: "dropped", title: t("live.dropped") }] }),
    };
    const source = new EventSource("/api/v1/live");
    source.addEventListener("counters", ({ data }) => this.hear(JSON.parse(data)));
    source.addEventListener("absent", () => showSilence());
    setInterval(() => Date.now() - this.heard_ms > SILENT_MS && showSilence(), 1000);
  }

  hear(now) {
    this.heard_ms = Date.now();
    if (this.status) showPanel(now, this.status);
    if (this.before && now.time !== this.before.time) this.draw(now);
    this.before = now;
  }

  // Rates from two readings; a counter that fell began anew.
  draw(now) {
    const at_s = Date.parse(now.time) / 1000;
    const seconds = at_s - Date.parse(this.before.time) / 1000;
    const rate = (read) => {
      const difference = read(now) - read(this.before);
      return difference >= 0 && seconds > 0 ? difference / seconds : null;
    };
    const received = (side) => rate(({ lines }) => 8 * (lines.find((line) => line.side === side)?.received_bytes ?? 0));
    this.charts.bits.add(at_s, { down: received("egress"), up: received("ingress") });
    this.charts.packets.add(at_s, { forwarded: rate(({ verdicts }) => verdicts.forwarded), judged: rate(({ verdicts }) => verdicts.up) });
    this.charts.refused.add(at_s, { answered: rate(({ verdicts }) => verdicts.answered), dropped: rate(({ verdicts }) => verdicts.dropped + verdicts.refused + verdicts.expired) });
    showReasons(now, this.before, seconds);
  }
}

function showReasons(now, before, seconds) {
  const rows = Object.entries(now.reasons).filter(([, total]) => total).map(([name, total]) => ({ name, total, rate: Math.max(0, (total - (before.reasons[name] ?? 0)) / seconds) }));
  rows.sort((a, b) => b.total - a.total);
  const most = rows[0]?.total ?? 1;
  const columns = [
    [t("reasons.name"), ({ name }) => h("code", {}, name)],
    [t("reasons.text"), ({ name }) => h("span", { class: "soft small" }, word("reason", name)), "roomy"],
    [t("reasons.rate"), ({ rate }) => compact(rate), "number"],
    [t("reasons.total"), ({ total }) => count(total), "number"],
    [t("reasons.share"), ({ total }) => meter(total / most), "roomy"],
  ];
  replace(find("#reasons"), table(t("reasons.title"), columns, rows.slice(0, REASONS)));
}

function meter(share) {
  const fill = h("i", {});
  fill.style.width = `${Math.max(1, 100 * share)}%`;
  return h("span", { class: "meter", "aria-hidden": "true" }, fill);
}

// ---- is it us? --------------------------------------------------------------------------------------------------------
function showPanel(now, status) {
  const down = status.links.filter((link) => !link.is_up);
  const causes = now.active_exceptions;
  const p99 = now.ring_to_wire_us.p99;
  const judging = !now.is_on ? "off" : causes.includes(LATE) ? "late" : "yes";
  const tiles = [
    tile("line", down.length ? "bad" : "good", t(down.length ? "us.line.down" : "us.line.up"), (down.length ? down : status.links).map(({ name }) => name).join(" – ")),
    tile("judging", judging === "yes" ? "good" : "bad", t(`us.judging.${judging}`), t(`us.judging.${judging}.about`)),
    tile("ledger", now.difference === 0 ? "good" : "bad", count(now.difference), t("us.ledger.of", { seen: compact(now.seen) })),
    tile("exceptions", causes.length ? "warn" : "good", causes.length ? count(causes.length) : t("us.exceptions.none"), causes.length ? causes.map((cause) => word("cause", cause)).join(", ") : t("us.exceptions.about")),
    tile("time", p99 === null ? "" : p99 < SLOW_US ? "good" : "warn", p99 === null ? "–" : micros(p99), t("us.time.about")),
    tile("waiting", "", count(now.waiting), t("us.waiting.about", { lost: status.journal.lost_events })),
  ];
  replace(find("#us"), tiles);
}

const tile = (name, style, answer, about) => h("div", { class: `tile ${style}` }, h("dt", {}, t(`us.${name}`)), h("dd", {}, h("span", { class: "answer" }, answer), h("span", { class: "hint" }, about)));

function showSilence() {
  replace(find("#us"), tile("line", "bad", t("us.silent"), t("us.silent.about")));
}
