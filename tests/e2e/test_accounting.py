"""Every counter equals what was sent, to the unit: traffic of known content, one of each kind, and all of them at once.
SPEC section 12."""

import random
import shutil
import subprocess
import threading

import pytest

from harness.asks import chat, chat_stream, embedding, messages, responses
from harness.client import wire_request
from harness.crowd import taken_in
from harness.ledger import Ledger
from harness.process import is_request_line, wait_until
from harness.upstream import chat_answer, cut, event, hold, pause, sse, token, whole

USED = (5, 7)  # by a chat answer of the harness; an embedding has no output, a stream is not asked
STALE_PAGE = {"Cache-Control": "public, max-age=60, stale-while-revalidate=600", "Age": "100"}
TAGGED_PAGE = {"Cache-Control": "public, max-age=60", "Age": "100", "ETag": '"v1"'}


@pytest.fixture
def ledger():
    return Ledger()


def test_every_counter_equals_what_was_sent(client, refrain, upstream, operator, ledger):
    misses_and_hits(client, ledger)
    streams(client, ledger)
    coalesced(client, refrain, upstream, ledger)
    stale_and_revalidated(client, refrain, upstream, ledger)
    bypassed(client, ledger)
    not_stored(client, upstream, ledger)
    invalidated(client, operator, ledger)
    refused(client, ledger)
    failed(client, upstream, ledger)  # last: nobody is there any more
    ledger.equals(refrain)
    assert len(refrain.request_lines(ledger.requests)) == ledger.requests, "a line a request, and no more"
    assert refrain.metric("requests_total") == refrain.metric("namespace_requests_total") == ledger.requests
    assert refrain.metric("flights") == refrain.metric("flight_readers") == 0
    promtool_finds_nothing(refrain)


def misses_and_hits(client, ledger):
    asks = [("chat", chat(), "gpt-4o-mini", USED), ("chat", chat(model="gpt-4o"), "gpt-4o", USED),
            ("embedding", embedding(), "text-embedding-3-small", (5, 0)), ("messages", messages(), "claude-sonnet-4-5", USED),
            ("responses", responses(), "gpt-4o-mini", USED)]
    for hits, (operation, ask, model, tokens) in enumerate(asks, 1):
        client.post(ask).was("MISS")
        ledger.request(operation, "miss")
        ledger.upstream()
        for _ in range(hits):
            client.post(ask).was("HIT")
        ledger.request(operation, "hit", hits, model=model, tokens=tokens)
    for _ in range(2):  # in a namespace of its own the same request is another one
        expected = "MISS" if _ == 0 else "HIT"
        client.post(chat(), {"Refrain-Namespace": "team-b"}).was(expected)
        ledger.request("chat", expected.lower(), namespace="team-b", tokens=USED)
    ledger.upstream()


def streams(client, ledger):
    told = chat_stream("told", stream_options={"include_usage": True})
    for ask, tokens in ((chat_stream("untold"), (0, 0)), (told, USED)):
        client.post(ask).was("MISS")
        ledger.request("chat", "miss")
        ledger.upstream()
        client.post(ask).was("HIT")
        ledger.request("chat", "hit", tokens=tokens)


def coalesced(client, refrain, upstream, ledger):
    upstream.reply(whole, chat_answer("shared"), before=hold("shared"))
    waiting = [client.post(chat("shared")) for _ in range(5)]
    refrain.waits_for("flight_readers", 5)
    upstream.release("shared")
    for answer in waiting:
        answer.whole()
    ledger.request("chat", "miss")
    ledger.request("chat", "coalesced", 4, tokens=USED)
    ledger.add("coalesced_total", 4)
    ledger.upstream()


