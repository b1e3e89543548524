// Keeps what is shown up to date: asks each source when it is due, stops while nobody looks, and backs off while the
// instance does not answer, keeping on the page what was known last.

import { ApiError, ask, Unreachable } from "./api.mjs";
import { time } from "./format.mjs";

const pathOf = ({ path }) => (typeof path === "function" ? path() : path);
const BACKOFF_MS = [1000, 2000, 4000, 8000, 15_000, 30_000];

export class Refresher {
  #sources = [];
  #view = "";
  #timer = 0;
  #running = false;
  #asking = false;
  #failures = 0;
  #lostAt = null;
  #onState;

  /** @onState({lostAt, retryAt, asOf}): whether the instance answers; lostAt is null where it does. */
  constructor(onState) {
    this.#onState = onState;
    document.addEventListener("visibilitychange", () => this.#plan(0));
  }

  /** A source: {path or path(), every_s, views (null: all), show(data), panels}. */
  add(source) {
    this.#sources.push({ ...source, dueAt: 0, at: null, absent: false });
  }

  /** @routes: what the API has, as its index tells; null where that is not known. */
  start(routes) {
    this.#running = true;
    for (const source of this.#sources) {
      source.absent = routes !== null && !routes.some(({ path }) => path === pathOf(source).split("?")[0]);
      source.dueAt = 0;
      if (source.absent) this.#tellAbsent(source);
    }
    this.#plan(0);
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
    this.#failures = 0;
    this.#lostAt = null;
  }

  /** Another part of the page is looked at. */
  look(view) {
    this.#view = view;
    if (this.#failures === 0) this.#plan(0);
  }

  /** Asks again at once: for the sources of @panels, or for all. */
  now(panels) {
    for (const source of this.#sources)
      if (!panels || source.panels.some((panel) => panels.includes(panel))) source.dueAt = 0;
    this.#plan(0);
  }

  #plan(delay_ms) {
    clearTimeout(this.#timer);
    if (this.#running && !document.hidden) this.#timer = setTimeout(() => this.#round(), delay_ms);
  }

  #wanted() {
    return this.#sources.filter((source) => !source.absent && (!source.views || source.views.includes(this.#view)));
  }

  async #round() {
    if (this.#asking) {
      this.#plan(200);
      return;
    }
    this.#asking = true;
    const now = Date.now();
    const due = this.#wanted().filter((source) => source.dueAt <= now);
    const answers = await Promise.all(due.map((source) => this.#refresh(source)));
    this.#asking = false;
    if (!this.#running) return;
    if (due.length > 0) this.#reached(answers.includes(true) || !answers.includes(false));
    this.#plan(this.#failures > 0 ? this.#backoff() : this.#untilNext());
  }

  /** Whether the instance has answered at all. */
  async #refresh(source) {
    const { show, panels, every_s } = source;
    try {
      const data = await ask(pathOf(source));
      source.dueAt = Date.now() + every_s * 1000;
      source.at = Date.now();
      for (const panel of panels) panel.show();
      show(data);
      return true;
    } catch (fault) {
      if (!(fault instanceof ApiError || fault instanceof Unreachable)) throw fault;
      this.#tell(source, fault);
      return fault instanceof ApiError;
    }
  }

  #tell(source, fault) {
    source.dueAt = Date.now() + source.every_s * 1000;
    if (fault.status === 401) return; // the page asks for the token
    const asOf = source.at ? ` What is shown is of ${time(source.at)}.` : "";
    for (const panel of source.panels)
      panel.failed(fault instanceof ApiError ? `${fault.told}${asOf}` : source.at ? "" : "The instance does not answer.");
  }

  #tellAbsent(source) {
    for (const panel of source.panels) panel.empty("Not available: this instance does not have it.");
  }

  #reached(yes) {
    this.#failures = yes ? 0 : this.#failures + 1;
    if (yes) this.#lostAt = null;
    else this.#lostAt ??= Date.now();
    if (!yes) for (const source of this.#wanted()) source.dueAt = 0;
    this.#onState({ lostAt: this.#lostAt, retryAt: yes ? null : Date.now() + this.#backoff() });
  }

  #backoff() {
    return BACKOFF_MS[Math.min(this.#failures, BACKOFF_MS.length) - 1];
  }

  #untilNext() {
    const next = Math.min(...this.#wanted().map((source) => source.dueAt), Date.now() + 5000);
    return Math.max(100, next - Date.now());
  }
}
