// What pages say, in the language of the document; numbers and times as that language writes them.

const language = document.documentElement.lang;
const answer = await fetch(`/static/texts/${language}.json`);
if (!answer.ok) throw new Error(`no texts: ${answer.status}`);
const texts = await answer.json();
const plural = new Intl.PluralRules(language);

// The text of a key. `{name}` takes its place from `places`; a key with forms takes one by `places.count`.
export function t(key, places = {}) {
  let text = texts[key];
  if (text === undefined) throw new Error(`no text for ${key}`);
  if (typeof text === "object") text = text[plural.select(places.count)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof places[name] === "number" ? count(places[name]) : places[name]));
}

// A word of the box or its operator: translated where there is a translation, else as it is.
export const word = (kind, name) => texts[`${kind}.${name}`] ?? name;

export const count = (number) => new Intl.NumberFormat(language, { maximumFractionDigits: 1 }).format(number);
export const compact = (number) => new Intl.NumberFormat(language, { notation: "compact", maximumFractionDigits: 1 }).format(number);

const PREFIXES = ["", "k", "M", "G", "T", "P"];

// A number with the prefix of its unit, which is behind it: "1.5 M" and "bit/s".
export function si(number) {
  const power = Math.min(PREFIXES.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, number)) / 3)));
  return `${count(number / 1000 ** power)} ${PREFIXES[power]}`;
}

export const list = (words) => new Intl.ListFormat(language, { type: "unit" }).format(words);

const moment = (at) => new Date(typeof at === "number" ? at * 1000 : at);
const format = (options) => new Intl.DateTimeFormat(language, { hourCycle: "h23", ...options });
const formats = {
  time: format({ hour: "2-digit", minute: "2-digit" }),
  second: format({ hour: "2-digit", minute: "2-digit", second: "2-digit" }),
  weekday: format({ weekday: "short" }),
  date: format({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }),
  full: format({ year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" }),
};
export const fullTime = (at) => formats.full.format(moment(at));

// The shortest that is clear: the time of day for today, else with its date.
export function when(at) {
  const then = moment(at);
  return (then.toDateString() === new Date().toDateString() ? formats.second : formats.date).format(then);
}

// What is still to come, to the minute.
export function until(at) {
  const then = moment(at);
  return (then.toDateString() === new Date().toDateString() ? formats.time : formats.date).format(then);
}

// A calendar day such as 2026-03-01, which is no moment: it has no zone.
export function weekday(day) {
  const [year, month, date] = day.split("-").map(Number);
  return `${formats.weekday.format(new Date(year, month - 1, date))} ${date}`;
}

export function ago(at) {
  const seconds = (moment(at).getTime() - Date.now()) / 1000;
  const [unit, size] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].find(([, s]) => Math.abs(seconds) >= s) ?? ["second", 1];
  return new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(Math.round(seconds / size), unit);
}
