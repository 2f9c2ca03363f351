// Two lists of names: those that always open, and those that never do.

import { h, nextId, replace } from "./dom.js";
import { tell } from "./news.js";
import { t } from "./texts.js";

const FINDABLE = 12; // a list that is longer has a field to look in it

export function showNames(place, subscriber) {
  const parts = ["allow", "deny"].map((kind) => build(subscriber, kind));
  replace(place, parts.map((part) => part.whole));
  subscriber.watch(() => parts.forEach((part) => part.draw()));
}

// Names as people paste them: web addresses lose everything but their host.
export function bareName(text) {
  const bare = text.trim().toLowerCase();
  try {
    return bare.includes("//") ? new URL(bare).hostname : bare.replace(/\/.*$/, "").replace(/\.$/, "");
  } catch {
    return bare;
  }
}

export function moved(choices, kind, name) {
  const other = kind === "allow" ? "deny" : "allow";
  return { [kind]: [...choices[kind].filter((one) => one !== name), name], [other]: choices[other].filter((one) => one !== name) };
}

function build(subscriber, kind) {
  const id = nextId(`name-${kind}`);
  const input = h("input", { type: "text", id, placeholder: "example.com", autocapitalize: "none", autocomplete: "off", spellcheck: "false", required: true });
  const shown = h("div", { class: "scroll" });
  const filter = h("input", { type: "search", "aria-label": t(`names.${kind}.find`), placeholder: t("names.find"), oninput: () => draw() });
  const add = async (event) => {
    event.preventDefault();
    const name = bareName(input.value);
    if (!/^[^\s.]+(\.[^\s.]+)*$/.test(name)) {
      input.setAttribute("aria-invalid", "true");
      tell(t("names.wrong"), true);
      return;
    }
    const done = await subscriber.choose(moved(subscriber.choices, kind, name), t(`names.${kind}.added`, { name }));
    input.setAttribute("aria-invalid", String(!done));
    if (done) input.value = "";
  };
  const form = h("form", { onsubmit: add }, h("div", { class: "field" }, h("label", { for: id }, t(`names.${kind}.label`)), h("div", { class: "entry" }, input, h("button", {}, t("add")))));
  const draw = () => {
    const names = [...subscriber.choices[kind]].reverse();
    filter.hidden = names.length <= FINDABLE;
    const matching = filter.hidden ? names : names.filter((name) => name.includes(filter.value.trim().toLowerCase()));
    const rows = matching.map((name) => {
      const remove = () => subscriber.choose({ [kind]: subscriber.choices[kind].filter((one) => one !== name) }, t("names.removed", { name })).then(() => input.focus());
      return h("li", {}, h("span", { class: "grow" }, name), h("button", { class: "cross", "aria-label": t("names.remove", { name }), title: t("remove"), onclick: remove }, "✕"));
    });
    replace(shown, rows.length ? h("ul", { class: "rows tight" }, rows) : h("p", { class: "nothing small" }, t(filter.hidden || !names.length ? `names.${kind}.nothing` : "names.unmatched")));
  };
  return { whole: h("div", { class: "stack names" }, form, filter, shown), draw };
}
