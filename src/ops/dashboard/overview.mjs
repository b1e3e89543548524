// The first thing seen: what was saved, what is going on, what is wrong.

import { ApiError, ask } from "./api.mjs";
import { TimeChart } from "./charts.mjs";
import { announce, badge, byId, chosen, el, keep, keepTable, Panel, setBadge, setText, setValue } from "./dom.mjs";
import * as as from "./format.mjs";

const RESULTS = ["hit", "coalesced", "revalidated", "stale", "miss", "bypass", "error"];
const state = { minutes: 15 };

// The row of figures

function showFigures(stats) {
  const { requests = {}, saved = {}, upstream = {}, flights = {}, process = {} } = stats;
  const answered = ["hit", "stale", "revalidated", "coalesced"].reduce((sum, name) => sum + (requests[name] ?? 0), 0);
  figure("hit-rate", stats.hit_rate === null ? "–" : as.percent(stats.hit_rate), requests.total
    ? `${as.short(answered)} of ${as.plural(requests.total, "request", "requests")} without a call of their own`
    : "no requests yet");
  figure("dollars", saved.priced === false && !saved.dollars ? "–" : as.dollars(saved.dollars), pricingOf(saved));
  figure("tokens", as.short(sum(saved.tokens_in, saved.tokens_out)),
    `${as.short(saved.tokens_in)} in, ${as.short(saved.tokens_out)} out`);
  figure("time", as.seconds(saved.seconds), "that nobody waited for upstream");
  figure("calls", as.short(upstream.calls), `${as.plural(upstream.failures, "failure", "failures")}`);
  figure("flights", as.count(flights.open),
    `${as.plural(flights.readers, "reader", "readers")}, ${as.plural(process.connections, "connection", "connections")}`);
}

function figure(name, value, below) {
  setValue(byId(`figure-${name}`), value);
  setText(byId(`figure-${name}-below`), below);
}

const sum = (a, b) => (a === undefined && b === undefined ? null : (a ?? 0) + (b ?? 0));

function pricingOf({ priced, models = [] }) {
  if (priced === undefined) return "";
  if (priced === false) return "no prices: see pricing in the configuration";
  const without = models.filter((model) => model.dollars === null).length;
  return without > 0 ? `${as.plural(without, "model", "models")} without a price` : "by the prices configured";
}

// Tables out of /stats

const MODELS = [
  { name: "Model", head: true, text: (m) => as.text(m.model) },
  { name: "Tokens in", number: true, minor: true, text: (m) => as.short(m.tokens_in) },
  { name: "Tokens out", number: true, minor: true, text: (m) => as.short(m.tokens_out) },
  { name: "Tokens", number: true, class: "major", text: (m) => as.short(sum(m.tokens_in, m.tokens_out)) },
  { name: "Saved", number: true, text: (m) => (m.dollars === null ? "no price" : as.dollars(m.dollars)) },
];

const counted = (first, name) => [
  { name: first, head: true, text: (row) => as.text(row[name]) },
  { name: "Requests", number: true, text: (row) => as.short(row.requests?.total) },
  { name: "Hits", number: true, minor: true, text: (row) => as.short(row.requests?.hit) },
  { name: "Misses", number: true, minor: true, text: (row) => as.short(row.requests?.miss) },
  { name: "Errors", number: true, text: (row) => as.short(row.requests?.error) },
  { name: "Hit rate", number: true, text: (row) => (row.hit_rate === null ? "–" : as.percent(row.hit_rate)) },
];

const CLIENTS = [
  ...counted("Client", "client"),
  { name: "Turned away", number: true, minor: true, text: (c) => as.short(c.limited) },
  { name: "Tokens saved", number: true, minor: true, text: (c) => as.short(sum(c.tokens_saved_in, c.tokens_saved_out)) },
  { name: "Saved", number: true, text: (c) => (c.dollars_saved === null ? "no price" : as.dollars(c.dollars_saved)) },
];

const REASONS = [
  { name: "Reason", head: true, text: (row) => as.words(row.reason) },
  { name: "Answers", number: true, text: (row) => as.short(row.count) },
];

