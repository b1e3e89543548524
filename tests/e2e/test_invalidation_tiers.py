"""What is invalidated is gone from every tier: memory, disk, Redis; and does not come back by a restart, a queue of writes
or another instance. SPEC section 8."""

import json

import pytest

from harness.asks import chat, chat_stream
from harness.operator import Operator
from harness.process import merged, wait_until
from harness.upstream import chat_answer, hold, sse, token, whole

SHARED = {"cache": {"secret": "one secret for all of these instances"}, "admin": {"token": "an-operator's-token"}}


def tagged(ask, *tags):
    return ask.with_headers(Refrain_Tags=",".join(tags))


@pytest.fixture
def instance_of(request, start):
    """An instance with a client and an operator; all have the same secret."""
    def made(groups):
        instance = start(**merged(SHARED, groups))
        instance.client = start.client(instance)
        instance.operator = Operator(instance, token=SHARED["admin"]["token"])
        request.addfinalizer(instance.operator.close)
        return instance
    return made


@pytest.fixture
def begin(instance_of, tmp_path):
    """begin(): an instance with a disk tier. Those begun one after the other have the same file."""
    disk = {"path": str(tmp_path / "cache.db"), "timeout": "10s"}  # of which a busy machine needs some
    return lambda **groups: instance_of(merged({"tiers": {"disk": disk}}, groups))


@pytest.fixture
def join(instance_of, redis):
    """join(): an instance with Redis below memory; all have the same Redis."""
    below = {"url": redis.url, "timeout": "1s"}  # a busy machine needs more than 50 ms now and then
    return lambda **groups: instance_of(merged({"tiers": {"redis": below}}, groups))


def gone(instance, **body):
    return instance.operator.does("/invalidate", json.dumps(body).encode())


def entries(instance, tier):
    return len(instance.operator.reads(f"/entries?tier={tier}")["entries"])


def lies_in(instance, tier, count):
    """Waits until so many entries lie in a tier: what goes below memory goes there a moment later."""
    wait_until(lambda: entries(instance, tier) == count, f"{count} entries in {tier}")


def restarted(instance, begin, **groups):
    instance.stop()
    return begin(**groups)


KINDS = [{"tag": "red"}, {"operation": "chat"}, {"model": "gpt*"}, {"namespace": "default"}, {"pattern": "default:chat:*"},
         {"all": True}]


@pytest.mark.parametrize("body", KINDS, ids=lambda body: next(iter(body)))
def test_by_each_kind_from_memory_and_disk_and_for_good(begin, body):
    first = begin()
    for prompt in "ab":
        first.client.post(tagged(chat(prompt), "red")).was("MISS")
    first.client.post(chat("c").but(model="o3").with_headers(Refrain_Namespace="team", Refrain_Operation="qa")).was("MISS")
    lies_in(first, "disk", 3)
    count = 3 if "all" in body else 2
    told = gone(first, **body)
    assert (told["matched"], told["tiers"]) == (count, {"memory": count, "disk": count}) and told["not_yet"] == {}
    assert entries(first, "disk") == 3 - count
    again = restarted(first, begin)
    again.client.post(tagged(chat("a"), "red")).was("MISS")


def test_by_id_and_by_age_from_disk(begin):
    first = begin()
    entry = first.client.post(chat("a")).was("MISS").header("refrain-entry")
    first.client.post(chat("b")).was("MISS")
    lies_in(first, "disk", 2)
    again = restarted(first, begin)
    assert gone(again, id=entry)["tiers"] == {"memory": 0, "disk": 1}
    again.client.post(chat("a")).was("MISS")
    again.client.post(chat("b")).was("HIT")
    assert gone(again, older_than="1h")["matched"] == 0