def stale_and_revalidated(client, refrain, upstream, ledger):
    upstream.reply(whole, b"old", headers=STALE_PAGE)
    client.get("/v1/models").was("MISS")
    upstream.reply(whole, b"new", headers={"Cache-Control": "public, max-age=60"}, before=hold("refresh"))
    client.get("/v1/models").was("STALE")
    upstream.held("refresh")
    client.get("/v1/models").was("STALE")
    upstream.release("refresh")
    refrain.waits_for("flights", 0)
    client.get("/v1/models").was("HIT")
    upstream.reply(whole, b"page", headers=TAGGED_PAGE)
    client.get("/v1/page").was("MISS")
    upstream.reply(whole, b"", status=304, headers={"Cache-Control": "public, max-age=60", "ETag": '"v1"'})
    client.get("/v1/page").was("REVALIDATED")
    for result, n in (("miss", 2), ("stale", 2), ("hit", 1), ("revalidated", 1)):
        ledger.request("read", result, n, model="")
    ledger.upstream(n=3)
    ledger.upstream(304)


def bypassed(client, ledger):
    client.post(chat(), {"Refrain-Cache": "off"}).was("BYPASS")
    client.ask("PUT", "/v1/thing", body=b"x").whole()
    client.ask("OPTIONS", "/v1/thing", {"Max-Forwards": "0"}).whole()  # answered here
    ledger.request("chat", "bypass")
    ledger.request("pass", "bypass", 2)
    ledger.upstream(n=2)
    ledger.add("invalidations_total", 2, kind="target")  # what is not safe may have changed what its target names


def not_stored(client, upstream, ledger):
    upstream.reply(whole, b'{"error": {"message": "overloaded"}}', status=500)
    client.post(chat("sick")).was("MISS", status=500)
    upstream.reply(whole, b'{"choices": []}')
    client.post(chat("empty")).was("MISS")
    client.ask("HEAD", "/v1/nothing-stored").whole()
    ledger.request("chat", "miss", 2)
    ledger.request("read", "miss")
    ledger.upstream(500)
    ledger.upstream(n=2)
    ledger.add("not_stored_total", reason="status")
    ledger.add("not_stored_total", reason="payload")


def invalidated(client, operator, ledger):
    client.post(chat("tagged"), {"Refrain-Tags": "red"}).was("MISS")
    operator.does("/invalidate", b'{"tag": "red"}')
    client.post(chat("tagged"), {"Refrain-Tags": "red"}).was("MISS")
    operator.does("/invalidate", b'{"model": "nobody-has-this"}')
    ledger.request("chat", "miss", 2)
    ledger.upstream(n=2)
    ledger.add("invalidations_total", kind="tag")
    ledger.add("invalidations_total", kind="model")


