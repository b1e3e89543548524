"""Breakers: an upstream that answers badly is not stored from, one that does not answer may be spared. SPEC section 9."""

import pytest

from harness.asks import TOOLS, chat, chat_stream
from harness.process import wait_until
from harness.upstream import Reply, bodiless, chat_answer, cut, event, hold, sse, sse_unended, token, whole

BROKEN = b"<html>busy</html>"
CLOSED, HALF_OPEN, OPEN = 0, 1, 2


def state(refrain, kind):
    return refrain.metric("breaker_state", upstream="default", kind=kind)


def becomes(refrain, kind, value):
    refrain.waits_for("breaker_state", value, upstream="default", kind=kind)


def told(refrain, kind, what, times=1):
    """Waits for the log's line of a change."""
    return refrain.logged(lambda e: e.get("event") == "breaker" and (e["kind"], e["state"]) == (kind, what),
                          f"the {kind} breaker to be {what}", times)


def changes(refrain, kind):
    return [e["state"] for e in refrain.events if e.get("event") == "breaker" and e["kind"] == kind]


def prompts(client, count, ask=chat, name="ask"):
    return [client.post(ask(f"{name} {i}")).whole() for i in range(count)]


# -- validation --


def test_25_broken_answers_stop_storing_and_nothing_else(refrain, client, upstream):
    client.post(chat("stored before")).was("MISS")
    for kind in ("validation", "availability"):  # shown from the start
        assert refrain.scrape()["refrain_breaker_state", frozenset({("upstream", "default"), ("kind", kind)})] == CLOSED
    for i in range(25):
        assert state(refrain, "validation") == CLOSED, f"after {i} broken answers"
        upstream.reply(whole, BROKEN)
        answer = client.post(chat(f"broken {i}")).whole()
        assert (answer.status, answer.body) == (200, BROKEN), f"the client gets what upstream said: {answer!r}"
    assert state(refrain, "validation") == OPEN
    line = told(refrain, "validation", "open")
    assert line["level"] == "warn" and line["upstream"] == "default"
    assert line["cause"] == "25 broken answers, the last: json" and line["next_probe_ms"] == 300000
    assert refrain.metric("breaker_opened_total", kind="validation") == 1

    good = client.post(chat("good")).was("MISS")
    assert "detail=not-stored:breaker" in good.header("cache-status"), f"the reason is told: {good!r}"
    assert client.post(chat("good")).was("MISS").body != good.body
    assert refrain.metric("not_stored_total", reason="breaker") == 2
    client.post(chat("stored before")).was("HIT")  # as good as it was


def test_while_open_identical_requests_still_share_one_call(client, upstream):
    for i in range(25):
        upstream.reply(whole, BROKEN)
        client.post(chat(f"broken {i}")).whole()
    asked = len(upstream.requests)
    upstream.reply(sse, token("one"), hold("g"), token("two"))
    first = client.post(chat_stream("shared")).sees("one")
    second = client.post(chat_stream("shared")).sees("one")
    upstream.release("g")
    assert first.whole().body == second.whole().body
    assert second.header("x-cache") == "COALESCED"
    upstream.saw(asked + 1)


@pytest.mark.refrain(breaker={"validation": {"failures": 3, "open_for": "100ms"}})
def test_it_recovers_by_one_good_answer(refrain, client, upstream):
    for i in range(3):
        upstream.reply(whole, BROKEN)
        client.post(chat(f"broken {i}")).whole()
    told(refrain, "validation", "open")
    becomes(refrain, "validation", HALF_OPEN)
    becomes(refrain, "validation", HALF_OPEN)  # looking at it changes nothing
    client.post(chat("good")).was("MISS")
    assert state(refrain, "validation") == CLOSED
    client.post(chat("good")).was("HIT")
    told(refrain, "validation", "closed")
    assert changes(refrain, "validation") == ["open", "half_open", "closed"]
    assert refrain.metric("breaker_closed_total", kind="validation") == 1