function showTable(panel, id, columns, rows, keyOf, empty) {
  if (rows === undefined) panel.empty("Not known.");
  else if (rows.length === 0) panel.empty(empty);
  else keepTable(byId(id), columns, rows, keyOf);
}

// Tiers

const TIER_NAMES = { memory: "Memory", disk: "Disk", redis: "Redis" };
const TIER_STATES = { up: "good", degraded: "warning", down: "bad", off: "off" };

function showTiers(panel, tiers) {
  if (!tiers) {
    panel.empty("Not known.");
    return;
  }
  keep(byId("tier-list"), tiers, (tier) => tier.tier, makeTier, updateTier);
}

function makeTier() {
  return el("li", { class: "tier" },
    el("div", { class: "row" }, el("strong", {}), badge("off", "")),
    el("meter", { min: "0", max: "1", low: "0.8", high: "0.95", optimum: "0" }),
    el("p", { class: "small muted" }));
}

function updateTier(item, tier) {
  const [head, meter, below] = item.children;
  const name = TIER_NAMES[tier.tier] ?? tier.tier;
  const off = tier.state === "off";
  const fill = tier.fill ?? (tier.limit_bytes ? tier.bytes / tier.limit_bytes : null);
  setText(head.firstElementChild, name);
  setBadge(head.lastElementChild, TIER_STATES[tier.state] ?? "off", as.text(tier.state));
  meter.hidden = off || fill === null;
  meter.value = fill ?? 0;
  meter.setAttribute("aria-label", `${name}: fill`);
  meter.setAttribute("aria-valuetext", as.percent(fill));
  setText(below, off ? offText(tier.tier) : tierText(tier, fill));
}

const offText = (tier) => `Not configured: tiers.${tier}.${{ disk: "path", redis: "url" }[tier] ?? "enabled"} switches it on.`;

function tierText(tier, fill) {
  const has = (value) => value !== null && value !== undefined;
  return [
    has(tier.bytes) ? as.bytes(tier.bytes) + (tier.limit_bytes ? ` of ${as.bytes(tier.limit_bytes)} (${as.percent(fill)})` : "")
      : "size not known",
    has(tier.entries) && as.plural(tier.entries, "entry", "entries"),
    has(tier.hits) && as.plural(tier.hits, "hit", "hits"),
    tier.evictions > 0 && as.plural(tier.evictions, "eviction", "evictions"),
    tier.errors > 0 && as.plural(tier.errors, "error", "errors"),
  ].filter(Boolean).join(" · ");
}

// Charts

const results = RESULTS.map((name) => ({
  name: as.words(name), colour: `result-${name}`,
  value: ({ requests, seconds }) => (requests && seconds ? (requests[name] ?? 0) / seconds : null),
}));

function makeCharts() {
  const last = (samples, value) => value(samples.at(-1) ?? {});
  const total = (samples, value) => samples.reduce((all, sample) => all + (value(sample) ?? 0), 0);
  return [
    new TimeChart("chart-requests", {
      bars: true, series: results, format: as.rate, min: 0,
      summary: (samples) => `${as.count(total(samples, (s) => s.requests?.total))} requests in the last ${state.minutes} minutes: `
        + RESULTS.map((name) => `${as.count(total(samples, (s) => s.requests?.[name]))} ${name}`).join(", "),
    }),
    new TimeChart("chart-latency", {
      logarithmic: true, format: as.seconds,
      series: [
        { name: "Hits, p95", colour: "result-hit", value: (s) => positive(s.hit_p95_s) },
        { name: "Misses, p95", colour: "result-miss", value: (s) => positive(s.miss_p95_s) },
        { name: "All, p50", colour: "result-coalesced", dash: "dotted", value: (s) => positive(s.p50_s) },
        { name: "All, p95", colour: "result-revalidated", dash: "dashed", value: (s) => positive(s.p95_s) },
        { name: "All, p99", colour: "result-stale", dash: "dotted", value: (s) => positive(s.p99_s) },
      ],
      summary: (samples) => `Last: half of all requests within ${as.seconds(last(samples, (s) => s.p50_s))}, `
        + `95 % of hits within ${as.seconds(last(samples, (s) => s.hit_p95_s))}, `
        + `95 % of misses within ${as.seconds(last(samples, (s) => s.miss_p95_s))}`,
    }),
    new TimeChart("chart-hit-rate", {
      format: as.percent, min: 0, max: 1,
      series: [{ name: "Hit rate", colour: "result-hit", fill: true, value: (s) => s.hit_rate }],
      summary: (samples) => `Last: ${as.percent(last(samples, (s) => s.hit_rate))}`,
    }),
    new TimeChart("chart-saved", {
      bars: true, format: (n) => (n === null ? as.NOT_KNOWN : `${as.short(n)}`), min: 0,
      series: [{ name: "Tokens saved a minute", colour: "accent",
                 value: ({ tokens_saved: n, seconds }) => (n !== undefined && seconds ? (n / seconds) * 60 : null) }],
      summary: (samples) => `${as.short(total(samples, (s) => s.tokens_saved))} tokens saved in the last ${state.minutes} minutes`,
    }),
  ];
}

