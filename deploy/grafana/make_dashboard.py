#!/usr/bin/env python3
"""Writes refrain.json, the Grafana dashboard, from the table below: make_dashboard.py > refrain.json

A panel is one line here and forty there. Whoever changes the dashboard in Grafana changes the line here afterwards; a test
holds the two together.
"""
import json
import sys

WIDTH = 24

# Of the requests that could have been answered from the cache, those that were.
HIT = 'result=~"hit|stale|revalidated|coalesced"'
COULD = 'result!~"bypass|error"'
ME = 'instance=~"$instance"'


def rate(name, labels="", by=""):
    """The rate of a counter, summed over all but @by."""
    selector = ", ".join(part for part in (ME, labels) if part)
    return f"sum{f' by ({by})' if by else ''} (rate({name}{{{selector}}}[$__rate_interval]))"


def total(name, labels=""):
    """What a counter grew by over the time shown."""
    selector = ", ".join(part for part in (ME, labels) if part)
    return f"sum(increase({name}{{{selector}}}[$__range]))"


def quantile(share, name, labels="", by=""):
    by = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(name + '_bucket', labels, by)})"


def gauge(name, labels="", by=""):
    selector = ", ".join(part for part in (ME, labels) if part)
    return f"sum{f' by ({by})' if by else ''} ({name}{{{selector}}})"


def stat(title, unit, expr, help_, **more):
    return {"kind": "stat", "title": title, "unit": unit, "targets": [(expr, "")], "help": help_, "width": 4, "height": 4, **more}


def chart(title, unit, targets, help_, **more):
    return {"kind": "timeseries", "title": title, "unit": unit, "targets": targets, "help": help_, "width": 8, "height": 8, **more}


STATES = [("0", "closed", "green"), ("1", "half-open", "yellow"), ("2", "open", "red")]
UP = [("0", "down", "red"), ("1", "up", "green")]

