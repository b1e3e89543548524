// What happens, as it happens: GET /events, read by fetch. It is listened to only while it is looked at: an event that
// nobody hears costs the instance nothing.

import { ApiError, openEvents } from "./api.mjs";
import { byId, el, keep, setBadge, setText, badge } from "./dom.mjs";
import * as as from "./format.mjs";
import { readEvents } from "./sse.mjs";

const KEPT = 500;
const SHOWN = 200;
const REDRAW_MS = 250;
const RETRY_MS = [1000, 2000, 5000, 10_000, 30_000];

const KINDS = { HIT: "good", MISS: "info", STORED: "info", EVICTED: "off", CACHE_INVALIDATED: "warning", BREAKER: "warning", ALERT: "bad" };
const TITLES = { HIT: "Hit", MISS: "Miss", STORED: "Stored", EVICTED: "Evicted", CACHE_INVALIDATED: "Invalidated",
                 BREAKER: "Breaker", ALERT: "Alert", LOST: "Lost", SLOW: "Too slow", RESTARTED: "Restarted" };

const subject = (p) => [p.operation, p.model, p.namespace && p.namespace !== "default" ? p.namespace : null].filter(Boolean).join(" · ");

const SUMMARIES = {
  HIT: (p) => [subject(p), p.result !== "hit" && p.result, p.took_ms !== undefined && as.seconds(p.took_ms / 1000), as.bytes(p.bytes)],
  MISS: (p) => [subject(p), p.result !== "miss" && p.result, p.reason, as.seconds(p.took_ms / 1000), as.bytes(p.bytes)],
  STORED: (p) => [subject(p), as.bytes(p.bytes), p.ttl_s === null ? "without end" : `for ${as.seconds(p.ttl_s)}`],
  EVICTED: (p) => [subject(p), `from ${p.tier}`, p.reason, as.plural(p.hits, "hit", "hits")],
  CACHE_INVALIDATED: (p) => [p.kind, p[p.kind], as.plural(p.matched, "entry", "entries")],
  ALERT: (p) => [p.level, p.state, p.message],
  BREAKER: (p) => [p.upstream, p.model, as.words(p.kind).toLowerCase(), as.words(p.state).toLowerCase(), p.cause],
  LOST: (p) => [`${as.plural(p.events, "event", "events")} came faster than they were read`],
  SLOW: (p) => [`${as.plural(p.events, "event", "events")} came while nothing was read`],
  RESTARTED: () => ["what came before is not known: the instance has started anew"],
};

const summary = (type, payload) => (SUMMARIES[type]?.(payload) ?? [JSON.stringify(payload)]).filter(Boolean).join(" · ");

let number = 0;

/** An event as it is shown; null where it is none. */
function read({ name, data, id }) {
  try {
    const { type = name, time, payload = {} } = JSON.parse(data);
    return { key: ++number, id, type, time: time ?? new Date().toISOString(), entry: payload.id ?? "", tags: payload.tags ?? [],
             text: summary(type, payload) };
  } catch {
    return null;
  }
}

export class LiveEvents {
  #events = []; // newest first
  #received = 0;
  #lastId = "";
  #paused = false;
  #looking = false;
  #ending = null; // of the stream that is open
  #failures = 0;
  #retry = 0;
  #redraw = 0;
  #openEntry;

  constructor(openEntry) {
    this.#openEntry = openEntry;
    byId("event-pause").addEventListener("click", () => this.#pause(!this.#paused));
    byId("event-clear").addEventListener("click", () => {
      this.#events = [];
      this.#received = 0;
      this.#draw();
    });
    byId("event-text").addEventListener("input", () => this.#draw());
    byId("event-types").addEventListener("change", () => {
      this.#close();
      this.#open();
      this.#draw();
    });
  }

  /** This part of the page is looked at, or no longer. */
  look(yes) {
    if (yes === this.#looking) return;
    this.#looking = yes;
    if (yes) this.#open();
    else this.#close();
  }

  #types() {
    const boxes = [...byId("event-types").querySelectorAll("input")];
    return boxes.filter((box) => box.checked).map((box) => box.value);
  }

  #close() {
    clearTimeout(this.#retry);
    this.#ending?.abort();
    this.#ending = null;
  }

  async #open() {
    const types = this.#types();
    if (!this.#looking) return;
    if (types.length === 0) {
      this.#state("off", "no type is chosen");
      return;
    }
    const ending = new AbortController();
    this.#ending = ending;
    this.#state("off", "connecting");
    try {
      const response = await openEvents({ types, lastId: this.#lastId, signal: ending.signal });
      this.#failures = 0;
      this.#state("good", "live");
      await readEvents(response, (events) => this.#take(events));
    } catch (fault) {
      if (ending.signal.aborted || fault.status === 401) return;
      this.#again(fault instanceof ApiError ? fault.told : "the instance does not answer");
      return;
    }
    if (!ending.signal.aborted) this.#again("the stream has ended");
  }

  #again(why) {
    const wait = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)];
    this.#state("bad", `${why}; again in ${as.seconds(wait / 1000)}`);
    this.#retry = setTimeout(() => this.#open(), wait);
  }

  #state(kind, text) {
    setBadge(byId("event-state"), kind, text);
  }

  #take(events) {
    for (const event of events) {
      if (event.id) this.#lastId = event.id;
      const shown = read(event);
      if (shown) this.#events.unshift(shown);
      this.#received++;
    }
    this.#events.length = Math.min(this.#events.length, KEPT);
    // Thousands a second may come; a few times a second is what an eye follows.
    if (!this.#paused) this.#redraw ||= setTimeout(() => this.#draw(), REDRAW_MS);
  }

  #pause(yes) {
    this.#paused = yes;
    const button = byId("event-pause");
    button.setAttribute("aria-pressed", String(yes));
    if (!yes) this.#draw();
  }

  #draw() {
    clearTimeout(this.#redraw);
    this.#redraw = 0;
    const wanted = byId("event-text").value.trim().toLowerCase();
    const types = new Set(this.#types());
    const shown = this.#events
      .filter((e) => (types.has(e.type) || !(e.type in KINDS)) && (wanted === "" || text(e).includes(wanted)))
      .slice(0, SHOWN);
    keep(byId("event-list"), shown, (e) => e.key, (e) => this.#make(e), () => {});
    byId("event-none").hidden = shown.length > 0;
    setText(byId("event-count"), `${as.plural(this.#received, "event", "events")} since you look`
      + `${shown.length < this.#events.length ? `, ${as.count(shown.length)} shown` : ""}`);
  }

  #make(e) {
    const entry = e.entry
      ? el("button", { type: "button", class: "link code", onclick: () => this.#openEntry(e.entry), "aria-label": `Entry ${e.entry.slice(0, 8)}` },
        e.entry.slice(0, 8)) : null;
    return el("li", {}, el("time", { datetime: e.time, class: "muted" }, as.time(e.time)),
      badgeOf(e.type), el("span", { class: "what" }, e.text), entry);
  }
}

const text = (e) => `${TITLES[e.type] ?? e.type} ${e.text} ${e.entry} ${e.tags.join(" ")}`.toLowerCase();

function badgeOf(type) {
  const shown = badge("off", "");
  setBadge(shown, KINDS[type] ?? "bad", TITLES[type] ?? type);
  return shown;
}
