"""Deadlines and bounds: who dawdles, floods or vanishes is ended, and nobody else notices. SPEC section 2."""

import time

import pytest

from harness.asks import chat, chat_stream
from harness.crowd import Crowd
from harness.process import wait_until
from harness.upstream import chat_answer, hold, readable, sse, token, whole

SLACK_S = 4  # a sweep visits every connection once a second; the rest is a busy machine


def drip(connection, data, every_s):
    """Sends a byte each @every_s until the peer has had enough; returns how long it took."""
    began = time.monotonic()
    for byte in data:
        connection.send(bytes([byte]))
        if readable([connection.sock], every_s):
            return time.monotonic() - began
    raise AssertionError(f"expected the peer to end it, but it took {len(data)} bytes at {every_s} s each")


def unharmed(client):
    """Somebody else is served meanwhile."""
    assert client.post(chat("somebody else")).whole().status == 200


@pytest.mark.refrain(listen={"header_timeout": "1s"})
def test_a_drip_fed_header_is_ended_by_the_absolute_deadline(client, refrain, upstream):
    slow = client.connect()
    took = drip(slow, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 1000, every_s=0.1)
    assert 0.8 < took < 1 + SLACK_S, f"expected about 1 s, it took {took:.1f} s"
    assert slow.ends() == b"" or slow.ends().startswith(b"HTTP/1.1 4")
    unharmed(client)
    slow.close()
    upstream.saw(1)


@pytest.mark.refrain(listen={"body_grace": "1s", "body_min_rate": "1KiB"})
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files"])
def test_a_drip_fed_body_is_ended_once_it_is_below_the_rate(client, refrain, upstream, path):
    slow = client.connect()
    slow.send(client.wire("POST", path, [("Content-Length", "100000")]))
    took = drip(slow, b"a" * 1000, every_s=0.1)
    assert 0.8 < took < 1 + SLACK_S, f"expected about 1 s, it took {took:.1f} s"
    unharmed(client)
    refrain.waits_for("flights", 0)


@pytest.mark.refrain(listen={"idle_timeout": "1s"})
@pytest.mark.parametrize("after", ["a request", "nothing at all"])
def test_an_idle_connection_is_closed(client, refrain, after):
    idle = client.connect()
    if after == "a request":
        client.post(chat(), on=idle).whole()
    began = time.monotonic()
    assert idle.ends() == b""
    took = time.monotonic() - began
    assert took < 1 + SLACK_S, f"expected about 1 s, it took {took:.1f} s"


@pytest.mark.refrain(listen={"slow_reader_timeout": "1s"})
def test_a_reader_without_progress_is_ended(client, refrain, upstream):
    upstream.reply(whole, chat_answer("x" * (12 << 20)))
    client.post(chat()).was("MISS")
    stuck = client.connect(receive_buffer=4096)
    stuck.send(client.wire("POST", "/v1/chat/completions", body=chat().wire_body))
    refrain.waits_for("connections", 2)
    client.close()  # all but the stuck one's successor below are gone
    refrain.waits_for("connections", 0)


@pytest.mark.refrain(listen={"slow_reader_timeout": "2s"})
def test_a_quiet_stream_is_no_slow_reader(client, refrain, upstream):
    """Its reader has read all there is; the model is thinking."""
    upstream.reply(sse, token("alpha"), hold("g"))
    a = client.post(chat_stream()).sees("alpha")
    stuck_until = time.monotonic() + 4
    wait_until(lambda: time.monotonic() > stuck_until, "twice the deadline")
    upstream.release("g")
    a.whole()


@pytest.mark.refrain(listen={"header_timeout": "1s", "idle_timeout": "1s", "body_grace": "1s"})
def test_a_client_that_waits_for_a_slow_model_is_not_idle(client, upstream):
    upstream.reply(whole, chat_answer("thought long"), before=hold("g"))
    a = client.post(chat())
    until = time.monotonic() + 3.5
    wait_until(lambda: time.monotonic() > until, "three times every deadline")
    upstream.release("g")
    assert b"thought long" in a.was("MISS").body


@pytest.mark.parametrize("ask", [chat(), chat("x" * 200_000)], ids=["small", "large"])
def test_body_and_fin_in_one_segment_leak_no_connection(client, refrain, upstream, ask):
    """A client that has closed its side may be gone: its miss is given up, its small hit is sent at once; either way
    the connection ends."""
    for stored in (False, True):
        for _ in range(20):
            connection = client.connect()
            answer = connection.ask(client.wire("POST", ask.path, body=ask.wire_body))
            connection.half_close()
            ended = answer.ends()
            if stored and len(ask.wire_body) < 1000:
                assert (ended, answer.status) == ("clean", 200), f"a hit must be answered: {answer!r}"
        refrain.waits_for("connections", 0)
        refrain.waits_for("flights", 0)
        client.post(ask).whole()
        client.close()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files"])
def test_a_body_that_breaks_off_with_a_fin_leaks_no_connection(client, refrain, upstream, path):
    """It came far faster than the least rate, so that no average would tell for a long time."""
    for sent in (0, 1, 1_000, 300_000):
        connection = client.connect()
        connection.send(client.wire("POST", path, [("Content-Length", "400000")]) + b"a" * sent)
        connection.half_close()
        connection.ends()
    refrain.waits_for("connections", 0)
    refrain.waits_for("flights", 0)