ROWS = [
    ("What it saves", [
        stat("Hit rate", "percentunit", f"{total('refrain_requests_total', HIT)} / ({total('refrain_requests_total', COULD)} > 0)",
             "Requests answered without an upstream call of their own, of those that could have been.",
             steps=[(None, "red"), (0.3, "yellow"), (0.5, "green")]),
        stat("Money saved", "currencyUSD", total("refrain_cost_saved_dollars_total"),
             "By the prices in Refrain's configuration; models without a price count tokens only."),
        stat("Tokens saved", "short", total("refrain_tokens_saved_total"), "Prompt and answer tokens that upstream was not asked for."),
        stat("Waiting saved", "s", total("refrain_seconds_saved_total"), "Time that upstream took for the answers that were given again."),
        stat("Requests", "short", total("refrain_requests_total"), "All requests in the time shown."),
        stat("Upstream calls", "short", total("refrain_upstream_requests_total"), "What was asked upstream, further tries included."),
        chart("Requests by result", "reqps", [(rate("refrain_requests_total", by="result"), "{{result}}")],
              "What the cache made of each request.", stack=True),
        chart("Hit rate by operation", "percentunit",
              [(f"{rate('refrain_requests_total', HIT, 'operation')} / ({rate('refrain_requests_total', COULD, 'operation')} > 0)", "{{operation}}")],
              "Each operation's share of requests answered from the cache.", max=1),
        chart("Tokens saved by model", "short", [(rate("refrain_tokens_saved_total", by="model, kind"), "{{model}} {{kind}}")],
              "Tokens a second.", stack=True),
        chart("Money saved by model", "currencyUSD", [(f"3600 * {rate('refrain_cost_saved_dollars_total', by='model')}", "{{model}}")],
              "Dollars an hour.", stack=True),
        chart("Hits by tier", "reqps", [(rate("refrain_hits_total", by="tier"), "{{tier}}")], "Where answers were found.", stack=True),
        chart("Not stored, by reason", "reqps", [(rate("refrain_not_stored_total", by="reason"), "{{reason}}")],
              "Answers that were passed on and not kept. docs/not-stored.md explains the reasons."),
    ]),
    ("How long it takes", [
        chart("Hits", "s", [(quantile(q, "refrain_request_duration_seconds", 'result="hit"'), f"p{int(q * 100)}") for q in (0.5, 0.95, 0.99)],
              "From a request's last byte to its answer's last byte."),
        chart("Misses", "s", [(quantile(q, "refrain_request_duration_seconds", 'result="miss"'), f"p{int(q * 100)}") for q in (0.5, 0.95, 0.99)],
              "The same; most of it is upstream's."),
        chart("Upstream", "s", [(quantile(0.95, "refrain_upstream_duration_seconds"), "whole answer, p95"),
                                (quantile(0.95, "refrain_upstream_first_byte_seconds"), "first byte, p95")], "Calls to upstream."),
        chart("Keys", "s", [(quantile(0.99, "refrain_key_seconds", by="tier"), "{{tier}} prompts, p99")],
              "Time to make a key of a request that the memo did not know."),
        chart("Tiers", "s", [(quantile(0.95, "refrain_tier_op_seconds", by="tier"), "{{tier}}, p95")], "Time a tier took to look for an answer."),
        chart("Memo", "percentunit", [(f"{rate('refrain_memo_hits_total')} / ({rate('refrain_memo_hits_total')} + {rate('refrain_memo_misses_total')} > 0)",
                                       "known bytes")], "Requests whose key was known from identical bytes, so that no JSON was parsed.", max=1),
    ]),
    ("Upstream", [
        stat("Breakers", "none", f"max by (upstream, kind) (refrain_breaker_state{{{ME}}})",
             "validation: broken answers, nothing is stored. availability: upstream fails.", legend="{{upstream}} {{kind}}",
             map=STATES, width=8, height=8),
        chart("Calls by code", "reqps", [(rate("refrain_upstream_requests_total", by="code"), "{{code}}")],
              "Status, or why there was none.", stack=True),
        chart("Calls shared", "short", [(gauge("refrain_flights"), "calls under way"), (gauge("refrain_flight_readers"), "their readers")],
              "Readers beyond the calls are requests that did not go upstream."),
        chart("Coalesced", "reqps", [(rate("refrain_coalesced_total"), "coalesced"), (rate("refrain_cluster_flights_total", by="result"), "between instances: {{result}}")],
              "Requests answered by a call that another one had begun."),
        chart("Further tries", "reqps", [(rate("refrain_upstream_retries_total", by="upstream, why"), "{{upstream}}: {{why}}")],
              "Requests sent upstream once more, by what the try before came to."),
    ]),
    ("Tiers", [
        stat("Tiers", "none", f"min by (tier) (refrain_tier_up{{{ME}}})", "A tier that is down costs hits, never an answer.",
             legend="{{tier}}", map=UP, width=8, height=8),
        chart("Bytes held", "bytes", [(gauge("refrain_bytes", by="tier"), "{{tier}}"), (gauge("refrain_limit_bytes", by="tier"), "{{tier}}, limit")],
              "Bookkeeping included."),
        chart("Entries", "short", [(gauge("refrain_entries", by="tier"), "{{tier}}")], "Stored answers."),
        chart("Evictions", "ops", [(rate("refrain_evictions_total", by="tier, reason"), "{{tier}}: {{reason}}")], "Entries that had to go."),
        chart("Trouble", "ops", [(rate("refrain_tier_errors_total", by="tier, kind"), "{{tier}}: {{kind}}"), (rate("refrain_corrupt_total"), "damaged records"),
                                 (rate("refrain_writes_dropped_total"), "writes given up")], "Questions that a tier could not answer; each was a miss."),
        chart("On the way down", "bytes", [(gauge("refrain_write_queue_bytes"), "write queue")], "Answers that disk and Redis have still to take."),
        chart("Compression", "none", [(f"avg(refrain_compression_ratio{{{ME}}})", "before / after")], "Of answers kept gzip-coded."),
        chart("Invalidations", "ops", [(rate("refrain_invalidations_total", by="kind"), "{{kind}}")], "By what they named."),
        chart("Instances", "short", [(gauge("refrain_instances", by="instance"), "{{instance}} hears of"), (gauge("refrain_instances_linked", by="instance"), "{{instance}} is linked")],
              "Those that share a Redis."),
    ]),
    ("Process", [
        chart("CPU", "percentunit", [(f"rate(process_cpu_seconds_total{{{ME}, job=\"refrain\"}}[$__rate_interval])", "{{instance}}")], "Cores in use."),
        chart("Memory", "bytes", [(f"process_resident_memory_bytes{{{ME}, job=\"refrain\"}}", "{{instance}} resident"), (gauge("refrain_buffered_bytes"), "bodies under way")],
              "Resident, and what requests and answers under way hold."),
        chart("Connections", "short", [(gauge("refrain_connections"), "open"), (f"60 * {rate('refrain_connections_refused_total')}", "refused a minute")], "Of clients."),
        stat("Certificates", "s", f"min by (instance, listener) (refrain_certificate_expiry_timestamp_seconds{{{ME}}}) - time()",
             "How long the certificates that listeners show are still good.", legend="{{instance}} {{listener}}",
             steps=[(None, "red"), (3 * 86400, "orange"), (14 * 86400, "green")], width=8, height=8),
    ]),
]


