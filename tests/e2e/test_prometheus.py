"""What operators watch Refrain by: rules and a dashboard that say what is, judged by Prometheus itself."""

import json
import pathlib
import re
import subprocess
import sys
import urllib.parse
import urllib.request

import pytest
import yaml

from harness.asks import chat, chat_stream, embedding
from harness.redis import free_port
from harness.process import wait_until
from harness.upstream import whole

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "refrain.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "refrain.json"
MONITORING = DEPLOY.parent / "docs" / "monitoring.md"


def alerts():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"] if "alert" in rule]


# --- rules ---

ME = 'instance="a:1",job="refrain"'


def counter(name, labels, bad, good=0):
    """Grows by so much a minute for two hours, then otherwise for two hours."""
    return f"{name}{{{ME}{labels}}}", f"0+{bad}x120 {120 * bad}+{good}x120"


def gauge(name, labels, bad, good):
    return f"{name}{{{ME}{labels}}}", f"{bad}x120 {good}x120"


def requests(result, bad, good):
    return counter("refrain_requests_total", f',operation="chat",result="{result}"', bad, good)


def calls(code, bad, good):
    return counter("refrain_upstream_requests_total", f',upstream="openai",code="{code}"', bad, good)


def durations(name, labels, slow_le, quick_le):
    """A histogram of ten observations a minute: first all between the two bounds, then all below the lower one."""
    return [counter(f"{name}_bucket", f'{labels},le="{quick_le}"', 0, 10), counter(f"{name}_bucket", f'{labels},le="{slow_le}"', 10, 10),
            counter(f"{name}_bucket", f'{labels},le="+Inf"', 10, 10)]


def fill(share, good):
    tier = ',tier="memory"'
    return [gauge("refrain_bytes", tier, share, good), gauge("refrain_limit_bytes", tier, 100, 100),
            counter("refrain_evictions_total", tier + ',reason="space"', 5, 5)]


def certificate(days, then):
    """Expires so many days after the beginning of all; two hours later there is another one."""
    return gauge("refrain_certificate_expiry_timestamp_seconds", ',listener="proxy"', days * 86400, then * 86400)


# What makes each alert rise for two hours, and go for the next two.
CAUSES = {
    "RefrainDown": [gauge("up", "", 0, 1)],
    "RefrainRestarting": [(f"process_start_time_seconds{{{ME}}}", "0+60x120 7200x120")],
    "RefrainErrors": [requests("error", 10, 1), requests("hit", 60, 60)],
    "RefrainHitRateLow": [requests("hit", 40, 100), requests("miss", 60, 10), requests("bypass", 500, 500)],
    "RefrainHitsSlow": durations("refrain_request_duration_seconds", ',result="hit"', "0.1", "0.05"),
    "RefrainKeysSlow": durations("refrain_key_seconds", ',tier="large"', "+Inf", "0.1")[:2],
    "RefrainUpstreamFailing": [calls("503", 2, 0), calls("timeout", 2, 0), calls("200", 20, 20)],
    "RefrainValidationBreakerOpen": [gauge("refrain_breaker_state", ',upstream="openai",kind="validation"', 2, 0)],
    "RefrainAvailabilityBreakerOpen": [gauge("refrain_breaker_state", ',upstream="openai",kind="availability"', 1, 0)],
    "RefrainTierDown": [gauge("refrain_tier_up", ',tier="redis"', 0, 1)],
    "RefrainTierSlow": durations("refrain_tier_op_seconds", ',tier="disk"', "0.1", "0.05"),
    "RefrainMemoryFilling": fill(85, 70),
    "RefrainMemoryFull": fill(97, 90),
    "RefrainWritesDropped": [counter("refrain_writes_dropped_total", "", 1)],
    "RefrainCorruptRecords": [counter("refrain_corrupt_total", "", 1)],
    "RefrainInvalidationStorm": [counter("refrain_invalidations_total", ',kind="tag"', 2, 1)],
    "RefrainInstancesCut": [gauge("refrain_instances_linked", "", 0, 1), gauge("refrain_instances", "", 2, 2)],
    "RefrainConnectionsRefused": [counter("refrain_connections_refused_total", "", 1)],
    "RefrainDescriptorsRunningOut": [gauge("process_open_fds", "", 900, 700), gauge("process_max_fds", "", 1000, 1000)],
    "RefrainCertificateExpiring": [certificate(days=13, then=15)],
    "RefrainCertificateRunningOut": [certificate(days=2, then=4)],
    "RefrainLogLinesDropped": [counter("refrain_log_lines_dropped_total", "", 1)],
}


def firing(alert, minute, count):
    return {"expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)', "eval_time": f"{minute}m",
            "exp_samples": [{"labels": "{}", "value": count}]}


