// What is stored: finding it, looking at it, changing it, and having it go.
//
// What is looked for is what would go: the same form serves both, and nothing goes before it was counted.

import { ApiError, ask } from "./api.mjs";
import { announce, byId, confirmed, el, keepTable, Panel, setText } from "./dom.mjs";
import * as as from "./format.mjs";

const FILTERS = ["id", "pattern", "tag", "model", "operation", "namespace", "older_than"];
const PAGE = 50;

const faultText = (fault) => (fault instanceof ApiError ? fault.told : "The instance does not answer.");

/** What the form asks for; empty fields are left out. */
function filterOf(form) {
  const data = new FormData(form);
  return Object.fromEntries(FILTERS.map((name) => [name, String(data.get(name) ?? "").trim()]).filter(([, value]) => value !== ""));
}

// The list

class Listing {
  #panel = new Panel("entry-results");
  #rows = [];
  #filter = {};
  #cursor = null;
  #columns;

  constructor(openEntry) {
    this.#columns = [
      { name: "Entry", head: true,
        make: (row) => el("button", { type: "button", class: "link code", onclick: () => openEntry(row.item.id) }),
        refresh: (cell, e) => setText(cell.firstElementChild, e.id.slice(0, 8)) },
      { name: "Model", text: (e) => as.text(e.model) },
      { name: "Operation", minor: true, text: (e) => as.text(e.operation) },
      { name: "Namespace", minor: true, text: (e) => as.text(e.namespace) },
      { name: "Tags", minor: true, text: (e) => (e.tags?.length ? e.tags.join(", ") : "none") },
      { name: "Tier", text: (e) => as.text(e.tier) },
      { name: "Hits", number: true, minor: true, text: (e) => as.short(e.hits) },
      { name: "Age", number: true, text: (e) => as.seconds(e.age_s) },
    ];
    byId("entry-more").addEventListener("click", () => this.#page());
  }

  async search(filter) {
    this.#rows = [];
    this.#filter = filter;
    this.#cursor = null;
    await this.#page();
  }

  async again() {
    await this.search(this.#filter);
  }

  async #page() {
    const query = new URLSearchParams({ ...this.#filter, limit: PAGE });
    if (this.#cursor) query.set("cursor", this.#cursor);
    try {
      // Not `+` for a space: the API decodes what RFC 3986 knows.
      const data = await ask(`/entries?${query.toString().replaceAll("+", "%20")}`);
      this.#rows.push(...data.entries);
      this.#cursor = data.cursor;
      this.#show(data.not_read);
    } catch (fault) {
      this.#panel.failed(faultText(fault));
    }
  }

  #show(notRead) {
    if (this.#rows.length === 0) {
      this.#panel.empty(Object.keys(this.#filter).length > 0
        ? "Nothing matches. A pattern is of the whole name, NAMESPACE:OPERATION:MODEL:HEX; * stands for any text."
        : "Nothing is stored yet.");
    } else {
      this.#panel.show();
      keepTable(byId("entry-table"), this.#columns, this.#rows, (e) => `${e.id} ${e.tier}`);
    }
    const missing = Object.keys(notRead ?? {});
    setText(byId("entry-count"), `${as.plural(this.#rows.length, "entry", "entries")} shown${this.#cursor ? ", there are more" : ""}`
      + `${missing.length > 0 ? `; ${missing.join(", ")} could not be read to the end` : ""}`);
    byId("entry-more").hidden = !this.#cursor;
  }
}

// Invalidating

/** "4 in memory, 2 on disk" */
function tiersText(tiers = {}) {
  const names = { memory: "in memory", disk: "on disk", redis: "in Redis" };
  return Object.entries(tiers).filter(([, n]) => n > 0).map(([tier, n]) => `${as.count(n)} ${names[tier] ?? tier}`).join(", ");
}

const matchedText = (count) => `${count.at_least ? "at least " : ""}${as.plural(count.matched, "entry", "entries")}`;

function doneText(done) {
  const where = tiersText(done.tiers);
  const notYet = Object.keys(done.not_yet ?? {});
  return [
    `${matchedText(done)} invalidated${where ? `: ${where}` : ""}.`,
    notYet.length > 0 ? `Still owed by ${notYet.join(", ")}: it gives none of them any more, and deletes them when it can.` : "",
    done.not_heard > 0 ? `${as.plural(done.not_heard, "instance has", "instances have")} not answered yet.` : "",
    done.others === "later" ? "Other instances are told when Redis is back." : "",
  ].filter(Boolean).join(" ");
}

/** Counts first, asks with the number, then does it. Resolves to what to say; null: the answer was no. */
async function invalidate(filter) {
  const count = await ask("/invalidate", { method: "POST", body: { ...filter, dry_run: true } });
  if (count.matched === 0) return "Nothing matches, so nothing was done.";
  const where = tiersText(count.tiers);
  const meant = Object.entries(filter).map(([name, value]) => `${name.replace("_", " ")} ${value}`).join(", ");
  const yes = await confirmed({
    title: `Invalidate ${matchedText(count)}?`,
    text: `${meant}${where ? `: ${where} here` : ""}. The next request for each asks upstream again. This cannot be undone.`,
    action: `Invalidate ${matchedText(count)}`,
  });
  return yes ? doneText(await ask("/invalidate", { method: "POST", body: filter })) : null;
}

// One entry

class EntryDialog {
  #dialog = byId("entry");
  #entry = null;
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
    byId("entry-close").addEventListener("click", () => this.#dialog.close());
    byId("entry-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#change();
    });
    byId("entry-invalidate").addEventListener("click", () => this.#invalidate());
  }

  async open(id) {
    this.#entry = null;
    setText(byId("entry-title"), `Entry ${id.slice(0, 8)}`);
    this.#say("Loading…");
    byId("entry-facts").replaceChildren();
    byId("entry-actions").hidden = true;
    this.#dialog.showModal();
    await this.#load(id);
  }

  async #load(id, said = "") {
    try {
      this.#entry = await ask(`/entries/${encodeURIComponent(id)}`);
    } catch (fault) {
      this.#say(fault.status === 404 ? "It is gone: nobody has an entry of this id any more." : faultText(fault));
      return;
    }
    this.#say(said);
    this.#show();
  }

  #say(text) {
    const note = byId("entry-note");
    note.hidden = text === "";
    setText(note, text);
  }

