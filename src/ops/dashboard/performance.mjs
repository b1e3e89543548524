// How long things take: since the start, and the requests that took unusually long.

import { byId, keepTable, Panel, setText } from "./dom.mjs";
import * as as from "./format.mjs";

const SPREAD = [
  { name: "Count", number: true, text: (row) => as.short(row.n) },
  { name: "Mean", number: true, minor: true, text: (row) => as.seconds(row.mean_s) },
  { name: "Median", number: true, text: (row) => as.seconds(row.median_s) },
  { name: "p95", number: true, text: (row) => as.seconds(row.p95_s) },
  { name: "p99", number: true, text: (row) => as.seconds(row.p99_s) },
  { name: "Min", number: true, minor: true, text: (row) => as.seconds(row.min_s) },
  { name: "Max", number: true, minor: true, text: (row) => as.seconds(row.max_s) },
];

const OPERATIONS = [
  { name: "Request", head: true, text: (row) => `${as.text(row.operation)}, ${as.text(row.result)}` },
  ...SPREAD,
];

const PART_NAMES = {
  key: "Making the key", upstream: "Upstream, whole answer", upstream_first_byte: "Upstream, first byte",
  disk_get: "Disk, reading", disk_put: "Disk, writing", redis_get: "Redis, reading", redis_put: "Redis, writing",
  invalidation: "Invalidating",
};

const PARTS = [{ name: "Part", head: true, text: (row) => PART_NAMES[row.part] ?? as.words(row.part) }, ...SPREAD];

const SLOW = [
  { name: "When", head: true, text: (row) => as.time(row.at) },
  { name: "Operation", minor: true, text: (row) => as.text(row.operation) },
  { name: "Model", text: (row) => as.text(row.model) },
  { name: "Result", text: (row) => [row.result, row.reason].filter(Boolean).join(", ") || as.NOT_KNOWN },
  { name: "Took", number: true, text: (row) => as.seconds(row.took_s) },
  { name: "Upstream", number: true, minor: true, text: (row) => as.seconds(row.upstream_s) },
  { name: "Usual", number: true, minor: true, text: (row) => as.seconds(row.typical_s) },
  { name: "Times", number: true, text: (row) => as.times(row.times) },
  { name: "Status", number: true, minor: true, text: (row) => as.text(row.status) },
  { name: "Request id", minor: true, class: "code", text: (row) => as.text(row.id) },
];

export function startPerformance(refresher) {
  const operations = new Panel("latencies");
  const parts = new Panel("parts");
  const slow = new Panel("slow");
  const views = ["performance"];

  refresher.add({
    path: "/performance", every_s: 5, views, panels: [operations, parts],
    show(data) {
      const seen = (data.operations ?? []).filter((row) => row.n > 0);
      const measured = (data.parts ?? []).filter((row) => row.n > 0);
      if (seen.length === 0) operations.empty("No requests yet.");
      else keepTable(byId("latency-table"), OPERATIONS, seen, (row) => `${row.operation} ${row.result}`);
      if (measured.length === 0) parts.empty("Nothing was measured yet.");
      else keepTable(byId("part-table"), PARTS, measured, (row) => row.part);
      setText(byId("latency-error"), `Since ${as.dateAndTime(data.since)}. Percentiles are within `
        + `${as.percent(data.relative_error)} of the truth.${growthOf(data.memory)}`);
    },
  });
  refresher.add({
    path: "/slow?limit=50", every_s: 10, views, panels: [slow],
    show({ slow: rows = [] }) {
      if (rows.length === 0) slow.empty("None: no request has taken twice what its kind usually takes.");
      else keepTable(byId("slow-table"), SLOW, rows, (row) => row.id);
    },
  });
}

function growthOf(memory) {
  const growth = memory?.growth_bytes_per_hour;
  if (growth === null || growth === undefined) return "";
  return ` Memory ${growth < 0 ? "shrinks" : "grows"} by ${as.bytes(Math.abs(growth))} an hour.`;
}
