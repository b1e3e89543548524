"""Crowds: a thousand readers of one stream, eight thousand idle connections. SPEC section 13."""

import random
import time

import pytest

from harness.asks import chat, chat_stream
from harness.crowd import Crowd
from harness.process import raise_file_limit, sanitized
from harness.upstream import hold, sse, token

READERS, STEPS = 1000, 40
IDLE = 8000
UNBOUNDED = {"max_connections": 20_000}


@pytest.mark.refrain(listen=UNBOUNDED)
def test_a_thousand_readers_join_one_stream_at_random_moments(client, refrain, upstream, table):
    raise_file_limit(READERS * 4)
    client.post(chat("warm")).was("MISS")
    pieces = []
    for step in range(STEPS):
        pieces += [token(f"piece {step} " + "x" * 200), hold(f"step {step}")]
    upstream.reply(sse, *pieces)
    when = random.Random(7)
    moments = sorted(when.randrange(STEPS) for _ in range(READERS))
    moments[0] = 0
    wire = client.wire("POST", "/v1/chat/completions", body=chat_stream().wire_body)
    crowd = Crowd(refrain.proxy)
    before = highest = refrain.rss_bytes()
    try:
        joined = 0
        for step in range(STEPS):
            while joined < READERS and moments[joined] <= step:
                crowd.join(wire)
                joined += 1
            crowd.read_until(lambda: crowd.members[0].reader.content is not None
                             and f"piece {step} ".encode() in crowd.members[0].reader.content.body,
                             f"piece {step} at the first reader, before upstream has ended")
            highest = max(highest, refrain.rss_bytes())
            upstream.held(f"step {step}")
            if step == STEPS - 1:
                crowd.read_until(lambda: all(member.reader.content is not None and member.reader.content.body
                                             for member in crowd.members), "every reader to have begun")
                highest = max(highest, refrain.rss_bytes())
                assert not upstream.requests[1].answered
            upstream.release(f"step {step}")
        crowd.finish()
        highest = max(highest, refrain.rss_bytes())
        assert {member.reader.ended for member in crowd.members} == {"clean"}
        assert len({bytes(member.reader.content.body) for member in crowd.members}) == 1, "every copy is the same"
        assert b"[DONE]" in crowd.members[0].reader.content.body
    finally:
        crowd.close()
    upstream.saw(2)
    assert refrain.metric("coalesced_total") == READERS - 1
    each = (highest - before) / READERS / 1024
    table(f"{READERS} readers of one stream", [f"memory grew by {each:.1f} KiB a reader (hold: 64)"])
    if not sanitized():
        assert each <= 64, f"expected at most 64 KiB a reader, it was {each:.1f}"


@pytest.mark.refrain(listen={**UNBOUNDED, "idle_timeout": "10m"})
def test_eight_thousand_idle_connections_beside_hits(client, refrain, upstream, table):
    count = min(IDLE, (raise_file_limit(IDLE * 2 + 500) - 500) // 1)
    assert count == IDLE, f"this needs {IDLE} descriptors, the limit allows {count}"
    client.post(chat()).was("MISS")
    wire = client.wire("POST", "/v1/chat/completions", body=chat().wire_body)
    before = refrain.rss_bytes()
    crowd = Crowd(refrain.proxy)
    try:
        for number in range(IDLE):
            member = crowd.join(source=f"127.0.1.{1 + number % 8}")
            if number % 4 == 0:  # some have asked before, as kept connections have
                member.send(wire)
            if number % 500 == 499:
                crowd.finish([m for m in crowd.members if m.began_at is not None])
        refrain.waits_for("connections", IDLE + 1)
        each = (refrain.rss_bytes() - before) / IDLE / 1024
        kept = client.connect()
        client.post(chat(), on=kept).was("HIT")
        times = []
        for _ in range(500):
            began = time.monotonic()
            client.post(chat(), on=kept).was("HIT")
            times.append(time.monotonic() - began)
        times.sort()
        table(f"{IDLE} idle connections", [
            f"memory {each:.1f} KiB each; hits beside them: median {times[250] * 1000:.2f} ms, "
            f"p99 {times[495] * 1000:.2f} ms as this client sees it"])
        assert times[250] < 0.05, f"hits must not notice the idle ones: median {times[250]:.3f} s"
        if not sanitized():
            assert each < 40, f"expected little memory for an idle connection, it is {each:.1f} KiB"
    finally:
        crowd.close()
    refrain.waits_for("connections", 2)
    upstream.saw(1)