  #show() {
    const e = this.#entry;
    const facts = [
      ["Id", e.id], ["Name", e.name], ["Namespace", as.text(e.namespace)], ["Operation", as.text(e.operation)],
      ["Model", as.text(e.model)], ["Tags", e.tags?.length ? e.tags.join(", ") : "none"],
      ["Lies in", e.tiers?.length ? e.tiers.map(({ tier }) => tier).join(", ") : as.text(e.tier)],
      ["Status", as.text(e.status)], ["Hits", as.count(e.hits)], ["Age", as.seconds(e.age_s)], ["Fresh for", freshText(e.ttl_s)],
      ["Dropped in", e.gone_s === null ? "never" : as.seconds(e.gone_s)],
      ["Size", `${as.bytes(e.bytes)}${e.gzip ? ", gzip-coded" : ""}`], ["Prompt", as.text(e.prompt)],
      ["Tokens", `${as.count(e.tokens_in)} in, ${as.count(e.tokens_out)} out`], ["Upstream took", as.seconds(e.upstream_s)],
      ["Streamed", e.stream ? "yes" : "no"],
    ];
    byId("entry-facts").replaceChildren(...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]));
    byId("entry-form").elements.tags.value = (e.tags ?? []).join(", ");
    byId("entry-form").elements.ttl.value = "";
    byId("entry-actions").hidden = false;
  }

  async #change() {
    const { ttl, tags } = byId("entry-form").elements;
    const wanted = tags.value.split(",").map((tag) => tag.trim()).filter(Boolean);
    const body = {};
    if (ttl.value.trim() !== "") body.ttl = /^\d+$/.test(ttl.value.trim()) ? Number(ttl.value) : ttl.value.trim();
    if (wanted.join() !== (this.#entry.tags ?? []).join()) body.tags = wanted;
    if (Object.keys(body).length === 0) {
      this.#say("Nothing was changed.");
      return;
    }
    try {
      await ask(`/entries/${this.#entry.id}`, { method: "PUT", body });
      await this.#load(this.#entry.id, "Saved.");
      this.#onChange();
    } catch (fault) {
      this.#say(faultText(fault));
    }
  }

  async #invalidate() {
    try {
      const said = await invalidate({ id: this.#entry.id });
      if (said === null) return;
      this.#say(said);
      byId("entry-actions").hidden = true;
      this.#onChange();
    } catch (fault) {
      this.#say(faultText(fault));
    }
  }
}

function freshText(ttl_s) {
  if (ttl_s === null) return "without end";
  return ttl_s < 0 ? `stale for ${as.seconds(-ttl_s)}` : as.seconds(ttl_s);
}

/** Returns {open(id), look()}: to show an entry, and to list when this part of the page is first looked at. */
export function startEntries() {
  const dialog = new EntryDialog(() => listing.again());
  const listing = new Listing((id) => dialog.open(id));
  const form = byId("entry-search");
  const said = byId("entry-said");
  let listed = false;

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setText(said, "");
    listing.search(filterOf(form));
  });
  form.addEventListener("reset", () => setText(said, ""));
  byId("invalidate").addEventListener("click", async () => {
    const filter = filterOf(form);
    if (Object.keys(filter).length === 0) {
      setText(said, "Say which: fill in at least one field. The pattern * means all of them.");
      form.elements.pattern.focus();
      return;
    }
    setText(said, "Counting…");
    try {
      const done = await invalidate(filter);
      setText(said, done ?? "Nothing was invalidated.");
      if (done) announce(done);
      listing.search(filter);
    } catch (fault) {
      setText(said, faultText(fault));
    }
  });
  return {
    open: (id) => dialog.open(id),
    look() {
      if (!listed) listing.search({});
      listed = true;
    },
  };
}