@pytest.mark.refrain(breaker={"validation": {"failures": 2, "open_for": "50ms"}}, log={"level": "debug"})
def test_a_broken_probe_opens_it_for_longer(refrain, client, upstream):
    upstream.always(whole, BROKEN)
    prompts(client, 2)
    for level in (2, 3):
        becomes(refrain, "validation", HALF_OPEN)
        client.post(chat("probe")).whole()
        line = told(refrain, "validation", "open", times=level)
        assert line["cause"] == "the probe was broken: json" and line["next_probe_ms"] == 50 * level


@pytest.mark.refrain(breaker={"validation": {"failures": 2, "open_for": "20ms"}})
def test_that_it_stays_open_is_not_told_again_and_again(refrain, client, upstream):
    upstream.always(whole, BROKEN)
    prompts(client, 2)
    for probe in range(4):
        becomes(refrain, "validation", HALF_OPEN)
        client.post(chat("probe")).whole()
    upstream.always(whole, chat_answer("good"))
    becomes(refrain, "validation", HALF_OPEN)
    client.post(chat("good")).was("MISS")
    told(refrain, "validation", "closed")
    assert changes(refrain, "validation") == ["open", "half_open", "closed"]
    assert refrain.metric("breaker_opened_total", kind="validation") == 5


@pytest.mark.refrain(breaker={"validation": {"failures": 2, "open_for": "50ms"}})
def test_it_recovers_though_nobody_may_write(refrain, client, upstream):
    for i in range(2):
        upstream.reply(whole, BROKEN)
        client.post(chat(f"broken {i}")).whole()
    told(refrain, "validation", "open")
    becomes(refrain, "validation", HALF_OPEN)
    client.post(chat("good"), headers={"Refrain-Cache": "read-only"}).was("MISS")
    assert state(refrain, "validation") == CLOSED


@pytest.mark.refrain(breaker={"validation": {"failures": 3}})
def test_good_answers_that_nobody_may_write_count_as_good(refrain, client, upstream):
    for i in range(10):
        upstream.reply(whole, BROKEN)
        client.post(chat(f"broken {i}")).whole()
        client.post(chat(f"good {i}"), headers={"Refrain-Cache": "read-only"}).whole()
    assert state(refrain, "validation") == CLOSED


@pytest.mark.refrain(breaker={"validation": {"failures": 2}})
def test_a_broken_stream_counts_once(refrain, client, upstream):
    for opened in (CLOSED, OPEN):
        upstream.reply(sse_unended, token("half"), event({"error": {"message": "overloaded"}}), event("not json"), cut)
        client.post(chat_stream(f"broken {opened}")).ends()
        refrain.waits_for("flights", 0)
        assert state(refrain, "validation") == opened


HARMLESS = {
    "a wrong API key": (Reply(whole, (b'{"error":{"message":"bad key"}}',), status=401), chat),
    "a rate limit": (Reply(whole, (b'{"error":{"message":"slow down"}}',), status=429), chat),
    "a server error": (Reply(whole, (b"oops",), status=500), chat),
    "an answer at its length": (Reply(whole, (chat_answer("x").replace(b'"stop"', b'"length"'),)), chat),
    "tool arguments that do not parse": (
        Reply(whole, (chat_answer("x").replace(
            b'"content":"x"', b'"content":null,"tool_calls":[{"id":"c","type":"function",'
                              b'"function":{"name":"weather","arguments":"{\\"city\\":"}}]'),)),
        lambda prompt: chat(prompt, tools=TOOLS)),
}


@pytest.mark.refrain(breaker={"validation": {"failures": 3}})
@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_not_upstreams_fault_never_counts(refrain, client, upstream, case):
    reply, ask = HARMLESS[case]
    upstream.always(reply.kind, *reply.parts, status=reply.status)
    for answer in prompts(client, 10, ask):
        assert "not-stored" in answer.header("cache-status")
    assert state(refrain, "validation") == CLOSED


