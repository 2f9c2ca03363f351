// One subscriber as pages need him: what the API says of him in one place, and every change by one way.

import { at, call, get } from "./api.js";
import { tell } from "./news.js";
import { t } from "./texts.js";

export const NOTHING_CHOSEN = { services: {}, allow: [], deny: [], schedules: [], zone: null, safe_search: null, youtube: null, overrides: [] };

export class Subscriber {
  constructor(id) {
    this.id = id;
    this.path = `/subscribers${at(id)}`;
    this.watchers = [];
  }

  // `watcher` is called now and after each change of what is known.
  watch(watcher) {
    this.watchers.push(watcher);
  }

  async load() {
    const told = await get(`${this.path}/choices`);
    const { profile, devices, owners, zone } = told;
    Object.assign(this, { profile, devices, owners, zone, pausedUntil: Date.parse(told.paused_until) > Date.now() ? told.paused_until : null });
    this.choices = { ...NOTHING_CHOSEN, ...told.choices };
    this.now = this.read(told.effective);
    for (const watcher of this.watchers) watcher(this);
    return this;
  }

  // What holds now; which of his schedules pause him or add services, by their names.
  read(effective) {
    const active = this.choices.schedules.filter(({ name }) => effective.schedules?.includes(name));
    return { ...effective, pausing: active.filter(({ pause }) => pause), added: new Set(active.flatMap(({ services }) => services)) };
  }

  // Does one change, then reads again what holds. Gives whether it went well; what goes wrong is told.
  async change(method, path, body, done) {
    try {
      await call(method, this.path + path, body);
      await this.load();
    } catch (error) {
      tell(error.message, true);
      if (error.status === undefined) throw error;
      await this.load().catch(() => {});
      return false;
    }
    tell(done);
    return true;
  }

  choose(fields, done = t("saved")) {
    return this.change("PATCH", "/choices", fields, done);
  }

  pause(until_s) {
    return this.change("POST", "/pause", { until: new Date(until_s * 1000).toISOString() }, t("pause.begun"));
  }

  resume() {
    return this.change("DELETE", "/pause", undefined, t("pause.ended"));
  }
}
