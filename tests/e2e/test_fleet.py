"""One upstream call over all instances that share a Redis: `coalescing.cluster`. SPEC section 7."""

import signal
import time

import pytest

from harness.asks import chat, chat_stream
from harness.client import Client
from harness.crowd import Crowd
from harness.process import wait_until
from harness.upstream import bodiless, chat_answer, hold, raw, reset, sse, token, whole

LEASE = "600ms"  # where time itself is the subject
SECRET = "the fleet's own secret, thirty-two bytes"
PATIENT = "10s"  # what Redis is given on a machine that is busy


class Fleet:
    """Instances that share one Redis and one secret; `fleet.clients[0]` asks the first."""

    def __init__(self, start, redis):
        self.start, self.redis = start, redis
        self.instances, self.clients = [], []

    def begin(self, count, tier=None, **groups):
        over = {"cache": {"secret": SECRET},
                "tiers": {"redis": {"url": self.redis.url, "timeout": PATIENT, **(tier or {})}},
                "coalescing": {"cluster": True, "cluster_lease": LEASE, **groups.pop("coalescing", {})}, **groups}
        for _ in range(count):
            self.instances.append(self.start(**over))
            self.clients.append(self.start.client(self.instances[-1]))
        return self

    def kill(self, index):
        """kill -9."""
        refrain = self.instances[index]
        refrain.process.kill()
        refrain.process.wait()
        self.start.running.remove(refrain)

    def metric(self, name, **labels):
        return sum(refrain.metric(name, **labels) for refrain in self.instances)

    def came_to(self, index, result, times=1):
        """Waits until the flights of an instance have come to this so often."""
        self.instances[index].waits_for("cluster_flights_total", times, result=result)

    def flight_keys(self):
        return [name for name in self.redis.keys() if "{flight:" in name]

    def is_followed(self):
        """Waits until Redis knows that somebody follows."""
        wait_until(lambda: any(name.endswith(":readers") for name in self.flight_keys()), "a follower")


@pytest.fixture
def fleet(start, redis):
    return Fleet(start, redis).begin


# -- one call ------------------------------------------------------------------------------------------------------------


def test_five_hundred_streams_at_two_instances_are_one_call(fleet, upstream):
    upstream.reply(sse, token("alpha"), hold("g"), token("beta"), hold("h"), token("gamma"))
    both = fleet(2, coalescing={"cluster_lease": "30s"})  # a busy machine may let the leader wait; nobody is to take over
    crowds = [Crowd(refrain.proxy) for refrain in both.instances]
    for crowd, client in zip(crowds, both.clients):
        for _ in range(250):
            crowd.join(client.wire("POST", "/v1/chat/completions", {}, chat_stream().body))
    members = [member for crowd in crowds for member in crowd.members]

    def all_see(what):
        for crowd in crowds:
            crowd.read_until(lambda: all(what in bytes(m.reader.content.body) if m.reader.content else False
                                         for m in crowd.members), f"{what!r} at every client")

    all_see(b"alpha")  # while upstream holds the rest back
    upstream.release("g")
    all_see(b"beta")
    upstream.release("h")
    for crowd in crowds:
        crowd.finish()
    assert {member.reader.ended for member in members} == {"clean"}
    assert len({bytes(member.reader.content.body) for member in members}) == 1
    upstream.saw(1)
    assert both.metric("cluster_flights_total", result="led") == 1
    assert both.metric("cluster_flights_total", result="followed") == 1
    assert both.metric("coalesced_total") == 499
    for crowd in crowds:
        crowd.close()


def test_whole_answers_at_three_instances_are_one_call(fleet, upstream):
    upstream.reply(whole, chat_answer("shared"), before=hold("g"))
    three = fleet(3)
    waiting = [client.post(chat()) for client in three.clients for _ in range(5)]
    wait_until(lambda: three.metric("flight_readers") == 15, "everybody to wait")
    upstream.held("g")
    upstream.release("g")
    assert len({answer.whole().body for answer in waiting}) == 1
    assert sorted(answer.header("x-cache") for answer in waiting) == ["COALESCED"] * 14 + ["MISS"]
    assert sum("collapsed" in answer.header("cache-status") for answer in waiting) == 14
    assert all("stored" in answer.header("cache-status") for answer in waiting)
    assert len({answer.header("etag") for answer in waiting}) == 1
    assert len({answer.header("refrain-entry") for answer in waiting}) == 1
    upstream.saw(1)