@pytest.mark.refrain(breaker={"validation": {"failures": 3}})
def test_clients_that_hang_up_never_count(refrain, client, upstream):
    for i in range(6):
        upstream.reply(sse, token("one"), hold(f"for ever {i}"))
        client.post(chat_stream(f"left {i}")).sees("one").leave()
        upstream.lost(i + 1)
    refrain.waits_for("flights", 0)
    assert state(refrain, "validation") == CLOSED
    assert state(refrain, "availability") == CLOSED


# -- availability --

FAST = {"ratio": 0.5, "samples": 4, "open_for": "300s", "fail_fast": True}


@pytest.mark.refrain(breaker={"availability": {"samples": 4, "window": "1h", "open_for": "300s"}})
def test_by_default_requests_pass_on_while_it_is_open(refrain, client, upstream):
    upstream.always(whole, b"busy", status=503)
    prompts(client, 4)
    assert state(refrain, "availability") == OPEN
    line = told(refrain, "availability", "open")
    assert line["cause"] == "4 of 4 calls failed, the last: 503" and line["model"] == "gpt-4o-mini"
    assert client.post(chat("passes on")).whole().status == 503
    upstream.saw(5)
    upstream.always(whole, chat_answer("good"))
    client.post(chat("good")).was("MISS")
    client.post(chat("good")).was("HIT")
    assert state(refrain, "availability") == OPEN  # only a probe tells


@pytest.mark.refrain(breaker={"availability": {"samples": 4, "window": "1h", "open_for": "100ms"}})
def test_a_probe_that_is_answered_ends_it(refrain, client, upstream):
    upstream.always(whole, b"busy", status=503)
    prompts(client, 4)
    told(refrain, "availability", "open")
    upstream.always(whole, chat_answer("back"))
    becomes(refrain, "availability", HALF_OPEN)
    client.post(chat("probe")).was("MISS")
    assert state(refrain, "availability") == CLOSED
    told(refrain, "availability", "closed")
    assert changes(refrain, "availability") == ["open", "half_open", "closed"]
    client.post(chat("probe")).was("HIT")


@pytest.mark.refrain(breaker={"availability": FAST})
def test_fail_fast_answers_at_once_and_spares_upstream(refrain, client, upstream):
    client.post(chat("stored before")).was("MISS")
    upstream.always(whole, b"busy", status=503)
    prompts(client, 3)
    assert state(refrain, "availability") == OPEN
    seen = len(upstream.requests)
    answer = client.post(chat("spared")).refused(503, "circuit_open")
    assert 0 < int(answer.header("retry-after")) <= 300
    assert answer.header("cache-status") == "refrain; detail=circuit_open"  # not forwarded
    assert client.post(chat_stream("spared, too")).refused(503, "circuit_open")
    upstream.saw(seen)
    assert refrain.metric("breaker_refused_total", upstream="default") == 2
    client.post(chat("stored before")).was("HIT")


STALE = {"default_ttl": "1s", "stale_if_error": "1h"}


@pytest.mark.parametrize("fail_fast", [False, True])
def test_what_is_stale_is_served_without_asking(start, upstream, fail_fast):
    refrain = start(breaker={"availability": {**FAST, "fail_fast": fail_fast}}, cache=STALE)
    client = start.client(refrain)
    stored = client.post(chat("stored before")).was("MISS")
    upstream.always(whole, b"busy", status=503)
    prompts(client, 3)
    assert state(refrain, "availability") == OPEN
    wait_until(lambda: client.post(chat("stored before")).whole().header("x-cache") == "STALE", "it to be stale")
    answer = client.post(chat("stored before")).was("STALE")
    assert answer.body == stored.body and "; hit; ttl=" in answer.header("cache-status")
    upstream.saw(4)
    client.post(chat("stored before"), headers={"Refrain-Cache": "refresh"}).whole()  # who insists may ask
    assert len(upstream.requests) == (4 if fail_fast else 5)


