"""What operators are told of counts and times is what clients have sent and seen. SPEC section 12."""

import csv
import hashlib
import io
import json
import time

import pytest

from harness import answers
from harness.asks import chat, chat_stream, messages
from harness.operator import Operator
from harness.process import wait_until
from harness.upstream import chat_answer, hold, whole

QUICKLY = {"monitoring": {"sample_every": "100ms"}}
RESULTS = ("hit", "miss", "coalesced", "stale", "revalidated", "bypass", "error")


def counted(**results):
    """The member "requests" where this was counted and nothing else."""
    return {"total": sum(results.values()), **{name: results.get(name, 0) for name in RESULTS}}


def settled(operator, total, path="/stats"):
    """What @path tells once @total requests have ended: one does so just after its client has the last byte."""
    wait_until(lambda: operator.reads("/stats")["requests"]["total"] >= total, "the requests have ended")
    return operator.reads(path)


def test_nothing_has_happened_yet(operator):
    stats = operator.reads("/stats")
    assert stats["requests"] == counted() and stats["hit_rate"] is None
    assert stats["operations"] == [] and stats["not_stored"] == []
    memory, disk, redis = stats["tiers"]
    assert memory["tier"] == "memory" and memory["state"] == "up" and memory["entries"] == 0
    assert 0 < memory["bytes"] < memory["limit_bytes"] and 0 < memory["fill"] < 1
    assert disk["state"] == redis["state"] == "off" and redis["entries"] is None
    assert stats["process"]["rss_bytes"] > 1 << 20 and stats["uptime_s"] >= 0
    assert stats["started"] <= stats["now"] and stats["now"].endswith("Z")


def test_each_request_is_counted_once_by_operation_and_result(operator, client, upstream):
    for _ in range(3):
        client.post(chat("one")).whole()
    client.post(chat("two"), {"Cache-Control": "no-store"}).whole()
    client.post(messages("one")).whole()
    stats = settled(operator, 5)
    assert stats["requests"] == counted(hit=2, miss=2, bypass=1) and stats["hit_rate"] == 0.5
    told = {one["operation"]: one for one in stats["operations"]}
    assert told["chat"]["requests"] == counted(hit=2, miss=1, bypass=1)
    assert told["chat"]["hit_rate"] == 0.666666667
    assert told["messages"]["requests"] == counted(miss=1) and told["messages"]["hit_rate"] == 0
    assert stats["upstream"] == {"calls": 3, "failures": 0}
    assert stats["tiers"][0]["entries"] == 2 and stats["tiers"][0]["hits"] == 2
    assert stats["flights"] == {"open": 0, "readers": 0} and stats["breakers_open"] == 0
    (space,) = stats["namespaces"]
    assert space["namespace"] == "default" and space["requests"] == stats["requests"]


@pytest.mark.refrain(pricing={"gpt-4o*": {"input": 1, "output": 10}})
def test_what_upstream_was_spared_is_told_by_model(operator, client, upstream):
    for _ in range(3):
        client.post(chat()).whole()
        client.post(chat(model="unpriced")).whole()
    saved = settled(operator, 6)["saved"]
    used = answers.USAGE["prompt_tokens"], answers.USAGE["completion_tokens"]
    assert (saved["tokens_in"], saved["tokens_out"]) == (4 * used[0], 4 * used[1]) and saved["priced"]
    dollars = 2 * (used[0] * 1 + used[1] * 10) / 1e6
    assert abs(saved["dollars"] - dollars) < 1e-12
    told = {one["model"]: (one["hits"], one["tokens_in"], one["tokens_out"], one["dollars"]) for one in saved["models"]}
    assert told == {"gpt-4o-mini": (2, 2 * used[0], 2 * used[1], saved["dollars"]),
                    "unpriced": (2, 2 * used[0], 2 * used[1], None)}


# Times.


def durations(refrain, result, total):
    """How long requests of this result took by the log's own lines, in seconds; sorted."""
    return sorted(e["took_ms"] / 1000 for e in refrain.request_lines(total) if e["result"] == result)