def test_clients_that_vanish_leak_nothing(client, refrain, upstream):
    upstream.always(whole, chat_answer("late"), before=hold("g"))
    waiting = [client.post(chat(str(number))) for number in range(20)]
    upstream.held("g", times=20)
    for number, answer in enumerate(waiting):
        if number % 2:
            answer.connection.reset()
        else:
            answer.leave()
    refrain.waits_for("flights", 0)
    refrain.waits_for("connections", 0)
    for number in range(20):
        upstream.lost(number + 1)


def test_a_client_that_vanishes_in_the_middle_of_its_upload_leaks_nothing(client, refrain, upstream):
    for path in ("/v1/files", "/v1/chat/completions"):
        for _ in range(5):
            gone = client.connect()
            gone.send(client.wire("POST", path, [("Content-Length", "1000")]) + b"half")
            gone.reset()
    refrain.waits_for("connections", 0)
    refrain.waits_for("flights", 0)
    unharmed(client)


@pytest.mark.refrain(listen={"max_connections": 10})
def test_one_connection_too_many_is_turned_away_and_the_rest_served(client, refrain, upstream):
    inside = [client.connect() for _ in range(10)]
    for connection in inside:
        client.post(chat(), on=connection).whole()
    turned_away(client.connect())
    for connection in inside:
        client.post(chat(), on=connection).was("HIT")
    inside[0].close()
    refrain.waits_for("connections", 9)
    client.post(chat()).was("HIT")


@pytest.mark.refrain(listen={"max_connections_per_address": 5})
def test_one_address_cannot_take_every_connection(client, refrain, upstream):
    greedy = [client.connect(source="127.0.0.2") for _ in range(5)]
    for connection in greedy:
        client.post(chat(), on=connection).whole()
    turned_away(client.connect(source="127.0.0.2"))
    client.post(chat(), on=client.connect(source="127.0.0.3")).was("HIT")
    for connection in greedy:
        client.post(chat(), on=connection).was("HIT")


def turned_away(connection):
    """Closed at once, perhaps with a 503."""
    said = connection.ends()
    assert said == b"" or said.startswith(b"HTTP/1.1 503 "), f"expected to be turned away: {said!r}"


@pytest.mark.refrain(listen={"max_buffered_bytes": "1MiB"})
def test_bodies_past_the_allowance_are_503_and_the_allowance_comes_back(client, refrain, upstream):
    answer = client.post(chat("x" * (2 << 20)))
    answer.refused(503, "overloaded")
    assert answer.header("retry-after")
    for _ in range(5):
        assert client.post(chat("x" * 700_000)).whole().status == 200


@pytest.mark.refrain(listen={"max_buffered_bytes": "4MiB"})
def test_an_event_there_is_no_room_to_judge_flows_on(client, refrain, upstream):
    """It is held until its last byte is in, within the allowance: at most half, so that streams go on."""
    large = token("x" * 3_000_000)
    upstream.reply(sse, large[:2_500_000], hold("g"), large[2_500_000:])
    answer = client.post(chat_stream()).reads(2_400_000)
    assert refrain.metric("buffered_bytes") > 2_000_000
    upstream.release("g")
    assert large in answer.whole().body
    refrain.waits_for("not_stored_total", 1, reason="memory")
    refrain.waits_for("buffered_bytes", 0)
    upstream.reply(sse, token("x" * 500_000))
    client.post(chat_stream("smaller")).was("MISS")
    client.post(chat_stream("smaller")).was("HIT")


@pytest.mark.refrain(listen={"max_body_bytes": "10KiB"})
def test_a_body_over_the_bound_is_413_before_upstream_hears_of_it(client, upstream):
    client.post(chat("x" * 20_000)).refused(413, "too_large")
    client.ask("PUT", "/thing", body=b"x" * 20_000).refused(413)
    client.ask("PUT", "/thing", body=b"x" * 20_000, chunked=True)
    client.post(chat("x" * 5_000)).was("MISS")
    assert [len(request.body) for request in upstream.requests if request.complete] == [len(chat("x" * 5000).wire_body)]


@pytest.mark.refrain(listen={"max_header_bytes": "4KiB"})
def test_a_header_block_over_the_bound_is_431(client, upstream):
    client.get("/", headers={"X-Long": "x" * 5000}).refused(431)
    upstream.saw(0)
    assert client.get("/", headers={"X-Long": "x" * 3000}).whole().status == 200


def test_a_header_block_within_the_bound_passes(client, upstream):
    value = "x" * 18_000
    client.get("/" + "a" * 3000, headers={"X-Long": value}).whole()
    assert upstream.saw(1).header("x-long") == value


def test_a_hundred_fields_pass(client, upstream):
    fields = {f"X-Field-{n}": str(n) for n in range(100)}
    client.get("/", headers=fields).whole()
    seen = upstream.saw(1)
    assert all(seen.header(name) == value for (name, value) in fields.items())


def test_many_short_lived_connections_leave_nothing_behind(client, refrain, upstream):
    client.post(chat()).was("MISS")
    crowd = Crowd(refrain.proxy)
    wire = client.wire("POST", "/v1/chat/completions", body=chat().wire_body)
    try:
        for _ in range(10):
            members = [crowd.join(wire) for _ in range(50)]
            crowd.finish(members)
            assert [member.reader.status for member in members] == [200] * 50
            for member in members:
                crowd.forget(member)
    finally:
        crowd.close()
    client.close()
    refrain.waits_for("connections", 0)
    upstream.saw(1)


