"""Past its lifetime an answer is still good for something: while a new one is fetched, and in place of an error.
SPEC section 7, RFC 5861, RFC 9111 section 4.2.4, RFC 9211."""

import re
import time

import pytest

from harness.asks import chat, chat_stream
from harness.process import wait_until
from harness.upstream import chat_answer, hold, reset, sse, token, whole

WINDOW = {"stale_while_revalidate": "1h"}
ON_ERROR = {"stale_if_error": "1h"}
SHORT = {"default_ttl": "1s"}  # the time itself is the subject: an answer goes stale


def page(upstream, body, cache_control, age=None, **headers):
    """The next answer to a GET; with an age over its lifetime it is stale when it comes."""
    fields = {"Cache-Control": f"public, {cache_control}", **{n.replace("_", "-"): v for (n, v) in headers.items()}}
    if age is not None:
        fields["Age"] = str(age)
    upstream.reply(whole, body, content_type="text/plain", headers=fields)


def after_its_lifetime(client, ask):
    """Asks again and again, and returns the first answer that is no hit any more."""
    seen = []

    def no_hit():
        seen.append(client.post(ask).whole())
        return seen[-1].header("x-cache") != "HIT"

    wait_until(no_hit, "the answer to be past its lifetime")
    return seen[-1]


def is_stale(client, ask):
    """Without asking upstream for it."""
    return client.post(ask, {"Cache-Control": "only-if-cached"}).whole().status == 504


def ttl(answer):
    return int(re.search(r"; ttl=(-?\d+)", answer.header("cache-status"))[1])


# While it is asked for again.


def test_a_stale_page_is_served_at_once_while_one_refresh_is_under_way(client, upstream):
    page(upstream, b"old", "max-age=60, stale-while-revalidate=600", age=100)
    client.get("/v1/models").was("MISS")
    upstream.reply(whole, hold("refresh"), b"new", headers={"Cache-Control": "public, max-age=60"})
    for _ in range(3):
        stale = client.get("/v1/models").was("STALE")
        assert stale.body == b"old" and int(stale.header("age")) >= 100
        assert re.fullmatch(r"refrain; hit; ttl=-\d+; detail=memory", stale.header("cache-status"))
        assert -100 < ttl(stale) <= -40
    upstream.held("refresh")
    strict = client.get("/v1/models", {"Cache-Control": "max-age=30"})  # takes no stale one: it joins the refresh
    upstream.saw(2)
    upstream.release("refresh")
    assert strict.whole().body == b"new"
    wait_until(lambda: client.get("/v1/models").whole().body == b"new", "the refreshed page")
    client.get("/v1/models").was("HIT")
    upstream.saw(2)


@pytest.mark.refrain(cache={**SHORT, **WINDOW})
@pytest.mark.parametrize("ask", [chat(), chat_stream(), chat("x" * 100_000)], ids=["whole", "stream", "large"])
def test_a_stale_answer_is_served_at_once_and_refreshed_behind_the_clients_back(client, upstream, refrain, ask):
    first = client.post(ask).was("MISS")
    stale = after_its_lifetime(client, ask)
    assert stale.was("STALE").body == first.body and ttl(stale) <= 0
    upstream.saw(2)
    wait_until(lambda: client.post(ask).whole().body != first.body, "the refreshed answer")
    assert refrain.metric("requests_total", operation="chat", result="stale") >= 1


@pytest.mark.refrain(cache={**SHORT, **WINDOW})
def test_a_refresh_that_fails_leaves_what_there_is(client, upstream):
    first = client.post(chat()).was("MISS")
    upstream.always(whole, b'{"error":{"message":"busy"}}', status=503)
    assert after_its_lifetime(client, chat()).was("STALE").body == first.body
    upstream.saw(2)
    assert client.post(chat()).was("STALE").body == first.body


def test_a_refresh_that_may_not_be_stored_is_not_read_to_its_end(client, upstream):
    page(upstream, b"old", "max-age=60, stale-while-revalidate=600", age=100)
    client.get("/v1/models").was("MISS")
    upstream.reply(whole, hold("body"), b"new", headers={"Cache-Control": "private"})
    client.get("/v1/models").was("STALE")
    upstream.lost(2)


@pytest.mark.refrain(coalescing={"max_wait": "100ms"})
def test_a_refresh_that_takes_longer_than_anyone_would_wait_arrives_all_the_same(client, upstream, refrain):
    page(upstream, b"old", "max-age=60, stale-while-revalidate=600", age=100)
    client.get("/v1/models").was("MISS")
    upstream.reply(whole, b"new", before=hold("refresh"), headers={"Cache-Control": "public, max-age=60"})
    client.get("/v1/models").was("STALE")
    upstream.held("refresh")
    started, tick = time.monotonic(), lambda: client.get("/v1/models").was("STALE")
    wait_until(lambda: tick() and time.monotonic() > started + 0.5, "max_wait to pass several times")
    upstream.saw(2)
    upstream.reply(whole, b"other", status=500)
    wait_until(lambda: client.get("/v1/models", {"Cache-Control": "max-age=30"}).whole().body == b"other",
               "max_wait to be over: who asks then does not join")
    upstream.release("refresh")
    refrain.waits_for("flights", 0)
    assert client.get("/v1/models").was("HIT").body == b"new"
    assert not upstream.requests[1].abandoned


def test_a_refresh_outlives_nobody_but_the_process(client, upstream, refrain):
    page(upstream, b"old", "max-age=60, stale-while-revalidate=600", age=100)
    client.get("/v1/models").was("MISS")
    upstream.reply(whole, b"new", before=hold("refresh"))
    client.get("/v1/models").was("STALE")
    upstream.held("refresh")
    refrain.terminate()
    assert refrain.exits() == 0


