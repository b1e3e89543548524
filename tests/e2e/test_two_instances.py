"""Several instances with one Redis: what is invalidated at one is gone at all of them, whatever becomes of the
connections. SPEC section 8."""

import json
import time

import pytest

from harness.asks import chat, embedding
from harness.events import Listener
from harness.operator import Operator
from harness.process import wait_until
from harness.relay import Relay
from harness.upstream import whole

HEARD_S = 0.1  # within which an invalidation is to be heard of
MODEL = "gpt-special"
SECRET = "one secret for the whole fleet, so that they name credentials alike"


class Instance:
    """One of them: its client, its operator, and the way to Redis."""

    def __init__(self, start, redis, relayed=False, **groups):
        self.relay = Relay((redis.host, redis.port)) if relayed else None
        url = f"redis://127.0.0.1:{self.relay.port}" if relayed else redis.url
        cache = {"secret": SECRET, **groups.pop("cache", {})}
        tiers = {"redis": {"url": url, "timeout": "1s"}, **groups.pop("tiers", {})}
        self.refrain = start(tiers=tiers, cache=cache, **groups)
        self.client = start.client(self.refrain)
        self.operator = Operator(self.refrain)
        self.id = self.reads("/instances")["self"]

    def call(self, method, path, body=None):
        """One call of the API, on a connection that is closed again: polling makes many."""
        with self.operator.client.connect() as connection:
            return self.operator.client.ask(method, "/api/v1" + path, {}, body, on=connection).whole()

    def reads(self, path):
        return json.loads(self.call("GET", path).body)

    def link_is(self, word):
        wait_until(lambda: self.reads("/instances")["link"] == word, f"the link to be {word}")
        return self

    def sees(self, *others):
        """Waits until it knows of all these."""
        wanted = {other.id for other in others}
        wait_until(lambda: wanted <= {i["id"] for i in self.reads("/instances")["instances"]},
                   "the instances to know of each other")

    def asks(self, prompt, tags=None):
        return self.client.post(chat(prompt, model=MODEL), {"Refrain-Tags": tags} if tags else {})

    def holds(self, prompt):
        """The tier that would give the answer; None: upstream would be asked. Changes nothing."""
        ask = chat(prompt, model=MODEL)
        headers = {"Authorization": f"Bearer {self.client.credential}", "Content-Type": "application/json"}
        told = json.loads(self.call("POST", "/explain", {"method": "POST", "path": ask.path, "headers": headers,
                                                         "body": ask.body}).body)
        return told["entry"]["tier"] if told["would_hit"] else None

    def has(self, prompt):
        return self.holds(prompt) == "memory"

    def invalidates(self, **what):
        return json.loads(self.call("POST", "/invalidate", what).body)

    def close(self):
        self.operator.close()
        if self.relay:
            self.relay.close()


@pytest.fixture
def instance(start, redis):
    made = []

    def make(**kwargs):
        made.append(Instance(start, redis, **kwargs).link_is("up"))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def two(instance):
    a, b = instance(), instance(relayed=True)
    a.sees(b)
    b.sees(a)
    return a, b


def test_nobody_waits_for_a_beat_to_know_of_a_newcomer(instance):
    def it_takes():
        begun = time.monotonic()
        newcomer = instance()
        first.sees(newcomer)
        return time.monotonic() - begun

    first = instance()
    # Starting one takes its time, too: of some tries one is quick.
    assert any(it_takes() < 0.9 for _ in range(10)), "instances beat once a second; this does not wait for that"


def both_have(a, b, prompt, tags=None):
    """Stored by one, found in Redis by the other: in memory at both. Returns the entry's id."""
    a.asks(prompt, tags).was("MISS")
    wait_until(lambda: b.holds(prompt) == "redis", "it to be in Redis")
    entry = b.asks(prompt).was("HIT").header("refrain-entry")
    assert a.has(prompt) and b.has(prompt)
    return entry


@pytest.mark.parametrize("how", ["tag", "pattern", "operation", "model", "namespace", "id", "all"])
def test_what_is_invalidated_at_one_is_a_miss_at_the_other(two, upstream, how):
    a, b = two
    entry = both_have(a, b, "old", tags="news")
    what = {"tag": "news", "pattern": "default:chat:gpt-special:*", "operation": "chat", "model": "gpt-spec*",
            "namespace": "default", "id": entry, "all": True}
    told = a.invalidates(**{how: what[how]})
    assert told["matched"] == 1 and not told["at_least"], f"one key, wherever it was: {told}"
    assert told["tiers"]["memory"] == 1 and told["tiers"]["redis"] == 1
    (other,) = told["instances"]
    assert other["id"] == b.id and other["heard"] and other["tiers"]["memory"] == 1 and told["not_heard"] == 0
    upstream.reply(whole, b'{"choices":[{"message":{"content":"new"},"finish_reason":"stop"}]}')
    assert b"new" in b.asks("old").was("MISS").body, "it is gone by the time that it is told"


