"""Several answers kept for one request, one of them given at random. SPEC sections 6 and 7, `Refrain-Variants`."""

import pytest

from harness.asks import chat, chat_stream
from harness.upstream import hold, chat_answer, whole


def asking(n, ask=None):
    return (ask or chat()).with_headers(**{"Refrain-Variants": str(n)})


def held_answers(upstream, n):
    for i in range(n):
        upstream.reply(whole, hold("gate"), chat_answer(f"answer {i}"))


@pytest.mark.parametrize("size", [10, 100_000], ids=["small", "large"])
def test_sixteen_at_once_with_four_variants_make_four_calls(client, refrain, upstream, size):
    """Large bodies are read on the thread pool, so that all have looked before one has joined."""
    held_answers(upstream, 4)
    answers = [client.post(asking(4, chat("x" * size))) for _ in range(16)]
    refrain.waits_for("flight_readers", 16)
    upstream.saw(4)
    upstream.release("gate")
    bodies = [answer.whole().body for answer in answers]
    assert len(set(bodies)) == 4 and all(bodies.count(body) > 1 for body in bodies), "nobody is left to wait alone"
    upstream.saw(4)


def test_until_all_are_stored_each_asking_brings_another(client, upstream):
    bodies = {client.post(asking(3)).was("MISS").body for _ in range(3)}
    assert len(bodies) == 3
    given = [client.post(asking(3)).was("HIT").body for _ in range(60)]
    assert set(given) == bodies, "each of the three is given now and then"
    upstream.saw(3)


def test_who_asks_for_fewer_finds_what_is_there(client, upstream):
    stored = {client.post(asking(3)).was("MISS").body for _ in range(3)}
    for _ in range(5):
        assert client.post(asking(2)).was("HIT").body in stored
    client.post(asking(4)).was("MISS")
    upstream.saw(4)


def test_one_variant_is_as_none(client, upstream):
    client.post(chat()).was("MISS")
    client.post(asking(1)).was("HIT")
    client.post(asking(2)).was("MISS")
    upstream.saw(2)


def test_streams_have_variants_too(client, upstream):
    bodies = {client.post(asking(2, chat_stream())).was("MISS").body for _ in range(2)}
    for _ in range(10):
        assert client.post(asking(2, chat_stream())).was("HIT").body in bodies
    upstream.saw(2)


def test_refresh_replaces_one_of_them(client, upstream):
    for _ in range(2):
        client.post(asking(2)).was("MISS")
    fresh = client.post(asking(2), {"Refrain-Cache": "refresh"}).was("MISS").body
    given = {client.post(asking(2)).was("HIT").body for _ in range(60)}
    assert fresh in given and len(given) == 2
    upstream.saw(3)


def test_only_if_cached_is_content_with_any_that_is_there(client, upstream):
    only = {"Cache-Control": "only-if-cached"}
    client.post(asking(3), only).refused(504, "only_if_cached_miss")
    first = client.post(asking(3)).was("MISS").body
    assert client.post(asking(3), only).was("HIT").body == first
    upstream.saw(1)


def test_an_answer_that_is_not_stored_does_not_count(client, upstream):
    upstream.reply(whole, b"{}", status=500)
    client.post(asking(2)).whole()
    for _ in range(2):
        client.post(asking(2)).was("MISS")
    client.post(asking(2)).was("HIT")
    upstream.saw(3)


@pytest.mark.refrain(rules=[{"match": {"temperature_above": 0.5}, "variants": 2}])
def test_a_rule_keeps_variants_of_some_requests(client, upstream):
    for _ in range(2):
        client.post(chat(temperature=1)).was("MISS")
    client.post(chat(temperature=1)).was("HIT")
    client.post(chat(temperature=0)).was("MISS")
    client.post(chat(temperature=0)).was("HIT")
    client.post(asking(3, chat(temperature=1))).was("MISS")  # the request has the last word
    upstream.saw(4)


@pytest.mark.parametrize("value", ["0", "65", "x", "-1", "2, 3", ""])
def test_a_bad_number_is_refused(client, upstream, value):
    client.post(chat(), {"Refrain-Variants": value}).refused(400, "request_invalid")
    upstream.saw(0)


def test_variants_of_one_caller_are_not_anothers(client, upstream):
    bob = client.with_credential("sk-bob")
    client.post(asking(2)).was("MISS")
    bob.post(asking(2)).was("MISS")
    client.post(asking(2)).was("MISS")
    bob.close()
    upstream.saw(3)


def test_what_is_explained_is_what_happens(client, operator, upstream):
    ask = asking(2)
    asked = {"method": "POST", "path": ask.path, "body": ask.body,
             "headers": {"Authorization": "Bearer sk-alice", "Content-Type": "application/json", **ask.headers}}
    for _ in range(2):
        assert not operator.does("/explain", asked)["would_hit"]
        client.post(ask).was("MISS")
    assert operator.does("/explain", asked)["would_hit"]
    client.post(ask).was("HIT")
