// Schedules: the week drawn, each in words, and a dialog to make or change one.

import { find, h, nextId, replace } from "./dom.js";
import { DAYS, drawHours, minutes } from "./hours.js";
import { keepDrawn } from "./scale.js";
import { list, t, word } from "./texts.js";

export function showSchedules(place, subscriber, offered) {
  const canvas = h("div", { class: "chart" });
  const rows = h("div", {});
  const add = h("button", { id: "schedule-add", onclick: () => edit(subscriber, offered, null) }, t("schedules.add"));
  const zone = h("div", {});
  replace(place, h("div", { class: "stack" }, canvas, rows, h("div", { class: "row" }, add), zone));
  const drawNow = keepDrawn(canvas, (width) => subscriber.choices && replace(canvas, drawHours(subscriber.choices.schedules, width)));
  subscriber.watch(() => {
    const { schedules } = subscriber.choices;
    canvas.hidden = !schedules.length;
    drawNow();
    replace(rows, schedules.length ? h("ul", { class: "rows" }, schedules.map((one, at) => row(subscriber, offered, one, at))) : h("p", { class: "nothing" }, t("schedules.nothing")));
    replace(zone, zoneChoice(subscriber));
  });
}

function row(subscriber, offered, schedule, at) {
  const remove = () => subscriber.choose({ schedules: subscriber.choices.schedules.filter((_, n) => n !== at) }, t("schedules.removed", { name: schedule.name })).then(() => find("#schedule-add").focus());
  const effect = schedule.pause ? h("span", { class: "tag bad" }, t("schedules.pauses")) : h("span", { class: "tag good" }, list(schedule.services.map((name) => word("service", name))));
  return h("li", {},
    h("div", { class: "grow" }, h("div", { class: "row" }, h("b", {}, schedule.name), effect), h("p", { class: "hint" }, t("schedules.words", { days: wordDays(schedule.days), begin: schedule.begin, end: wordEnd(schedule) }))),
    h("button", { class: "plain tiny", id: `schedule-edit-${at}`, "aria-label": t("schedules.change", { name: schedule.name }), onclick: () => edit(subscriber, offered, at) }, t("change")),
    h("button", { class: "cross", "aria-label": t("schedules.remove", { name: schedule.name }), title: t("remove"), onclick: remove }, "✕"));
}

const wordEnd = ({ begin, end }) => (minutes(end) > minutes(begin) ? end : t("schedules.next", { end }));

// "Mon–Fri" and "Sun–Thu" for three days or more in a row, else one by one.
function wordDays(days) {
  if (days.length === 7) return t("schedules.daily");
  const numbers = days.map((day) => DAYS.indexOf(day)).sort((a, b) => a - b);
  const first = numbers.find((number) => !numbers.includes((number + 6) % 7));
  const isRun = numbers.length > 2 && numbers.every((_, n) => numbers.includes((first + n) % 7));
  const name = (number) => t(`day.${DAYS[number]}`);
  return isRun ? `${name(first)}–${name((first + numbers.length - 1) % 7)}` : list(numbers.map(name));
}

function zoneChoice(subscriber) {
  const zones = Intl.supportedValuesOf ? Intl.supportedValuesOf("timeZone") : [];
  const current = subscriber.choices.zone ?? subscriber.zone;
  const names = [...new Set([current, "UTC", ...zones])].sort();
  const id = "zone";
  const change = (event) => subscriber.choose({ zone: event.target.value });
  const select = h("select", { id, onchange: change }, names.map((name) => h("option", { value: name, selected: name === current }, name.replaceAll("_", " "))));
  return h("div", { class: "field" }, h("label", { for: id }, t("schedules.zone")), select);
}

function edit(subscriber, offered, at) {
  const old = at === null ? { name: "", days: DAYS.slice(0, 5), begin: "21:00", end: "07:00", pause: true, services: [] } : subscriber.choices.schedules[at];
  const ids = { name: nextId("s"), begin: nextId("s"), end: nextId("s") };
  const name = h("input", { type: "text", id: ids.name, value: old.name, maxlength: "40", required: true });
  const days = DAYS.map((day) => h("label", {}, h("input", { type: "checkbox", name: "day", value: day, checked: old.days.includes(day) }), h("span", {}, t(`day.${day}`))));
  const begin = h("input", { type: "time", id: ids.begin, value: old.begin, required: true });
  const end = h("input", { type: "time", id: ids.end, value: old.end, required: true });
  const kinds = [["pause", t("schedules.pause")], ["services", t("schedules.services")]].map(([kind, text]) => h("label", { class: "check" }, h("input", { type: "radio", name: "kind", value: kind, checked: (kind === "pause") === old.pause, onchange: () => (chosen.hidden = kind === "pause") }), text));
  const chosen = h("fieldset", { hidden: old.pause }, h("legend", { class: "unseen" }, t("schedules.services")), offered.map((service) => h("label", { class: "check" }, h("input", { type: "checkbox", name: "service", value: service.name, checked: old.services.includes(service.name) }), word("service", service.name))));
  const fault = h("p", { class: "fault", role: "alert" });
  const title = t(at === null ? "schedules.new" : "schedules.edit");
  const dialog = h("dialog", { "aria-labelledby": "schedule-title" });
  const save = async (event) => {
    event.preventDefault();
    const made = read(form, name.value.trim(), begin.value, end.value);
    const wrong = check(made, subscriber.choices.schedules.filter((_, n) => n !== at));
    fault.textContent = wrong ?? "";
    if (wrong) return;
    const schedules = [...subscriber.choices.schedules];
    schedules.splice(at ?? schedules.length, 1, made);
    if (await subscriber.choose({ schedules }, t("schedules.saved", { name: made.name }))) dialog.close();
  };
  const form = h("form", { onsubmit: save, novalidate: true },
    h("h2", { id: "schedule-title" }, title),
    h("div", { class: "field" }, h("label", { for: ids.name }, t("schedules.name")), name),
    h("fieldset", { class: "field" }, h("legend", { class: "small" }, h("b", {}, t("schedules.days"))), h("div", { class: "days" }, days)),
    h("div", { class: "pair" }, h("div", { class: "field" }, h("label", { for: ids.begin }, t("schedules.begin")), begin), h("div", { class: "field" }, h("label", { for: ids.end }, t("schedules.end")), end)),
    h("fieldset", { class: "field" }, h("legend", { class: "small" }, h("b", {}, t("schedules.meanwhile"))), kinds, chosen),
    fault,
    h("div", { class: "row end" }, h("button", { type: "button", onclick: () => dialog.close() }, t("cancel")), h("button", { class: "first", id: "schedule-save" }, t("save"))));
  dialog.append(form);
  dialog.addEventListener("close", () => {
    dialog.remove();
    find(at === null ? "#schedule-add" : `#schedule-edit-${at}`)?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
}

function read(form, name, begin, end) {
  const ticked = (kind) => [...form.querySelectorAll(`input[name="${kind}"]:checked`)].map((input) => input.value);
  const pause = ticked("kind")[0] === "pause";
  return { name, days: ticked("day"), begin, end, pause, services: pause ? [] : ticked("service") };
}

function check(made, others) {
  if (!made.name) return t("schedules.need.name");
  if (others.some((other) => other.name === made.name)) return t("schedules.need.other");
  if (!made.days.length) return t("schedules.need.days");
  if (!made.begin || !made.end) return t("schedules.need.times");
  if (!made.pause && !made.services.length) return t("schedules.need.services");
  return null;
}
