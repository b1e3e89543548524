"""Tiers below memory: what was stored is found in the next one, after a restart, by everyone who asks, with what is left
of its lifetime; and no tier's trouble is a client's. SPEC section 8."""

import json

import pytest

from harness.asks import chat, chat_stream
from harness.client import Client
from harness.operator import Operator
from harness.process import wait_until
from harness.upstream import chat_answer, sse, token, whole

ENTRIES = "refrain:default:*"
PATIENT = {"timeout": "10s"}  # a tier that is only slow, as on a busy machine, is no miss


class Shelf:
    """What outlives an instance: a state directory, and the tiers below memory."""

    def __init__(self, folder, start, disk=True, redis=None):
        self.folder, self.start = folder, start
        self.disk, self.redis = disk, redis
        self.file = folder / "cache.db"

    def tiers(self, **more):
        tiers = {"memory": {"max_bytes": "64MiB"}}
        if self.disk:
            tiers["disk"] = {"path": str(self.file), **PATIENT}
        if self.redis:
            tiers["redis"] = {"url": self.redis.url, **PATIENT}
        return {**tiers, **more}

    def opens(self, tiers=None, cache=None, **groups):
        """A new instance over what is there."""
        return self.start(cache={"state_dir": str(self.folder / "state"), **(cache or {})},
                          tiers=self.tiers(**(tiers or {})), **groups)


@pytest.fixture
def shelf(tmp_path, start):
    return Shelf(tmp_path, start)


@pytest.fixture
def two_shelves(tmp_path, start, redis):
    return Shelf(tmp_path, start, redis=redis)


@pytest.fixture
def redis_shelf(tmp_path, start, redis):
    return Shelf(tmp_path, start, disk=False, redis=redis)


def written(refrain):
    """Waits until nothing is on its way to the lower tiers."""
    refrain.waits_for("write_queue_entries", 0)


def closed(refrain):
    written(refrain)
    refrain.stop()


def filled(shelf):
    """An instance over it has stored an answer to chat(), and is gone."""
    first = shelf.opens()
    asking(shelf.start, first).post(chat()).was("MISS")
    closed(first)


def killed(refrain):
    """kill -9, which is no clean exit, and is not to be one."""
    refrain.process.kill()
    refrain.process.wait()
    refrain.stop = lambda: None


def asking(start, refrain, **kwargs):
    return start.client(refrain, **kwargs)


def status_of(answer):
    """Cache-Status as {name: value}."""
    members = [part.strip() for part in answer.header("cache-status").split(";")]
    return dict((m.split("=", 1) + [True])[:2] for m in members)


def found_in(answer, tier, status=200):
    answer.was("HIT", status)
    assert status_of(answer)["detail"] == tier, f"expected a hit in {tier}: {answer!r}"
    return answer


# -- a restart --


@pytest.mark.parametrize("how", [closed, killed], ids=["stopped", "killed"])
def test_a_restart_keeps_what_was_stored(shelf, start, upstream, how):
    first = shelf.opens()
    client = asking(start, first)
    upstream.reply(whole, chat_answer("kept"))
    miss = client.post(chat()).was("MISS")
    wait_until(lambda: int(client.post(chat()).was("HIT").header("age")) >= 1, "the answer to be a second old")
    written(first)
    how(first)
    second = shelf.opens()
    client = asking(start, second)
    hit = found_in(client.post(chat()), "disk")
    assert hit.body == miss.body
    age, left = int(hit.header("age")), int(status_of(hit)["ttl"])
    assert age >= 1 and 3598 <= age + left <= 3600, "the lifetime goes on, and does not begin anew"
    again = found_in(client.post(chat()), "memory")
    assert int(again.header("age")) >= age and int(status_of(again)["ttl"]) <= left
    assert again.header("refrain-entry") == hit.header("refrain-entry") == miss.header("refrain-entry")
    second.waits_for("hits_total", 1, tier="disk")
    second.waits_for("hits_total", 1, tier="memory")
    assert second.metric("promoted_total") == 1
    upstream.saw(1)