def refused(client, ledger):
    client.post(chat(), {"Refrain-TTL": "nonsense"}).refused(400)
    client.post(chat("not there"), {"Cache-Control": "only-if-cached"}).refused(504)
    ledger.request("chat", "error", 2)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
    for raw in (head + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", b"GET / HTTP/3.7\r\nHost: a\r\n\r\n",
                head + b"no colon\r\n\r\n", head + b"Content-Length: 2x\r\n\r\n{}", b"GET //x HTTP/1.1\r\nHost: a\r\n\r\n",
                b"GET /" + b"a" * 30_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"):
        with client.connect() as connection:
            connection.send(raw)
            assert connection.answer().whole().status >= 400
        ledger.request("pass", "error")
    with client.connect() as connection:  # its head is good, its body is none
        connection.send(head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
        connection.answer().refused(400)
    ledger.request("chat", "error")


def failed(client, upstream, ledger):
    upstream.reply(whole, b'{"choices"', cut, headers={"Content-Length": "100"})
    client.post(chat("cut")).refused(502)
    ledger.request("chat", "error")
    ledger.upstream("cut")
    ledger.add("not_stored_total", reason="incomplete")
    upstream.down()
    client.post(chat("nobody there")).refused(502)
    client.post(chat()).was("HIT")
    ledger.request("chat", "error")
    ledger.request("chat", "hit", tokens=USED)
    ledger.upstream("unreachable", 2)  # tried once more: nothing was sent
    ledger.add("upstream_retries_total", upstream="default", why="connect")
    ledger.add("not_stored_total", reason="no_answer")


def promtool_finds_nothing(refrain):
    promtool = shutil.which("promtool")
    assert promtool, "promtool comes with Debian's package prometheus (deploy/packages-test.txt)"
    said = subprocess.run([promtool, "check", "metrics"], input=refrain.exposition().encode(), capture_output=True,
                          timeout=30)
    assert (said.returncode, said.stdout + said.stderr) == (0, b""), f"promtool says: {said}"


# All at once.


class Barrage:
    """Clients on threads of their own, each sending what its dice say, hanging up in the middle of some."""

    def __init__(self, client, ledger):
        self.client, self.lock, self.sent, self.faults = client, threading.Lock(), 0, []
        self.ledger = ledger

    def run(self, threads, requests):
        crowd = [threading.Thread(target=self._client, args=(number, requests)) for number in range(threads)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        assert not self.faults, self.faults[:3]

    def _client(self, number, requests):
        dice, sent = random.Random(number), 0
        try:
            connection = self.client.connect()
            for _ in range(requests):
                kind = dice.choice((self._ask, self._ask, self._ask, self._pass, self._half, self._vanish, self._garbage))
                if kind in (self._ask, self._pass):
                    kind(dice, connection)
                else:
                    with self.client.connect() as other:
                        kind(dice, other)
                sent += 1
            connection.close()
        except (AssertionError, OSError) as fault:
            self.faults.append(repr(fault))
        with self.lock:
            self.sent += sent

    def _ask(self, dice, connection):
        ask = dice.choice((chat, chat_stream, embedding))(f"prompt {dice.randrange(20)}")
        self.client.post(ask, {"Refrain-Namespace": f"n{dice.randrange(3)}"}, on=connection).whole()

    def _pass(self, dice, connection):
        self.client.ask("PUT", "/v1/thing", body=b"x" * dice.randrange(5000), on=connection).whole()

    def _half(self, dice, connection):
        """The head is whole, the body never comes."""
        path = dice.choice(("/v1/chat/completions", "/v1/files"))
        connection.send(wire_request("POST", path, [("Host", "a"), ("Content-Length", "1000")]) + b"{")
        self._is_read(connection)
        connection.reset() if dice.random() < 0.5 else connection.close()

    def _vanish(self, dice, connection):
        """Asked, and not waited for."""
        ask = chat(f"prompt {dice.randrange(20)}")
        connection.send(self.client.wire("POST", ask.path, None, ask.wire_body))
        self._is_read(connection)
        connection.half_close() if dice.random() < 0.5 else None

    def _is_read(self, connection):
        """What the kernel throws away with the connection was never sent, as far as anyone can tell."""
        taken_in(self.client.address[1], {connection.sock.getsockname()[1]})

    def _garbage(self, dice, connection):
        connection.send(dice.choice((b"GET / HTTP/7\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nbad\r\n\r\n",
                                     b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n")))
        assert connection.answer().whole().status >= 400


@pytest.mark.refrain(listen={"workers": 4})
def test_the_results_add_up_to_the_requests_under_load_too(client, refrain, ledger):
    barrage = Barrage(client, ledger)
    barrage.run(threads=8, requests=60)
    wait_until(lambda: refrain.metric("requests_total") >= barrage.sent, f"{barrage.sent} requests to be counted")
    wait_until(lambda: refrain.metric("connections") == 0, "every connection to end")
    samples = refrain.scrape()
    for name in ("requests_total", "namespace_requests_total", "request_duration_seconds_count"):
        counted = sum(value for ((sample, _), value) in samples.items() if sample == f"refrain_{name}")
        assert counted == barrage.sent, f"{name}: {counted} counted, {barrage.sent} sent"
    lines = refrain.request_lines(barrage.sent)
    assert len(lines) == barrage.sent, "a line a request"
    assert len({line["id"] for line in lines}) == barrage.sent, "each has an id of its own"


@pytest.mark.refrain(listen={"max_connections": 1, "max_connections_per_address": "off"})
def test_one_connection_too_many_is_a_request_that_failed(client, refrain, ledger):
    with client.connect() as held:
        client.post(chat(), on=held).was("MISS")
        answer = client.post(chat()).refused(503)
        assert answer.header("refrain-request-id"), "it is known by an id"
        client.post(chat(), on=held).was("HIT")
    ledger.request("chat", "miss")
    ledger.upstream()
    ledger.request("chat", "hit", tokens=USED)
    ledger.request("pass", "error")
    ledger.add("connections_refused_total")
    ledger.equals(refrain)
    [line] = [line for line in refrain.request_lines(3) if line["result"] == "error"]
    assert (line["id"], line["status"], line["reason"]) == (answer.header("refrain-request-id"), 503, "overloaded")


def test_namespaces_cannot_flood_the_labels(client, refrain):
    with client.connect() as connection:
        for number in range(130):
            client.get("/v1/models", {"Refrain-Namespace": f"n{number}"}, on=connection).whole()
    refrain.waits_for("namespace_requests_total", 130)
    told = {dict(labels)["namespace"]: value for ((name, labels), value) in refrain.scrape().items()
            if name == "refrain_namespace_requests_total"}
    assert len(told) == 101 and told["other"] == 30, told


# What is saved, and what a line says.


def test_the_seconds_saved_are_those_that_the_lines_tell(client, refrain, upstream):
    upstream.reply(whole, chat_answer("slow"), before=hold("slow"))
    first = client.post(chat())
    upstream.held("slow")
    second = client.post(chat())
    refrain.waits_for("flight_readers", 2)
    upstream.release("slow")
    first.was("MISS"), second.was("COALESCED")
    client.post(chat()).was("HIT")
    lines = refrain.request_lines(3)
    by = {line["result"]: line for line in lines}
    assert by["hit"]["saved_ms"] == int(by["miss"]["upstream_ms"]), "what upstream took when it was asked"
    assert 0 < by["coalesced"]["saved_ms"] <= by["coalesced"]["upstream_ms"] == by["miss"]["upstream_ms"]
    assert "saved_ms" not in by["miss"] and "upstream_ms" not in by["hit"]
    saved_ms = sum(line.get("saved_ms", 0) for line in lines)
    assert abs(refrain.metric("seconds_saved_total") * 1000 - saved_ms) < 0.01, "the lines are cut to microseconds"
    for line in lines:
        assert (line["tokens_in"], line["tokens_out"], line["namespace"], line["upstream"]) == (*USED, "default", "default")
        assert line["entry"] == by["hit"]["entry"], "which entry it became, or came from"


def test_a_confirmed_page_saves_what_the_whole_had_taken(client, refrain, upstream):
    upstream.reply(whole, b"page", headers=TAGGED_PAGE, before=hold("slow"))
    first = client.get("/v1/page")
    upstream.held("slow")
    upstream.release("slow")
    first.was("MISS")
    upstream.reply(whole, b"", status=304, headers={"Cache-Control": "public, max-age=60", "ETag": '"v1"'})
    client.get("/v1/page").was("REVALIDATED")
    client.get("/v1/page").was("HIT")
    by = {line["result"]: line for line in refrain.request_lines(3)}
    whole_ms = int(by["miss"]["upstream_ms"])
    assert by["hit"].get("saved_ms", 0) == whole_ms, "a confirmation does not shorten what a hit saves"
    assert by["revalidated"].get("saved_ms", 0) == pytest.approx(max(0, whole_ms - by["revalidated"]["upstream_ms"]),
                                                                abs=0.002)


def test_a_stream_tells_when_its_first_byte_came(client, refrain, upstream):
    client.post(chat_stream("x", stream_options={"include_usage": True})).was("MISS")
    [line] = refrain.request_lines(1)
    assert 0 < line["first_byte_ms"] <= line["took_ms"]
    assert (line["tokens_in"], line["tokens_out"]) == USED


TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_trace_goes_on_to_upstream_as_it_came_and_is_told_but_never_parts_anyone(client, refrain, upstream):
    traced = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=a,other=b"}
    client.post(chat(), traced).was("MISS")
    client.post(chat(), {"traceparent": f"00-{TRACE[::-1]}-{PARENT}-00"}).was("HIT")
    client.post(chat()).was("HIT")
    client.post(chat("odd"), {"traceparent": "00-not-a-trace-01"}).was("MISS")
    sent = [{name: request.header(name) for name in traced} for request in upstream.requests]
    assert sent == [traced, {"traceparent": "00-not-a-trace-01", "tracestate": None}], "kept as it came, none invented"
    traces = [line.get("trace") for line in refrain.request_lines(4)]  # of several workers, so in any order
    assert sorted(filter(None, traces)) == sorted([TRACE, TRACE[::-1]]), traces


def test_a_shared_call_is_of_the_trace_of_who_began_it(client, refrain, upstream):
    upstream.reply(whole, chat_answer("shared"), before=hold("shared"))
    first = client.post(chat(), {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "first"})
    upstream.held("shared")
    second = client.post(chat(), {"traceparent": f"00-{TRACE[::-1]}-{PARENT}-01", "X-Request-Id": "second"})
    refrain.waits_for("flight_readers", 2)
    upstream.release("shared")
    first.was("MISS"), second.was("COALESCED")
    [request] = upstream.requests
    assert request.header("traceparent") == f"00-{TRACE}-{PARENT}-01" and request.header("x-request-id") == "first"
    assert (first.header("refrain-request-id"), second.header("refrain-request-id")) == ("first", "second")
    assert {line["id"]: line["trace"] for line in refrain.request_lines(2)} == {"first": TRACE, "second": TRACE[::-1]}


def test_every_answer_carries_the_id_that_its_line_has(client, refrain, upstream):
    answers = [client.post(chat()).whole(), client.post(chat()).whole(), client.ask("PUT", "/v1/x", body=b"x").whole(),
               client.post(chat(), {"Refrain-TTL": "x"}).whole(), client.ask("TRACE", "/").whole(),
               client.post(chat("z"), {"Cache-Control": "only-if-cached"}).whole(),
               client.ask("GET", "/", {"Content-Length": "2x"}).whole()]
    ids = [answer.header("refrain-request-id") for answer in answers]
    assert all(ids) and len(set(ids)) == len(ids), ids
    lines = refrain.request_lines(len(ids))
    assert {line["id"] for line in lines} == set(ids)
    assert not [line for line in refrain.events if is_request_line(line) and line["id"] not in ids]


@pytest.mark.refrain(log={"slow": "1ms"})
def test_a_slow_request_has_a_warning_of_its_own(client, refrain, upstream):
    upstream.reply(whole, chat_answer("slow"), before=pause(0.05))
    client.post(chat("a secret prompt"), {"X-Request-Id": "slow-1"}).was("MISS")
    warning = refrain.logged(lambda event: event.get("event") == "slow_request", "a warning")
    assert (warning["level"], warning["id"], warning["outcome"], warning["bound_ms"]) == ("warn", "slow-1", "miss", 1)
    assert warning["waited_ms"] >= warning["upstream_ms"] >= 50
    assert "secret" not in refrain.log()


def test_nothing_is_slow_unless_told(client, refrain, upstream):
    upstream.reply(whole, chat_answer("slow"), before=pause(0.05))
    client.post(chat()).was("MISS")
    refrain.request_lines(1)
    assert not [event for event in refrain.events if event["event"] == "slow_request"]


@pytest.mark.refrain(log={"slow": "10s"})
def test_a_stream_is_not_slow_because_it_is_long(client, refrain, upstream):
    upstream.reply(sse, token("a"), hold("talks on"), event("[DONE]"))
    answer = client.post(chat_stream())
    answer.sees("a")
    upstream.release("talks on")
    answer.whole()
    [line] = refrain.request_lines(1)
    assert line["first_byte_ms"] <= line["took_ms"]
    assert not [event for event in refrain.events if event["event"] == "slow_request"]
