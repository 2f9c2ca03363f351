// Calls of the API, with the session's cookie. A refusal becomes a Problem, whose message can be shown.

import { t } from "./texts.js";

const BASE = "/api/v1";

const COMMON = { 0: "problem.unreachable", 403: "problem.forbidden", 404: "problem.gone", 429: "problem.often", 503: "problem.absent" };

// What is common is said in the reader's language, what only this call can say in the API's words.
export class Problem extends Error {
  constructor(status, told = {}) {
    super(COMMON[status] ? t(COMMON[status]) : told.detail || t("problem.other", { status: String(status) }));
    this.status = status;
  }
}

export const at = (...parts) => parts.map((part) => `/${encodeURIComponent(part)}`).join("");

export async function call(method, path, body) {
  const headers = { accept: "application/json", "x-penstock": "1" };
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(BASE + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin" });
  } catch {
    throw new Problem(0);
  }
  if (answer.status === 401) {
    location.assign(isLeaving ? "/login" : `/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    return new Promise(() => {});
  }
  const told = answer.status === 204 ? null : await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(answer.status, told ?? {});
  return told;
}

let isLeaving = false;

// Ends the session. What is still under way for the page is refused from here on, and asks for no way back.
export async function leave() {
  isLeaving = true;
  try {
    await call("POST", "/logout");
    location.assign("/login");
  } catch (error) {
    isLeaving = false;
    throw error;
  }
}

// The rows of an answer that has one list among its fields.
export const rowsOf = (told) => Object.values(told).find(Array.isArray);

export const get = (path, query = {}) => {
  const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  return call("GET", words.size ? `${path}?${words}` : path);
};
