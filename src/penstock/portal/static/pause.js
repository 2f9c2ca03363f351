// "Internet off": whether it is, until when, and the buttons that change it.

import { h, replace } from "./dom.js";
import { t, until } from "./texts.js";

const MINUTE_S = 60;

export function showPause(place, subscriber) {
  subscriber.watch(({ now }) => {
    const schedule = now.pausing[0];
    const isCalled = now.paused && (subscriber.pausedUntil || !schedule);
    const parts = !now.paused ? [h("p", { class: "note good" }, t("pause.on")), buttons(subscriber)] : isCalled ? called(subscriber) : scheduled(schedule);
    replace(place, h("div", { class: "stack" }, parts));
  });
}

// Somebody pressed a button, here or at the help desk.
function called(subscriber) {
  const { pausedUntil } = subscriber;
  const text = pausedUntil ? t("pause.until", { until: until(pausedUntil) }) : t("pause.open");
  return [h("p", { class: "note warn" }, text), h("div", { class: "row" }, h("button", { id: "resume", class: "first", onclick: () => subscriber.resume() }, t("pause.resume")))];
}

const scheduled = ({ name, end }) => [h("p", { class: "note warn" }, t("pause.scheduled", { name, until: end })), h("p", { class: "hint" }, t("pause.schedule.hint"))];

function buttons(subscriber) {
  const now_s = () => Date.now() / 1000;
  const time = h("input", { type: "time", id: "pause-time", value: "07:00", required: true, "aria-label": t("pause.time") });
  const pauseUntil = (event) => {
    event.preventDefault();
    subscriber.pause(next(time.value).getTime() / 1000);
  };
  return [
    h("div", { class: "row" },
      h("button", { id: "pause-30", onclick: () => subscriber.pause(now_s() + 30 * MINUTE_S) }, t("pause.half")),
      h("button", { id: "pause-60", onclick: () => subscriber.pause(now_s() + 60 * MINUTE_S) }, t("pause.hour")),
      h("form", { class: "row pause-form", onsubmit: pauseUntil }, time, h("button", { id: "pause-until" }, t("pause.button")))),
  ];
}

// The next moment at which the clock here shows this time.
function next(clock) {
  const [hours, minutes] = clock.split(":").map(Number);
  const moment = new Date();
  moment.setHours(hours, minutes, 0, 0);
  if (moment <= new Date()) moment.setDate(moment.getDate() + 1);
  return moment;
}