def test_tokens_reach_clients_of_the_other_instance_as_they_come(fleet, upstream):
    upstream.reply(sse, token("alpha"), hold("g"), token("beta"), hold("h"))
    a, b = (client.post(chat_stream()) for client in fleet(2).clients)
    a.sees("alpha")
    b.sees("alpha")
    upstream.held("g")
    assert not a.saw_end() and not b.saw_end()
    upstream.release("g")
    a.sees("beta")
    b.sees("beta")
    upstream.held("h")
    upstream.release("h")
    assert a.whole().body == b.whole().body
    upstream.saw(1)


def test_a_late_joiner_at_the_other_instance_gets_everything_from_the_first_byte(fleet, upstream):
    upstream.reply(sse, token("alpha"), token("beta"), hold("g"), token("gamma"))
    clients = fleet(2).clients
    a = clients[0].post(chat_stream()).sees("beta")
    upstream.held("g")
    b = clients[1].post(chat_stream()).sees("alpha").sees("beta")
    upstream.release("g")
    assert a.was("MISS").body == b.was("COALESCED").body
    upstream.saw(1)


def test_who_comes_right_after_the_end_asks_no_more(fleet, upstream):
    upstream.reply(sse, token("alpha"), token("beta"))
    clients = fleet(2).clients
    a = clients[0].post(chat_stream()).was("MISS")
    b = clients[1].post(chat_stream()).whole()
    assert b.body == a.body and b.header("x-cache") in ("HIT", "COALESCED")
    assert b.header("etag") == a.header("etag")
    upstream.saw(1)


def test_who_wants_it_fresher_does_not_get_what_another_instance_has_just_had(fleet, upstream):
    upstream.reply(whole, chat_answer("old"))
    upstream.reply(whole, chat_answer("new"))
    both = fleet(2)
    a, b = both.clients
    a.post(chat()).was("MISS")
    wait_until(lambda: both.redis.keys("refrain:default:*"), "it to be in Redis")
    wait_until(lambda: int(a.post(chat()).was("HIT").header("age")) >= 1, "it to be a second old")
    for name in both.redis.keys("refrain:default:*"):
        both.redis.cli("DEL", name)  # it lingers all the same
    assert b"new" in b.post(chat(), headers={"Cache-Control": "max-age=0"}).whole().body
    upstream.saw(2)


def test_followers_get_the_head_as_it_would_be_stored(fleet, upstream):
    upstream.reply(sse, token("alpha"), hold("g"),
                   headers={"Set-Cookie": "who=alice", "X-RateLimit-Remaining-Requests": "7", "X-Request-Id": "req_1",
                            "X-Model": "caf\xe9"})
    both = fleet(2)
    a = both.clients[0].post(chat_stream()).sees("alpha")
    b = both.clients[1].post(chat_stream()).sees("alpha")
    assert a.header("set-cookie") == "who=alice"
    assert b.header("set-cookie") is None and b.header("x-ratelimit-remaining-requests") is None
    assert b.header("x-request-id") != "req_1"
    assert b.header("x-model") == a.header("x-model") and b.header("age") == "0"
    assert b"alice" not in both.redis.everything()
    upstream.release("g")
    assert b.whole().body == a.whole().body


def test_two_credentials_share_nothing(fleet, upstream):
    upstream.reply(sse, token("for alice"), hold="a")
    upstream.reply(sse, token("for bob"), hold="b")
    clients = fleet(2).clients
    alice = clients[0].post(chat_stream()).sees("for alice")
    bob = clients[1].with_credential("sk-bob").post(chat_stream()).sees("for bob")
    upstream.release("a")
    upstream.release("b")
    assert b"bob" not in alice.was("MISS").body and b"alice" not in bob.was("MISS").body


def test_who_must_not_join_asks_for_himself(fleet, upstream):
    upstream.reply(sse, token("alpha"), hold="g")
    upstream.reply(sse, token("beta"))
    upstream.reply(sse, token("gamma"))
    clients = fleet(2).clients
    a = clients[0].post(chat_stream()).sees("alpha")
    clients[1].post(chat_stream(), headers={"Cache-Control": "no-store"}).sees("beta").whole()
    clients[1].post(chat_stream(), headers={"Cache-Control": "no-cache"}).sees("gamma").whole()
    upstream.release("g")
    a.whole()
    upstream.saw(3)


