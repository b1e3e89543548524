"""Answers that vary: each request gets its own variant, from the store and in flight. SPEC section 4, RFC 9111 4.1.

User-Agent is not in the key, so it tells variants apart only where upstream says that it counts.
"""

import pytest

from harness.asks import chat, chat_stream
from harness.upstream import bodiless, chat_answer, hold, sse, token, whole

BY_AGENT = {"Vary": "Accept-Encoding, User-Agent"}


def agent(name):
    return {"User-Agent": name}


def echoes(client, upstream, *names, **how):
    """Upstream answers each agent by its name, one request each, in any order."""
    for name in names:
        upstream.reply(whole, chat_answer(f"for {name}"), when=lambda r, name=name: r.header("user-agent") == name,
                       headers=BY_AGENT, **how)


def test_variants_are_kept_side_by_side(client, upstream):
    echoes(client, upstream, "curl", "phone")
    for name in ("curl", "phone"):
        assert f"for {name}".encode() in client.post(chat(), headers=agent(name)).was("MISS").body
    for name in ("curl", "phone", "curl"):
        hit = client.post(chat(), headers=agent(name)).was("HIT")
        assert f"for {name}".encode() in hit.body
        assert "User-Agent" in hit.header("vary")
    upstream.saw(2)


def test_a_third_who_is_neither_is_asked_for(client, upstream):
    echoes(client, upstream, "curl", "phone", "desk")
    for name in ("curl", "phone", "desk"):
        assert f"for {name}".encode() in client.post(chat(), headers=agent(name)).was("MISS").body
    upstream.saw(3)


def test_absent_and_empty_are_two_variants(client, upstream):
    upstream.always(whole, chat_answer("any"), headers=BY_AGENT)
    client.post(chat(), headers={"User-Agent": None}).was("MISS")
    client.post(chat(), headers={"User-Agent": ""}).was("MISS")
    client.post(chat(), headers={"User-Agent": None}).was("HIT")
    upstream.saw(2)


def test_a_list_is_the_same_however_it_is_spaced_and_split(client, upstream):
    upstream.always(whole, chat_answer("any"), headers={"Vary": "Accept"})

    def accepting(*lines):
        return client.ask("POST", chat().path, [("Accept", line) for line in lines], chat().wire_body)

    accepting("application/json, text/plain").was("MISS")
    accepting("application/json", "text/plain").was("HIT")
    accepting("application/json ,text/plain").was("HIT")
    accepting("text/plain").was("MISS")
    upstream.saw(2)


def test_what_is_in_the_key_already_needs_no_variants(client, refrain, upstream):
    upstream.always(whole, chat_answer("any"), headers={"Vary": "Origin, Accept-Encoding, Authorization"})
    client.post(chat(), headers={"Origin": "https://a.example"}).was("MISS")
    client.post(chat(), headers={"Origin": "https://a.example"}).was("HIT")
    client.post(chat(), headers={"Origin": "https://b.example"}).was("MISS")
    assert refrain.metric("entries", tier="memory") == 2


def test_what_varies_by_everything_is_neither_stored_nor_shared(client, refrain, upstream):
    upstream.reply(whole, chat_answer("one"), headers={"Vary": "*"}, before=hold("g"))
    upstream.reply(whole, chat_answer("two"), headers={"Vary": "*"})
    upstream.reply(whole, chat_answer("three"), headers={"Vary": "*"})
    a = client.post(chat())
    upstream.held("g")
    b = client.post(chat())
    refrain.waits_for("flight_readers", 2)
    upstream.release("g")
    assert b"one" in a.was("MISS").body and "not-stored:vary" in a.header("cache-status")
    assert b"two" in b.was("MISS").body
    assert b"three" in client.post(chat()).was("MISS").body
    upstream.saw(3)


def test_the_newest_list_rules(client, upstream):
    upstream.reply(whole, chat_answer("by agent"), headers={"Vary": "User-Agent"})
    upstream.reply(whole, chat_answer("by dnt"), headers={"Vary": "DNT"})
    client.post(chat(), headers=agent("curl")).was("MISS")
    client.post(chat(), headers=agent("phone")).was("MISS")
    assert b"by dnt" in client.post(chat(), headers=agent("curl")).was("HIT").body
    assert client.post(chat(), headers={"DNT": "1"}).was("MISS")
    upstream.saw(3)


def test_an_answer_that_does_not_vary_takes_the_place_of_all(client, upstream):
    upstream.reply(whole, chat_answer("for curl"), headers=BY_AGENT)
    upstream.reply(whole, chat_answer("for all"))
    client.post(chat(), headers=agent("curl")).was("MISS")
    client.post(chat(), headers=agent("phone")).was("MISS")
    for name in ("curl", "phone", "desk"):
        assert b"for all" in client.post(chat(), headers=agent(name)).was("HIT").body
    upstream.saw(2)


