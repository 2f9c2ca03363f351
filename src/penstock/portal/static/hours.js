// The week of schedules, drawn: a row for each day, a bar for each time in which one is active.

import { svg } from "./dom.js";
import { t } from "./texts.js";

export const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const ROW = 18;
const LEFT = 44;
const MINUTES = 1440;

export const minutes = (clock) => Number(clock.slice(0, 2)) * 60 + Number(clock.slice(3, 5));

// [day number, begin, end in minutes] of a schedule; one over midnight has two for each of its days.
export function spans({ days, begin, end }) {
  const from = minutes(begin);
  const to = minutes(end);
  return days.map((day) => DAYS.indexOf(day)).flatMap((day) => (to > from ? [[day, from, to]] : [[day, from, MINUTES], [(day + 1) % 7, 0, to]])).filter(([, a, b]) => b > a);
}

export function drawHours(schedules, width) {
  const height = ROW * 7 + 20;
  const wide = width - LEFT - 6;
  const x = (minute) => LEFT + (wide * minute) / MINUTES;
  const picture = svg("svg", { class: "draw hours", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": t("schedules.drawn") });
  DAYS.forEach((day, at) => {
    picture.append(svg("text", { x: 0, y: ROW * at + 13 }, t(`day.${day}`)));
    picture.append(svg("rect", { class: "day", x: LEFT, y: ROW * at + 2, width: wide, height: ROW - 4, rx: 2 }));
  });
  for (const schedule of schedules) {
    for (const [day, begin, end] of spans(schedule)) {
      const bar = { class: schedule.pause ? "off" : "on", x: x(begin), y: ROW * day + 2, width: x(end) - x(begin), height: ROW - 4, rx: 2 };
      picture.append(svg("rect", bar, svg("title", {}, `${schedule.name} ${schedule.begin}–${schedule.end}`)));
    }
  }
  for (const hour of [0, 6, 12, 18, 24]) {
    const anchor = hour === 0 ? "start" : hour === 24 ? "end" : "middle";
    picture.append(svg("text", { x: x(hour * 60), y: height - 4, "text-anchor": anchor }, `${String(hour).padStart(2, "0")}:00`));
  }
  return picture;
}