def test_a_stream_comes_back_event_by_event(shelf, start, upstream):
    first = shelf.opens()
    upstream.reply(sse, *(token(f"word {i} ") for i in range(50)))
    live = asking(start, first).post(chat_stream()).was("MISS")
    closed(first)
    replayed = found_in(asking(start, shelf.opens()).post(chat_stream()), "disk")
    assert replayed.body == live.body
    assert replayed.header("content-type").startswith("text/event-stream")


def test_a_large_answer_comes_back_whole(shelf, start, upstream):
    first = shelf.opens()
    upstream.reply(whole, chat_answer("".join(f"{i} and " for i in range(200_000))))
    live = asking(start, first).post(chat()).was("MISS")
    closed(first)
    assert found_in(asking(start, shelf.opens()).post(chat()), "disk").body == live.body


def test_the_log_tells_the_tier(shelf, start, upstream):
    filled(shelf)
    second = shelf.opens()
    client = asking(start, second)
    client.post(chat()).was("HIT")
    client.post(chat()).was("HIT")
    lines = second.request_lines(2)
    assert sorted((line["result"], line["tier"]) for line in lines) == [("hit", "disk"), ("hit", "memory")]


# -- the order --


def test_the_nearer_tier_is_asked_first_and_filled_from_the_one_below(two_shelves, start, redis, upstream):
    filled(two_shelves)
    assert len(redis.keys(ENTRIES)) == 1
    two_shelves.file.unlink()  # the disk is a new one
    second = two_shelves.opens()
    found_in(asking(start, second).post(chat()), "redis")
    closed(second)
    third = two_shelves.opens()
    redis.forget_commands()
    found_in(asking(start, third).post(chat()), "disk")
    assert "get" not in redis.commands(), "who is below need not be asked"
    upstream.saw(1)


def test_what_one_instance_stores_another_finds(redis_shelf, start, upstream):
    one, other = redis_shelf.opens(), redis_shelf.opens()
    asking(start, one).post(chat()).was("MISS")
    written(one)
    found_in(asking(start, other).post(chat()), "redis")
    found_in(asking(start, other).post(chat()), "memory")
    upstream.saw(1)


def test_many_who_ask_at_once_cost_one_look(shelf, start, upstream):
    filled(shelf)
    second = shelf.opens()
    client = asking(start, second)
    answers = [client.post(chat()) for _ in range(40)]
    for answer in answers:
        answer.was("HIT")
    assert second.metric("tier_op_seconds_count", tier="disk") == 1
    second.waits_for("hits_total", 40)
    upstream.saw(1)


# -- whatever can be asked of a stored answer --