/** A logarithm has no zero: nothing was measured. */
const positive = (value) => (value > 0 ? value : null);

// Alerts and recommendations

const LEVELS = { critical: "bad", error: "bad", warning: "warning", info: "info" };
const WORST_FIRST = Object.keys(LEVELS);
let alertsKnown = null;

const keyOfAlert = (alert) => `${alert.code} ${alert.subject ?? ""}`;

function showAlerts(panel, { alerts = [] }) {
  tellOfAlerts(alerts);
  setText(byId("alert-count"), alerts.length > 0 ? String(alerts.length) : "");
  byId("all-is-well").hidden = alerts.length > 0;
  const sorted = alerts.toSorted((a, b) => WORST_FIRST.indexOf(a.level) - WORST_FIRST.indexOf(b.level));
  keep(byId("alert-list"), sorted, keyOfAlert, makeAlert, updateAlert);
}

/** Only what is new is spoken, and only once. */
function tellOfAlerts(alerts) {
  const now = new Set(alerts.map(keyOfAlert));
  const fresh = alerts.filter((alert) => !alertsKnown?.has(keyOfAlert(alert)));
  const gone = [...(alertsKnown ?? [])].filter((key) => !now.has(key)).length;
  const said = fresh.map((alert) => `${as.words(alert.level)}: ${alert.message}`);
  if (gone > 0) said.push(`${as.plural(gone, "alert has", "alerts have")} ended`);
  if (said.length > 0) announce(said.join(". "));
  alertsKnown = now;
}

function makeAlert() {
  return el("li", { class: "alert" }, badge("info", ""),
    el("div", {}, el("p", { class: "message" }), el("p", { class: "small muted" }), el("p", { class: "small" })));
}

function updateAlert(item, alert) {
  const [message, since, action] = item.lastElementChild.children;
  item.dataset.level = alert.level;
  setBadge(item.firstElementChild, LEVELS[alert.level] ?? "info", as.words(alert.level));
  setText(message, as.text(alert.message));
  setText(since, `${alert.code}${alert.subject ? ` of ${alert.subject}` : ""}, since ${as.time(alert.since)}${limitOf(alert)}`);
  setText(action, as.text(alert.what_to_do));
}

/** Where there is one: of what is simply so, the threshold is 0. */
const limitOf = ({ value, threshold, unit }) => (value === undefined || value === null || !threshold
  ? "" : `; ${as.withUnit(value, unit)}, the limit is ${as.withUnit(threshold, unit)}`);

function showRecommendations(panel, { recommendations = [] }) {
  if (recommendations.length === 0) {
    panel.empty("None: nothing that was seen asks for another configuration.");
    return;
  }
  keep(byId("recommendation-list"), recommendations, (r) => `${r.code} ${r.option ?? ""}`,
    () => el("li", {}, el("strong", {}), el("p", {}), el("p", { class: "small muted" })),
    (item, r) => {
      const [title, change, why] = item.children;
      setText(title, as.text(r.title));
      setText(change, [r.option, as.text(r.change)].filter(Boolean).join(" "));
      setText(why, [r.evidence, r.impact].map(as.sentence).join(" "));
    });
}