def test_distinct_entries_are_told_apart_from_deletions(begin):
    first = begin()
    for prompt in "abc":
        first.client.post(tagged(chat(prompt), "red")).was("MISS")
    lies_in(first, "disk", 3)
    again = restarted(first, begin)
    again.client.post(chat("a")).was("HIT")  # comes up into memory
    for dry in (True, False):
        told = gone(again, tag="red", dry_run=dry)
        assert (told["matched"], told["tiers"], told["at_least"]) == (3, {"memory": 1, "disk": 3}, False)
    assert gone(again, tag="red")["matched"] == 0


def test_nothing_is_promoted_that_is_meant(begin):
    first = begin()
    first.client.post(tagged(chat("a"), "red")).was("MISS")
    lies_in(first, "disk", 1)
    again = restarted(first, begin)
    gone(again, tag="red")
    again.client.post(chat("a")).was("MISS")


def test_a_write_that_waits_is_not_written(begin):
    first = begin(tiers={"write": "behind", "write_behind": "1h"})
    first.client.post(tagged(chat("a"), "red")).was("MISS")
    first.client.post(chat("b")).was("MISS")
    assert gone(first, tag="red")["tiers"]["memory"] == 1
    first.client.post(chat("b")).was("HIT")
    again = restarted(first, begin)  # at its end it writes what waits
    again.client.post(chat("b")).was("HIT")
    again.client.post(chat("a")).was("MISS")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_an_answer_under_way_is_not_found_below_either(begin, upstream, streamed):
    first = begin()
    ask = tagged(chat_stream("a") if streamed else chat("a"), "red")
    if streamed:
        upstream.reply(sse, token("from before"), hold("g"))
    else:
        upstream.reply(whole, chat_answer("from before"), before=hold("g"))
    waiting = first.client.post(ask)
    upstream.held("g")
    gone(first, tag="red")
    upstream.release("g")
    assert b"from before" in waiting.was("MISS").body
    again = restarted(first, begin)
    again.client.post(ask).was("MISS")


def test_what_a_request_changes_stays_changed_over_a_restart(begin, upstream):
    upstream.reply(whole, b"old", headers={"Cache-Control": "public, max-age=600"})
    upstream.reply(whole, b"other", headers={"Cache-Control": "public, max-age=600"})
    first = begin()
    first.client.get("/v1/files/1").was("MISS")
    first.client.get("/v1/files/2").was("MISS")
    lies_in(first, "disk", 2)
    first.client.ask("DELETE", "/v1/files/1").whole()
    lies_in(first, "disk", 1)
    again = restarted(first, begin)
    again.client.get("/v1/files/2").was("HIT")
    assert again.client.get("/v1/files/1").was("MISS").body != b"old"


def test_what_a_request_changes_right_before_the_end_stays_changed(begin, upstream):
    upstream.reply(whole, b"old", headers={"Cache-Control": "public, max-age=600"})
    first = begin()
    first.client.get("/v1/files/1").was("MISS")
    lies_in(first, "disk", 1)
    first.client.ask("DELETE", "/v1/files/1").whole()
    again = restarted(first, begin)
    assert again.client.get("/v1/files/1").was("MISS").body != b"old"


def test_many_changes_are_all_kept(begin, upstream):
    upstream.always(whole, b"{}", headers={"Cache-Control": "public, max-age=600"})
    first = begin()
    for n in range(40):
        first.client.get(f"/v1/files/{n}").was("MISS")
    lies_in(first, "disk", 40)
    for n in range(0, 40, 2):
        first.client.ask("DELETE", f"/v1/files/{n}").whole()
    lies_in(first, "disk", 20)
    assert first.metric("invalidations_total", kind="target") == 20
    again = restarted(first, begin)
    for n in range(40):
        again.client.get(f"/v1/files/{n}").was("HIT" if n % 2 else "MISS")


