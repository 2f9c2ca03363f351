// What just happened, seen at the foot of the page and said by screen readers.

import { find, h, replace } from "./dom.js";

let until;

export function tell(text, isBad = false) {
  const place = find(isBad ? "#news-bad" : "#news");
  for (const other of document.querySelectorAll(".news > div")) if (other !== place) other.replaceChildren();
  replace(place, h("p", { class: isBad ? "bad" : null }, text));
  clearTimeout(until);
  until = setTimeout(() => place.replaceChildren(), isBad ? 12000 : 5000);
}

// Does `act`; what goes wrong is told. Gives whether it went well.
export async function attempt(act, done) {
  try {
    await act();
  } catch (error) {
    tell(error.message, true);
    if (error.status === undefined) throw error;
    return false;
  }
  if (done) tell(done);
  return true;
}

// Asks before something grave, in a dialog: the words of `texts` are title, text, yes and no. Gives the answer.
export function confirm(texts, isGrave = true) {
  const yes = h("button", { value: "yes", class: isGrave ? "first grave" : "first" }, texts.yes);
  const no = h("button", { value: "no", autofocus: true }, texts.no);
  const form = h("form", { method: "dialog" }, h("h2", { id: "asked" }, texts.title), h("p", {}, texts.text), h("div", { class: "row end" }, no, yes));
  const dialog = h("dialog", { "aria-labelledby": "asked" }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
  });
}
