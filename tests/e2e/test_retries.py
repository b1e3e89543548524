"""Asking upstream once more: by default only where no byte of the request was sent, and never so often that a storm
grows. SPEC section 11."""

import email.utils
import time

import pytest

from harness.asks import chat, chat_stream
from harness.upstream import chat_answer, cut, reset, sse_unended, token, whole

SLOW_BREAKER = {"availability": {"samples": 1000000}}


def retried(refrain, times=1):
    """Waits for the log's line of a further try."""
    return refrain.logged(lambda e: e.get("event") == "upstream_retry", f"further try {times}", times)


def retries(**options):
    """Configuration: these retries for the only upstream."""
    return pytest.mark.refrain(upstreams={"default": {"retries": options}}, breaker=SLOW_BREAKER)


# -- by default --


@retries(max=10, backoff="200ms", max_backoff="1s")
def test_a_refused_connection_is_tried_again(refrain, client, upstream):
    upstream.down()
    answer = client.post(chat())
    line = retried(refrain)
    assert line["cause"] == "connect" and line["try"] == 2 and 100 <= line["wait_ms"] <= 200
    upstream.up()
    answer.was("MISS")
    client.post(chat()).was("HIT")
    again = refrain.metric("upstream_retries_total", upstream="default", why="connect")
    assert again == refrain.metric("upstream_requests_total", code="unreachable") >= 1
    assert refrain.metric("upstream_requests_total", code="200") == 1


@retries(backoff="1ms")
def test_so_often_and_no_more(refrain, client, upstream):
    upstream.down()
    client.post(chat()).refused(502, "upstream_unreachable")
    assert refrain.metric("upstream_requests_total", code="unreachable") == 2


@pytest.mark.parametrize("parts", [(cut,), (reset,)])
def test_a_request_that_was_sent_is_not_sent_again(refrain, client, upstream, parts):
    upstream.reply(whole, *parts, before=parts[0])
    client.post(chat()).refused(502)
    upstream.saw(1)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_statuses_are_passed_on(client, upstream, status):
    upstream.reply(whole, b"busy", status=status, headers={"Retry-After": "0"})
    assert client.post(chat()).whole().status == status
    upstream.saw(1)


# -- by configuration --


@retries(retry_on=["429"], backoff="1ms")
def test_a_status_that_is_named_is_tried_again(refrain, client, upstream):
    upstream.reply(whole, b"slow down", status=429)
    upstream.reply(whole, chat_answer("at last"))
    answer = client.post(chat()).was("MISS")
    assert answer.body == chat_answer("at last"), f"nothing of the first answer is left: {answer!r}"
    first, second = upstream.requests[0], upstream.saw(2)
    assert first.body == second.body and first.target == second.target
    assert first.header("x-request-id") == second.header("x-request-id")
    assert refrain.metric("upstream_retries_total", why="429") == 1
    client.post(chat()).was("HIT")


@retries(retry_on=["503"], backoff="1ms", max=3)
def test_streams_too_and_several_times(client, upstream):
    for _ in range(3):
        upstream.reply(whole, b"busy", status=503)
    client.post(chat_stream()).was("MISS")
    upstream.saw(4)


@retries(retry_on=["503"], backoff="1ms", max=2)
def test_the_last_answer_is_passed_on(client, upstream):
    for i in range(3):
        upstream.reply(whole, b"busy %d" % i, status=503)
    answer = client.post(chat()).whole()
    assert (answer.status, answer.body) == (503, b"busy 2")
    upstream.saw(3)


@retries(retry_on=["reset", "timeout"], backoff="1ms")
def test_a_connection_that_ends_without_an_answer(client, upstream):
    upstream.reply(whole, before=reset)
    client.post(chat()).was("MISS")
    upstream.saw(2)


@retries(retry_on=["connect"], backoff="1ms")
def test_a_status_that_is_not_named_is_passed_on(client, upstream):
    upstream.reply(whole, b"busy", status=503)
    assert client.post(chat()).whole().status == 503
    upstream.saw(1)


def in_seconds(seconds):
    return {"Retry-After": str(seconds)}