def test_variants_on_disk_are_not_led_to_any_more(begin, upstream):
    upstream.always(whole, b"{}", headers={"Cache-Control": "public, max-age=600", "Vary": "X-Way"})
    first = begin()
    for way in ("one", "two"):
        first.client.get("/v1/pages", {"X-Way": way}).was("MISS")
    lies_in(first, "disk", 2)
    told = gone(first, namespace="default")
    assert (told["matched"], told["tiers"]) == (2, {"memory": 2, "disk": 2})
    again = restarted(first, begin)
    again.client.get("/v1/pages", {"X-Way": "one"}).was("MISS")


def test_what_lies_on_disk_alone_is_listed_told_of_and_changed(begin):
    first = begin()
    answer = first.client.post(tagged(chat("a"), "red")).was("MISS")
    lies_in(first, "disk", 1)
    again = restarted(first, begin)
    listed = again.operator.reads("/entries")["entries"]
    assert [(entry["tier"], entry["tags"]) for entry in listed] == [("disk", ["red"])]
    told = again.operator.reads("/entries/" + answer.header("refrain-entry"))
    assert (told["status"], [place["tier"] for place in told["tiers"]]) == (200, ["disk"])
    assert again.operator.get(f"/entries/{answer.header('refrain-entry')}?body=1").whole().body == answer.body
    assert entries(again, "memory") == 0, "a look moves nothing"
    again.operator.client.ask("PUT", "/api/v1/entries/" + answer.header("refrain-entry"), None,
                              b'{"ttl": "10m", "tags": ["blue"]}').whole()
    wait_until(lambda: [e["tags"] for e in again.operator.reads("/entries?tier=disk")["entries"]] == [["blue"]],
               "the change on disk")
    third = restarted(again, begin)
    assert third.client.post(chat("a")).was("HIT").body == answer.body
    assert third.operator.reads("/entries/" + answer.header("refrain-entry"))["ttl_s"] <= 600
    counted = third.operator.reads("/namespaces")["namespaces"]
    assert counted == [{"namespace": "default", "entries": {"memory": 1, "disk": 1}}]


def test_an_entry_in_memory_is_not_listed_from_disk_again(begin):
    first = begin()
    for prompt in "abc":
        first.client.post(chat(prompt)).was("MISS")
    lies_in(first, "disk", 3)
    assert [entry["tier"] for entry in first.operator.reads("/entries")["entries"]] == ["memory"] * 3


def thirty_of_which_ten_are_in_memory(begin, below):
    first = begin()
    for n in range(30):
        first.client.post(chat(f"{n}")).was("MISS")
    lies_in(first, below, 30)
    again = restarted(first, begin)
    for n in range(10):
        again.client.post(chat(f"{n}")).was("HIT")
    return again


def page_by_page(instance):
    """(id, tier) of every entry that the listing has, as often as it has it."""
    seen, cursor = [], ""
    while cursor is not None:
        page = instance.operator.reads("/entries?limit=7" + (f"&cursor={cursor}" if cursor else ""))
        seen += [(entry["id"], entry["tier"]) for entry in page["entries"]]
        cursor = page["cursor"]
        assert page["not_read"] == {}
    return seen


def test_pages_go_on_from_memory_into_disk(begin):
    again = thirty_of_which_ten_are_in_memory(begin, "disk")
    seen = page_by_page(again)
    assert len({entry for (entry, _) in seen}) == len(seen) == 30
    assert [tier for (_, tier) in seen].count("memory") == 10


# -- Redis ----------------------------------------------------------------------------------------------------------------


def populate(redis, count):
    """So many keys of somebody else's."""
    redis.cli("EVAL", "for n = 1, ARGV[1] do redis.call('SET', 'foreign:' .. n, 'x') end", 0, count)


NEVER = ("KEYS", "FLUSHDB", "FLUSHALL")


