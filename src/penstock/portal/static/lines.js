// A chart of the last minutes that moves on once a second: lines over time, with axes and a unit.

import { h, svg } from "./dom.js";
import { keepDrawn, steps } from "./scale.js";
import { compact, count, t } from "./texts.js";

const HEIGHT = 150;
const LEFT = 44;
const RIGHT = 8;
const TOP = 10;
const BOTTOM = 22;
const KEPT_S = 300;
const SHOWN_S = 120;

export class Lines {
  // `series` is [{name, title}]; `format` words one value with its unit, `axis` a mark.
  constructor(place, { title, series, format = count, axis = compact }) {
    this.series = series;
    this.format = format;
    this.axis = axis;
    this.title = title;
    this.points = [];
    this.canvas = h("div", { class: "chart" });
    this.figures = series.map(() => h("b", {}, "–"));
    const legend = h("ul", { class: "legend" }, series.map(({ title: name }, at) => h("li", { class: `s${at + 1}` }, `${name} `, this.figures[at])));
    place.replaceChildren(this.canvas, legend);
    this.drawNow = keepDrawn(this.canvas, (width) => this.draw(width));
  }

  // One moment: the values by the names of the series; null where nothing is known.
  add(at_s, values) {
    this.points.push({ at_s, values });
    while (this.points[0].at_s < at_s - KEPT_S) this.points.shift();
    this.series.forEach(({ name }, at) => {
      this.figures[at].textContent = values[name] === null || values[name] === undefined ? "–" : this.format(values[name]);
    });
    if (!document.hidden) this.drawNow();
  }

  draw(width) {
    const last = this.points.at(-1)?.at_s ?? 0;
    const points = this.points.filter(({ at_s }) => at_s >= last - SHOWN_S);
    const most = Math.max(0, ...points.flatMap(({ values }) => this.series.map(({ name }) => values[name] ?? 0)));
    const marks = steps(most || 1, 3);
    const high = HEIGHT - TOP - BOTTOM;
    const y = (value) => TOP + high * (1 - value / marks.at(-1));
    const x = (at_s) => width - RIGHT - ((width - LEFT - RIGHT) * (last - at_s)) / SHOWN_S;
    const said = this.series.map(({ name, title }) => `${title} ${this.format(points.at(-1)?.values[name] ?? 0)}`).join(", ");
    const picture = svg("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `${this.title}: ${said}` });
    for (const mark of marks) {
      picture.append(svg("line", { class: mark ? "grid" : "base", x1: LEFT, x2: width - RIGHT, y1: y(mark), y2: y(mark) }));
      picture.append(svg("text", { x: LEFT - 8, y: y(mark) + 4, "text-anchor": "end" }, this.axis(mark)));
    }
    for (const back of [SHOWN_S, SHOWN_S / 2, 0]) {
      const anchor = back === 0 ? "end" : back === SHOWN_S ? "start" : "middle";
      const label = back ? t("chart.back", { count: back }) : t("chart.now");
      picture.append(svg("text", { x: x(last - back), y: HEIGHT - 5, "text-anchor": anchor }, label));
    }
    this.series.forEach(({ name }, at) => {
      for (const run of runs(points, name)) {
        const path = run.map(([at_s, value], n) => `${n ? "L" : "M"}${x(at_s).toFixed(1)} ${y(value).toFixed(1)}`).join("");
        if (at === 0) picture.append(svg("path", { class: "area s1", d: `${path}L${x(run.at(-1)[0]).toFixed(1)} ${y(0)}L${x(run[0][0]).toFixed(1)} ${y(0)}Z` }));
        picture.append(svg("path", { class: `stroke s${at + 1}`, d: path }));
      }
    });
    this.canvas.replaceChildren(picture);
  }
}

// The stretches of a series in which its values are known.
function runs(points, name) {
  const found = [[]];
  for (const { at_s, values } of points) {
    const value = values[name];
    if (value === null || value === undefined) found.push([]);
    else found.at(-1).push([at_s, value]);
  }
  return found.filter((run) => run.length > 1);
}
