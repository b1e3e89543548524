"""What happens, as operators hear it: GET /api/v1/events. SPEC section 8, docs/events.md."""

import re

import pytest

from harness.asks import chat
from harness.events import Listener
from harness.process import wait_until
from harness.upstream import whole


@pytest.fixture
def listen(refrain):
    opened = []

    def listening(*args, **kwargs):
        opened.append(Listener(refrain, *args, **kwargs))
        return opened[-1]

    yield listening
    for listener in opened:
        listener.close()


def test_a_request_is_told_when_it_has_ended(client, listen):
    listener = listen()
    miss = client.post(chat(), {"Refrain-Tags": "red,blue", "X-Request-Id": "mine-1"}).was("MISS")
    stored = listener.hears("STORED")["payload"]
    assert stored["operation"] == "chat" and stored["model"] == "gpt-4o-mini" and stored["namespace"] == "default"
    assert stored["tags"] == ["red", "blue"] and stored["bytes"] > len(miss.body) and 3590 < stored["ttl_s"] <= 3600
    event = listener.hears("MISS")
    assert event["correlation_id"] == "mine-1" and re.fullmatch(r"[0-9a-f]{16}", event["source"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])
    hit = client.post(chat()).was("HIT")
    event = listener.hears("HIT")
    payload = event["payload"]
    assert event["correlation_id"] == hit.header("refrain-request-id")
    assert payload["id"] == stored["id"] == hit.header("refrain-entry")
    assert (payload["result"], payload["status"], payload["bytes"]) == ("hit", 200, len(hit.body))
    assert payload["tags"] == ["red", "blue"] and payload["took_ms"] >= 0


def test_no_event_has_a_prompt_an_answer_or_a_credential(client, upstream, listen):
    listener = listen()
    upstream.reply(whole, b'{"choices":[{"message":{"content":"the secret answer"},"finish_reason":"stop"}]}')
    for _ in range(2):
        client.post(chat("the secret prompt")).whole()
    listener.hears("HIT")
    for secret in ("secret", client.credential, client.credential.removeprefix("sk-")):
        assert secret.encode() not in listener.answer.body


def test_who_asks_for_some_types_hears_no_others(client, listen):
    hits, misses = listen("HIT"), listen("MISS%2CSTORED")
    for _ in range(2):
        client.post(chat()).whole()
    assert hits.next()["type"] == "HIT"
    assert [misses.next()["type"] for _ in range(2)] == ["STORED", "MISS"]


def test_a_type_that_there_is_not_is_refused(operator):
    for types in ("hit", "HIT,NONE", ""):
        operator.get(f"/events?types={types}").refused(400, "request_invalid")


def test_events_want_the_token(operator):
    operator.get("/events", {"Authorization": None}).refused(401, "unauthorized")
    operator.get("/events", {"Authorization": "Bearer wrong"}).refused(401, "unauthorized")
    operator.get("/events", {"Origin": "http://evil.example"}).refused(403, "origin_not_allowed")


def test_a_breaker_that_opens_is_told(operator, listen):
    listener = listen("BREAKER")
    operator.does("/breakers/default/validation", {"action": "open"})
    payload = listener.next()["payload"]
    assert (payload["upstream"], payload["kind"], payload["state"]) == ("default", "validation", "open")


@pytest.mark.refrain(tiers={"memory": {"max_entries": 1}})
def test_what_has_to_go_is_told(client, listen):
    listener = listen("EVICTED,STORED")
    client.post(chat("one")).was("MISS")
    first = listener.hears("STORED")["payload"]["id"]
    client.post(chat("two")).was("MISS")
    gone = listener.hears("EVICTED")["payload"]
    assert gone["id"] == first and (gone["tier"], gone["reason"]) == ("memory", "count")


def test_who_comes_back_has_missed_nothing(client, listen):
    first = listen("MISS")
    client.post(chat("one")).whole()
    first.next()
    first.close()
    ids = [client.post(chat(text)).whole().header("refrain-request-id") for text in ("two", "three")]
    again = listen("MISS", after=first.last_id)
    assert [again.next()["correlation_id"] for _ in ids] == ids


def test_an_id_of_another_run_is_told_to_be_one(client, listen):
    listener = listen("MISS", after="0123456789abcdef-17")
    assert listener.next()["type"] == "RESTARTED"
    client.post(chat()).whole()
    assert listener.next()["type"] == "MISS"


def test_listeners_who_have_left_make_room(refrain, operator, listen):
    many = [listen("BREAKER") for _ in range(64)]
    refused = operator.get("/events").refused(503, "overloaded")
    assert refused.header("content-type") == "application/json"
    many[0].close()

    def room():
        answer = operator.get("/events").head()
        return answer.status == 200

    wait_until(room, "room for another listener")
    operator.reads("/breakers")  # the listener answers all the while


def test_a_listener_that_does_not_read_holds_nobody_up(refrain, client, operator, listen):
    slow, quick = listen(receive_buffer=4096), listen("MISS")
    for i in range(50):
        client.post(chat(f"ask {i}")).whole()
    for _ in range(50):
        quick.next()
    assert len(operator.reads("/breakers")["breakers"]) > 0
    for _ in range(50):
        slow.hears("MISS")  # all the same, when it has time


def test_an_end_of_the_instance_ends_the_stream(start, refrain, listen):
    listener = listen()
    refrain.stop()
    assert listener.answer.ends() in ("clean", "cut")


def test_what_is_refused_is_neither_hit_nor_miss(client, listen):
    listener = listen("HIT,MISS")
    client.post(chat("refused"), {"Refrain-TTL": "nonsense"}).refused(400)
    client.post(chat("works")).was("MISS")
    assert listener.next()["payload"]["status"] == 200