@pytest.mark.parametrize("alert", [rule["alert"] for rule in alerts()])
def test_an_alert_rises_for_its_cause_and_goes_with_it(alert, tmp_path):
    cause = [{"series": series, "values": values} for series, values in CAUSES[alert]]
    case = {"interval": "1m", "input_series": cause, "promql_expr_test": [firing(alert, 115, 1), firing(alert, 239, 0)]}
    test = tmp_path / "test.yml"
    test.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}))
    told = subprocess.run(["promtool", "test", "rules", str(test)], capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, f"{told.stdout}{told.stderr}"


def test_every_alert_says_what_is_wrong_and_what_to_do():
    page = MONITORING.read_text()
    for rule in alerts():
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{rule['alert'].lower()}"
        assert f"### {rule['alert']}\n" in page, f"docs/monitoring.md does not tell what to do about {rule['alert']}"


def test_the_dashboard_is_what_its_table_makes():
    made = subprocess.run([sys.executable, str(DASHBOARD.parent / "make_dashboard.py")], capture_output=True, text=True, check=True)
    assert made.stdout == DASHBOARD.read_text(), "run deploy/grafana/make_dashboard.py > deploy/grafana/refrain.json"


def test_promtool_finds_nothing_in_rules_and_configuration():
    for what in (["check", "rules", RULES], ["check", "config", DEPLOY / "prometheus" / "prometheus.yml"]):
        told = subprocess.run(["promtool", *map(str, what)], capture_output=True, text=True, timeout=60)
        assert told.returncode == 0, f"{told.stdout}{told.stderr}"


# --- the real thing ---

class Prometheus:
    """Debian's, scraping one instance four times a second with the rules of deploy/."""

    def __init__(self, folder, target):
        self.port = free_port()
        config = {"global": {"scrape_interval": "250ms", "evaluation_interval": "250ms"}, "rule_files": [str(RULES)],
                  "scrape_configs": [{"job_name": "refrain", "static_configs": [{"targets": [target]}]}]}
        (folder / "prometheus.yml").write_text(json.dumps(config))
        with open(folder / "prometheus.log", "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
                 f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"], stdout=log, stderr=log)

    def ask(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def value(self, query):
        """Of a query with one result; None while there is none, or Prometheus is not up yet."""
        try:
            result = self.ask("query", query=query)["result"]
        except OSError:
            return None
        return float(result[0]["value"][1]) if result else None

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def prometheus(refrain, tmp_path):
    server = Prometheus(tmp_path, "127.0.0.1:%d" % refrain.admin[1])
    yield server
    server.stop()


def expressions():
    """Every query of the dashboard and the rules, as Grafana would send it."""
    panels = [p for row in json.loads(DASHBOARD.read_text())["panels"] for p in [row, *row.get("panels", [])]]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        asked += [rule["expr"] for rule in group["rules"]]
    return [expr.replace("$__rate_interval", "5m").replace("$__range", "5m").replace("$instance", ".+") for expr in asked]


def test_prometheus_scrapes_it_and_tells_the_hit_rate(client, refrain, upstream, prometheus):
    wait_until(lambda: prometheus.value('up{job="refrain"}') == 1, "the first scrape")
    for ask in (chat(), chat_stream(), embedding()):
        client.post(ask).was("MISS")
        for _ in range(3):
            client.post(ask).was("HIT")
    upstream.reply(whole, b"{}", status=503)
    client.post(chat("never answered")).whole()
    share = ('sum(refrain_requests_total{result=~"hit|stale|revalidated|coalesced"}) '
             '/ sum(refrain_requests_total{result!~"bypass|error"})')
    wait_until(lambda: prometheus.value("sum(refrain_requests_total)") == 13, "all thirteen requests")
    assert prometheus.value(share) == pytest.approx(9 / 13, abs=1e-9)


def test_every_query_is_of_metrics_that_there_are(client, refrain, prometheus):
    client.post(chat()).was("MISS")
    client.post(chat()).was("HIT")
    wait_until(lambda: prometheus.value('up{job="refrain"}') == 1, "the first scrape")
    told = {name for line in refrain.exposition().splitlines() if line.startswith("# TYPE") for name in [line.split()[2]]}
    recorded = {rule["record"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"] if "record" in rule}
    for expr in expressions():
        prometheus.ask("query", query=expr)  # raises where it does not parse
        names = set(re.findall(r"\b(?:refrain|process)_[a-z0-9_]+(?=\s*[\[{)/><*]|\s*$|\s+(?:==|and|or|>|<|/|\*|-))", expr))
        names = {re.sub(r"_(bucket|sum|count)$", "", name) if name not in told else name for name in names}
        missing = {name for name in names - told if not any(name in record for record in recorded)}
        assert not missing, f"{missing} of {expr!r} are not told by /metrics"


def test_the_important_metrics_are_all_on_the_dashboard():
    asked = " ".join(expressions())
    for name in IMPORTANT:
        assert name in asked, f"{name} is neither on the dashboard nor in a rule"


IMPORTANT = """
refrain_requests_total refrain_request_duration_seconds refrain_hits_total refrain_upstream_requests_total
refrain_upstream_duration_seconds refrain_upstream_first_byte_seconds refrain_entries refrain_bytes refrain_limit_bytes
refrain_evictions_total refrain_not_stored_total refrain_breaker_state refrain_flights refrain_flight_readers
refrain_coalesced_total refrain_tokens_saved_total refrain_cost_saved_dollars_total refrain_seconds_saved_total
refrain_invalidations_total refrain_key_seconds refrain_compression_ratio refrain_tier_errors_total refrain_tier_up
refrain_tier_op_seconds refrain_corrupt_total refrain_writes_dropped_total refrain_write_queue_bytes refrain_instances
refrain_connections refrain_buffered_bytes refrain_certificate_expiry_timestamp_seconds process_resident_memory_bytes process_cpu_seconds_total
""".split()
