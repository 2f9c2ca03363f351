// What every page behind the door has: who is there, and the way out.

import { get, leave } from "./api.js";
import { find, h, replace } from "./dom.js";
import "./language.js";
import { tell } from "./news.js";
import { t } from "./texts.js";

// From here on the page hears what is pressed: before, a form would have been the browser's own to send.
export function openPage() {
  find("#main").inert = false;
}

export async function enter(...roles) {
  const me = await get("/me");
  replace(find("#who"), h("span", { class: "soft small" }, me.name));
  for (const link of document.querySelectorAll("[data-roles]")) link.hidden = !link.dataset.roles.split(" ").includes(me.role);
  find("#out").disabled = false;
  find("#out").addEventListener("click", leave);
  if (!roles.includes(me.role)) {
    openPage();
    replace(find("main"), h("p", { class: "note bad" }, t("problem.role")));
    return new Promise(() => {});
  }
  return me;
}

window.addEventListener("unhandledrejection", (event) => {
  if (event.reason?.status !== undefined) tell(event.reason.message, true);
});