def thresholds(steps):
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for value, color in steps or [(None, "green")]]}


def mapping(values):
    return [{"type": "value", "options": {value: {"text": text, "color": color, "index": i}
                                          for i, (value, text, color) in enumerate(values)}}] if values else []


def field_config(panel):
    defaults = {"unit": panel["unit"], "min": 0, "mappings": mapping(panel.get("map")), "thresholds": thresholds(panel.get("steps")),
                "color": {"mode": "thresholds" if panel["kind"] == "stat" else "palette-classic"}}
    if "max" in panel:
        defaults["max"] = panel["max"]
    if panel["kind"] == "timeseries":
        defaults["custom"] = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 15 if panel.get("stack") else 0, "showPoints": "never",
                              "stacking": {"mode": "normal" if panel.get("stack") else "none", "group": "A"}}
    return {"defaults": defaults, "overrides": []}


OPTIONS = {
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value", "graphMode": "none",
             "textMode": "auto", "orientation": "auto", "justifyMode": "auto"},
    "timeseries": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}},
}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def panel_of(spec, number, x, y):
    targets = [{"datasource": DATASOURCE, "editorMode": "code", "expr": expr, "legendFormat": spec.get("legend", legend) or "__auto",
                "refId": chr(ord("A") + i), "instant": spec["kind"] == "stat", "range": spec["kind"] != "stat"}
               for i, (expr, legend) in enumerate(spec["targets"])]
    return {"id": number, "type": spec["kind"], "title": spec["title"], "description": spec["help"], "datasource": DATASOURCE,
            "gridPos": {"h": spec["height"], "w": spec["width"], "x": x, "y": y}, "fieldConfig": field_config(spec),
            "options": OPTIONS[spec["kind"]], "targets": targets}


def panels():
    number, y = 1, 0
    for title, specs in ROWS:
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y}, "panels": []}
        number, y, x, tallest = number + 1, y + 1, 0, 0
        for spec in specs:
            if x + spec["width"] > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            yield panel_of(spec, number, x, y)
            number, x, tallest = number + 1, x + spec["width"], max(tallest, spec["height"])
        y += tallest


def variable(name, label, kind, **more):
    return {"name": name, "label": label, "type": kind, "hide": 0, "multi": False, "includeAll": False, "options": [], **more}


def dashboard():
    return {
        "uid": "refrain", "title": "Refrain", "tags": ["refrain", "cache", "llm"], "schemaVersion": 37, "version": 1, "editable": True,
        "description": "What the response cache in front of LLM APIs answers, saves and costs.",
        "time": {"from": "now-6h", "to": "now"}, "refresh": "30s", "timezone": "browser", "graphTooltip": 1, "links": [],
        "annotations": {"list": []},
        "templating": {"list": [
            variable("datasource", "Prometheus", "datasource", query="prometheus", refresh=1, regex="", current={}),
            variable("instance", "Instance", "query", datasource=DATASOURCE, refresh=2, sort=1, multi=True, includeAll=True, allValue=".+",
                     definition="label_values(refrain_build_info, instance)", regex="", current={"text": ["All"], "value": ["$__all"]},
                     query={"query": "label_values(refrain_build_info, instance)", "refId": "instances"})]},
        "panels": list(panels()),
    }


if __name__ == "__main__":
    json.dump(dashboard(), sys.stdout, indent=1)
    print()