// Breakers

const BREAKER_STATES = { closed: "good", half_open: "warning", open: "bad" };
const nameOfBreaker = (b) => b.tier ?? b.upstream;
const callOfBreaker = (b) => `${nameOfBreaker(b)}, ${as.words(b.kind).toLowerCase()}`;
const stateOfBreaker = (b) => `${as.words(b.state).toLowerCase()}${b.held ? ", held" : ""}`;
const BEST_FIRST = Object.keys(BREAKER_STATES);

/** A breaker that has one for each model becomes one row, as bad as the worst of them: they are changed together. */
function groupBreakers(breakers) {
  const groups = Map.groupBy(breakers, callOfBreaker);
  return [...groups.values()].map((members) => {
    const worst = members.toSorted((a, b) => BEST_FIRST.indexOf(b.state) - BEST_FIRST.indexOf(a.state))[0];
    const models = members.filter((b) => b.model && b.state === worst.state && b.state !== "closed").map((b) => b.model);
    return { ...worst, models };
  });
}

function breakerColumns(panel, again) {
  const change = async (b) => {
    const name = callOfBreaker(b);
    const action = await chosen({
      title: `Breaker of ${name}`,
      text: `It is ${stateOfBreaker(b)}. Open: nothing goes there. Closed: everything does. Either holds until it is reset, `
        + "which lets it judge for itself again.",
      choices: { close: { text: "Close" }, reset: { text: "Reset" }, open: { text: "Open", danger: true } },
    });
    if (action === "") return;
    try {
      await ask(`/breakers/${encodeURIComponent(nameOfBreaker(b))}/${encodeURIComponent(b.kind)}`, { method: "POST", body: { action } });
      announce(`Breaker of ${name}: ${action} is done`);
      again();
    } catch (fault) {
      panel.failed(fault instanceof ApiError ? fault.told : "The instance does not answer.");
    }
  };
  return [
    { name: "Of", head: true, make: () => [el("span", {}), el("span", { class: "below" })],
      refresh(cell, b) {
        setText(cell.firstElementChild, nameOfBreaker(b));
        setText(cell.lastElementChild, [as.words(b.kind).toLowerCase(), ...b.models].join(", "));
      } },
    { name: "State", make: () => badge("off", ""),
      refresh: (cell, b) => setBadge(cell.firstElementChild, BREAKER_STATES[b.state] ?? "off", stateOfBreaker(b)) },
    { name: "For", number: true, minor: true, text: (b) => as.seconds(b.for_s) },
    { name: "Change", hidden: true, class: "actions",
      make: (row) => el("button", { type: "button", class: "small", onclick: () => change(row.item) }, "Change…"),
      refresh: (cell, b) => cell.firstElementChild.setAttribute("aria-label", `Change the breaker of ${callOfBreaker(b)}`) },
  ];
}

// Instances

const INSTANCES = [
  { name: "Instance", head: true, text: (i) => `${i.name ?? "without a name"}${i.self ? " (this one)" : ""}` },
  { name: "Id", minor: true, class: "code", text: (i) => as.text(i.id).slice(0, 12) },
  { name: "Last heard of", number: true, text: (i) => (i.self ? "now" : as.seconds(i.seen_s_ago)) },
];