def in_ms(seconds):
    return {"retry-after-ms": str(seconds * 1000)}


def as_date(seconds):
    return {"Retry-After": email.utils.formatdate(time.time() + seconds + 1, usegmt=True)}


@retries(retry_on=["429"], backoff="1ms")
@pytest.mark.parametrize("ask_for", [in_seconds, in_ms, as_date])
def test_retry_after_is_obeyed(client, upstream, ask_for):
    upstream.reply(whole, b"slow down", status=429, headers=ask_for(1))
    client.post(chat()).was("MISS")
    first, second = upstream.requests[0], upstream.saw(2)
    assert second.came_at - first.came_at >= 0.95


@retries(retry_on=["429"], max_backoff="2s")
def test_an_answer_that_asks_for_a_longer_wait_is_passed_on(client, upstream):
    upstream.reply(whole, b"slow down", status=429, headers=in_seconds(3))
    answer = client.post(chat()).whole()
    assert answer.status == 429 and answer.header("retry-after") == "3"
    upstream.saw(1)


# -- bounds --


@retries(retry_on=["503"], backoff="1ms", budget=0)
def test_a_storm_is_not_multiplied(refrain, client, upstream):
    upstream.always(whole, b"busy", status=503)
    began = time.monotonic()
    for answer in [client.post(chat(f"ask {i}")) for i in range(50)]:
        assert answer.whole().status == 503
    floor = 10 + (time.monotonic() - began) + 1  # a bucket of 10, and one a second
    assert len(upstream.requests) <= 50 + floor
    again = refrain.metric("upstream_retries_total")
    assert 0 < again == len(upstream.requests) - 50
    assert refrain.metric("upstream_retries_denied_total") == 50 - again


@retries(retry_on=["reset", "503"], backoff="1ms")
def test_never_once_a_byte_of_the_answer_has_been_given(client, upstream):
    upstream.reply(sse_unended, token("one"), reset)
    answer = client.post(chat_stream())
    answer.sees("one")
    assert answer.ends() == "cut"
    upstream.saw(1)


@retries(retry_on=["503"], backoff="1ms")
def test_a_body_that_is_streamed_through_is_sent_once(client, upstream):
    upstream.reply(whole, b"busy", status=503)
    assert client.ask("POST", "/v1/files", body=b"x" * 1000).whole().status == 503
    upstream.saw(1)


@retries(retry_on=["503"], backoff="300s", max_backoff="300s")
def test_when_the_last_reader_leaves_the_wait_is_over(refrain, client, upstream):
    upstream.reply(whole, b"busy", status=503)
    one, two = client.post(chat()), client.post(chat())
    retried(refrain)
    refrain.waits_for("flight_readers", 2)
    one.leave()
    refrain.waits_for("flight_readers", 1)
    assert refrain.metric("flights") == 1  # the other still waits
    two.leave()
    refrain.waits_for("flights", 0)
    upstream.saw(1)


@retries(retry_on=["503"], backoff="300s", max_backoff="300s")
def test_a_shutdown_does_not_wait_for_it(start, upstream):
    refrain = start(upstreams={"default": {"retries": {"retry_on": ["503"], "backoff": "300s", "max_backoff": "300s"}}},
                    listen={"drain_timeout": "1s"})
    upstream.reply(whole, b"busy", status=503)
    start.client(refrain).post(chat())
    retried(refrain)
    refrain.terminate()
    assert refrain.exits() == 0


@pytest.mark.refrain(upstreams={"default": {"retries": {"retry_on": ["503"], "backoff": "1ms", "max": 9}}},
                     breaker={"availability": {"samples": 3, "window": "1h", "open_for": "300s"}})
def test_an_upstream_known_to_be_down_is_not_asked_again(refrain, client, upstream):
    upstream.always(whole, b"busy", status=503)
    assert client.post(chat()).whole().status == 503
    upstream.saw(3)  # each try counts; with the third the breaker opened
    assert refrain.metric("breaker_state", kind="availability") == 2
    client.post(chat("another")).whole()
    upstream.saw(4)