def both_have(fleet, ask):
    """The first instance has an answer from upstream, the second one the same from Redis."""
    first = ask(fleet.clients[0]).was("MISS")
    wait_until(lambda: ask(fleet.clients[1]).whole().header("x-cache") in ("HIT", "STALE"), "the second to have it")
    return first


def test_a_refresh_is_one_for_all_instances(fleet, upstream):
    upstream.reply(whole, chat_answer("old"))
    upstream.reply(whole, chat_answer("new"), before=hold("g"))
    both = fleet(2, cache={"secret": SECRET, "default_ttl": "1s", "stale_while_revalidate": "1h"})
    both_have(both, lambda client: client.post(chat()))
    for client in both.clients:  # stale, and asked for again
        wait_until(lambda client=client: client.post(chat()).whole().header("x-cache") == "STALE", "it to be stale")
    upstream.held("g")
    both.is_followed()
    upstream.saw(2)
    upstream.release("g")
    for client in both.clients:
        wait_until(lambda client=client: b"new" in client.post(chat()).whole().body, "the new one")
    assert both.metric("cluster_flights_total", result="followed") >= 1


def test_what_upstream_confirms_is_confirmed_for_all(fleet, upstream):
    fresh = {"Cache-Control": "public, max-age=1", "ETag": '"v1"'}
    upstream.reply(whole, b"a list of models", headers=fresh)
    upstream.reply(bodiless, status=304, before=hold("g"), headers={"Cache-Control": "public, max-age=60", "ETag": '"v1"'})
    both = fleet(2)
    both_have(both, lambda client: client.get("/v1/models"))
    for client in both.clients:
        wait_until(lambda client=client: client.get("/v1/models", headers={"Cache-Control": "only-if-cached"})
                   .whole().status == 504, "its second to be over, at each of them")
    a = both.clients[0].get("/v1/models")
    upstream.held("g")
    b = both.clients[1].get("/v1/models")
    both.instances[1].waits_for("flight_readers", 1)
    both.is_followed()
    upstream.release("g")
    assert a.was("REVALIDATED").body == b.was("REVALIDATED").body == b"a list of models"
    assert b.header("etag") == a.header("etag") == '"v1"'
    assert both.clients[1].get("/v1/models").whole().body == b.body  # from Redis, or what lingers
    upstream.saw(2)


# -- whoever leaves ------------------------------------------------------------------------------------------------------


def test_the_call_goes_on_for_the_other_instance(fleet, upstream):
    upstream.reply(sse, token("alpha"), hold("g"), token("beta"), hold("h"))
    both = fleet(2)
    a = both.clients[0].post(chat_stream()).sees("alpha")
    b = both.clients[1].post(chat_stream()).sees("alpha")
    a.leave()
    both.instances[0].waits_for("flight_readers", 0)
    upstream.release("g")
    b.sees("beta")
    upstream.held("h")
    b.leave()  # and now nobody is left, anywhere
    upstream.lost(1)
    both.came_to(0, "deserted")
    upstream.saw(1)


def test_the_call_is_given_up_at_once_where_nobody_else_reads(fleet, upstream):
    upstream.reply(sse, token("alpha"), hold("g"))
    both = fleet(2, coalescing={"cluster_lease": "30s"})
    both.clients[0].post(chat_stream()).sees("alpha").leave()
    upstream.lost(1)
    both.came_to(0, "deserted")
    assert [name for name in both.flight_keys() if name.endswith(":lease")] == []


# -- whoever dies --------------------------------------------------------------------------------------------------------


OF_THE_DEAD = chat_answer("of the dead")


@pytest.mark.parametrize("parts, before", [((OF_THE_DEAD,), hold("g")), ((OF_THE_DEAD[:40], hold("g"), OF_THE_DEAD[40:]), None)],
                         ids=["before its head came", "while its body came"])
def test_a_leader_killed_before_the_first_byte_is_succeeded_without_an_error(fleet, upstream, parts, before):
    upstream.reply(whole, *parts, before=before)
    upstream.reply(whole, chat_answer("of the living"), before=hold("h"))
    three = fleet(3)
    three.clients[0].post(chat())
    upstream.held("g")
    b = [three.clients[1].post(chat()) for _ in range(3)]
    c = [three.clients[2].post(chat()) for _ in range(3)]
    for instance in three.instances[1:]:
        instance.waits_for("flight_readers", 3)
    three.is_followed()
    three.kill(0)
    upstream.held("h")
    upstream.release("h")
    assert {answer.whole().status for answer in b + c} == {200}
    assert len({answer.body for answer in b + c}) == 1 and b"of the living" in b[0].body
    upstream.saw(2)


