"""Every alert comes for its cause and goes with it; every recommendation is there for its evidence, and not once what it
says has been done. SPEC section 12, docs/alerts.md."""

import base64
import contextlib
import inspect
import itertools
import json
import random
import threading

import pytest

from harness.asks import chat
from harness.client import Client
from harness.events import Listener
from harness.operator import Operator
from harness.process import wait_until
from harness.tmpfs import mounted, remounted
from harness.upstream import chat_answer, hold, whole

OFTEN = {"sample_every": "50ms"}
SHORT = {"window": "300ms"}
MIB = 1 << 20


@pytest.fixture
def watched(start):
    """watched(alerts={…}, …): an instance that looks at itself often; what has not just happened is forgotten soon."""
    def begin(alerts=None, **groups):
        refrain = start(monitoring=OFTEN, alerts={**SHORT, **(alerts or {})}, **groups)
        refrain.operator = Operator(refrain)
        return refrain

    return begin


def alert(refrain, code, subject=None):
    """The alert as it is told now, or None."""
    told = refrain.operator.reads("/alerts")
    found = [a for a in told["alerts"] if a["code"] == code and subject in (None, a["subject"])]
    assert sum(told["counts"].values()) == len(told["alerts"])
    return found[0] if found else None


def raised(refrain, code, level, subject=None):
    """Waits until it is there, at this level, in all the places that tell of it."""
    def there():
        found = alert(refrain, code, subject)
        return found if found and found["level"] == level else None

    found = wait_until(there, f"the alert {code} to be raised")
    assert found["message"] and found["what_to_do"] and found["for_s"] >= 0
    line = refrain.logged(lambda e: e.get("event") == "alert_raised" and e["code"] == code and
                          e["alert_level"] == level, f"`alert_raised` {code}")
    assert line["what_to_do"] == found["what_to_do"]
    return found


def cleared(refrain, code, subject=None):
    """Waits until it is gone, and has been told to be."""
    wait_until(lambda: alert(refrain, code, subject) is None, f"the alert {code} to go")
    refrain.logged(lambda e: e.get("event") == "alert_cleared" and e["code"] == code, f"`alert_cleared` {code}")
    assert refrain.metric("alerts", alert=code) == 0


def ask_all(client, requests, **kwargs):
    with client.connect() as connection:
        return [client.post(request, on=connection, **kwargs).whole() for request in requests]


def new_ones(count, label="new"):
    return [chat(f"{label} {number}") for number in range(count)]


# -- alerts --


def test_memory_that_fills_up(watched, start, upstream):
    refrain = watched(tiers={"memory": {"max_bytes": "4MiB"}})
    client = start.client(refrain)
    upstream.always(whole, chat_answer("x" * 100_000))
    numbers = itertools.count()

    def filled_to(share):
        while refrain.metric("bytes", tier="memory") < share * refrain.metric("limit_bytes", tier="memory"):
            ask_all(client, [chat(f"long {next(numbers)}")])

    filled_to(0.82)
    raised(refrain, "memory", "warning")
    filled_to(0.95)
    found = raised(refrain, "memory", "critical")
    assert found["threshold"] == 0.95 and found["value"] >= 0.9 and found["unit"] == "ratio"
    assert refrain.metric("alerts", alert="memory", level="critical") == 1
    refrain.operator.does("/invalidate", json.dumps({"all": True}))
    cleared(refrain, "memory")


def test_keys_that_take_long(watched, start):
    refrain = watched(alerts={"key_time": "1ms", "window": "1h"})
    client = start.client(refrain)
    ask_all(client, [chat(json.dumps(["\\u00e9\n"] * 70_000) + str(number)) for number in range(20)])
    found = raised(refrain, "key_time", "warning")
    assert found["value"] >= found["threshold"] == 0.001 and found["unit"] == "s"
    numbers = itertools.count()

    def is_quick():
        ask_all(client, [chat(f"short {next(numbers)}") for _ in range(100)])
        return alert(refrain, "key_time") is None

    wait_until(is_quick, "the alert to go")
    cleared(refrain, "key_time")


def test_a_tier_that_takes_long(watched, start, redis):
    refrain = watched(alerts={"tier_time": "100ms", "window": "1s"}, tiers={"redis": redis.tier(timeout="10s")})
    client = start.client(refrain)
    ask_all(client, [chat("once")])
    redis.freeze()
    waiting = [client.post(request) for request in new_ones(24)]
    refrain.waits_for("flights", 24)
    threading.Event().wait(0.3)  # so slow it is
    redis.thaw()
    for answer in waiting:
        answer.whole()
    assert raised(refrain, "tier_time", "warning")["subject"] == "redis"
    cleared(refrain, "tier_time")


