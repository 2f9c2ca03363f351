// The door: a token in, a session's cookie out, and on to the page of its role.

import { find } from "./dom.js";
import "./language.js";
import { t } from "./texts.js";

const HOMES = { operator: "/operator", support: "/support", selfcare: "/me" };

const form = find("#login");
const fault = find("#fault");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  fault.textContent = "";
  const body = new URLSearchParams({ token: find("#token").value.trim() });
  const answer = await fetch(form.action, { method: "POST", body, headers: { "x-penstock": "1" }, credentials: "same-origin" }).catch(() => null);
  if (answer?.ok) {
    const { role } = await answer.json();
    location.assign(wanted(role));
    return;
  }
  fault.textContent = t(answer === null ? "problem.unreachable" : answer.status === 429 ? "login.often" : "login.wrong");
  find("#token").select();
});

find("#enter").disabled = false; // until now a submission would have been the browser's own

// Where he was sent from, if that is a page of ours; else his role's own.
function wanted(role) {
  const next = new URLSearchParams(location.search).get("next") ?? "";
  return role !== "selfcare" && /^\/(operator|support|me)([?#]|$)/.test(next) ? next : HOMES[role];
}