def test_a_leader_killed_in_the_middle_is_a_clear_end_and_nothing_is_stored(fleet, upstream):
    upstream.reply(sse, token("alpha"), hold("g"))
    upstream.reply(sse, token("again"))
    three = fleet(3)
    three.clients[0].post(chat_stream()).sees("alpha")
    others = [client.post(chat_stream()).sees("alpha") for client in three.clients[1:]]
    three.kill(0)
    assert [answer.ends() for answer in others] == ["cut", "cut"]
    three.came_to(1, "cut")
    again = three.clients[1].post(chat_stream()).was("MISS")
    assert b"again" in again.body
    upstream.saw(2)


def test_a_leader_that_stood_still_stores_nothing_over_its_successor(fleet, upstream):
    upstream.reply(whole, chat_answer("of the frozen"), before=hold("g"))
    upstream.reply(whole, chat_answer("of the successor"))
    three = fleet(3)
    a = three.clients[0].post(chat())
    upstream.held("g")
    b = three.clients[1].post(chat())
    three.instances[1].waits_for("flight_readers", 1)
    three.is_followed()
    three.instances[0].process.send_signal(signal.SIGSTOP)
    assert b"of the successor" in b.was("MISS").body
    three.came_to(1, "took_over")
    three.instances[0].process.send_signal(signal.SIGCONT)
    three.came_to(0, "lost")
    upstream.release("g")
    assert b"of the frozen" in a.was("MISS").body  # its own reader has its answer
    assert "not-stored:superseded" in a.header("cache-status")
    assert three.clients[2].post(chat()).whole().body == b.body
    assert three.clients[0].post(chat()).whole().body == b.body
    upstream.saw(2)


# -- Redis ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["kill", "freeze"])
def test_redis_fails_before_the_first_byte(fleet, upstream, redis, trouble):
    upstream.reply(whole, chat_answer("one"), before=hold("g"))
    upstream.reply(whole, chat_answer("other"), before=hold("h"))
    both = fleet(2, tier={"timeout": "500ms"})
    a = both.clients[0].post(chat())
    upstream.held("g")
    b = both.clients[1].post(chat())
    both.is_followed()
    getattr(redis, trouble)()
    upstream.held("h")  # it asks for itself
    upstream.release("g")
    upstream.release("h")
    assert b"one" in a.was("MISS").body
    assert b"other" in b.was("MISS").body
    upstream.saw(2)


@pytest.mark.parametrize("trouble", ["kill", "freeze"])
def test_redis_fails_in_the_middle(fleet, upstream, redis, trouble):
    upstream.reply(sse, token("alpha"), hold("g"), token("beta"))
    both = fleet(2, tier={"timeout": "500ms"})
    a = both.clients[0].post(chat_stream()).sees("alpha")
    b = both.clients[1].post(chat_stream()).sees("alpha")
    upstream.held("g")
    getattr(redis, trouble)()
    upstream.release("g")
    assert b"beta" in a.was("MISS").body
    assert b.ends() == "cut"
    upstream.saw(1)


def test_a_redis_that_comes_back_in_time_is_no_trouble(fleet, upstream, redis):
    upstream.reply(sse, token("alpha"), hold("g"), token("beta"))
    both = fleet(2, tier={"timeout": "500ms"}, coalescing={"cluster_lease": "20s"})
    a = both.clients[0].post(chat_stream()).sees("alpha")
    b = both.clients[1].post(chat_stream()).sees("alpha")
    upstream.held("g")
    redis.freeze()
    upstream.release("g")
    a.sees("beta")
    redis.thaw()
    assert a.whole().body == b.whole().body
    upstream.saw(1)


def test_without_redis_every_instance_is_on_its_own(fleet, upstream, redis):
    redis.kill()
    both = fleet(2, tier={"timeout": "500ms"})
    for client in both.clients:
        client.post(chat()).was("MISS")
        client.post(chat()).was("HIT")
    upstream.saw(2)