def test_who_wants_no_upstream_gets_the_stale_page_and_sets_nothing_off(client, upstream):
    page(upstream, b"old", "max-age=60, stale-while-revalidate=600", age=100)
    client.get("/v1/models").was("MISS")
    assert client.get("/v1/models", {"Cache-Control": "only-if-cached"}).was("STALE").body == b"old"
    assert client.get("/v1/models", {"Refrain-Cache": "read-only"}).was("STALE").body == b"old"
    upstream.saw(1)


@pytest.mark.refrain(routes=[{"path": "/calm/", "upstream": "default", "strip_prefix": True,
                              "stale_while_revalidate": "1h"}, {"path": "/", "upstream": "default"}],
                     cache=SHORT)
def test_a_route_has_a_window_of_its_own(client, upstream):
    calm, plain = chat("calm").at("/calm/v1/chat/completions"), chat("plain")
    client.post(calm).was("MISS")
    client.post(plain).was("MISS")
    after_its_lifetime(client, calm).was("STALE")
    after_its_lifetime(client, plain).was("MISS")


@pytest.mark.refrain(cache={**WINDOW, **ON_ERROR})
@pytest.mark.parametrize("word", ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"])
def test_upstream_may_forbid_stale_pages(client, upstream, word):
    page(upstream, b"old", f"max-age=60, {word}", age=100, ETag='"old"')
    client.get("/v1/models").was("MISS")
    upstream.reply(whole, b"no", status=503)
    assert client.get("/v1/models").whole().status == 503
    page(upstream, b"new", "max-age=60")
    assert client.get("/v1/models", {"Cache-Control": "max-stale"}).whole().body == b"new"


# In place of an error.


TROUBLE = {"500": lambda u: u.reply(whole, b"no", status=500), "503": lambda u: u.reply(whole, b"no", status=503),
           "429": lambda u: u.reply(whole, b"no", status=429), "a reset": lambda u: u.reply(whole, b"no", before=reset),
           "silence": lambda u: u.reply(whole, b"late", before=hold("never")), "nobody there": lambda u: u.down()}


@pytest.mark.refrain(upstreams={"default": {"first_byte_timeout": "1s", "connect_timeout": "5s"}})
@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_stale_page_stands_in_for_trouble(client, upstream, trouble):
    page(upstream, b"old", "max-age=60, stale-if-error=600", age=100)
    client.get("/v1/models").was("MISS")
    TROUBLE[trouble](upstream)
    stale = client.get("/v1/models").was("STALE")
    assert stale.body == b"old" and ttl(stale) < 0 and int(stale.header("age")) >= 100
    status = f"; fwd-status={trouble}" if trouble.isdigit() else ""
    assert re.fullmatch(rf"refrain; fwd=stale{status}; ttl=-\d+; detail=stale-if-error", stale.header("cache-status"))


@pytest.mark.refrain(cache={**SHORT, **ON_ERROR})
@pytest.mark.parametrize("ask", [chat(), chat_stream()], ids=["whole", "stream"])
def test_a_stale_answer_stands_in_for_an_error(client, upstream, ask):
    first = client.post(ask).was("MISS")
    upstream.always(whole, b'{"error":{"message":"busy"}}', status=503)
    stale = after_its_lifetime(client, ask).was("STALE")
    assert stale.body == first.body
    assert "fwd=stale; fwd-status=503" in stale.header("cache-status")


@pytest.mark.refrain(cache={**SHORT, **ON_ERROR})
def test_all_who_wait_for_one_answer_are_spared_its_error(client, upstream):
    first = client.post(chat()).was("MISS")
    upstream.always(whole, b"no", status=503, before=hold("trouble"))
    wait_until(lambda: is_stale(client, chat()), "the answer to be past its lifetime")
    waiting = [client.post(chat()) for _ in range(3)]
    upstream.release("trouble")
    for answer in waiting:
        assert answer.was("STALE").body == first.body


@pytest.mark.refrain(cache={**SHORT, **ON_ERROR})
@pytest.mark.parametrize("status", [400, 401, 404])
def test_an_error_of_the_clients_own_is_its_own(client, upstream, status):
    client.post(chat()).was("MISS")
    upstream.always(whole, b'{"error":{"message":"wrong"}}', status=status)
    assert after_its_lifetime(client, chat()).status == status


def test_by_default_an_error_is_passed_on(client, upstream):
    page(upstream, b"old", "max-age=60", age=100, ETag='"old"')
    client.get("/v1/models").was("MISS")
    upstream.reply(whole, b"no", status=503)
    assert client.get("/v1/models").whole().status == 503


def test_the_request_may_ask_for_a_stale_page_on_errors(client, upstream):
    page(upstream, b"old", "max-age=60", age=100, ETag='"old"')
    client.get("/v1/models").was("MISS")
    upstream.always(whole, b"no", status=503)
    assert client.get("/v1/models", {"Cache-Control": "stale-if-error=600"}).was("STALE").body == b"old"
    assert client.get("/v1/models", {"Cache-Control": "stale-if-error=10"}).whole().status == 503
    assert client.get("/v1/models", {"Cache-Control": "max-stale=600"}).was("STALE").body == b"old"
    assert client.get("/v1/models", {"Cache-Control": "no-cache, stale-if-error=600"}).whole().status == 503


@pytest.mark.refrain(cache={**SHORT, **ON_ERROR})
def test_a_stream_that_begins_well_is_not_taken_back(client, upstream):
    first = client.post(chat_stream()).was("MISS")
    wait_until(lambda: is_stale(client, chat_stream()), "the stream to be past its lifetime")
    upstream.reply(sse, token("alpha"), reset)
    cut = client.post(chat_stream())
    assert cut.ends() == "cut" and b"alpha" in cut.body and cut.body != first.body
