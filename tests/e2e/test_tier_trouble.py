"""The tiers below memory never take the product down: it begins, serves, reloads and ends whatever they do, and what it
holds meanwhile is bounded. SPEC sections 8 and 12."""

import contextlib
import itertools
import os
import signal
import sqlite3
import threading
import time

import pytest

from harness.asks import chat, chat_stream
from harness.events import Listener
from harness.load import Load
from harness.operator import Operator
from harness.process import sanitized, wait_until
from harness.redis import RedisError
from harness.upstream import chat_answer, hold, sse, token, whole

DRAIN = {"drain_timeout": "1s"}
END_S = 20  # generous: what an end must not do is to hang
PAUSE_S = 0.05


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tier").mkdir()
    return tmp_path / "tier"


@pytest.fixture
def both(folder, start, redis):
    """both(…): an instance over disk and Redis, whose answers outlive it. Tiers are given the time that a busy machine
    takes."""
    def begin(timeout="10s", **groups):
        tiers = {"disk": {"path": str(folder / "cache.db"), "timeout": timeout}, "redis": redis.tier(timeout=timeout)}
        return start(cache={"secret": "one secret for all of these instances"}, tiers=tiers, listen=DRAIN, **groups)

    return begin


def cold():
    """Questions that nobody has asked before."""
    return (chat(f"cold {number}") for number in itertools.count())


def descriptors(instance):
    return len(os.listdir(f"/proc/{instance.process.pid}/fd"))


def ends_in_time(instance):
    began = time.monotonic()
    instance.stop()
    took = time.monotonic() - began
    assert took < END_S, f"it took {took:.1f} s to end; the log says:\n{instance.log()}"


def written(instance):
    instance.waits_for("write_queue_entries", 0)


# -- the end, with a Redis that stands still --


def a_search(instance, start, upstream):
    start.client(instance).post(chat("searched for"))
    instance.waits_for("flights", 1)


def an_invalidation(instance, start, upstream):
    Operator(instance).post("/invalidate", {"all": True})
    instance.waits_for("invalidations_total", 1)


def a_listing(instance, start, upstream):
    Operator(instance).get("/entries")


def a_listener(instance, start, upstream):
    Listener(instance)


def a_stream(instance, start, upstream):
    upstream.reply(sse, token("a"), hold("for ever"), token("b"))
    start.client(instance).post(chat_stream("streamed")).sees("a")


@pytest.mark.parametrize("cluster", [False, True], ids=["alone", "fleet"])
@pytest.mark.parametrize("busy_with", [a_search, an_invalidation, a_listing, a_listener, a_stream])
def test_it_ends_while_redis_is_frozen(both, start, redis, upstream, busy_with, cluster):
    instance = both(coalescing={"cluster": cluster})
    start.client(instance).post(chat("before")).was("MISS")
    written(instance)
    if busy_with is a_stream:
        busy_with(instance, start, upstream)
        redis.freeze()
    else:
        redis.freeze()
        busy_with(instance, start, upstream)
    ends_in_time(instance)
    redis.thaw()


def test_asked_twice_it_waits_for_nothing(both, start, redis):
    instance = both()
    redis.freeze()
    start.client(instance).post(chat("searched for"))
    instance.waits_for("flights", 1)
    instance.terminate()
    instance.logged(lambda e: e.get("event") == "draining", "`draining`")
    ends_in_time(instance)
    redis.thaw()


# -- Redis that gives trouble --