def test_many_invalidations(watched):
    refrain = watched(alerts={"invalidations_warning": 2, "invalidations_critical": 4, "invalidations_window": "1s"})

    def invalidates(times):
        for _ in range(times):
            refrain.operator.does("/invalidate", json.dumps({"tag": "none"}))

    invalidates(3)
    raised(refrain, "invalidations", "warning")
    cleared(refrain, "invalidations")
    invalidates(8)
    raised(refrain, "invalidations", "critical")
    cleared(refrain, "invalidations")


def test_a_low_hit_rate(watched, start):
    refrain = watched(alerts={"hit_rate_requests": 20, "window": "1h"})
    client = start.client(refrain)
    ask_all(client, new_ones(30))
    found = raised(refrain, "hit_rate", "warning")
    assert (found["value"], found["threshold"]) == (0, 0.5)
    ask_all(client, [chat("new 0")] * 60)
    cleared(refrain, "hit_rate")


def test_a_validation_breaker_that_is_open(watched, start, upstream):
    refrain = watched(breaker={"validation": {"failures": 2}})
    upstream.always(whole, b"no JSON at all")
    ask_all(start.client(refrain), new_ones(3))
    found = raised(refrain, "breaker_open", "error", "default validation")
    assert "broken answers" in found["message"]
    refrain.operator.does("/breakers/default/validation", json.dumps({"action": "reset"}))
    cleared(refrain, "breaker_open")


def test_an_upstream_that_fails(watched, start, upstream):
    refrain = watched(alerts={"window": "1s"}, breaker={"availability": {"samples": 20, "open_for": "100ms"}})
    upstream.down()
    for request in new_ones(24):
        start.client(refrain).post(request).refused(502)
    raised(refrain, "upstream_failures", "error")
    raised(refrain, "breaker_open", "error", "default availability")
    upstream.up()

    def is_well():
        ask_all(start.client(refrain), new_ones(1, random.random()))
        return alert(refrain, "breaker_open") is None

    wait_until(is_well, "the breaker to close")
    cleared(refrain, "breaker_open")
    cleared(refrain, "upstream_failures")


def test_a_redis_that_goes_and_comes(watched, start, redis):
    refrain = watched(tiers={"redis": redis.tier()})
    client = start.client(refrain)
    ask_all(client, [chat("before")])
    refrain.waits_for("write_queue_entries", 0)
    redis.kill()
    assert raised(refrain, "tier_down", "critical", "redis")["value"] >= 0
    raised(refrain, "instances_cut", "error")
    numbers = itertools.count()

    def drops():
        ask_all(client, [chat(f"dropped {next(numbers)}")])
        return alert(refrain, "writes_dropped")

    wait_until(drops, "a write to be given up")
    raised(refrain, "writes_dropped", "warning")
    redis.restart()

    def is_up():
        ask_all(client, [chat(f"probe {next(numbers)}")])
        return alert(refrain, "tier_down") is None

    wait_until(is_up, "the tier to be up")
    cleared(refrain, "tier_down")
    cleared(refrain, "instances_cut")
    cleared(refrain, "writes_dropped")