def test_it_is_heard_of_in_time(two, table):
    a, b = two
    took = []
    for i in range(5):
        both_have(a, b, f"ask {i}", tags="news")
        listener = Listener(b.refrain, "CACHE_INVALIDATED")
        began = time.monotonic()
        asked = a.operator.post("/invalidate", {"tag": "news"})
        event = listener.next()
        took.append(time.monotonic() - began)
        assert event["source"] == a.id and event["payload"]["matched"] == 1 and not b.has(f"ask {i}")
        asked.whole()
        listener.close()
    table("an invalidation, until the other instance has told its listeners that it is done",
          [f"{1000 * t:.1f} ms" for t in took])
    assert sorted(took)[len(took) // 2] < HEARD_S, f"most of the time it takes no 100 ms: {took}"


def test_counts_are_of_distinct_keys(two):
    a, b = two
    for prompt in ("one", "two"):
        both_have(a, b, prompt, tags="red")
    told = a.invalidates(tag="red", dry_run=True)
    assert told["matched"] == 2 and told["instances"][0]["matched"] == 2
    assert a.has("one") and b.has("two"), "a dry run changes nothing"
    assert a.invalidates(tag="red")["matched"] == 2
    assert a.invalidates(tag="red")["matched"] == 0


def test_others_are_left_alone(two):
    a, b = two
    both_have(a, b, "one", tags="red")
    both_have(a, b, "two", tags="blue")
    a.invalidates(tag="red")
    assert b.has("two") and not b.has("one")


def test_who_was_cut_off_serves_on_and_catches_up(two, upstream):
    a, b = two
    both_have(a, b, "one", tags="red")
    both_have(a, b, "two", tags="blue")
    b.relay.cut()
    b.link_is("cut")
    assert json.loads(ready(b).body)["instances"] == "degraded" and ready(b).status == 200
    told = a.invalidates(tag="red")
    assert told["not_heard"] == 1 and not told["instances"][0]["heard"], f"who was not heard is named: {told}"
    assert b.has("one"), "it serves on"
    b.relay.mend()
    b.link_is("up")
    assert not b.has("one"), "it has caught up"
    assert b.has("two"), "and lost nothing else by it"
    assert b.refrain.metric("instance_cuts_total") == 1 and b.refrain.metric("instance_gaps_total") == 0


def ready(instance):
    from harness.client import Client
    client = Client(instance.refrain.admin, credential=None)
    answer = client.get("/readyz").whole()
    client.close()
    return answer


def test_a_log_trimmed_meanwhile_costs_the_memory(two, redis):
    a, b = two
    both_have(a, b, "one", tags="red")
    both_have(a, b, "two", tags="blue")
    a.invalidates(tag="before")
    b.relay.cut()
    b.link_is("cut")
    a.invalidates(tag="red")
    a.invalidates(tag="other")
    redis.cli("XTRIM", "refrain:{events}:log", "MAXLEN", 1)
    b.relay.mend()
    b.link_is("up")
    b.refrain.waits_for("instance_gaps_total", 1)
    b.refrain.logged(lambda e: e.get("event") == "instances_gap", "the gap")
    wait_until(lambda: b.refrain.metric("entries", tier="memory") == 0, "memory to be dropped whole")
    assert not b.has("one")


def test_redis_frozen_while_it_is_told(two, redis):
    a, b = two
    both_have(a, b, "one", tags="red")
    redis.freeze()
    told = a.invalidates(tag="red")
    assert told["others"] == "later" and told["not_heard"] == 1 and told["tiers"]["memory"] == 1
    assert told["took_s"] > 0.5, "it was waited for"
    assert b.has("one"), "it serves on"
    redis.thaw()
    wait_until(lambda: not b.has("one"), "it to be told later")


def test_strictly_nothing_is_served_while_cut_off(instance, upstream):
    a, b = instance(), instance(relayed=True, invalidation={"strict": True})
    both_have(a, b, "one", tags="red")
    b.relay.cut()
    b.link_is("cut")
    answer = b.asks("one").was("MISS")
    assert "detail=cut-off" in answer.header("cache-status")
    b.relay.mend()
    b.link_is("up")
    assert b.has("one")


def test_what_was_invalidated_while_it_was_down_is_not_found_on_its_disk(instance, start, tmp_path):
    a = instance()
    disk = {"disk": {"path": str(tmp_path / "cache.db"), "timeout": "10s"}}
    b = instance(tiers=disk)
    both_have(b, a, "one", tags="red")
    both_have(b, a, "two", tags="blue")
    wait_until(lambda: b.refrain.metric("entries", tier="disk") == 2, "both to be on disk")
    wait_until(lambda: has_place(tmp_path / "cache.db"), "its place in the log to be kept")
    b.refrain.stop()
    a.invalidates(tag="red")
    again = instance(tiers=disk)
    assert again.holds("one") is None
    assert again.holds("two") == "disk", "nothing else is lost"


def has_place(path):
    import sqlite3
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        tables = [row[0] for row in db.execute("select name from sqlite_master where type='table'")]
        return any("events.log" in str(row) for table in tables if "meta" in table
                   for row in db.execute(f"select * from {table}"))


def test_a_credential_refused_at_one_has_no_hits_at_the_other(two, upstream):
    a, b = two
    both_have(a, b, "one")
    upstream.reply(whole, b'{"error":{"message":"no"}}', status=401)
    a.asks("something else").was("MISS", status=401)
    b.refrain.waits_for("credentials_suspended", 1)
    assert "detail=reauth" in b.asks("one").was("MISS").header("cache-status")


def test_a_credential_refused_at_one_has_no_hits_at_who_starts_later(instance, upstream):
    a = instance()
    a.asks("one").was("MISS")
    a.refrain.waits_for("write_queue_entries", 0)
    upstream.reply(whole, b'{"error":{"message":"no"}}', status=401)
    a.asks("something else").was("MISS", status=401)
    a.refrain.stop()
    b = instance()
    b.refrain.waits_for("credentials_suspended", 1)
    assert "detail=reauth" in b.asks("one").was("MISS").header("cache-status")


def test_a_target_changed_at_one_is_changed_at_the_other(two, upstream):
    a, b = two
    fresh = {"Cache-Control": "public, max-age=600"}
    upstream.reply(whole, b"old", content_type="text/plain", headers=fresh)
    a.client.get("/v1/things/1").was("MISS")
    wait_until(lambda: b.client.get("/v1/things/1", {"Cache-Control": "only-if-cached"}).whole().status == 200,
               "the other to have it")
    a.client.ask("PUT", "/v1/things/1", body=b"{}").whole()
    wait_until(lambda: b.client.get("/v1/things/1", {"Cache-Control": "only-if-cached"}).whole().status == 504,
               "the change to be heard of")


def test_garbage_on_channel_and_log_does_no_harm(two, redis):
    a, b = two
    both_have(a, b, "one", tags="red")
    for payload in ("nonsense", "{", '{"v":1,"type":"CACHE_INVALIDATED"}', "x" * 100000, '{"v":99}'):
        redis.cli("PUBLISH", "refrain:events", payload)
        redis.cli("PUBLISH", f"refrain:events:{b.id}", payload)
        redis.cli("HSET", "refrain:{events}:instances", payload[:40], payload)
    wait_until(lambda: b.refrain.metric("instance_messages_total", kind="foreign") >= 5, "it to be counted")
    assert b.has("one") and a.invalidates(tag="red")["matched"] == 1
    assert not b.has("one")


def test_nothing_is_left_behind_for_ever(two, redis):
    a, _ = two
    a.invalidates(tag="red")
    for key in redis.keys("refrain:{events}:*"):
        assert 0 < redis.cli("PTTL", key) <= 7 * 24 * 3600 * 1000, f"{key} has an end"
    assert redis.keys("refrain:{events}:*")


def test_who_says_goodbye_is_not_waited_for(two):
    a, b = two
    b.refrain.stop()
    wait_until(lambda: len(a.reads("/instances")["instances"]) == 1, "the other to be gone")
    told = a.invalidates(tag="red")
    assert told["instances"] == [] and told["others"] == "told"


def test_an_event_from_outside_has_entries_go_everywhere(instance):
    rules = [{"event": "document.*", "tags": ["doc-{id}"]}, {"event": "tenant.gone", "namespace": "{tenant.name}"}]
    a, b = instance(event_rules=rules), instance(event_rules=rules)
    a.sees(b)
    both_have(a, b, "one", tags="doc-7")
    both_have(a, b, "two", tags="doc-8")
    listener = Listener(b.refrain, "CACHE_INVALIDATED")
    told = a.operator.does("/events", {"type": "document.updated", "payload": {"id": 7}, "correlation_id": "hook-1"})
    assert told["rules"] == 1 and [i["matched"] for i in told["invalidations"]] == [1]
    assert listener.next()["correlation_id"] == "hook-1"
    listener.close()
    assert not b.has("one") and b.has("two")
    assert a.operator.does("/events", {"type": "other", "payload": {}})["invalidations"] == []
    for payload in ({}, {"id": ""}, {"id": "a,b"}, {"id": None}):
        error = a.operator.post("/events", {"type": "document.updated", "payload": payload}).refused(400, "request_invalid")
        assert json.loads(error.body)["error"]["where"] == "payload.id"
    a.operator.post("/events", {"type": "tenant.gone", "payload": {"tenant": {"name": ""}}}).refused(400, "request_invalid")
    assert b.has("two"), "what is refused changes nothing"


def test_instances_are_listed(two):
    a, b = two
    listed = a.reads("/instances")
    assert listed["link"] == "up" and listed["waiting"] == 0
    assert [i["self"] for i in listed["instances"] if i["id"] == a.id] == [True]
    assert all(abs(i["clock_ahead_ms"]) < 5000 for i in listed["instances"])
    assert a.refrain.metric("instances") == 2 and a.refrain.metric("instances_linked") == 1


def test_redis_dies_and_comes_back_empty(two, redis):
    a, b = two
    both_have(a, b, "one", tags="red")
    a.invalidates(tag="before")
    redis.kill()
    b.link_is("cut")
    assert b.has("one"), "it serves on"
    assert a.invalidates(tag="blue")["others"] == "later"
    redis.restart()
    for instance in two:
        instance.link_is("up")
        instance.refrain.waits_for("instance_gaps_total", 1)
    assert not b.has("one"), "what became of the log meanwhile, nobody knows"
    both_have(a, b, "two", tags="red")
    assert a.invalidates(tag="red")["matched"] == 1 and not b.has("two"), "the new log is as good"


def test_without_redis_an_instance_starts_and_serves(start, redis):
    redis.kill()
    began = time.monotonic()
    alone = Instance(start, redis)
    assert time.monotonic() - began < 20, "it does not wait for Redis"
    alone.asks("one").was("MISS")
    assert alone.has("one") and alone.invalidates(tag="nothing")["others"] == "later"
    redis.restart()
    alone.link_is("up")
    wait_until(lambda: alone.reads("/instances")["waiting"] == 0, "what waited to be told")
    alone.close()


def test_the_rights_that_are_documented_are_enough(start, redis_server):
    server = redis_server(user="refrain", password="secret")
    tier = server.tier(timeout="1s")
    a, b = (Instance(start, server, tiers={"redis": tier}) for _ in range(2))
    for one, other in ((a, b), (b, a)):
        one.link_is("up").sees(other)
    both_have(a, b, "one", tags="red")
    told = a.invalidates(tag="red")
    assert told["matched"] == 1 and told["instances"][0]["tiers"]["memory"] == 1 and not b.has("one")
    a.close()
    b.close()


def test_a_right_that_is_missing_is_told_once_and_made_up_for(two, redis):
    a, b = two
    both_have(a, b, "one", tags="red")
    redis.cli("ACL", "SETUSER", "default", "-xadd")
    told = [a.invalidates(tag=tag)["others"] for tag in ("red", "blue")]
    assert told == ["later", "later"] and b.has("one")
    line = a.refrain.logged(lambda e: e.get("event") == "instances_refused", "that Redis refuses")
    assert line["detail"] and "docs/redis.md" in line["what_to_do"]
    redis.cli("ACL", "SETUSER", "default", "+xadd")
    wait_until(lambda: not b.has("one"), "it to be told later")
    assert a.refrain.log().count("instances_refused") == 1


def test_who_is_cut_off_tells_when_it_last_heard_of_others(two, redis):
    a, b = two
    redis.kill()
    a.link_is("cut")

    def heard_ago():
        return next(i["seen_s_ago"] for i in a.reads("/instances")["instances"] if i["id"] == b.id)

    first = heard_ago()
    wait_until(lambda: heard_ago() > first, "time to go on")


def test_a_disk_that_is_away_has_nobody_ask_redis_all_the_time(instance, redis, tmp_path):
    one = instance(tiers={"disk": {"path": str(tmp_path / "nowhere" / "cache.db")}})
    before, told = redis.commands()["xrange"], one.refrain.metric("instance_messages_total", kind="told")
    for n in range(20):
        one.invalidates(tag=f"{n}")
    one.refrain.waits_for("instance_messages_total", told + 20, kind="told")
    assert redis.commands()["xrange"] - before < 500, "a read or two for each message and beat, not one after the other"


def test_three_hold_one_key(instance):
    a, b, c = instance(), instance(), instance()
    a.sees(b, c)
    both_have(a, b, "one", tags="red")
    c.asks("one").was("HIT")
    both_have(b, c, "two", tags="red")
    told = a.invalidates(tag="red")
    assert told["matched"] == 2, f"two keys, in five memories and Redis: {told}"
    assert sorted(other["tiers"]["memory"] for other in told["instances"]) == [2, 2]