@pytest.mark.refrain(cache={"max_variants": 2})
def test_variants_are_bounded(client, refrain, upstream):
    upstream.always(whole, chat_answer("any"), headers=BY_AGENT)
    for name in ("one", "two"):
        client.post(chat(), headers=agent(name)).was("MISS")
    third = client.post(chat(), headers=agent("three")).was("MISS")
    assert "not-stored:vary" in third.header("cache-status")
    assert refrain.metric("not_stored_total", reason="vary") == 1
    client.post(chat(), headers=agent("one")).was("HIT")
    client.post(chat(), headers=agent("two")).was("HIT")
    client.post(chat("another")).was("MISS")
    client.post(chat("another")).was("HIT")


def test_a_get_varies_too(client, upstream):
    fresh = {"Cache-Control": "public, max-age=60", "Vary": "User-Agent"}
    upstream.reply(whole, b"for curl", headers=fresh)
    upstream.reply(whole, b"for phone", headers=fresh)
    client.get("/models", headers=agent("curl")).was("MISS")
    client.get("/models", headers=agent("phone")).was("MISS")
    assert client.get("/models", headers=agent("curl")).was("HIT").body == b"for curl"
    assert client.get("/models", headers=agent("phone")).was("HIT").body == b"for phone"
    upstream.saw(2)


def test_a_variant_asked_about_again_stays_one(client, upstream):
    """A 304 need not repeat Vary; what it renews is still for those who agree with it, and for nobody else."""
    def answer(reply, out, request):
        name = request.header("user-agent")
        reply.headers = {"Cache-Control": "public, max-age=60", "ETag": f'"{name}"'}
        if request.header("if-none-match") == f'"{name}"':
            reply.status, reply.parts = 304, ()
            return bodiless(reply, out, request)
        reply.parts, reply.headers["Vary"] = (f"for {name}".encode(),), "User-Agent"
        return whole(reply, out, request)

    upstream.always(answer)
    for name in ("curl", "phone"):
        client.get("/models", agent(name)).was("MISS")
    again = client.get("/models", {**agent("curl"), "Cache-Control": "no-cache"}).whole()
    assert again.body == b"for curl" and again.status == 200
    for name in ("curl", "phone"):
        assert client.get("/models", agent(name)).was("HIT").body == f"for {name}".encode()
    assert client.get("/models", agent("desk")).was("MISS").body == b"for desk"


# In flight.


def test_a_waiter_of_another_variant_moves_to_its_own_flight_at_the_head(client, refrain, upstream):
    """The first stream is still under way when the second has long been answered: nothing is serialised."""
    upstream.reply(sse, token("for curl"), hold("curl"), when=lambda r: r.header("user-agent") == "curl",
                   before=hold("head"), headers=BY_AGENT)
    upstream.reply(sse, token("for phone"), when=lambda r: r.header("user-agent") == "phone", headers=BY_AGENT)
    curl = client.post(chat_stream(), headers=agent("curl"))
    upstream.held("head")
    curl_too = client.post(chat_stream(), headers=agent("curl"))
    phone, phone_too = (client.post(chat_stream(), headers=agent("phone")) for _ in range(2))
    refrain.waits_for("flight_readers", 4)
    upstream.release("head")
    curl.sees("for curl")
    curl_too.sees("for curl")
    for answer in (phone, phone_too):
        assert b"for phone" in answer.whole().body and b"curl" not in answer.body
    assert {phone.header("x-cache"), phone_too.header("x-cache")} <= {"MISS", "COALESCED", "HIT"}
    late = client.post(chat_stream(), headers=agent("curl")).sees("for curl")
    upstream.release("curl")
    for answer in (curl, curl_too, late):
        assert b"phone" not in answer.whole().body
    upstream.saw(2)
    for name in ("curl", "phone"):
        assert f"for {name}".encode() in client.post(chat_stream(), headers=agent(name)).was("HIT").body
    upstream.saw(2)