@pytest.mark.parametrize("body", KINDS, ids=lambda body: next(iter(body)))
def test_by_each_kind_from_redis_with_neither_keys_nor_flushdb(join, redis, body):
    first = join()
    for prompt in "ab":
        first.client.post(tagged(chat(prompt), "red")).was("MISS")
    first.client.post(chat("c").but(model="o3").with_headers(Refrain_Namespace="team", Refrain_Operation="qa")).was("MISS")
    lies_in(first, "redis", 3)
    count = 3 if "all" in body else 2
    dry = gone(first, dry_run=True, **body)
    assert (dry["matched"], dry["tiers"]) == (count, {"memory": count, "redis": count})
    told = gone(first, **body)
    assert (told["matched"], told["tiers"]) == (count, {"memory": count, "redis": count})
    assert len(redis.keys("refrain:*:*:*:*")) == 3 - count
    redis.never(*NEVER)
    again = restarted(first, join)
    again.client.post(tagged(chat("a"), "red")).was("MISS")


def test_what_others_keep_in_the_same_redis_is_not_touched(join, redis):
    populate(redis, 100_000)
    redis.cli("SET", "refrain", "not ours")
    redis.cli("SET", "refrain2:default:chat:x:y", "not ours either")
    first = join()
    for prompt in "abc":
        first.client.post(chat(prompt)).was("MISS")
    lies_in(first, "redis", 3)
    assert gone(first, all=True)["tiers"] == {"memory": 3, "redis": 3}
    assert len(redis.keys("foreign:*")) == 100_000
    assert redis.cli("GET", "refrain") == b"not ours" and redis.cli("GET", "refrain2:default:chat:x:y") == b"not ours either"
    redis.never(*NEVER)


def test_while_a_large_redis_is_walked_others_are_served(join, redis, upstream):
    populate(redis, 300_000)
    first = join()
    first.client.post(chat("a")).was("MISS")
    walking = first.operator.post("/invalidate", b'{"tag": "red"}')
    for n in range(20):
        first.client.post(chat("a")).was("HIT")
        first.client.post(chat(f"miss {n}")).was("MISS")
    assert walking.whole().status == 200


def test_redis_being_away_is_told_and_made_up_for(join, redis):
    first = join()
    first.client.post(tagged(chat("a"), "red")).was("MISS")
    first.client.post(tagged(chat("b"), "blue")).was("MISS")
    lies_in(first, "redis", 2)
    redis.freeze()
    told = gone(first, tag="red")
    assert told["tiers"]["memory"] == 1 and "redis" in told["not_yet"]
    redis.thaw()
    wait_until(lambda: len(redis.keys("refrain:*:*:*:*")) == 1, "what was meant to go once Redis is back")
    redis.never(*NEVER)


def killed(instance):
    instance.process.kill()
    instance.exits()
    instance.stop = lambda: None


def ended(instance):
    instance.stop()


@pytest.fixture
def redis_with_the_old_entry(join, redis, tmp_path, upstream):
    """An instance with "a" tagged red in Redis, which goes away; call it, and Redis is back and has that entry."""
    upstream.always(whole, chat_answer("an answer"))
    first = join(cache={"state_dir": str(tmp_path / "state")})
    first.client.post(tagged(chat("a"), "red")).was("MISS")
    lies_in(first, "redis", 1)
    name = redis.keys("refrain:*:*:*:*")[0]
    record = redis.cli("DUMP", name)
    redis.kill()

    def back():
        redis.restart()
        redis.cli("RESTORE", name, 600_000, record)
    first.redis_comes_back = back
    return first