def is_told(told, took, error):
    """The percentiles, within the stated error; the log's lines are to the microsecond."""
    assert told["n"] == len(took)
    for name, q in (("median_s", 0.5), ("p95_s", 0.95), ("p99_s", 0.99)):
        exact = took[max(0, -(-int(q * 100) * len(took) // 100) - 1)]
        assert abs(told[name] - exact) <= exact * error + 2e-6, f"{name}: {told} of {took}"
    assert abs(told["min_s"] - took[0]) <= 2e-6 and abs(told["max_s"] - took[-1]) <= 2e-6
    assert abs(told["mean_s"] - sum(took) / len(took)) <= 2e-6


def test_percentiles_are_those_of_the_requests_that_were(operator, client, refrain, upstream):
    for n in range(7):
        client.post(chat(f"{n}")).whole()
    for _ in range(43):
        client.post(chat("1")).whole()
    performance = settled(operator, 50, "/performance")
    assert performance["relative_error"] == 1 / 64
    told = {(one["operation"], one["result"]): one for one in performance["operations"]}
    assert set(told) == {("chat", "hit"), ("chat", "miss")}
    is_told(told["chat", "hit"], durations(refrain, "hit", 50), performance["relative_error"])
    is_told(told["chat", "miss"], durations(refrain, "miss", 50), performance["relative_error"])
    parts = {one["part"]: one for one in performance["parts"]}
    assert 7 <= parts["key"]["n"] <= 8, "each worker has a memo of its own"
    assert parts["upstream"]["n"] == parts["upstream_first_byte"]["n"] == 7
    assert 0 < parts["upstream_first_byte"]["min_s"] <= parts["upstream"]["max_s"]
    assert parts["disk_get"]["n"] == 0 and parts["disk_get"]["p95_s"] is None


def test_a_slow_upstream_shows_in_misses_and_in_its_own_part(operator, client, upstream):
    began = time.monotonic()
    upstream.reply(whole, chat_answer("late"), before=hold("late"))
    asked = client.post(chat())
    upstream.held("late")
    held = time.monotonic()
    for _ in range(20):
        operator.reads("/stats")
    held_s = time.monotonic() - held
    upstream.release("late")
    asked.whole()
    performance = settled(operator, 1, "/performance")
    at_most_s = time.monotonic() - began
    (chat_misses,) = performance["operations"]
    assert held_s <= chat_misses["min_s"] == chat_misses["max_s"] <= at_most_s
    parts = {one["part"]: one for one in performance["parts"]}
    assert held_s <= parts["upstream_first_byte"]["max_s"] <= parts["upstream"]["max_s"] <= at_most_s


def test_streams_are_told_apart(operator, client, upstream):
    client.post(chat_stream()).whole()
    client.post(chat_stream()).whole()
    client.post(chat()).whole()
    performance = settled(operator, 3, "/performance")
    told = {one["result"]: (one["n"], one["streams"]["n"]) for one in performance["operations"]}
    assert told == {"hit": (1, 1), "miss": (2, 1)}


def test_invalidations_and_writes_to_tiers_are_timed(start, tmp_path):
    refrain = start(tiers={"disk": {"path": str(tmp_path / "cache.db"), "timeout": "10s"}})
    client, operator = start.client(refrain), Operator(refrain)
    client.post(chat()).was("MISS")

    def part(name):
        return {one["part"]: one["n"] for one in operator.reads("/performance")["parts"]}[name]

    wait_until(lambda: part("disk_put") == 1, "the answer is on disk")
    assert part("disk_get") == 1
    operator.does("/invalidate", {"all": True, "dry_run": True})
    assert part("invalidation") == 0, "nothing was invalidated"
    operator.does("/invalidate", {"all": True})
    assert part("invalidation") == 1
    operator.close()


# History.


@pytest.mark.refrain(**QUICKLY)
def test_history_adds_up_to_the_totals(operator, client, upstream):
    for n in range(3):
        client.post(chat(f"{n}")).whole()
        wait_until(lambda n=n: history_total(operator) == 2 * n + 1, "a sample has it")
        client.post(chat("0")).whole()
        wait_until(lambda n=n: history_total(operator) == 2 * n + 2, "a sample has it")
    stats = operator.reads("/stats")
    for points in (1, 2, 5, 1000):
        history = operator.reads(f"/stats/history?points={points}")
        samples = history["samples"]
        assert 1 <= len(samples) <= points and history["every_s"] == 0.1
        for name, count in stats["requests"].items():
            assert sum(one["requests"][name] for one in samples) == count, name
        assert abs(sum(one["seconds_saved"] for one in samples) - stats["saved"]["seconds"]) < 1e-6
        assert sorted(one["at"] for one in samples) == [one["at"] for one in samples]
        for one in samples:
            assert one["p50_s"] is not None or one["hit_p95_s"] is one["miss_p95_s"] is None
            assert 0 < one["memory_bytes"] < one["memory_limit_bytes"] and one["rss_bytes"] > 0
    (whole_time,) = operator.reads("/stats/history?points=1")["samples"]
    assert whole_time["hit_rate"] == stats["hit_rate"]
    assert whole_time["p50_s"] <= whole_time["p95_s"] <= whole_time["p99_s"]


def history_total(operator):
    return sum(one["requests"]["total"] for one in operator.reads("/stats/history")["samples"])


@pytest.mark.parametrize("query", ["points=0", "points=1001", "points=many", "points=", "minutes=-1",
                                   "minutes=99999999999999999999"])
def test_a_history_that_cannot_be_is_refused(operator, query):
    answer = operator.get(f"/stats/history?{query}")
    answer.refused(400, "request_invalid")
    assert answer.json()["error"]["where"] == "query." + query.split("=")[0]


# What was slow, what is popular.


@pytest.mark.refrain(**QUICKLY)
def test_a_request_that_takes_much_longer_than_the_others_is_told_of(operator, client, refrain, upstream):
    assert operator.reads("/slow") == {"slow": []}
    for n in range(25):
        client.post(chat(f"quick {n}")).whole()
    history_has(operator, 25)
    took = durations(refrain, "miss", 25)
    typical_s = sum(took[:20]) / 20  # the lowest four fifths
    upstream.reply(whole, chat_answer("late"), before=hold("late"))
    asked = client.post(chat("slow"), {"X-Request-Id": "the-slow-one"})
    upstream.held("late")
    wait_until(lambda: operator.reads("/stats")["requests"]["total"] == 25, "it still runs")
    held = time.monotonic()
    while time.monotonic() - held < 50 * typical_s:
        operator.reads("/stats")
    upstream.release("late")
    asked.whole()
    wait_until(lambda: any(one["id"] == "the-slow-one" for one in operator.reads("/slow")["slow"]), "it is slow")
    slow = next(one for one in operator.reads("/slow")["slow"] if one["id"] == "the-slow-one")
    assert slow["operation"] == "chat" and slow["result"] == "miss" and slow["status"] == 200
    assert slow["model"] == "gpt-4o-mini" and slow["namespace"] == "default" and slow["tier"] is None
    assert abs(slow["typical_s"] - typical_s) <= typical_s / 64 + 2e-6
    assert slow["took_s"] >= 50 * typical_s and slow["times"] >= 2
    assert "quick" not in str(slow), "never a prompt"


def history_has(operator, total):
    wait_until(lambda: history_total(operator) == total, "a reading has it")


def test_the_most_popular_come_first(operator, client, upstream):
    for n, times in enumerate((2, 5, 1, 3)):
        for _ in range(times):
            client.post(chat(f"question {n}")).whole()
    told = operator.reads("/popular")["entries"]
    assert [one["hits"] for one in told] == [4, 2, 1], "who was asked once is not popular"
    assert all(one["tier"] == "memory" and one["operation"] == "chat" and one["tokens_out"] == 7 for one in told)
    assert operator.reads(f"/entries/{told[0]['id']}")["hits"] == 4
    assert [one["hits"] for one in operator.reads("/popular?limit=1")["entries"]] == [4]
    operator.get("/popular?limit=101").refused(400, "request_invalid")


@pytest.mark.refrain(tiers={"memory": {"enabled": False}})
def test_without_memory_nothing_is_popular(operator):
    assert operator.reads("/popular") == {"entries": []}


# To take away.


@pytest.mark.refrain(**QUICKLY)
def test_an_export_is_a_table_that_spreadsheets_read(operator, client, upstream):
    client.post(chat(model="=danger,\"quoted\"")).whole()
    client.post(chat(model="=danger,\"quoted\"")).whole()
    history_has(operator, 2)
    answer = operator.get("/export?format=csv").whole()
    assert answer.status == 200 and answer.header("content-type").startswith("text/csv")
    assert answer.header("content-disposition") == 'attachment; filename="refrain.csv"'
    lines = list(csv.reader(io.StringIO(answer.body.decode(), newline=""), strict=True))
    assert lines[0] == ["section", "subject", "measure", "value"] and all(len(line) == 4 for line in lines)
    table = {(line[0], line[1], line[2]): line[3] for line in lines[1:]}
    assert table["stats", "", "requests.hit"] == "1" and table["stats", "", "hit_rate"] == "0.5"
    assert table["stats.operations", "chat", "requests.miss"] == "1"
    assert table["performance.operations", "chat hit", "n"] == "1"
    assert sum(int(value) for (section, _, measure), value in table.items()
               if section == "history.samples" and measure == "requests.total") == 2
    assert not [cell for line in lines for cell in line if cell.startswith(("=", "@", "+"))]


def test_an_export_as_json_has_what_the_routes_have(operator, client, upstream):
    client.post(chat()).whole()
    client.post(chat()).whole()
    stats = settled(operator, 2)
    answer = operator.get("/export").whole()
    assert answer.header("content-disposition") == 'attachment; filename="refrain.json"'
    told = json.loads(answer.body)
    assert told["stats"]["requests"] == stats["requests"] and told["stats"]["saved"] == stats["saved"]
    assert told["performance"]["operations"] == operator.reads("/performance")["operations"]
    assert told["popular"]["entries"][0]["hits"] == 1 and told["slow"] == []
    assert set(told["history"]) == set(operator.reads("/stats/history"))
    for part in ("alerts", "recommendations", "clients"):
        assert told[part] == operator.reads(f"/{part}")[part] == []
    operator.get("/export?format=xml").refused(400, "request_invalid")


TEAM = {"alice": {"token_sha256": [hashlib.sha256(b"token of alice").hexdigest()]}}


@pytest.mark.refrain(clients=TEAM, alerts={"hit_rate_requests": 1}, **QUICKLY)
def test_an_export_has_alerts_and_clients_by_name(operator, client, upstream):
    client.post(chat(), {"Authorization": "Bearer token of alice"}).was("MISS")
    wait_until(lambda: operator.reads("/alerts")["alerts"], "the hit rate to be too low")
    rows = list(csv.reader(io.StringIO(operator.get("/export?format=csv").whole().body.decode(), newline="")))
    table = {(line[0], line[1], line[2]): line[3] for line in rows}
    assert table["alerts", "hit_rate", "level"] == "warning"
    assert table["clients", "alice", "requests.miss"] == "1"


def test_configuration_is_told_with_its_sources_and_without_secrets(start, tmp_path):
    (tmp_path / "token").write_text("very secret")
    refrain = start("--set", "cache.default_ttl=2h", admin={"token_file": str(tmp_path / "token")})
    operator = Operator(refrain, "very secret")
    told = operator.reads("/config")
    assert told["cache.default_ttl"]["value"] == "2h" and "--set" in told["cache.default_ttl"]["source"]
    assert told["listen.workers"]["value"] == "2" and told["log.format"]["source"] == "built-in"
    assert "very secret" not in json.dumps(told)
    changed = operator.reads("/config?changed=true")
    assert "cache.default_ttl" in changed and "log.format" not in changed
    operator.close()