@pytest.mark.refrain(breaker={"availability": {**FAST, "open_for": "1s"}}, cache=STALE)
def test_a_stale_answers_request_may_be_the_probe(refrain, client, upstream):
    client.post(chat("stored before")).was("MISS")
    upstream.always(whole, b"busy", status=503)
    prompts(client, 3)
    becomes(refrain, "availability", HALF_OPEN)
    upstream.always(whole, chat_answer("back"))
    wait_until(lambda: client.post(chat("stored before")).whole().body == chat_answer("back"), "the new answer")
    assert state(refrain, "availability") == CLOSED


@pytest.fixture
def probe(refrain, client, upstream):
    """The one call that a half-open breaker has let through; upstream holds it back until "probe" is released."""
    upstream.always(whole, b"busy", status=503)
    prompts(client, 4)
    becomes(refrain, "availability", HALF_OPEN)
    upstream.reply(whole, chat_answer("back"), before=hold("probe"))
    asked = client.post(chat("probe"))
    upstream.held("probe")
    return asked


@pytest.mark.refrain(breaker={"availability": {**FAST, "open_for": "100ms"}})
def test_one_probe_at_a_time_is_let_through(refrain, client, upstream, probe):
    assert state(refrain, "availability") == HALF_OPEN
    answer = client.post(chat("not now")).refused(503, "circuit_open")
    assert answer.header("retry-after") == "1"
    upstream.release("probe")
    probe.was("MISS")
    assert state(refrain, "availability") == CLOSED
    upstream.always(whole, chat_answer("well"))
    client.post(chat("not now")).was("MISS")


@pytest.mark.refrain(breaker={"availability": {**FAST, "open_for": "200ms"}})
def test_a_probe_whose_client_leaves_is_given_back(refrain, client, upstream, probe):
    probe.leave()
    upstream.lost(5)
    refrain.waits_for("flights", 0)
    upstream.always(whole, chat_answer("back"))
    client.post(chat("next")).was("MISS")  # it is the next probe
    assert state(refrain, "availability") == CLOSED
    told(refrain, "availability", "closed")
    assert changes(refrain, "availability") == ["open", "half_open", "closed"]


@pytest.mark.refrain(breaker={"availability": FAST}, upstreams={"default": {"retries": {"max": 0}}})
def test_each_model_has_its_own(refrain, client, upstream):
    upstream.down()
    for i in range(4):
        client.post(chat(f"ask {i}", model="sick")).refused(502, "upstream_unreachable")
    client.post(chat("spared", model="sick")).refused(503, "circuit_open")
    assert state(refrain, "availability") == OPEN  # the worst of all
    upstream.up()
    client.post(chat("other", model="well")).was("MISS")
    client.post(chat("spared", model="sick")).refused(503, "circuit_open")


@pytest.mark.refrain(breaker={"availability": FAST})
def test_statuses_of_an_upstream_that_is_there_do_not_count(refrain, client, upstream):
    for status in (200, 400, 401, 404, 429, 500, 501, 529):
        upstream.always(whole, b"{}", status=status)
        prompts(client, 4, name=f"{status}")
    assert state(refrain, "availability") == CLOSED


@pytest.mark.refrain(breaker={"availability": FAST})
def test_what_passes_through_is_spared_as_well(refrain, client, upstream):
    upstream.always(whole, b"busy", status=502)
    for _ in range(4):
        client.ask("POST", "/v1/files", body=b"x" * 100).whole()
    client.ask("POST", "/v1/files", body=b"x" * 100_000).refused(503, "circuit_open")
    client.ask("DELETE", "/v1/files/1").refused(503, "circuit_open")
    upstream.saw(4)


@pytest.mark.refrain(breaker={"availability": FAST, "validation": {"failures": 2}})
def test_a_reload_forgets_nothing(refrain, client, upstream):
    upstream.always(whole, BROKEN)
    prompts(client, 2)
    upstream.always(whole, b"busy", status=503)
    prompts(client, 5, name="busy")
    assert (state(refrain, "validation"), state(refrain, "availability")) == (OPEN, OPEN)
    refrain.reload()
    refrain.logged(lambda e: e.get("event") == "reloaded", "the reload")
    assert (state(refrain, "validation"), state(refrain, "availability")) == (OPEN, OPEN)
    client.post(chat("spared")).refused(503, "circuit_open")


