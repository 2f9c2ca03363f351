// Bars per day, stacked by category, with the same figures as a table.

import { h, replace, svg, table } from "./dom.js";
import { keepDrawn, steps } from "./scale.js";
import { count, t, weekday, word } from "./texts.js";

const HEIGHT = 210;
const LEFT = 40;
const TOP = 22;
const BOTTOM = 24;
const NARROW = 48; // a slot in which the day of the month has no room
const SERIES = 6; // what is beyond the fifth category is drawn as "other"

// `days` is [{date, total, categories: {category: number}}], the oldest first.
export function drawWeek(place, days) {
  const totals = {};
  for (const { categories } of days) for (const [name, number] of Object.entries(categories)) totals[name] = (totals[name] ?? 0) + number;
  const ranked = Object.keys(totals).sort((a, b) => totals[b] - totals[a] || a.localeCompare(b));
  const shown = ranked.length > SERIES ? [...ranked.slice(0, SERIES - 1), null] : ranked;
  const of = (counts, name) => (name === null ? ranked.slice(SERIES - 1).reduce((sum, other) => sum + (counts[other] ?? 0), 0) : counts[name] ?? 0);
  const title = (name) => (name === null ? t("week.other") : word("category", name));
  const sums = days.map(({ total }) => total);
  const all = sums.reduce((sum, number) => sum + number, 0);
  if (!all) {
    replace(place, h("p", { class: "nothing" }, t("week.nothing")));
    return;
  }
  const canvas = h("div", { class: "chart" });
  const legend = h("ul", { class: "legend" }, shown.map((name, at) => h("li", { class: `s${at + 1}` }, `${title(name)} `, h("b", {}, count(name === null ? of(totals, null) : totals[name])))));
  const columns = [[t("week.day"), ({ date }) => weekday(date)], ...shown.map((name) => [title(name), ({ categories }) => count(of(categories, name)), "number"]), [t("week.sum"), ({ total }) => count(total), "number"]];
  const figures = h("details", {}, h("summary", {}, t("week.table")), table(t("week.title"), columns, days));
  replace(place, h("p", { class: "soft small" }, t("week.unit")), canvas, legend, figures);
  keepDrawn(canvas, (width) => {
    const marks = steps(Math.max(...sums), 4, true);
    const high = HEIGHT - TOP - BOTTOM;
    const y = (number) => TOP + high * (1 - number / marks.at(-1));
    const slot = (width - LEFT) / days.length;
    const bar = Math.min(46, slot * 0.62);
    const label = t("week.drawn", { count: all, days: days.map(({ date, total }) => `${weekday(date)}: ${count(total)}`).join("; ") });
    const picture = svg("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label });
    for (const mark of marks) {
      picture.append(svg("line", { class: mark ? "grid" : "base", x1: LEFT, x2: width, y1: y(mark), y2: y(mark) }));
      picture.append(svg("text", { x: LEFT - 8, y: y(mark) + 4, "text-anchor": "end" }, count(mark)));
    }
    days.forEach(({ date, total, categories }, at) => {
      const middle = LEFT + slot * (at + 0.5);
      let from = 0;
      shown.forEach((name, series) => {
        const number = of(categories, name);
        if (!number) return;
        const top = y(from + number);
        const size = Math.max(1, y(from) - top - (from ? 1 : 0));
        picture.append(svg("rect", { class: `fill s${series + 1}`, x: middle - bar / 2, y: top, width: bar, height: size }, svg("title", {}, `${weekday(date)}, ${title(name)}: ${count(number)}`)));
        from += number;
      });
      picture.append(svg("text", { x: middle, y: HEIGHT - 6, "text-anchor": "middle" }, slot < NARROW ? weekday(date).split(" ")[0] : weekday(date)));
      if (total) picture.append(svg("text", { class: "now", x: middle, y: y(total) - 6, "text-anchor": "middle" }, count(total)));
    });
    canvas.replaceChildren(picture);
  });
}