PAGE = b"0123456789" * 10
READ = {"Cache-Control": "public, max-age=600", "ETag": '"v1"', "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}


@pytest.fixture
def pages(shelf, start, upstream):
    """A client at an instance that has pages below memory alone."""
    first = shelf.opens()
    client = asking(start, first)
    upstream.always(whole, PAGE, headers=READ, content_type="text/plain")
    for name in "abcdef":
        client.get(f"/pages/{name}").was("MISS")
    closed(first)
    upstream.always(whole, b"asked again", headers=READ, content_type="text/plain")
    return asking(start, shelf.opens())


def test_head_ranges_and_conditions_are_answered_from_below(pages, upstream):
    head = found_in(pages.ask("HEAD", "/pages/a"), "disk")
    assert head.header("content-length") == "100" and head.body == b""
    part = found_in(pages.get("/pages/b", {"Range": "bytes=10-19"}), "disk", 206)
    assert part.body == b"0123456789" and part.header("content-range") == "bytes 10-19/100"
    found_in(pages.get("/pages/c", {"If-None-Match": '"v1"'}), "disk", 304)
    found_in(pages.get("/pages/d", {"If-Modified-Since": "Wed, 01 Jan 2025 00:00:00 GMT"}), "disk", 304)
    found_in(pages.get("/pages/e", {"Cache-Control": "only-if-cached"}), "disk")
    found_in(pages.get("/pages/f", {"Cache-Control": "max-stale"}), "disk")
    upstream.saw(6)


def test_only_if_cached_looks_below_before_it_says_no(pages, upstream):
    pages.get("/pages/unknown", {"Cache-Control": "only-if-cached"}).refused(504)
    upstream.saw(6)


def test_who_wants_it_fresher_than_what_is_below_asks_upstream_about_it(pages, upstream):
    upstream.reply(whole, b"", status=304, headers=READ)
    answer = pages.get("/pages/a", {"Cache-Control": "min-fresh=3600"}).was("REVALIDATED")
    assert answer.body == PAGE
    upstream.saw(7)
    assert upstream.requests[-1].header("if-none-match") == '"v1"'


def test_no_cache_does_not_look_below(pages, upstream):
    answer = pages.get("/pages/a", {"Cache-Control": "no-cache"})
    assert answer.whole().body == b"asked again"
    upstream.saw(7)


def test_a_range_that_nothing_is_stored_for_goes_through(pages, upstream):
    upstream.reply(whole, b"ab", status=206, headers={"Content-Range": "bytes 0-1/10"})
    answer = pages.get("/pages/unknown", {"Range": "bytes=0-1"}).was("BYPASS", 206)
    assert answer.body == b"ab"
    assert upstream.requests[-1].header("range") == "bytes=0-1"


def test_variants_lead_to_answers_below(shelf, start, upstream):
    first = shelf.opens()
    client = asking(start, first)
    for agent in ("curl", "phone"):
        upstream.reply(whole, agent.encode(), headers={"Cache-Control": "public, max-age=600", "Vary": "User-Agent"},
                       content_type="text/plain")
        client.get("/page", {"User-Agent": agent}).was("MISS")
    closed(first)
    second = shelf.opens()
    client = asking(start, second)
    for agent in ("phone", "curl"):
        answer = found_in(client.get("/page", {"User-Agent": agent}), "disk")
        assert answer.body == agent.encode()
    for agent in ("phone", "curl"):
        found_in(client.get("/page", {"User-Agent": agent}), "memory")
    upstream.saw(2)


def test_several_answers_to_one_request_are_found_again(shelf, start, upstream):
    several = chat().with_headers(Refrain_Variants="2")
    first = shelf.opens()
    client = asking(start, first)
    for text in ("one", "two"):
        upstream.reply(whole, chat_answer(text))
        client.post(several).was("MISS")
    closed(first)
    client = asking(start, shelf.opens())
    bodies = {client.post(several).was("HIT").body for _ in range(2)}
    assert len(bodies) == 2, "each of them, before one is given again"
    upstream.saw(2)


# -- stale --


def stale_below(shelf, start, upstream, reply=None, **cache):
    """An instance without memory over an entry that is past its lifetime; and a client of it."""
    first = shelf.opens(tiers={"memory": {"enabled": False}}, cache=cache)
    client = asking(start, first)
    upstream.reply(whole, PAGE, content_type="text/plain",
                   headers=reply or {"Cache-Control": "public, max-age=1", "ETag": '"v1"'})
    client.get("/page").was("MISS")
    wait_until(lambda: int(client.get("/page", {"Cache-Control": "max-stale, only-if-cached"}).whole().header("age")) >= 1,
               "the page to be stale")
    written(first)
    return first, client


def test_what_is_stale_below_is_asked_about(shelf, start, upstream):
    refrain, client = stale_below(shelf, start, upstream)
    upstream.reply(whole, b"", status=304, headers={"Cache-Control": "public, max-age=600", "ETag": '"v1"'})
    answer = client.get("/page").was("REVALIDATED")
    assert answer.body == PAGE
    upstream.saw(2)
    assert upstream.requests[-1].header("if-none-match") == '"v1"'
    found_in(client.get("/page"), "disk")


def test_what_is_stale_below_stands_in_for_an_error(shelf, start, upstream):
    refrain, client = stale_below(shelf, start, upstream, stale_if_error="1d")
    upstream.reply(whole, b"no", status=503)
    answer = client.get("/page").was("STALE")
    assert answer.body == PAGE and status_of(answer)["detail"] == "stale-if-error"
    upstream.down()
    client.get("/page").was("STALE")


def test_what_is_stale_below_is_served_while_it_is_refreshed(shelf, start, upstream):
    refrain, client = stale_below(shelf, start, upstream, stale_while_revalidate="1h")
    upstream.reply(whole, b"fresh", headers={"Cache-Control": "public, max-age=600"}, content_type="text/plain")
    assert client.get("/page").was("STALE").body == PAGE
    wait_until(lambda: client.get("/page").whole().body == b"fresh", "the refresh")
    upstream.saw(2)


def test_what_another_instance_has_refreshed_is_not_asked_for_again(redis_shelf, start, upstream):
    one, other = redis_shelf.opens(), redis_shelf.opens()
    here, there = asking(start, one), asking(start, other)
    upstream.reply(whole, b"old", headers={"Cache-Control": "public, max-age=2"}, content_type="text/plain")
    here.get("/page").was("MISS")
    written(one)
    found_in(there.get("/page"), "redis")
    upstream.reply(whole, b"new", headers={"Cache-Control": "public, max-age=600"}, content_type="text/plain")
    wait_until(lambda: here.get("/page").whole().body == b"new", "the page to end and be had anew")
    written(one)
    assert found_in(there.get("/page"), "redis").body == b"new", "its own in memory is stale by now"
    upstream.saw(2)


# -- without memory --


def test_memory_may_be_off(shelf, start, upstream):
    refrain = shelf.opens(tiers={"memory": {"enabled": False}})
    client = asking(start, refrain)
    client.post(chat()).was("MISS")
    for _ in range(3):
        found_in(client.post(chat()), "disk")
    assert ready(refrain)["tiers"] == {"memory": "off", "disk": "up", "redis": "off"}
    upstream.saw(1)


def test_without_memory_answers_that_vary_are_not_stored(shelf, start, upstream):
    client = asking(start, shelf.opens(tiers={"memory": {"enabled": False}}))
    upstream.always(whole, b"page", headers={"Cache-Control": "public, max-age=600", "Vary": "User-Agent"},
                    content_type="text/plain")
    first = client.get("/page", {"User-Agent": "curl"}).was("MISS")
    assert "detail=not-stored:vary" in first.header("cache-status")
    client.get("/page", {"User-Agent": "curl"}).was("MISS")


# -- lifetimes that slide --


def test_a_hit_makes_what_lies_below_live_on(shelf, start, upstream):
    sliding = {"ttl_mode": "sliding", "default_ttl": "20s", "max_lifetime": "1d"}
    first = shelf.opens(cache=sliding)
    client = asking(start, first)
    client.post(chat()).was("MISS")
    wait_until(lambda: int(client.post(chat()).was("HIT").header("age")) >= 3, "hits of three seconds")
    written(first)
    killed(first)
    hit = found_in(asking(start, shelf.opens(cache=sliding)).post(chat()), "disk")
    assert int(status_of(hit)["ttl"]) + int(hit.header("age")) > 20, "it was to end twenty seconds after it came"
    upstream.saw(1)


def test_hits_are_not_written_one_by_one(redis_shelf, start, redis, upstream):
    sliding = {"ttl_mode": "sliding", "default_ttl": "1h", "max_lifetime": "1d"}
    refrain = redis_shelf.opens(cache=sliding)
    client = asking(start, refrain)
    client.post(chat()).was("MISS")
    written(refrain)
    redis.forget_commands()
    for _ in range(50):
        client.post(chat()).was("HIT")
    written(refrain)
    writes = sum(n for (name, n) in redis.commands().items() if name in ("set", "eval", "evalsha"))
    assert writes <= 2, "once in a tenth of an hour, and its script's first time"


# -- the write queue --


def test_a_full_queue_is_counted_and_nobody_waits(redis_shelf, start, redis, upstream):
    refrain = redis_shelf.opens(tiers={"write_queue_max_bytes": "1MiB"}, compression={"threshold": "1GiB"})
    client = asking(start, refrain)
    redis.freeze()
    upstream.always(whole, chat_answer("x" * 200_000))
    for i in range(12):  # no-cache: nothing below is asked first, so nobody waits for that
        client.post(chat(f"question {i}"), headers={"Cache-Control": "no-cache"}).was("MISS")
    assert refrain.metric("write_queue_bytes") <= 1 << 20
    wait_until(lambda: refrain.metric("writes_dropped_total") >= 6, "what did not fit to be counted")
    for i in range(12):
        found_in(client.post(chat(f"question {i}")), "memory")
    redis.thaw()


def test_the_end_writes_what_waits(shelf, start, upstream):
    behind = {"write": "behind", "write_behind": "1h"}
    first = shelf.opens(tiers=behind)
    client = asking(start, first)
    for i in range(20):
        client.post(chat(f"question {i}")).was("MISS")
    assert first.metric("write_queue_entries") == 20
    first.stop()
    client = asking(start, shelf.opens(tiers=behind))
    for i in range(20):
        found_in(client.post(chat(f"question {i}")), "disk")
    upstream.saw(20)


def test_a_tier_that_hangs_does_not_hang_the_end(redis_shelf, start, redis, upstream):
    refrain = redis_shelf.opens(tiers={"write": "behind", "write_behind": "1h"}, listen={"drain_timeout": "1s"})
    asking(start, refrain).post(chat()).was("MISS")
    redis.freeze()
    refrain.stop()
    redis.thaw()


# -- trouble --


def ready(refrain):
    client = Client(refrain.admin, credential=None)
    try:
        answer = client.get("/readyz").whole()
        assert answer.status == 200, f"an instance that serves is ready: {answer!r}"
        return json.loads(answer.body)
    finally:
        client.close()


def test_a_dead_redis_costs_a_miss_and_nothing_else(tmp_path, start, upstream):
    refrain = start(tiers={"redis": {"url": "redis://127.0.0.1:1"}})
    client = asking(start, refrain)
    for i in range(10):
        client.post(chat(f"question {i}")).was("MISS")
        found_in(client.post(chat(f"question {i}")), "memory")
    wait_until(lambda: ready(refrain)["tiers"]["redis"] == "down", "readiness to tell")
    assert refrain.metric("tier_up", tier="redis") == 0
    assert refrain.metric("tier_up", tier="memory") == 1
    assert refrain.metric("tier_errors_total", tier="redis") > 0


def test_a_frozen_redis_is_given_a_rest_and_used_again(redis_shelf, start, redis, upstream):
    refrain = redis_shelf.opens(tiers={"redis": {"url": redis.url, "timeout": "50ms"}})
    client = asking(start, refrain)
    client.post(chat()).was("MISS")
    written(refrain)
    redis.freeze()
    for i in range(12):
        client.post(chat(f"question {i}")).was("MISS")
    refrain.logged(lambda e: e.get("event") == "tier_rested", "that Redis is given a rest")
    assert refrain.metric("tier_breaker_state", tier="redis") > 0
    asked = refrain.metric("tier_errors_total", tier="redis", kind="late")
    for i in range(12, 24):
        client.post(chat(f"question {i}")).was("MISS")
    assert refrain.metric("tier_errors_total", tier="redis", kind="late") <= asked + 2, "but for a probe of our own"
    redis.thaw()

    wait_until(lambda: ready(refrain)["tiers"]["redis"] == "up", "Redis to be back, though nobody asks")
    refrain.logged(lambda e: e.get("event") == "tier_back", "that it is back")
    client.post(chat("after that")).was("MISS")
    written(refrain)
    assert any("gpt-4o-mini" in name for name in redis.keys(ENTRIES))


def test_an_operator_sees_and_orders_the_breaker_of_a_tier(redis_shelf, start, redis, upstream):
    refrain = redis_shelf.opens()
    client = asking(start, refrain)
    operator = Operator(refrain, token=(redis_shelf.folder / "state" / "admin.token").read_text())

    def row():
        [found] = [b for b in operator.reads("/breakers")["breakers"] if b["kind"] == "tier"]
        return found

    client.post(chat()).was("MISS")
    written(refrain)
    assert (row()["tier"], row()["state"], row()["held"]) == ("redis", "closed", False)
    operator.does("/breakers/redis/tier", {"action": "open"})
    assert (row()["state"], row()["held"]) == ("open", True)
    redis.forget_commands()
    client.post(chat("something else")).was("MISS")
    written(refrain)
    assert "get" not in redis.commands()
    operator.does("/breakers/redis/tier", {"action": "reset"})
    client.post(chat("a third")).was("MISS")
    written(refrain)
    assert len(redis.keys(ENTRIES)) == 2
    assert operator.post("/breakers/disk/tier", {"action": "open"}).whole().status == 404
    operator.close()


def test_what_is_odd_below_is_deleted_counted_and_a_miss(redis_shelf, start, redis, upstream):
    filled(redis_shelf)
    [name] = redis.keys(ENTRIES)
    redis.cli("SET", name, b"\x80\x04\x95 a pickle")
    second = redis_shelf.opens()
    client = asking(start, second)
    client.post(chat()).was("MISS")
    assert second.metric("corrupt_total") == 1
    written(second)
    found_in(client.post(chat()), "memory")
    assert redis.cli("GET", name)[:4] != b"\x80\x04\x95 ", "what was odd gave way to what came"


def test_who_leaves_during_a_search_spares_upstream(redis_shelf, start, redis, upstream):
    refrain = redis_shelf.opens()
    client = asking(start, refrain)
    client.post(chat("a connection is there")).was("MISS")
    written(refrain)
    redis.freeze()
    answer = client.post(chat())
    refrain.waits_for("flight_readers", 1)
    answer.leave()
    refrain.waits_for("flights", 0)
    redis.thaw()
    client.post(chat("a connection is there")).was("HIT")
    upstream.saw(1)


def test_the_opener_may_leave_while_others_wait_for_the_search(redis_shelf, start, redis, upstream):
    refrain = redis_shelf.opens()
    client = asking(start, refrain)
    client.post(chat("a connection is there")).was("MISS")
    written(refrain)
    redis.freeze()
    opener = client.post(chat())
    refrain.waits_for("flight_readers", 1)
    follower = client.post(chat())
    refrain.waits_for("flight_readers", 2)
    opener.leave()
    refrain.waits_for("flight_readers", 1)
    redis.thaw()
    follower.was("COALESCED")
    upstream.saw(2)


# -- what makes a key --


@pytest.mark.parametrize("loose, one, other", [
    ({"ignore_fields": ["seed"]}, chat(seed=1), chat(seed=2)),
    ({"ignore_headers": ["X-Tenant"]}, chat().with_headers(X_Tenant="a"), chat().with_headers(X_Tenant="b")),
], ids=["fields", "headers"])
def test_what_was_stored_under_a_looser_key_is_not_found_under_a_tighter(shelf, start, upstream, loose, one, other):
    first = shelf.opens(key=loose)
    client = asking(start, first)
    client.post(one).was("MISS")
    client.post(other).was("HIT")
    closed(first)
    second = shelf.opens()
    client = asking(start, second)
    client.post(other).was("MISS")
    client.post(one).was("MISS")
    closed(second)
    client = asking(start, shelf.opens(key=loose))
    found_in(client.post(other), "disk")
    upstream.saw(3)


def test_explain_says_which_tier_would_answer_and_changes_nothing(shelf, start, upstream):
    filled(shelf)
    second = shelf.opens()
    operator = Operator(second, token=(shelf.folder / "state" / "admin.token").read_text())
    asked = {"method": "POST", "target": "/v1/chat/completions", "body": chat().body,
             "headers": [["Authorization", "Bearer sk-alice"], ["Content-Type", "application/json"],
                         ["Accept", "application/json"]]}
    for _ in range(2):
        told = operator.does("/explain", asked)
        assert told["entry"]["tier"] == "disk", told
    assert second.metric("promoted_total") == 0
    found_in(asking(start, second).post(chat()), "disk")
    assert operator.does("/explain", asked)["entry"]["tier"] == "memory"
    operator.close()


# -- the secret --


def told_of_another_secret(refrain):
    return [event for event in refrain.events if event.get("event") == "secret_differs"]


def test_an_instance_with_another_secret_says_so(tmp_path, redis_shelf, start, redis, upstream):
    first = redis_shelf.opens()
    asking(start, first).post(chat()).was("MISS")
    wait_until(lambda: redis.cli("EXISTS", "refrain:secret-check") == 1, "the first to leave its sum")
    stranger = Shelf(tmp_path / "elsewhere", start, disk=False, redis=redis)
    stranger.folder.mkdir()
    second = stranger.opens()
    second.logged(lambda e: e.get("event") == "secret_differs", "that its secret differs")
    asking(start, second).post(chat()).was("MISS")
    third = redis_shelf.opens()
    found_in(asking(start, third).post(chat()), "redis")
    third.stop()
    assert not told_of_another_secret(first) and not told_of_another_secret(third)
    assert len(told_of_another_secret(second)) == 1
    secret = next((redis_shelf.folder / "state").glob("secret*")).read_bytes()
    assert secret not in redis.everything()