@pytest.mark.parametrize("end", [killed, ended])
@pytest.mark.parametrize("back_before_the_start", [True, False], ids=["redis-first", "instance-first"])
def test_what_redis_could_not_be_told_outlives_the_process(join, tmp_path, upstream, end, back_before_the_start,
                                                           redis_with_the_old_entry):
    first = redis_with_the_old_entry
    told = gone(first, tag="red")
    assert "redis" in told["not_yet"]
    owed = (tmp_path / "state" / "owed.1").read_text()
    assert '"tag":"red"' in owed and "an answer" not in owed
    assert (tmp_path / "state" / "owed.1").stat().st_mode & 0o777 == 0o600
    end(first)
    if back_before_the_start:
        first.redis_comes_back()
    again = join(cache={"state_dir": str(tmp_path / "state")}, tiers={"memory": {"enabled": False}})
    assert [event for event in again.events if event.get("event") == "owed_found"]
    if not back_before_the_start:
        first.redis_comes_back()
        wait_until(lambda: again.metric("tier_up", tier="redis") == 1, "Redis to be up again")
    again.client.post(tagged(chat("a"), "red").but(model="o3")).was("MISS")
    again.client.post(tagged(chat("a"), "red")).was("MISS")
    upstream.saw(3)
    wait_until(lambda: not (tmp_path / "state" / "owed.1").exists(), "what was owed to be done")


@pytest.mark.parametrize("end", [killed, ended])
def test_what_redis_could_not_be_told_is_deleted_there_and_told_to_others(join, redis, tmp_path, end,
                                                                          redis_with_the_old_entry):
    """Nobody asks for it: it goes all the same, and who was away meanwhile hears of it in the log."""
    first = redis_with_the_old_entry
    gone(first, tag="red")
    end(first)
    first.redis_comes_back()
    join(cache={"state_dir": str(tmp_path / "state")})
    wait_until(lambda: redis.keys("refrain:*:*:*:*") == [], "the old entry to go from Redis")
    wait_until(lambda: b'"tag":"red"' in redis.everything(), "the invalidation to stand in the fleet's log")
    wait_until(lambda: not (tmp_path / "state" / "owed.1").exists(), "what was owed to be done")


def test_a_file_of_what_is_owed_that_cannot_be_read_is_set_aside(begin, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "owed.1").write_bytes(b"refrain ledger 1\ninvalidation redis 17")
    first = begin(cache={"state_dir": str(state)})
    assert [event for event in first.events if event.get("event") == "owed_set_aside"]
    assert (state / "owed.1.odd").exists() and not (state / "owed.1").exists()
    first.client.post(chat("a")).was("MISS")


def test_what_redis_still_has_is_not_given_out(join, redis, upstream):
    """It could not be deleted yet; the fence holds it back, and it is deleted as it is met."""
    first = join(tiers={"memory": {"enabled": False}})
    first.client.post(tagged(chat("a"), "red")).was("MISS")
    lies_in(first, "redis", 1)
    name = redis.keys("refrain:*:*:*:*")[0]
    record = redis.cli("DUMP", name)
    gone(first, tag="red")
    redis.cli("RESTORE", name, 600_000, record)  # as a write of another instance that comes late
    first.client.post(chat("a")).was("MISS")
    upstream.saw(2)


def test_a_changed_target_is_not_given_out_from_redis(join, redis, upstream):
    upstream.reply(whole, b"old", headers={"Cache-Control": "public, max-age=600"})
    first = join(tiers={"memory": {"enabled": False}})
    first.client.get("/v1/files/1").was("MISS")
    lies_in(first, "redis", 1)
    first.client.ask("DELETE", "/v1/files/1").whole()
    redis.forget_commands()
    assert first.client.get("/v1/files/1").was("MISS").body != b"old"
    redis.never("SCAN")


@pytest.mark.parametrize("how", ["restarted", "another"])
def test_a_changed_target_is_not_given_out_from_redis_by_who_starts_later(join, redis, upstream, how):
    """Redis is not scanned for what a request changes: whoever starts later reads of it."""
    upstream.reply(whole, b"old", headers={"Cache-Control": "public, max-age=600"})
    upstream.reply(whole, b"other", headers={"Cache-Control": "public, max-age=600"})
    first = join()
    first.client.get("/v1/things/1").was("MISS")
    first.client.get("/v1/things/2").was("MISS")
    lies_in(first, "redis", 2)
    first.client.ask("PUT", "/v1/things/1", body=b"{}").whole()
    wait_until(lambda: redis.keys("refrain:{events}:notes"), "the change to be told")
    again = restarted(first, join) if how == "restarted" else join()
    assert again.client.get("/v1/things/1").was("MISS").body != b"old"
    assert again.client.get("/v1/things/2").was("HIT").body == b"other"