def test_waiters_of_a_whole_answer_are_told_apart_at_its_head_not_at_its_end(client, refrain, upstream):
    body = chat_answer("for curl")
    upstream.reply(whole, body[:20], hold("curl"), body[20:], when=lambda r: r.header("user-agent") == "curl",
                   before=hold("head"), headers=BY_AGENT)
    echoes(client, upstream, "phone", "desk")
    curl = client.post(chat(), headers=agent("curl"))
    upstream.held("head")
    others = {name: client.post(chat(), headers=agent(name)) for name in ("phone", "desk")}
    refrain.waits_for("flight_readers", 3)
    upstream.release("head")
    for name, answer in others.items():
        assert f"for {name}".encode() in answer.was("MISS").body
    assert not curl.saw_end()
    upstream.release("curl")
    assert b"for curl" in curl.was("MISS").body
    upstream.saw(3)
    for name in ("curl", "phone", "desk"):
        assert f"for {name}".encode() in client.post(chat(), headers=agent(name)).was("HIT").body


@pytest.mark.refrain(listen={"workers": 4})
def test_a_crowd_of_many_variants_makes_one_call_for_each(client, refrain, upstream):
    def answer(reply, out, request):
        out.play(hold(request.header("x-round")))
        reply.parts, reply.headers = (chat_answer(f"for {request.header('user-agent')}."),), BY_AGENT
        return whole(reply, out, request)

    upstream.always(answer)
    agents = [f"agent {n}" for n in range(6)]
    for turn in range(4):
        crowd = [(name, client.post(chat(), {**agent(name), "X-Round": str(turn)})) for name in agents * 8]
        refrain.waits_for("flight_readers", len(crowd))
        upstream.release(str(turn))
        for name, answer in crowd:
            assert f"for {name}.".encode() in answer.whole().body
        upstream.saw(len(agents) * (turn + 1))
        for name in agents:
            hit = client.post(chat(), {**agent(name), "X-Round": str(turn)}).was("HIT")
            assert f"for {name}.".encode() in hit.body


def test_an_error_that_varies_is_shared_only_with_its_own(client, refrain, upstream):
    upstream.reply(whole, b'{"error":{"message":"curl"}}', status=400, headers=BY_AGENT, before=hold("head"))
    upstream.reply(whole, b'{"error":{"message":"phone"}}', status=400, headers=BY_AGENT)
    curl = client.post(chat(), headers=agent("curl"))
    upstream.held("head")
    curl_too, phone = client.post(chat(), headers=agent("curl")), client.post(chat(), headers=agent("phone"))
    refrain.waits_for("flight_readers", 3)
    upstream.release("head")
    assert b"curl" in curl.was("MISS", status=400).body
    assert b"curl" in curl_too.was("COALESCED", status=400).body
    assert b"phone" in phone.was("MISS", status=400).body
    upstream.saw(2)


def test_a_sick_upstream_is_not_asked_by_every_variant(client, refrain, upstream):
    upstream.reply(whole, b"{}", status=503, headers=BY_AGENT, before=hold("head"))
    curl = client.post(chat(), headers=agent("curl"))
    upstream.held("head")
    phone = client.post(chat(), headers=agent("phone"))
    refrain.waits_for("flight_readers", 2)
    upstream.release("head")
    curl.was("MISS", status=503)
    phone.was("COALESCED", status=503)
    upstream.saw(1)


@pytest.mark.refrain(tiers={"memory": {"enabled": False}})
def test_variants_in_flight_are_told_apart_without_a_store(client, refrain, upstream):
    body = chat_answer("for curl")
    upstream.reply(whole, body[:20], hold("end"), body[20:], when=lambda r: r.header("user-agent") == "curl",
                   before=hold("head"), headers=BY_AGENT)
    echoes(client, upstream, "phone", "phone")  # the second may come when the first has gone: nothing is kept
    curl = client.post(chat(), headers=agent("curl"))
    upstream.held("head")
    phones = [client.post(chat(), headers=agent("phone")) for _ in range(2)]
    refrain.waits_for("flight_readers", 3)
    upstream.release("head")
    for phone in phones:
        assert b"for phone" in phone.whole().body
    upstream.release("end")
    assert b"for curl" in curl.whole().body


# A credential that the scope leaves out of the key, but not out of Vary.


@pytest.mark.refrain(cache={"scope": "shared"})
def test_under_a_shared_scope_vary_authorization_parts_credentials(client, refrain, upstream):
    upstream.reply(whole, chat_answer("for alice"), headers={"Vary": "Authorization"}, before=hold("head"))
    upstream.reply(whole, chat_answer("for bob"), headers={"Vary": "Authorization"})
    bob = client.with_credential("sk-alicf")
    a = client.post(chat())
    upstream.held("head")
    b = bob.post(chat())
    refrain.waits_for("flight_readers", 2)
    upstream.release("head")
    assert b"for alice" in a.was("MISS").body
    assert b"for bob" in b.was("MISS").body
    assert b"for alice" in client.post(chat()).was("HIT").body
    assert b"for bob" in bob.post(chat()).was("HIT").body
    upstream.saw(2)