def cut_all(redis):
    for kind in ("normal", "pubsub"):
        with contextlib.suppress(RedisError):
            redis.cli("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def cut_often(redis, load, times):
    for _ in range(times):
        cut_all(redis)
        threading.Event().wait(PAUSE_S)
    load.goes_on(20)


def test_connections_that_are_cut_leave_nothing_behind(both, redis):
    instance = both(coalescing={"cluster": True})
    with Load(instance.proxy, cold(), connections=2) as load:
        cut_often(redis, load, 20)
        before, rss = descriptors(instance), instance.rss_bytes()
        cut_often(redis, load, 100)
    load.went_well()
    wait_until(lambda: descriptors(instance) <= before + 2, "descriptors to be given back")
    if not sanitized():
        assert instance.rss_bytes() <= rss + (32 << 20)


def test_a_redis_that_comes_and_goes_all_the_time_is_no_trouble(both, redis):
    instance = both(timeout="50ms")
    with Load(instance.proxy, cold(), connections=2) as load:
        for _ in range(20):
            redis.freeze()
            threading.Event().wait(2 * PAUSE_S)
            redis.thaw()
            threading.Event().wait(2 * PAUSE_S)
        load.goes_on(20)
    load.went_well()
    written(instance)


def fill_up(redis):
    redis.cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
    redis.cli("CONFIG", "SET", "maxmemory", "1")


def make_replica(redis):
    redis.cli("REPLICAOF", "127.0.0.1", "1")


@pytest.mark.parametrize("how, kind", [(fill_up, "full"), (make_replica, "refused")], ids=["full", "replica"])
def test_a_redis_that_takes_nothing_is_counted_and_no_trouble(both, redis, how, kind):
    instance = both()
    with Load(instance.proxy, cold(), connections=2) as load:
        load.goes_on(20)
        how(redis)
        load.goes_on(100)
    load.went_well()
    wait_until(lambda: instance.metric("tier_errors_total", tier="redis", kind=kind) > 0, "it to be counted")
    ends_in_time(instance)


def test_a_thousand_invalidations_leave_nothing_behind(both, start):
    instance = both()
    operator, listener = Operator(instance), Listener(instance)
    kept = operator.client.connect()

    def drop(count):
        for number in range(count):
            answer = operator.post("/invalidate", {"tag": f"tag-{number}"}, on=kept).whole()
            assert answer.status == 200, f"expected 200: {answer!r}"

    drop(300)  # more than are kept word for word
    before, rss = descriptors(instance), instance.rss_bytes()
    drop(1000)
    assert descriptors(instance) <= before + 2
    if not sanitized():
        assert instance.rss_bytes() <= rss + (16 << 20)
    client = start.client(instance)
    client.post(chat("afterwards")).was("MISS")
    client.post(chat("afterwards")).was("HIT")
    operator.close()
    listener.close()


# -- somebody else's hands on the file --


def locked(file, how, load):
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as operator:
        operator.execute(how)
        load.goes_on(50)
        operator.execute("COMMIT")


def vacuumed(file, load):
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as operator:
        with contextlib.suppress(sqlite3.OperationalError):  # it may find the file locked
            operator.execute("VACUUM")
    load.goes_on(50)


HANDS = {
    "writes": lambda file, load: locked(file, "BEGIN IMMEDIATE", load),
    "keeps others out": lambda file, load: locked(file, "BEGIN EXCLUSIVE", load),
    "vacuums": vacuumed,
}


@pytest.mark.parametrize("hands", HANDS.values(), ids=HANDS)
def test_an_operator_at_the_file_is_no_trouble(both, folder, hands):
    instance = both()
    with Load(instance.proxy, cold(), connections=2) as load:
        load.goes_on(50)
        hands(folder / "cache.db", load)
        before = instance.metric("entries", tier="disk")
        wait_until(lambda: instance.metric("entries", tier="disk") > before, "the disk to be used again")
    load.went_well()
    ends_in_time(instance)


def test_it_ends_while_an_operator_has_the_file_locked(both, folder, start):
    instance = both()
    client = start.client(instance)
    client.post(chat("before")).was("MISS")
    written(instance)
    with contextlib.closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as operator:
        operator.execute("BEGIN IMMEDIATE")
        client.post(chat("meanwhile")).was("MISS")
        Operator(instance).post("/invalidate", {"all": True})  # answered once the disk gives up: after the end has begun
        instance.waits_for("invalidations_total", 1)
        ends_in_time(instance)


def emptied(folder):
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def overwritten(folder):
    with open(folder / "cache.db", "r+b") as file:
        file.write(os.urandom(65536))


TAKEN = {
    "file": lambda folder: (folder / "cache.db").unlink(),
    "folder": emptied,
    "cut short": lambda folder: os.truncate(folder / "cache.db", 4096),
    "overwritten": overwritten,
}


@pytest.mark.parametrize("take", TAKEN.values(), ids=TAKEN)
def test_a_file_that_goes_under_us_is_no_trouble(both, folder, take):
    instance = both()
    with Load(instance.proxy, cold(), connections=2) as load:
        load.goes_on(50)
        take(folder)
        load.goes_on(200)
    load.went_well()
    ends_in_time(instance)


# -- reloads --


def test_reloads_and_rotations_under_load(both):
    instance = both(coalescing={"cluster": True})
    with Load(instance.proxy, cold(), connections=4) as load:
        for count in range(1, 11):
            instance.reload()
            instance.logged(lambda e: e.get("event") == "reloaded", "`reloaded`", times=count)
            instance.process.send_signal(signal.SIGUSR1)
            load.goes_on(10)
    load.went_well()


# -- the start --


@pytest.mark.parametrize("away", ["frozen", "gone"])
def test_it_begins_while_redis_is_away(both, start, redis, away):
    if away == "frozen":
        redis.freeze()
    else:
        redis.kill()
    instance = both(timeout="50ms")
    client = start.client(instance)
    client.post(chat("at once")).was("MISS")
    client.post(chat("at once")).was("HIT")
    ends_in_time(instance)
    redis.thaw()


# -- sizes --


@pytest.mark.parametrize("size", [1, 1 << 20, (16 << 20) - 1000], ids=["one byte", "1 MiB", "just under 16 MiB"])
def test_answers_of_any_size_come_back_from_below(both, folder, start, upstream, size):
    upstream.reply(whole, chat_answer("x" * size))
    first = both()
    live = start.client(first).post(chat()).was("MISS")
    written(first)
    ends_in_time(first)
    for tier in ("disk", "redis"):
        instance = both()
        hit = start.client(instance).post(chat()).was("HIT")
        assert hit.body == live.body
        assert hit.header("cache-status").endswith(f"detail={tier}")
        ends_in_time(instance)
        (folder / "cache.db").unlink()
    upstream.saw(1)