@pytest.fixture
def read_only(tmp_path):
    """A folder on a file system of its own, that can be made so that nothing is written to it."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    with mounted(folder, "size=50%"):
        yield folder


def test_a_disk_that_cannot_be_written(watched, start, read_only):
    tiers = {"disk": {"path": str(read_only / "cache.db"), "timeout": "10s"}}
    first = watched(tiers=tiers)
    ask_all(start.client(first), [chat()])
    first.waits_for("write_queue_entries", 0)
    first.stop()
    remounted(read_only, "ro")
    refrain = watched(tiers=tiers)
    assert "read-only" in raised(refrain, "tier_degraded", "warning", "disk")["message"]
    remounted(read_only, "rw")
    numbers = itertools.count()

    def is_well():
        ask_all(start.client(refrain), [chat(f"new {next(numbers)}")])
        return alert(refrain, "tier_degraded") is None

    wait_until(is_well, "the disk to be well")
    cleared(refrain, "tier_degraded")


def test_records_that_nobody_can_read(watched, start, redis):
    refrain = watched(tiers={"memory": {"enabled": False}, "redis": redis.tier(timeout="10s")})
    client = start.client(refrain)
    client.post(chat()).was("MISS").whole()
    refrain.waits_for("write_queue_entries", 0)
    [name] = [key for key in redis.cli("KEYS", "refrain:default:chat:*")]
    redis.cli("SETRANGE", name, 60, b"rotten")
    client.post(chat()).was("MISS").whole()
    raised(refrain, "records_unreadable", "warning")
    cleared(refrain, "records_unreadable")


def test_connections_that_are_refused(watched, start):
    refrain = watched(listen={"max_connections": 2})
    client = start.client(refrain)
    with client.connect() as one, client.connect() as two:
        client.post(chat(), on=one).whole()
        client.post(chat(), on=two).whole()
        with contextlib.suppress(AssertionError, OSError):
            client.post(chat()).whole()
        raised(refrain, "connections_refused", "error")
    cleared(refrain, "connections_refused")


def test_buffers_that_fill_up(watched, start, upstream):
    refrain = watched(listen={"max_buffered_bytes": "1MiB"})
    upstream.reply(whole, chat_answer("x"), before=hold("g"))
    waiting = start.client(refrain).post(chat("x" * 900_000))
    raised(refrain, "buffers", "warning")
    upstream.release("g")
    waiting.whole()
    cleared(refrain, "buffers")


def test_log_lines_that_are_lost(watched, start):
    refrain = watched()
    refrain.write_config({**refrain.config, "log": {"file": "/dev/full"}})
    refrain.reload()
    wait_until(lambda: ask_all(start.client(refrain), [chat()]) and alert(refrain, "log_lines_dropped"), "the alert")
    refrain.write_config(refrain.config)
    refrain.reload()
    cleared(refrain, "log_lines_dropped")


def test_a_credential_that_upstream_refuses(watched, start, upstream):
    refrain = watched()
    client = start.client(refrain)
    upstream.reply(whole, b'{"error": {"message": "no such key"}}', status=401)
    client.post(chat()).whole()
    assert raised(refrain, "credentials_suspended", "info")["value"] == 1
    client.post(chat()).was("MISS").whole()
    cleared(refrain, "credentials_suspended")


# -- what holds for all of them --


def test_a_threshold_can_be_switched_off_and_on_by_a_reload(watched, start):
    refrain = watched(alerts={"hit_rate": "off", "hit_rate_requests": 10, "window": "1h"})
    ask_all(start.client(refrain), new_ones(20))
    with_it = {**refrain.config, "alerts": {**refrain.config["alerts"], "hit_rate": 0.5}}
    refrain.write_config(with_it)
    refrain.reload()
    raised(refrain, "hit_rate", "warning")
    refrain.write_config(refrain.config)
    refrain.reload()
    cleared(refrain, "hit_rate")
    [line] = [e for e in refrain.events if e.get("event") == "alert_raised" and e["code"] == "hit_rate"]
    assert line["level"] == "warn"


def test_who_listens_hears_of_them(watched):
    refrain = watched(alerts={"invalidations_warning": 1, "invalidations_window": "300ms"})
    listener = Listener(refrain, "ALERT")
    refrain.operator.does("/invalidate", json.dumps({"tag": "none"}))
    heard = [listener.hears("ALERT")["payload"] for _ in range(2)]
    assert [(e["code"], e["state"], e["level"]) for e in heard] == [
        ("invalidations", "raised", "warning"), ("invalidations", "cleared", "warning")]


# -- recommendations --


def recommended(refrain):
    return {r["code"]: r for r in refrain.operator.reads("/recommendations")["recommendations"]}


def chats(count=12, text="a"):
    return lambda client: ask_all(client, [chat(f"{text} {number}") for number in range(count)])


def answers(**how):
    """The upstream answers so, and a dozen different requests are asked."""
    body = how.pop("body", chat_answer("x"))

    def traffic(client, upstream):
        upstream.always(whole, body, **how)
        chats()(client)

    return traffic


LONG = chat_answer("x" * 50_000)
CUT_SHORT = json.dumps({**json.loads(chat_answer("x")), "choices": [
    {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "length"}]}).encode()


def many_long(client, upstream):
    upstream.always(whole, LONG)
    chats(120)(client)


def with_field(client, upstream):
    ask_all(client, [chat(request_id=f"r{number}") for number in range(14)])


def with_header(client, upstream):
    ask_all(client, [chat().with_headers(X_User_Id=f"u{number}") for number in range(14)])


def of_many_credentials(client, upstream):
    for number in range(14):
        ask_all(client.with_credential(f"sk-{number}"), [chat()])


def base64_of(size):
    return base64.b64encode(random.randbytes(size)).decode()


def images(client, upstream):
    upstream.always(whole, chat_answer(base64_of(30_000)))
    chats()(client)


def more_than_the_disk_holds(client, upstream):
    with client.connect() as connection:
        for number in range(40):
            upstream.reply(whole, chat_answer(base64_of(600_000)))
            client.post(chat(f"a {number}"), on=connection).whole()


def long_but_small(client, upstream):
    upstream.always(whole, LONG)
    chats(120)(client)


def hundred_that_run_out(client, upstream):
    chats(110)(client)


def crowd(client, upstream):
    with contextlib.ExitStack() as open_ones:
        for number in range(16):
            connection = open_ones.enter_context(client.connect())
            with contextlib.suppress(AssertionError, OSError):
                client.post(chat(), on=connection).whole()


def written_otherwise(client, upstream):
    body = chat().wire_body.decode()
    ask_all(client, [chat().written(" " * number + body) for number in range(110)])


def written_alike(client, upstream):
    ask_all(client, [chat()] * 250)


def more_than_may_wait(client, upstream):
    upstream.always(whole, chat_answer(base64_of(75_000)))
    chats(24)(client)


def mended(client, upstream, refrain):
    upstream.always(whole, chat_answer("x"))
    refrain.operator.does("/breakers/default/validation", json.dumps({"action": "reset"}))
    chats(1, "after")(client)


def asked_for_nothing_to_be_stored(client, upstream):
    ask_all(client, [chat(f"a {number}") for number in range(12)], headers={"Refrain-Cache": "read-only"})


def gets(client, upstream):
    client = Client(client.address, credential=None)
    with client.connect() as connection:
        for number in range(12):
            client.get(f"/v1/models/{number}", on=connection).whole()


def all_at_once(client, upstream, refrain):
    """A dozen ask the same; who began first has his answer first, where it is one of his own."""
    def gate_of(number):
        return f"{number} at {refrain.proxy}"

    waiting = []
    for number in range(12):
        upstream.reply(whole, chat_answer("x"), before=hold(gate_of(number)))
        waiting.append(client.post(chat()))
        refrain.waits_for("flight_readers", number + 1)
        if refrain.metric("flights") > number:  # a call of its own, which upstream hears before the next one's
            upstream.held(gate_of(number))
    for (number, answer) in enumerate(waiting):
        upstream.release(gate_of(number))
        answer.whole()


def hits_of_many_tokens(client, upstream):
    ask_all(client, [chat()] * 30)


DISK = "cache.db"  # in the test's folder
TINY = {"memory": {"max_bytes": "4MiB"}}
LATER = {"write": "behind", "write_behind": "1h"}
# What is recommended; a configuration and traffic that are its cause; what is done about it: another configuration, with
# the same traffic once more, or other traffic at the same instance.
CASES = [
    ("memory_small", {"tiers": TINY}, many_long, {"tiers": {"memory": {"max_bytes": "32MiB"}}}),
    ("too_large", {"cache": {"max_object_bytes": "10KiB"}}, answers(body=LONG), {"cache": {"max_object_bytes": "1MiB"}}),
    ("finish_reason", {}, answers(body=CUT_SHORT), {"validation": {"finish_reasons": {"length": "1h"}}}),
    ("rule", {"rules": [{"match": {"model": "gpt-4o*"}, "cache": "read-only"}]}, answers(), {"rules": []}),
    ("client_forbids", {}, asked_for_nothing_to_be_stored, {"cache": {"client_control": False}}),
    ("no_lifetime", {"routes": [{"path": "/"}]}, gets, {"routes": [{"path": "/", "ttl": "5m"}]}),
    ("cache_control", {"cache": {"respect_upstream_cache_control": True}},
     answers(headers=[("Cache-Control", "no-store")]), {"cache": {"respect_upstream_cache_control": False}}),
    ("broken_answers", {"breaker": {"validation": {"failures": 3}}}, answers(body=b"no JSON"),
     mended),
    ("bytes_differ", {}, written_otherwise, written_alike),
    ("field_differs", {}, with_field, {"key": {"ignore_fields": ["request_id"]}}),
    ("header_differs", {}, with_header, {"key": {"ignore_headers": ["X-User-Id"]}}),
    ("scope", {}, of_many_credentials, {"cache": {"scope": "shared"}}),
    ("coalescing_off", {"coalescing": {"enabled": False}}, all_at_once, {"coalescing": {"enabled": True}}),
    ("no_disk", {}, chats(110), {"tiers": {"disk": {"path": DISK, "timeout": "10s"}}}),
    ("disk_small", {"tiers": {"disk": {"path": DISK, "max_bytes": "16MiB", "timeout": "10s"}}}, more_than_the_disk_holds,
     {"tiers": {"disk": {"path": DISK + "2", "max_bytes": "128MiB", "timeout": "10s"}}}),
    ("compression_off", {"tiers": {"disk": {"path": DISK, "max_bytes": "16MiB", "timeout": "10s"}},
                         "compression": {"level": "off"}}, more_than_the_disk_holds,
     {"tiers": {"disk": {"path": DISK + "2", "max_bytes": "16MiB", "timeout": "10s"}}, "compression": {"level": 6}}),
    ("compression_poor", {"tiers": {"disk": {"path": DISK, "timeout": "10s"}}}, images,
     {"tiers": {"disk": {"path": DISK + "2", "timeout": "10s"}}, "compression": {"level": "off"}}),
    ("compress_memory", {"tiers": {**TINY, "disk": {"path": DISK, "timeout": "10s"}}}, long_but_small,
     {"tiers": {**TINY, "disk": {"path": DISK + "2", "timeout": "10s"}}, "compression": {"memory": True}}),
    ("ttl_short", {"cache": {"default_ttl": "1s"}}, hundred_that_run_out, {"cache": {"default_ttl": "1h"}}),
    ("queue_full", {"tiers": {"disk": {"path": DISK, "timeout": "10s"}, **LATER, "write_queue_max_bytes": "1MiB"}},
     more_than_may_wait,
     {"tiers": {"disk": {"path": DISK + "2", "timeout": "10s"}, **LATER, "write_queue_max_bytes": "64MiB"}}),
    ("connections", {"listen": {"max_connections": 2}}, crowd, {"listen": {"max_connections": 100}}),
    ("stale_if_error", {}, answers(body=b"{}", status=500), {"cache": {"stale_if_error": "1d"}}),
    ("pricing", {}, hits_of_many_tokens, {"pricing": [{"model": "*", "input": 1, "output": 2}]}),
]


def seen(refrain):
    """Waits until two more readings have been taken: what has happened is in the first or the second."""
    def last():
        return max((s["at"] for s in refrain.operator.reads("/stats/history?minutes=60&points=1000")["samples"]), default="")

    for _ in range(2):
        before = last()
        wait_until(lambda: last() > before, "another reading")


def in_folder(groups, folder):
    disk = groups.get("tiers", {}).get("disk")
    if not disk:
        return groups
    return {**groups, "tiers": {**groups["tiers"], "disk": {**disk, "path": str(folder / disk["path"])}}}


@pytest.mark.parametrize("code, before, traffic, after", CASES, ids=[case[0] for case in CASES])
def test_a_recommendation_is_there_until_it_is_followed(watched, start, upstream, tmp_path, code, before, traffic, after):
    def asks(refrain, how):
        parts = {"client": start.client(refrain), "upstream": upstream, "refrain": refrain}
        how(**{name: parts[name] for name in inspect.signature(how).parameters})
        return refrain

    def runs(groups):
        return asks(watched(**in_folder(groups, tmp_path)), traffic)

    first = runs(before)
    wait_until(lambda: code in recommended(first), f"{code} to be recommended")
    told = recommended(first)[code]
    assert all(told[member] for member in ("title", "change", "evidence", "impact", "option"))
    then = asks(first, after) if callable(after) else runs(after)
    seen(then)
    assert code not in recommended(then), f"still: {recommended(then)[code]}"


def test_a_redis_that_stays_away_is_told_of(watched, start, redis):
    refrain = watched(tiers={"redis": redis.tier(), "disk": None})
    client, numbers = start.client(refrain), itertools.count()
    redis.kill()

    def are_recommended():
        chats(12, f"{next(numbers)}")(client)
        return {"redis_down", "queue_full"} <= recommended(refrain).keys()

    wait_until(are_recommended, "what is to be done about Redis")  # a hundred readings
    redis.restart()

    def is_up():
        chats(1, f"up {next(numbers)}")(client)
        return "redis_down" not in recommended(refrain)

    wait_until(is_up, "the recommendation to go")