def test_every_key_has_a_lifetime_and_none_is_left(fleet, upstream, redis):
    upstream.reply(sse, token("alpha"), hold("g"), token("beta"))
    both = fleet(2)
    a, b = (client.post(chat_stream()).sees("alpha") for client in both.clients)
    names = both.flight_keys()
    assert {name.split("}:")[1].split(":")[0] for name in names} == {"lease", "fence", "chunks", "readers"}
    assert all(redis.cli("PTTL", name) != -1 for name in names)  # -2: it has run out meanwhile
    upstream.release("g")
    a.whole()
    b.whole()
    assert all(redis.cli("PTTL", name) != -1 for name in both.flight_keys())
    wait_until(lambda: not both.flight_keys(), "every key of the flight to run out")
    redis.never("KEYS", "FLUSHALL", "FLUSHDB", "XREAD", "BLPOP", "MONITOR")


def test_the_least_rights_are_enough(start, redis_server, upstream):
    upstream.reply(sse, token("alpha"), hold("g"), token("beta"))
    server = redis_server(user="refrain", password="only-for-the-test")
    both = Fleet(start, server).begin(2, tier={"username": "refrain", "password": "only-for-the-test"})
    a, b = (client.post(chat_stream()).sees("alpha") for client in both.clients)
    upstream.release("g")
    assert a.whole().body == b.whole().body
    upstream.saw(1)


def test_over_a_cluster_of_six(start, redis_cluster, upstream):
    both = Fleet(start, redis_cluster).begin(2)
    for i in range(12):  # flights of many slots
        upstream.reply(sse, token(f"alpha{i}"), hold(f"g{i}"), token("beta"))
        a = both.clients[i % 2].post(chat_stream(f"prompt {i}")).sees(f"alpha{i}")
        b = both.clients[(i + 1) % 2].post(chat_stream(f"prompt {i}")).sees(f"alpha{i}")
        upstream.release(f"g{i}")
        assert a.whole().body == b.whole().body
    upstream.saw(12)


# -- what is not shared --------------------------------------------------------------------------------------------------


def test_an_unshareable_answer_sends_everybody_upstream_at_once(fleet, upstream):
    upstream.reply(whole, b"o", hold("g"), b"ne", before=hold("h"), headers={"Cache-Control": "private"})
    for _ in range(5):
        upstream.reply(whole, b"o", hold("g"), b"ther", headers={"Cache-Control": "private"})
    three = fleet(3)
    first = three.clients[0].get("/v1/files/one")
    upstream.held("h")
    rest = [client.get("/v1/files/one") for client in three.clients[1:] for _ in range(2)]
    for instance in three.instances[1:]:
        instance.waits_for("flight_readers", 2)
    three.is_followed()
    upstream.release("h")
    upstream.held("g", 5)  # all of them, while none has ended
    upstream.release("g")
    assert first.whole().body == b"one" and {answer.whole().body for answer in rest} == {b"other"}


@pytest.mark.parametrize("status", [429, 503, 400])
def test_a_failure_is_shared(fleet, upstream, status):
    upstream.reply(whole, b'{"error":{"message":"no"}}', status=status, before=hold("g"), headers={"Retry-After": "7"})
    both = fleet(2)
    waiting = [client.post(chat()) for client in both.clients for _ in range(3)]
    wait_until(lambda: both.metric("flight_readers") == 6, "everybody to wait")
    both.is_followed()
    upstream.release("g")
    assert [answer.whole().status for answer in waiting] == [status] * 6
    assert {answer.header("retry-after") for answer in waiting} == {"7"}
    upstream.saw(1)


def test_an_upstream_that_breaks_off_is_a_failure_for_all(fleet, upstream):
    upstream.reply(raw, reset, before=hold("g"))
    both = fleet(2)
    waiting = [client.post(chat()) for client in both.clients]
    both.is_followed()
    upstream.release("g")
    assert {answer.whole().status for answer in waiting} == {502}
    upstream.saw(1)


def test_a_stream_that_upstream_cuts_is_cut_for_all(fleet, upstream):
    upstream.reply(sse, token("alpha"), hold("g"), reset)
    both = fleet(2)
    a, b = (client.post(chat_stream()).sees("alpha") for client in both.clients)
    upstream.release("g")
    assert (a.ends(), b.ends()) == ("cut", "cut")