/** Tells @refresher what the overview needs. @openEntry(id): shows an entry. */
export function startOverview(refresher, openEntry) {
  const panels = Object.fromEntries(["figures", "models", "operations", "namespaces", "reasons", "tiers", "alerts",
    "recommendations", "breakers", "instances", "clients", "popular", "charts"].map((id) => [id, new Panel(id)]));
  const charts = makeCharts();
  const views = ["overview"];

  refresher.add({
    path: "/stats", every_s: 5, views: null,
    panels: [panels.figures, panels.models, panels.operations, panels.namespaces, panels.reasons, panels.tiers],
    show(stats) {
      setText(byId("instance"), [stats.instance?.slice(0, 8), stats.version && `Refrain ${stats.version}`, stats.uptime_s !== undefined
        && `up ${as.seconds(stats.uptime_s)}`].filter(Boolean).join(" · "));
      showFigures(stats);
      showTable(panels.models, "model-table", MODELS, stats.saved?.models, (m) => m.model,
        "Nothing yet: the first hit shows here what it saved.");
      showTable(panels.operations, "operation-table", counted("Operation", "operation"), stats.operations, (o) => o.operation,
        "No requests yet: point a client’s base URL at the proxy listener.");
      showTable(panels.namespaces, "namespace-table", counted("Namespace", "namespace"), stats.namespaces, (n) => n.namespace,
        "None: a namespace comes with Refrain-Namespace, a rule, or clients.");
      showTable(panels.reasons, "reason-table", REASONS, stats.not_stored?.filter((r) => r.count > 0), (r) => r.reason,
        "Every answer that came was stored.");
      showTiers(panels.tiers, stats.tiers);
    },
  });
  refresher.add({ path: "/alerts", every_s: 5, views: null, panels: [panels.alerts], show: (data) => showAlerts(panels.alerts, data) });
  refresher.add({
    path: () => `/stats/history?minutes=${state.minutes}&points=${innerWidth < 640 ? 60 : 120}`, every_s: 5, views,
    panels: [panels.charts],
    show({ samples = [] }) {
      if (samples.length < 2) panels.charts.empty("The first samples come within seconds; an hour of them is kept.");
      else for (const chart of charts) chart.show(samples, state.minutes);
    },
  });
  refresher.add({
    path: "/breakers", every_s: 5, views, panels: [panels.breakers],
    show: ({ breakers = [] }) => (breakers.length === 0 ? panels.breakers.empty("None yet: each upstream gets its breakers with its first call.")
      : keepTable(byId("breaker-table"), breakerColumns(panels.breakers, () => refresher.now([panels.breakers])),
        groupBreakers(breakers), callOfBreaker)),
  });
  refresher.add({ path: "/recommendations", every_s: 15, views, panels: [panels.recommendations],
                  show: (data) => showRecommendations(panels.recommendations, data) });
  refresher.add({
    path: "/popular?limit=10", every_s: 10, views, panels: [panels.popular],
    show: ({ entries = [] }) => (entries.length === 0 ? panels.popular.empty("No entry has been hit yet.")
      : keepTable(byId("popular-table"), popularColumns(openEntry), entries, (e) => e.id)),
  });
  refresher.add({
    path: "/clients", every_s: 10, views, panels: [panels.clients],
    show: ({ clients }) => showTable(panels.clients, "client-table", CLIENTS, clients, (c) => c.client,
      "None by name: clients in the configuration gives each team a token, limits and answers of its own."),
  });
  refresher.add({
    path: "/instances", every_s: 15, views, panels: [panels.instances],
    show: ({ instances = [] }) => (instances.length < 1
      ? panels.instances.empty("This one alone. Instances that share a Redis (tiers.redis.url) find each other.")
      : keepTable(byId("instance-table"), INSTANCES, instances, (i) => i.id)),
  });
  byId("range").addEventListener("change", (event) => {
    state.minutes = Number(event.target.value);
    refresher.now([panels.charts]);
  });
}

function popularColumns(openEntry) {
  return [
    { name: "Entry", head: true,
      make: (row) => el("button", { type: "button", class: "link code", onclick: () => openEntry(row.item.id) }),
      refresh: (cell, e) => setText(cell.firstElementChild, e.id.slice(0, 8)) },
    { name: "Model", text: (e) => as.text(e.model) },
    { name: "Operation", minor: true, text: (e) => as.text(e.operation) },
    { name: "Tags", minor: true, text: (e) => (e.tags?.length ? e.tags.join(", ") : "none") },
    { name: "Hits", number: true, text: (e) => as.short(e.hits) },
    { name: "Tokens", number: true, minor: true, text: (e) => as.short(sum(e.tokens_in, e.tokens_out)) },
    { name: "Size", number: true, minor: true, text: (e) => as.bytes(e.bytes) },
    { name: "Age", number: true, text: (e) => as.seconds(e.age_s) },
  ];
}
