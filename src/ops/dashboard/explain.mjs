// What would become of a request, and why: a pasted one is sent to POST /explain, which asks no upstream.

import { ApiError, ask } from "./api.mjs";
import { announce, byId, el, setBadge, setText } from "./dom.mjs";
import * as as from "./format.mjs";
import { readRequest } from "./request_text.mjs";

const EXAMPLE = `curl http://127.0.0.1:8080/v1/chat/completions \\
  -H "Authorization: Bearer $KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}'`;

const RESULTS = {
  hit: ["good", "Hit", "It would be answered from the cache."],
  stale: ["warning", "Stale hit", "It would be answered from the cache, and asked for again meanwhile."],
  miss: ["info", "Miss", "Upstream would be asked."],
  bypass: ["off", "Bypass", "It would go past the cache."],
  refused: ["bad", "Refused", "It would be refused."],
};

const HOW = { differs: "differs", only_here: "only in this one", only_there: "only in the other one" };

const list = (items) => (items?.length ? items.map((item) => (typeof item === "string" ? item : item.name ?? JSON.stringify(item))).join(", ") : "none");

function headline(e) {
  const [kind, word, meaning] = RESULTS[e.result] ?? ["off", as.words(e.result), ""];
  setBadge(byId("explain-result"), kind, word);
  setText(byId("explain-meaning"), meaning);
  setText(byId("explain-because"), [e.because, e.reason && `(${e.reason})`].filter(Boolean).join(" "));
}

function facts(e) {
  const entry = e.entry;
  return [
    ["Request", typeof e.request === "string" ? e.request : e.request && [e.request.method, e.request.target ?? e.request.path].filter(Boolean).join(" ")],
    ["Route", typeof e.route === "object" ? e.route?.path : e.route], ["Upstream", e.upstream],
    ["Operation", e.operation], ["Model", e.model], ["Rules that match", list(e.rules?.map(String))],
    ["Shared with", e.scope], ["Namespace", e.namespace],
    ["Entry", entry && `${entry.id}, ${as.text(entry.tier)}, ${as.bytes(entry.bytes)}, age ${as.seconds(entry.age_s)}, `
      + (entry.ttl_s === null ? "fresh without end" : entry.ttl_s < 0 ? "stale" : `fresh for ${as.seconds(entry.ttl_s)}`)],
    ["Being fetched now", e.in_flight === undefined ? null : e.in_flight ? "yes" : "no"],
    ["Headers that count", e.keyed_headers && list(e.keyed_headers)],
    ["Left out of the key", e.excluded && list([...(e.excluded.body ?? []), ...(e.excluded.headers ?? [])])],
    ["Key", e.key],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
}

function nearest(near) {
  byId("explain-nearest").hidden = !near;
  if (!near) return;
  setText(byId("nearest-summary"), `A request ${as.seconds(near.seconds_ago)} ago was most like it: `
    + `${as.count(near.different)} of ${as.plural(near.parts, "part", "parts")} different.`
    + `${near.not_stored ? ` Its answer was not stored: ${as.words(near.not_stored).toLowerCase()}.` : ""}`);
  byId("nearest-list").replaceChildren(...(near.differences ?? []).map((d) =>
    el("li", {}, el("span", { class: "muted" }, `${as.words(d.part)} `), el("code", {}, d.name ?? "(a name that is not kept)"),
      ` ${HOW[d.how] ?? as.text(d.how)}`)));
}

function show(e) {
  headline(e);
  byId("explain-facts").replaceChildren(...facts(e).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]));
  nearest(e.nearest);
  byId("explain-canonical").hidden = !e.canonical?.text;
  setText(byId("canonical-text"), e.canonical?.text ?? "");
  setText(byId("explain-raw"), JSON.stringify(e, null, 2));
  byId("explain-answer").hidden = false;
}

export function startExplain() {
  const form = byId("explain-form");
  const said = byId("explain-said");

  byId("explain-example").addEventListener("click", () => {
    form.elements.request.value = EXAMPLE;
    form.elements.request.focus();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const { body, note } = readRequest(form.elements.request.value);
      setText(said, "Looking…");
      show(await ask("/explain", { method: "POST", body }));
      setText(said, note);
      announce(`${byId("explain-meaning").textContent} ${byId("explain-because").textContent}`);
    } catch (fault) {
      byId("explain-answer").hidden = true;
      setText(said, fault instanceof ApiError ? fault.told : fault.message);
    }
  });
}