def test_what_was_to_be_deleted_from_redis_is_not_given_out_after_a_restart(join, redis, upstream):
    """The instance that was told ended before Redis could do it."""
    first = join()
    first.client.post(tagged(chat("a"), "red")).was("MISS")
    first.client.post(tagged(chat("b"), "blue")).was("MISS")
    lies_in(first, "redis", 2)
    names = redis.keys("refrain:*:*:*:*")
    records = {name: redis.cli("DUMP", name) for name in names}
    gone(first, tag="red")
    wait_until(lambda: len(redis.keys("refrain:*:*:*:*")) == 1, "it to be deleted")
    for name, record in records.items():
        redis.cli("RESTORE", name, 600_000, record, "REPLACE")  # as if it had not been
    again = restarted(first, join)
    again.client.post(chat("a")).was("MISS")
    again.client.post(chat("b")).was("HIT")


def test_what_was_found_below_is_not_given_out_for_an_error_after_an_invalidation(begin, upstream):
    first = begin(cache={"stale_if_error": "1d"}, tiers={"memory": {"enabled": False}})
    upstream.reply(whole, b"old", headers={"Cache-Control": "public, max-age=1"})
    first.client.get("/v1/things/1").was("MISS")
    lies_in(first, "disk", 1)
    stale = {"Cache-Control": "max-stale, only-if-cached"}
    wait_until(lambda: int(first.client.get("/v1/things/1", stale).whole().header("age")) >= 1, "it to be stale")
    upstream.reply(whole, b"no", status=503, before=hold("g"))
    asking = first.client.get("/v1/things/1")
    upstream.held("g")
    assert gone(first, all=True)["tiers"]["disk"] == 1
    upstream.release("g")
    assert asking.was("MISS", status=503).body == b"no"


def test_what_is_being_read_when_the_invalidation_comes_is_not_given_out(join, redis, upstream):
    slow = {"tiers": {"redis": {"timeout": "10s"}}}
    first = join(**slow)
    first.client.post(tagged(chat("a"), "red")).was("MISS")
    lies_in(first, "redis", 1)
    again = restarted(first, join, **slow)
    lies_in(again, "redis", 1)
    redis.freeze()
    reading = again.client.post(chat("a"))
    again.waits_for("flights", 1)
    telling = again.operator.post("/invalidate", b'{"tag": "red"}')
    again.waits_for("invalidations_total", 1, kind="tag")  # the fence stands
    redis.thaw()
    assert telling.whole().status == 200
    reading.was("MISS")
    upstream.saw(2)


def test_pages_go_on_from_memory_into_redis(join, redis):
    populate(redis, 5000)
    seen = page_by_page(thirty_of_which_ten_are_in_memory(join, "redis"))
    assert len({entry for (entry, _) in seen}) == 30, "all of them, though SCAN may tell of one twice"
    assert len([tier for (_, tier) in seen if tier == "memory"]) == 10
    redis.never(*NEVER)


def test_every_node_of_a_cluster_is_cleared(instance_of, redis_cluster):
    first = instance_of({"tiers": {"redis": redis_cluster.tier(timeout="1s")}})
    for n in range(12):  # over all nodes
        first.client.post(tagged(chat(f"{n}"), "red" if n % 2 else "blue")).was("MISS")
    lies_in(first, "redis", 12)
    assert gone(first, tag="red", dry_run=True)["tiers"] == {"memory": 6, "redis": 6}
    assert gone(first, tag="red")["tiers"] == {"memory": 6, "redis": 6}
    assert len(redis_cluster.keys("refrain:default:*:*:*")) == 6
    redis_cluster.never(*NEVER)
