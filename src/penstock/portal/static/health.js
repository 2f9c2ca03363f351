// Connections of protected subscribers beside those of unprotected ones: where both are bad, it is not us.

import { find, replace, table } from "./dom.js";
import { compact, count, t } from "./texts.js";

const LEAST_MS = 0.1; // less is told as less than that

const share = (part, whole) => (whole ? t("unit.percent", { value: count((100 * part) / whole) }) : "–");
const ms = (value) => (value ? t("unit.ms", { value: value < LEAST_MS ? `< ${count(LEAST_MS)}` : count(value) }) : "–");

const ROWS = [
  ["handshakes", (one) => compact(one.handshakes)],
  ["completed", (one) => share(one.completed, one.handshakes)],
  ["server", (one) => ms(one.median_ms.server)],
  ["client", (one) => ms(one.median_ms.client)],
  ["repeated", (one) => share(one.repeated.client + one.repeated.server, one.segments.client + one.segments.server)],
  ["resets", (one) => compact(one.resets.client + one.resets.server)],
];

export function showHealth({ health }) {
  const columns = [
    [t("health.measure"), ([name]) => t(`health.${name}`)],
    [t("health.protected"), ([, word]) => word(health.protected), "number"],
    [t("health.unprotected"), ([, word]) => word(health.unprotected), "number"],
  ];
  replace(find("#health"), table(t("health.title"), columns, ROWS));
}
