"""Nothing broken is ever stored. SPEC section 5."""

import gzip
import json

import pytest

from harness.asks import chat, chat_stream, embedding, messages, responses
from harness.process import wait_until
from harness.upstream import (chat_answer, chunked, cut, event, hold, reset, sse, sse_unended, token, whole,
                              wire)

GOOD = chat_answer("good")


def asked_twice(client, ask):
    """The second of two askings; the first is read however it ends."""
    first = client.post(ask)
    first.ends()
    return first, client.post(ask)


BROKEN = {
    "Content-Length longer than the body": (whole, (GOOD, cut), {"headers": {"Content-Length": str(len(GOOD) + 9)}}),
    "RST in the middle of a body": (whole, (GOOD[:50], reset), {"headers": {"Content-Length": str(len(GOOD))}}),
    "FIN inside a chunk": (chunked, (GOOD[:50], wire(b"50\r\n" + GOOD[50:60]), cut), {}),
    "FIN before the last chunk": (chunked, (GOOD, cut), {}),
    "a chunk size that is no number": (chunked, (GOOD[:50], wire(b"zz\r\n"), cut), {}),
    "damaged gzip": (whole, (gzip.compress(GOOD)[:-12] + b"x" * 12,), {"headers": {"Content-Encoding": "gzip"}}),
    "gzip cut short": (whole, (gzip.compress(GOOD)[:-9],), {"headers": {"Content-Encoding": "gzip"}}),
    "bytes behind the gzip": (whole, (gzip.compress(GOOD) + b"junk",), {"headers": {"Content-Encoding": "gzip"}}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_answer_is_never_stored(client, refrain, upstream, case):
    kind, parts, how = BROKEN[case]
    upstream.reply(kind, *parts, **how)
    first = client.post(chat(), headers={"Accept-Encoding": "gzip"})
    first.ends()
    assert refrain.metric("entries", tier="memory") == 0
    assert client.post(chat()).was("MISS").body != first.body
    upstream.saw(2)


@pytest.mark.parametrize("case", ["Content-Length longer than the body", "RST in the middle of a body",
                                  "FIN inside a chunk", "FIN before the last chunk"])
def test_half_an_answer_never_ends_cleanly_as_200(client, upstream, case):
    kind, parts, how = BROKEN[case]
    upstream.reply(kind, *parts, **how)
    answer = client.post(chat())
    assert answer.ends() == "cut" or answer.status == 502, f"expected a cut or a 502: {answer!r}"


UNFIT = {
    "no JSON": (whole, (b"<html>busy</html>",), "json"),
    "half a JSON text": (whole, (GOOD[:-5],), "json"),
    "an empty body": (whole, (b"",), "json"),
    "an error inside a 200": (whole, (b'{"error":{"message":"overloaded","type":"server_error"}}',), "error"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_200_that_is_no_answer_is_passed_on_but_not_stored(client, upstream, case):
    kind, parts, reason = UNFIT[case]
    upstream.reply(kind, *parts)
    first, second = asked_twice(client, chat())
    assert first.status == 200 and first.body == b"".join(parts), f"it must be passed on untouched: {first!r}"
    assert f"not-stored:{reason}" in first.header("cache-status"), f"the reason must be told: {first!r}"
    second.was("MISS")
    upstream.saw(2)


def test_the_wrong_content_type_is_not_stored(client, upstream):
    upstream.reply(whole, GOOD, content_type="text/html")
    first, second = asked_twice(client, chat())
    assert "not-stored" in first.header("cache-status")
    second.was("MISS")


@pytest.mark.parametrize("status", [201, 202, 206, 301, 302, 400, 401, 403, 404, 429, 500, 502, 503])
def test_no_status_but_200_is_stored(client, upstream, status):
    upstream.reply(whole, GOOD, status=status)
    first, second = asked_twice(client, chat())
    assert first.status == status and first.body == GOOD
    assert first.header("x-cache") == "MISS"
    assert second.was("MISS").body != GOOD
    upstream.saw(2)


LAST_EVENT = {
    "chat": (chat_stream(), token("alpha")),
    "responses": (responses(stream=True), event({"type": "response.created", "response": {}}, "response.created")),
    "messages": (messages(stream=True), event({"type": "ping"}, "ping")),
}


def is_passed_on_and_not_stored(client, upstream, how, ask, events):
    upstream.reply(how, events)
    first, second = asked_twice(client, ask)
    assert events in first.body
    second.was("MISS")
    upstream.saw(2)


@pytest.mark.parametrize("name", LAST_EVENT)
def test_a_stream_without_its_last_event_is_not_stored(client, upstream, name):
    is_passed_on_and_not_stored(client, upstream, sse_unended, *LAST_EVENT[name])


ERROR_EVENTS = {
    "chat": (chat_stream(), event({"error": {"message": "server busy", "type": "server_error"}})),
    "responses": (responses(stream=True), event({"type": "error", "message": "busy", "code": "x"}, "error")),
    "responses failed": (responses(stream=True), event({"type": "response.failed", "response": {"status": "failed"}},
                                                       "response.failed")),
    "messages": (messages(stream=True), event({"type": "error", "error": {"type": "overloaded_error"}}, "error")),
}


@pytest.mark.parametrize("name", ERROR_EVENTS)
def test_a_stream_with_an_error_inside_is_not_stored(client, upstream, name):
    is_passed_on_and_not_stored(client, upstream, sse, *ERROR_EVENTS[name])


def test_a_stream_that_ends_inside_an_event_is_not_stored(client, upstream):
    upstream.reply(sse_unended, token("alpha"), b"data: [DONE]\n")
    _, second = asked_twice(client, chat_stream())
    second.was("MISS")


def test_json_in_answer_to_a_stream_request_is_not_a_stream(client, upstream):
    upstream.reply(whole, GOOD)
    first, second = asked_twice(client, chat_stream())
    assert first.body == GOOD
    second.was("MISS")


@pytest.mark.refrain(cache={"max_object_bytes": "64KiB"})
def test_an_answer_over_the_object_bound_flows_on_unstored(client, refrain, upstream):
    large = chat_answer("x" * 300_000)
    upstream.always(whole, large)
    first, second = asked_twice(client, chat())
    assert first.body == large and second.was("MISS").body == large
    assert refrain.metric("entries", tier="memory") == 0
    small = chat_answer("x" * 30_000)
    upstream.always(whole, small)
    client.post(chat("small")).was("MISS")
    client.post(chat("small")).was("HIT")


@pytest.mark.refrain(cache={"max_object_bytes": "64KiB"})
def test_an_answer_over_the_object_bound_does_not_wait_to_be_whole(client, upstream):
    large = chat_answer("x" * 300_000)
    upstream.reply(whole, large[:200_000], hold("g"), large[200_000:])
    a = client.post(chat()).sees("x" * 100_000)
    upstream.release("g")
    assert a.whole().body == large


def test_credentials_and_per_response_fields_are_not_stored(client, upstream):
    gone = {"Set-Cookie": "session=1", "x-request-id": "req_1", "openai-organization": "org",
            "x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "9", "Authorization": "Bearer x",
            "request-id": "req_2", "anthropic-ratelimit-tokens-remaining": "7", "cf-ray": "abc"}
    kept = {"x-custom": "1", "openai-version": "2020-10-01"}
    upstream.reply(whole, GOOD, headers={**gone, **kept})
    client.post(chat()).was("MISS")
    hit = client.post(chat()).was("HIT")
    for name, value in kept.items():
        assert hit.header(name) == value, f"{name} belongs to the answer: {hit!r}"
    for name, value in gone.items():
        assert value not in hit.headers.all(name), f"{name} was another response's: {hit!r}"


@pytest.mark.refrain(redact={"headers": ["x-internal"]})
def test_operators_add_fields_that_are_not_stored(client, upstream):
    upstream.reply(whole, GOOD, headers={"X-Internal": "secret"})
    client.post(chat()).was("MISS")
    assert "x-internal" not in client.post(chat()).was("HIT").headers


@pytest.mark.refrain(redact={"headers": ["content-*"]})
def test_a_stored_body_can_be_read_whatever_fields_are_left_out(client, upstream):
    upstream.gzip = True
    for _ in range(2):
        answer = client.post(chat(), headers={"Accept-Encoding": "gzip"}).whole()
        assert answer.header("content-encoding") == "gzip", f"these bytes are gzip: {answer!r}"
        assert answer.header("content-type") == "application/json"
    assert answer.was("HIT")


def test_a_field_that_is_not_stored_any_more_is_not_given_out_of_what_was(start, upstream):
    refrain = start()
    client = start.client(refrain)
    upstream.always(whole, GOOD, headers={"X-Internal": "secret"})
    client.post(chat()).was("MISS")
    assert client.post(chat()).was("HIT").header("x-internal") == "secret"
    refrain.write_config({**refrain.config, "redact": {"headers": ["x-internal"]}})
    refrain.reload()
    wait_until(lambda: client.post(chat()).whole().header("x-cache") == "MISS", "what was stored to be found no more")
    assert "x-internal" not in client.post(chat()).was("HIT").headers


def test_an_embedding_answer_must_be_json(client, upstream):
    upstream.reply(whole, b"[1,2")
    _, second = asked_twice(client, embedding())
    second.was("MISS")


def test_a_get_is_not_stored_without_a_lifetime(client, upstream):
    for _ in range(2):
        assert client.get("/v1/models").whole().header("x-cache") == "MISS"
    upstream.saw(2)


@pytest.mark.refrain(routes=[{"path": "/", "upstream": "default", "ttl": "1h"}])
def test_a_get_is_stored_where_its_route_gives_a_lifetime(client, upstream):
    first = client.get("/v1/models").was("MISS")
    assert client.get("/v1/models").was("HIT").body == first.body
    for stateful in ("/v1/responses/r1", "/v1/files/f1", "/v1/batches/b1"):
        client.get(stateful).whole()
        client.get(stateful).whole()
    upstream.saw(1 + 2 * 3)


def test_a_get_is_stored_for_the_lifetime_that_upstream_gives(client, upstream):
    upstream.reply(whole, b"models", headers={"Cache-Control": "public, max-age=60"})
    client.get("/v1/models").was("MISS")
    hit = client.get("/v1/models").was("HIT")
    assert hit.body == b"models" and int(hit.header("age")) >= 0


@pytest.mark.parametrize("control", ["no-store", "private", "no-cache", "max-age=0"])
def test_what_rfc_9111_forbids_is_not_stored_on_a_get(client, upstream, control):
    upstream.always(whole, b"models", headers={"Cache-Control": control})
    client.get("/v1/models").whole()
    client.get("/v1/models").whole()
    upstream.saw(2)


def test_set_cookie_blocks_storing_a_get(client, upstream):
    upstream.always(whole, b"x", headers={"Cache-Control": "public, max-age=60", "Set-Cookie": "a=b"})
    client.get("/page").whole()
    client.get("/page").whole()
    upstream.saw(2)


def test_a_posts_cache_control_from_upstream_is_not_heeded(client, upstream):
    upstream.reply(whole, GOOD, headers={"Cache-Control": "no-store"})
    client.post(chat()).was("MISS")
    client.post(chat()).was("HIT")


@pytest.mark.refrain(cache={"respect_upstream_cache_control": True})
def test_a_posts_cache_control_from_upstream_is_heeded_where_configured(client, upstream):
    upstream.reply(whole, GOOD, headers={"Cache-Control": "no-store"})
    client.post(chat()).whole()
    client.post(chat()).was("MISS")
    upstream.saw(2)


def test_the_stored_json_is_what_upstream_sent_whatever_its_coding(client, upstream):
    upstream.gzip = True
    plain = client.post(chat(), headers={"Accept-Encoding": "identity"}).was("MISS")
    assert json.loads(plain.body)["choices"], "identity must be decoded for a client that does not take gzip"
    assert client.post(chat(), headers={"Accept-Encoding": "identity"}).was("HIT").body == plain.body
    upstream.saw(1)