# -- by hand --


def listed(operator, kind, **wanted):
    """The only breaker of this kind that the API lists with these members."""
    [found] = [b for b in operator.reads("/breakers")["breakers"]
               if b["kind"] == kind and all(b[name] == value for (name, value) in wanted.items())]
    return found


def says(operator, kind, action):
    operator.does(f"/breakers/default/{kind}", {"action": action})


@pytest.mark.refrain(breaker={"validation": {"failures": 2}, "availability": {**FAST, "samples": 2}})
def test_the_api_tells_cause_and_next_probe_and_asking_changes_nothing(client, operator, upstream):
    upstream.always(whole, BROKEN)
    prompts(client, 2)
    upstream.always(whole, b"busy", status=503)
    prompts(client, 2, name="busy")
    for _ in range(3):
        one = listed(operator, "validation")
        assert (one["state"], one["level"], one["held"]) == ("open", 1, False)
        assert one["cause"] == "2 broken answers, the last: json" and 0 < one["next_probe_s"] <= 300
        other = listed(operator, "availability", model="gpt-4o-mini")
        assert other["state"] == "open" and other["cause"] == "2 of 4 calls failed, the last: 503"


def test_an_operator_may_have_nothing_stored(refrain, client, operator):
    says(operator, "validation", "open")
    assert "not-stored:breaker" in client.post(chat()).was("MISS").header("cache-status")
    assert state(refrain, "validation") == OPEN
    assert listed(operator, "validation")["held"] and listed(operator, "validation")["next_probe_s"] is None
    says(operator, "validation", "close")
    client.post(chat()).was("MISS")
    client.post(chat()).was("HIT")


@pytest.mark.refrain(breaker={"availability": FAST})
def test_an_operator_may_spare_upstream_and_bring_it_back(client, operator, upstream):
    says(operator, "availability", "open")
    client.post(chat()).refused(503, "circuit_open")
    client.post(chat(model="another")).refused(503, "circuit_open")
    upstream.saw(0)
    says(operator, "availability", "reset")
    client.post(chat()).was("MISS")


@pytest.mark.refrain(breaker={"validation": {"failures": 2}})
def test_an_operator_may_end_it_before_its_time(client, operator, upstream):
    upstream.always(whole, BROKEN)
    prompts(client, 2)
    says(operator, "validation", "reset")
    upstream.always(whole, chat_answer("good"))
    client.post(chat("good")).was("MISS")
    client.post(chat("good")).was("HIT")


@pytest.mark.refrain(breaker={"validation": {"failures": 1, "open_for": "50ms"}})
def test_what_upstream_confirms_is_no_probe(refrain, client, upstream):
    upstream.reply(whole, b"the page", content_type="text/plain",
                   headers={"Cache-Control": "public, max-age=60", "ETag": '"1"', "Age": "100"})
    client.get("/v1/models").whole()
    upstream.reply(whole, BROKEN)
    client.post(chat()).whole()
    becomes(refrain, "validation", HALF_OPEN)
    upstream.reply(bodiless, status=304, headers={"ETag": '"1"', "Cache-Control": "public, max-age=60"})
    assert client.get("/v1/models").whole().body == b"the page"
    assert state(refrain, "validation") == HALF_OPEN
    client.post(chat("good")).was("MISS")
    assert state(refrain, "validation") == CLOSED


def test_what_upstream_confirms_is_served_whole_though_nothing_is_stored(client, operator, upstream):
    upstream.reply(whole, b"the page", content_type="text/plain",
                   headers={"Cache-Control": "public, max-age=60", "ETag": '"1"', "Age": "100"})
    client.get("/v1/models").whole()
    says(operator, "validation", "open")
    upstream.always(bodiless, status=304, headers={"ETag": '"1"', "Cache-Control": "public, max-age=60"})
    for _ in range(2):
        answer = client.get("/v1/models").whole()
        assert (answer.status, answer.body) == (200, b"the page"), f"whole, and good: {answer!r}"
