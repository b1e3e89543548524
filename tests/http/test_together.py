"""Requests that are under way at the same time: what may be shared between them, and what each is told."""

import contextlib
import re

import pytest
from play import judge_always, own_status
from table import Case, says, shows


class Meeting:
    """Requests to one path, made while upstream waits."""

    def __init__(self, stage, script):
        self.stage, self.script = stage, script

    def asks(self, *fields, method="GET"):
        return self.stage.client.ask(method, self.script.base, list(fields))

    def held(self, gate, times=1):
        self.stage.upstream.held(gate, times)

    def joined(self, readers):
        self.stage.refrain.waits_for("flight_readers", readers)

    def release(self, gate):
        self.stage.upstream.release(gate)

    def asked(self, count):
        assert len(self.script.requests) == count, f"expected {count} request(s) upstream: {self.script.requests}"


@pytest.fixture
def meeting(stage, request):
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name)

    @contextlib.contextmanager
    def begin(*answers):
        with stage.script(Case("", name, "", answers, [])) as script:
            yield Meeting(stage, script)
    return begin


def told(answer, x_cache, body, status=200):
    answer.was(x_cache, status)
    judge_always(None, answer)
    if body is not None:
        assert answer.body == body, f"expected {body!r}: {answer!r}"
    return own_status(answer)


@shows("9111 4", "requests that come while upstream is asked for the same wait for its answer, with an Age, and say collapsed")
def test_collapsed(meeting):
    with meeting(says("max-age=60", hold="together-1")) as m:
        first = m.asks()
        m.held("together-1")
        second = m.asks()
        m.joined(2)
        m.release("together-1")
        assert told(first, "MISS", b"answer 1").get("stored") is True
        status = told(second, "COALESCED", b"answer 1")
        assert status["collapsed"] is True and status["fwd"] == "miss"
        assert second.header("age") == "0"
        m.asked(1)


@shows("9111 5.2.2.7", "one that turns out to be private goes to the one who asked, and the others ask for themselves")
@pytest.mark.parametrize("word", ["private, max-age=60", "no-store"])
def test_private_is_not_shared(meeting, word):
    gate = f"together-{word}"
    with meeting(says(word, hold=gate), says(word)) as m:
        first = m.asks()
        m.held(gate)
        second = m.asks()
        m.joined(2)
        m.release(gate)
        told(first, "MISS", b"answer 1")
        told(second, "MISS", b"answer 2")
        m.asked(2)


@shows("9111 7.3", "nor is one that sets a cookie")
def test_a_cookie_is_not_shared(meeting):
    with meeting(says("max-age=60", ("Set-Cookie", "id=a"), hold="together-cookie"), says("max-age=60")) as m:
        first = m.asks()
        m.held("together-cookie")
        second = m.asks()
        m.joined(2)
        m.release("together-cookie")
        told(first, "MISS", b"answer 1")
        told(second, "MISS", b"answer 2")
        assert "set-cookie" in first.headers and "set-cookie" not in second.headers


@shows("9111 4.1", "one that varies goes only to those who agree in what it varies on")
def test_variants_are_not_shared(meeting):
    with meeting(says("max-age=60", ("Vary", "User-Agent"), hold="together-vary"), says("max-age=60", ("Vary", "User-Agent"))) as m:
        first = m.asks(("User-Agent", "a"))
        m.held("together-vary")
        same, other = m.asks(("User-Agent", "a")), m.asks(("User-Agent", "b"))
        m.joined(3)
        m.release("together-vary")
        told(first, "MISS", b"answer 1")
        told(same, "COALESCED", b"answer 1")
        told(other, "MISS", b"answer 2")
        m.asked(2)


@shows("9111 3.5", "credentials never wait for each other's")
def test_credentials_do_not_meet(meeting):
    with meeting(says("public, max-age=60", hold="together-credential")) as m:
        a, b = m.asks(("Authorization", "Bearer a")), m.asks(("Authorization", "Bearer b"))
        m.held("together-credential", times=2)
        m.release("together-credential")
        assert {told(a, "MISS", None)["fwd"], told(b, "MISS", None)["fwd"]} == {"miss"}
        assert a.body != b.body
        m.asked(2)


@shows("9111 5.2.1.4", "no-cache does not take what was asked for before it came")
def test_no_cache_does_not_join(meeting):
    with meeting(says("max-age=60", hold="together-no-cache"), says("max-age=60")) as m:
        first = m.asks()
        m.held("together-no-cache")
        second = m.asks(("Cache-Control", "no-cache"))
        told(second, "MISS", b"answer 2")
        m.release("together-no-cache")
        told(first, "MISS", b"answer 1")
        told(m.asks(), "HIT", b"answer 2")


@shows("9110 13.1.2", "one who waits with a condition has it judged on what comes")
def test_a_condition_while_waiting(meeting):
    with meeting(says("max-age=60", ("ETag", '"a"'), hold="together-condition")) as m:
        first = m.asks()
        m.held("together-condition")
        second = m.asks(("If-None-Match", '"a"'))
        m.joined(2)
        m.release("together-condition")
        told(first, "MISS", b"answer 1")
        told(second, "COALESCED", b"", status=304)
        m.asked(1)


@shows("5861 3", "however many come while a stale answer is refreshed, upstream is asked once")
def test_one_refresh_for_all(meeting):
    with meeting(says("max-age=60, stale-while-revalidate=600", ("Age", "90")), says("max-age=60", hold="together-swr")) as m:
        told(m.asks(), "MISS", b"answer 1")
        told(m.asks(), "STALE", b"answer 1")
        m.held("together-swr")
        for _ in range(5):
            told(m.asks(), "STALE", b"answer 1")
        m.asked(2)
        m.release("together-swr")


@shows("9111 4.4", "an answer that was under way when its target changed is not used again")
def test_what_was_under_way_when_it_changed(meeting):
    with meeting(says("max-age=60", hold="together-change"), says(None), says("max-age=60")) as m:
        first = m.asks()
        m.held("together-change")
        told(m.asks(method="POST"), "BYPASS", b"answer 2")
        m.release("together-change")
        told(first, "MISS", b"answer 1")
        told(m.asks(), "MISS", b"answer 3")
        told(m.asks(), "HIT", b"answer 3")