def test_of_an_answer_that_varies_everyone_has_his_own(fleet, upstream):
    vary = {"Vary": "User-Agent"}
    for name in ("curl", "phone", "phone"):
        upstream.reply(whole, chat_answer(f"for {name}"), before=hold(f"for {name}"), headers=vary,
                       when=lambda request, name=name: request.header("user-agent") == name)
    three = fleet(3)
    first = three.clients[0].post(chat(), headers={"User-Agent": "curl"})
    upstream.held("for curl")
    same = three.clients[1].post(chat(), headers={"User-Agent": "curl"})
    three.instances[1].waits_for("flight_readers", 1)
    others = [client.post(chat(), headers={"User-Agent": "phone"}) for client in three.clients[1:]]
    three.instances[1].waits_for("flight_readers", 2)
    three.instances[2].waits_for("flight_readers", 1)
    upstream.release("for curl")
    upstream.held("for phone", 2)  # both at once
    upstream.release("for phone")
    assert b"for curl" in first.was("MISS").body
    assert same.was("COALESCED").body == first.body
    assert all(b"for phone" in answer.whole().body for answer in others)
    upstream.saw(3)


def test_waiters_of_the_other_instance_do_not_wait_for_ever(fleet, upstream):
    upstream.reply(whole, chat_answer("late"), before=hold("g"))
    upstream.reply(whole, chat_answer("in time"))
    both = fleet(2, coalescing={"max_wait": "1s"})
    a = both.clients[0].post(chat())
    upstream.held("g")
    b = both.clients[1].post(chat())
    assert b"in time" in b.whole().body
    upstream.release("g")
    assert b"late" in a.whole().body
    upstream.saw(2)


def test_what_was_invalidated_is_not_followed(fleet, upstream):
    upstream.reply(sse, token("before"), hold("g"))
    upstream.reply(sse, token("after"))
    both = fleet(2)
    a = both.clients[0].post(chat_stream()).sees("before")
    token_file = both.instances[1].folder / "state" / "admin.token"
    admin = Client(both.instances[1].admin, credential=token_file.read_text().strip())
    assert admin.ask("POST", "/api/v1/invalidate", body={"all": True}).whole().status == 200
    admin.close()
    b = both.clients[1].post(chat_stream()).sees("after").whole()
    assert b"before" not in b.body
    upstream.release("g")
    a.whole()
    upstream.saw(2)


def test_what_is_on_its_way_through_redis_is_sealed(fleet, upstream, redis, tmp_path):
    key = tmp_path / "encryption.key"
    key.write_text("11" * 32)
    key.chmod(0o600)
    upstream.reply(sse, token("a word in private"), hold("g"), headers={"X-Told": "told in private"})
    both = fleet(2, encryption={"key_file": str(key)})
    a, b = (client.post(chat_stream()).sees("a word in private") for client in both.clients)
    assert any(":chunks:" in name for name in both.flight_keys())
    stored = redis.everything()
    assert b"in private" not in stored and b"X-Told" not in stored
    upstream.release("g")
    assert a.whole().body == b.whole().body
    upstream.saw(1)


# -- figures -------------------------------------------------------------------------------------------------------------


def test_what_a_token_costs(fleet, upstream, redis, table):
    count = 100
    parts = [part for i in range(count) for part in (token(f"t{i};"), hold(f"g{i}"))]
    upstream.reply(sse, *parts)
    both = fleet(2)
    a = both.clients[0].post(chat_stream()).sees("t0;")
    b = both.clients[1].post(chat_stream()).sees("t0;")
    redis.forget_commands()
    behind = []
    for i in range(1, count):
        upstream.held(f"g{i - 1}")
        upstream.release(f"g{i - 1}")
        a.sees(f"t{i};")
        at = time.monotonic()
        b.sees(f"t{i};")
        behind.append(time.monotonic() - at)
    asked = redis.commands()
    upstream.release(f"g{count - 1}")
    assert a.whole().body == b.whole().body
    behind.sort()
    table("a token at another instance, behind the one that asked",
          [f"p50 {behind[len(behind) // 2] * 1000:.2f} ms, p99 {behind[int(len(behind) * 0.99)] * 1000:.2f} ms; "
           f"{asked['eval'] / (count - 1):.2f} commands a token, both instances together"])
    assert asked["eval"] <= 4 * count  # the leader's, the follower's; and what it looks for of its own accord
    upstream.saw(1)
