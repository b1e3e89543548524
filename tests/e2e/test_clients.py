"""Clients, where Refrain itself holds the credential that upstream wants. SPEC section 4, the scope; docs/clients.md.

Whose answer is it? Nobody but a client is answered, each has his own, and no token and no credential of an upstream's
is ever seen where it does not belong.
"""

import hashlib
import json
import pathlib
import subprocess

import pytest
import yaml

from harness.answers import USAGE
from harness.asks import Ask, chat, chat_stream, embedding, messages
from harness.operator import Operator
from harness.process import binary, to_yaml, wait_until
from harness.upstream import bodiless, chat_answer, event, fields_of, head_bytes, hold, sse, token, whole

GEMINI = Ask("/v1beta/models/gemini-2.5-flash:generateContent", {"contents": [{"parts": [{"text": "hello"}]}]})
GEMINI_ANSWER = b'{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]},"finishReason":"STOP","index":0}]}'

ALICE, ALICE_NEXT = "rfr_" + "A" * 43, "rfr_" + "a" * 43
BOB, CAROL, STRANGER = "rfr_" + "B" * 43, "rfr_" + "C" * 43, "rfr_" + "X" * 43
OURS = "sk-upstream-9f8e7d6c5b4a"


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def client_of(tok, **more):
    return {"token_sha256": sha256(tok), **more}


TWO = {"alice": client_of(ALICE), "bob": client_of(BOB)}
HELD = {"default": {"credential": OURS}}


def with_clients(clients=None, **more):
    upstreams = more.pop("upstreams", HELD)
    return pytest.mark.refrain(clients=clients or TWO, upstreams=upstreams, **more)


@pytest.fixture
def alice(client):
    return client.with_credential(ALICE)


@pytest.fixture
def bob(client):
    return client.with_credential(BOB)


@pytest.fixture
def nobody(client):
    return client.with_credential(None)


def told(upstream):
    """All that upstream was sent, of every request."""
    return b"".join(request.head_bytes + bytes(request.body) for request in upstream.requests)


# Who is answered, and what upstream sees of it.


SDKS = {
    "authorization": ({"Authorization": f"Bearer {ALICE}"}, chat()),
    "any case of the scheme": ({"Authorization": f"bearer   {ALICE}"}, chat()),
    "x-api-key": ({"Authorization": None, "x-api-key": ALICE}, messages()),
    "api-key": ({"Authorization": None, "api-key": ALICE}, chat().at("/openai/deployments/gpt/chat/completions")),
    "x-goog-api-key": ({"Authorization": None, "x-goog-api-key": ALICE}, GEMINI),
    "?key=": ({"Authorization": None}, GEMINI.at(f"{GEMINI.path}?alt=json&key={ALICE}&x=1")),
    "?key=, coded": ({"Authorization": None}, GEMINI.at(f"{GEMINI.path}?%6Bey=%72fr_{ALICE[4:]}")),
    "twice the same": ({"Authorization": f"Bearer {ALICE}", "x-api-key": ALICE}, chat()),
    "with an empty one": ({"Authorization": f"Bearer {ALICE}", "x-api-key": ""}, chat()),
    "header and query": ({"Authorization": None, "x-goog-api-key": ALICE}, GEMINI.at(f"{GEMINI.path}?key={ALICE}")),
}


@with_clients()
@pytest.mark.parametrize("way", SDKS)
def test_a_client_is_known_by_its_token_wherever_an_sdk_puts_it(client, refrain, upstream, way):
    headers, ask = SDKS[way]
    if ask.path.startswith(GEMINI.path):
        upstream.always(whole, GEMINI_ANSWER)
    first = client.post(ask, headers).was("MISS")
    assert client.post(ask, headers).was("HIT").body == first.body
    upstream.saw(1)
    request = upstream.requests[-1]
    assert request.header("authorization") == f"Bearer {OURS}"
    assert not {"x-api-key", "api-key", "x-goog-api-key"} & {name.lower() for (name, _) in request.headers}
    assert ALICE[4:].encode() not in told(upstream)
    assert "key=" not in request.target and "ey=" not in request.target
    assert all(line["client"] == "alice" for line in refrain.request_lines(2))


@with_clients()
def test_what_else_stands_in_the_query_goes_on(client, upstream):
    client.post(GEMINI.at(f"{GEMINI.path}?alt=json&key={ALICE}&x=1"), {"Authorization": None}).was("MISS")
    assert upstream.requests[-1].target == f"{GEMINI.path}?alt=json&x=1"
    client.get(f"/v1/things?key=of-a-lock&{'x' * 1500}", {"Authorization": f"Bearer {ALICE}"}).whole()
    assert upstream.requests[-1].target == f"/v1/things?key=of-a-lock&{'x' * 1500}"


@with_clients(operations={"search": {"dialect": "generate"}})
def test_a_parameter_named_key_that_is_no_token_tells_requests_apart(alice, upstream):
    named = {"Refrain-Operation": "search"}
    upstream.reply(whole, GEMINI_ANSWER)
    alice.post(GEMINI.at("/search?key=fruit"), named).was("MISS")
    alice.post(GEMINI.at("/search?key=stone"), named).was("MISS")
    assert [request.target for request in upstream.requests] == ["/search?key=fruit", "/search?key=stone"]


@pytest.mark.parametrize(("header", "shown"), [("authorization", f"Bearer {OURS}"), ("x-api-key", OURS),
                                               ("api-key", OURS), ("x-goog-api-key", OURS)])
def test_ours_stands_where_the_upstream_looks_for_it(start, upstream, header, shown):
    refrain = start(clients=TWO, upstreams={"default": {"credential": OURS, "credential_header": header}})
    start.client(refrain, credential=ALICE).post(chat()).was("MISS")
    brought = {name.lower(): value for (name, value) in upstream.requests[-1].headers
               if name.lower() in ("authorization", "x-api-key", "api-key", "x-goog-api-key")}
    assert brought == {header: shown}


# Without clients whoever connects is answered, each his own; but no credential of theirs goes on beside ours.


OWN_KEYS = {
    "authorization": lambda own: ({"Authorization": f"Bearer {own}"}, chat()),
    "x-api-key": lambda own: ({"x-api-key": own}, messages()),
    "api-key": lambda own: ({"api-key": own}, chat().at("/openai/deployments/gpt/chat/completions")),
    "x-goog-api-key": lambda own: ({"x-goog-api-key": own}, GEMINI),
    "?key=": lambda own: ({}, GEMINI.at(f"{GEMINI.path}?alt=json&key={own}")),
    "?key=, coded": lambda own: ({}, GEMINI.at(f"{GEMINI.path}?%6Bey={own}&alt=json")),
    "?key= of another API": lambda own: ({}, chat().at(f"/v1/chat/completions?alt=json&key={own}")),
    "both": lambda own: ({"x-goog-api-key": own}, GEMINI.at(f"{GEMINI.path}?key={own}&alt=json")),
}


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "x-goog-api-key"])
def test_no_credential_of_a_caller_goes_on_beside_ours(start, upstream, header):
    refrain = start(upstreams={"default": {"credential": OURS, "credential_header": header}})
    client = start.client(refrain, credential=None)
    for way in OWN_KEYS.values():
        for (own, before, then) in ((STRANGER, "MISS", "HIT"), (CAROL, "MISS", "HIT")):
            headers, ask = way(own)
            ask = ask if "x-api-key" not in ask.headers else ask.with_headers(x_api_key=None)
            if ask.path.startswith(GEMINI.path):
                upstream.reply(whole, GEMINI_ANSWER.replace(b"hi", own.encode()))
            asked = client.ask("POST", ask.path, headers, ask.wire_body).was(before).whole()
            assert client.ask("POST", ask.path, headers, ask.wire_body).was(then).whole().body == asked.body
            shown = [value for (name, value) in upstream.requests[-1].headers
                     if name.lower() in ("authorization", "x-api-key", "api-key", "x-goog-api-key")]
            assert len(shown) == 1 and shown[0].endswith(OURS)
            assert "ey=" not in upstream.requests[-1].target
            assert ("alt=json" in upstream.requests[-1].target) is ("alt=json" in ask.path)
    upstream.saw(2 * len(OWN_KEYS))
    sent = b"".join(request.head_bytes for request in upstream.requests)
    assert STRANGER[4:].encode() not in sent and CAROL[4:].encode() not in sent


def test_a_key_on_a_path_that_nobody_knows_is_content_but_for_google(start, upstream):
    path = "/v1beta/things?key=of-a-lock"
    for (header, goes_on) in (("authorization", path), ("x-goog-api-key", "/v1beta/things")):
        refrain = start(upstreams={"default": {"credential": OURS, "credential_header": header}})
        start.client(refrain, credential=None).get(path).whole()
        assert upstream.requests[-1].target == goes_on


NO_CREDENTIALS = {"none": {}, "empty": {"Authorization": "Bearer "}, "of the hop": {"Proxy-Authorization": f"Bearer {ALICE}"}}
WRONG = {
    "a stranger's": {"Authorization": f"Bearer {STRANGER}"},
    "one byte off": {"Authorization": f"Bearer {ALICE[:-1]}b"},
    "cut short": {"Authorization": f"Bearer {ALICE[:-1]}"},
    "one byte more": {"Authorization": f"Bearer {ALICE}A"},
    "another scheme": {"Authorization": f"Basic {ALICE}"},
    "the sum itself": {"Authorization": f"Bearer {sha256(ALICE)}"},
    "the client's name": {"Authorization": "Bearer alice"},
    "ours": {"Authorization": f"Bearer {OURS}"},
    "two of two clients": {"Authorization": f"Bearer {ALICE}", "x-api-key": BOB},
    "a stranger's beside it": {"Authorization": f"Bearer {ALICE}", "x-api-key": STRANGER},
    "the same field twice": [("Authorization", f"Bearer {ALICE}"), ("Authorization", f"Bearer {BOB}")],
    "very long": {"Authorization": "Bearer " + "A" * 4000},
}


@with_clients()
@pytest.mark.parametrize("ask", [chat(), messages(), GEMINI], ids=["openai", "anthropic", "google"])
@pytest.mark.parametrize("way", [*NO_CREDENTIALS, *WRONG])
def test_nobody_else_is_answered_not_even_from_the_cache(alice, nobody, upstream, ask, way):
    alice.post(ask, {"x-api-key": ALICE, "Authorization": None}).was("MISS")
    headers = NO_CREDENTIALS.get(way, WRONG.get(way))
    ask = ask if "x-api-key" not in ask.headers else ask.with_headers(x_api_key=None)
    answer = nobody.ask("POST", ask.path, headers, ask.wire_body).whole()
    assert answer.status == 401 and answer.header("x-should-retry") == "false"
    assert answer.header("www-authenticate") == 'Bearer realm="refrain"'
    assert answer.header("x-cache") is None or answer.header("x-cache") != "HIT"
    error = answer.json()["error"]
    assert error.get("type") == "authentication_error" or error["status"] == "UNAUTHENTICATED"
    assert b"unauthorized" in answer.body
    upstream.saw(1)


@with_clients()
@pytest.mark.parametrize("query", [f"key={STRANGER}", f"key={BOB}", "%6Bey=AIzaSomebodys", f"key={ALICE}&key={BOB}"])
def test_another_key_in_the_query_is_refused_where_keys_stand_there(client, upstream, query):
    client.post(GEMINI.at(f"{GEMINI.path}?{query}"), {"Authorization": None, "x-goog-api-key": ALICE}).whole()
    upstream.saw(0)


@with_clients()
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("path", ["/v1/models", "/", "/healthz", "/metrics", "/v1/files/secret"])
def test_whatever_is_asked_for(nobody, upstream, method, path):
    assert nobody.ask(method, path).whole().status == 401
    upstream.saw(0)


@with_clients()
def test_a_large_body_of_a_stranger_is_not_waited_for(nobody, upstream):
    answer = nobody.ask("POST", "/v1/files", {"Content-Length": str(1 << 30)})
    assert answer.status == 401
    upstream.saw(0)


# A browser asks without a credential whether it may ask with one.


PREFLIGHT = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "authorization,content-type"}


@pytest.mark.refrain(clients=TWO, upstreams={"default": {"credential": OURS, "headers": {"add": {"X-Extra": "ours, too"}}}})
def test_a_preflight_passes_and_is_shown_nothing_of_ours(nobody, alice, upstream):
    upstream.reply(bodiless, status=204, headers={"Access-Control-Allow-Origin": "*"})
    assert nobody.ask("OPTIONS", "/v1/chat/completions", PREFLIGHT).whole().header("access-control-allow-origin") == "*"
    request = upstream.requests[-1]
    assert request.header("authorization") is None and request.header("x-extra") is None
    upstream.reply(bodiless, status=204)
    alice.ask("OPTIONS", "/v1/chat/completions", PREFLIGHT).whole()
    assert upstream.requests[-1].header("authorization") == f"Bearer {OURS}"


@with_clients(operations={"unannounced": {"path": "/v1/plan"}})
def test_a_preflight_is_not_told_what_the_operator_has_named(nobody, alice):
    wrong = {**PREFLIGHT, "Refrain-Operation": "guess"}
    assert b"unannounced" in alice.ask("OPTIONS", "/v1/x", wrong).refused(400).body
    assert b"unannounced" not in nobody.ask("OPTIONS", "/v1/x", wrong).refused(400).body


@with_clients()
@pytest.mark.parametrize("lacking", ["Origin", "Access-Control-Request-Method"])
def test_any_other_options_needs_a_token(nobody, upstream, lacking):
    assert nobody.ask("OPTIONS", "/v1/x", {**PREFLIGHT, lacking: None}).whole().status == 401
    assert nobody.ask("OPTIONS", "/v1/x", PREFLIGHT, b"a body").whole().status == 401
    assert nobody.ask("OPTIONS", "/v1/x", {**PREFLIGHT, "Authorization": f"Bearer {STRANGER}"}).whole().status == 401
    upstream.saw(0)


@with_clients()
def test_preflights_cannot_keep_upstream_busy(nobody, alice, refrain, upstream):
    upstream.always(bodiless, status=204, before=hold("g"))
    asked = [nobody.ask("OPTIONS", "/v1/x", PREFLIGHT) for _ in range(16)]
    upstream.held("g", times=16)
    assert nobody.ask("OPTIONS", "/v1/x", PREFLIGHT).whole().status == 429
    upstream.release("g")
    for answer in asked:
        assert answer.whole().status == 204
    refrain.logged(lambda e: e.get("event") == "client_limited" and e["client"] == "preflights", "that it was limited")
    assert refrain.metric("client_requests_total") == 0


@with_clients()
def test_a_token_in_a_trailer_goes_nowhere(alice, upstream):
    alice.ask("POST", "/v1/files", None, b"an upload", chunked=True,
              trailers=[("x-api-key", ALICE), ("Authorization", f"Bearer {ALICE}"), ("X-Sum", "1")]).was("BYPASS")
    trailers = upstream.requests[-1].reader.trailers
    assert trailers.get("x-sum") == "1"
    assert ALICE.encode() not in told(upstream) and ALICE not in repr(list(trailers))


# Whose answer it is.


ASKINGS = {"chat": lambda c: c.post(chat()), "stream": lambda c: c.post(chat_stream()), "embedding":
           lambda c: c.post(embedding()), "read": lambda c: c.get("/v1/models")}


@with_clients()
@pytest.mark.parametrize("what", ["chat", "stream", "embedding"])
def test_each_client_has_answers_of_its_own(alice, bob, upstream, what):
    ask = ASKINGS[what]
    hers, his = ask(alice).was("MISS").body, ask(bob).was("MISS").body
    assert hers != his
    assert ask(alice).was("HIT").body == hers and ask(bob).was("HIT").body == his
    upstream.saw(2)


@with_clients(cache={"default_ttl": "1h"})
def test_nor_do_they_share_what_is_read(alice, bob, upstream):
    for text in (b"hers", b"his"):
        upstream.reply(whole, text, headers={"Cache-Control": "public, max-age=600"}, content_type="text/plain")
    assert alice.get("/v1/models").was("MISS").body == b"hers"
    assert bob.get("/v1/models").was("MISS").body == b"his"
    assert alice.get("/v1/models").was("HIT").body == b"hers"


@with_clients()
def test_they_do_not_join_each_others_calls(alice, bob, upstream):
    upstream.always(sse, token("A"), hold("g"), token("B"), event("[DONE]"))
    hers = alice.post(chat_stream())
    hers.sees("A")
    his = bob.post(chat_stream())
    upstream.held("g", times=2)
    upstream.release("g")
    hers.was("MISS"), his.was("MISS")
    upstream.saw(2)


@with_clients()
@pytest.mark.parametrize("trick", [
    {"Refrain-Key": "k"}, {"cf-aig-cache-key": "k"}, {"Refrain-Namespace": "n"}, {"Refrain-Variants": "2"},
    {"X-Forwarded-For": "1.2.3.4"}, {"Refrain-Client": "alice"}, {"Cookie": "client=alice"},
    {"Connection": "Authorization"}, {"Refrain-Cache": "read-only"}, {"X-Client": "alice"}])
def test_no_header_leads_to_anothers(alice, bob, upstream, trick):
    hers = alice.post(chat(), trick).whole().body
    his = bob.post(chat(), trick).whole()
    assert his.body != hers and his.header("x-cache") == "MISS"


@with_clients({"alice": client_of(ALICE, scope="team"), "bob": client_of(BOB, scope="team"), "carol": client_of(CAROL)})
def test_a_group_shares_and_others_do_not(client, upstream):
    alice, bob, carol = (client.with_credential(t) for t in (ALICE, BOB, CAROL))
    hers = alice.post(chat()).was("MISS").body
    assert bob.post(chat()).was("HIT").body == hers
    assert carol.post(chat()).was("MISS").body != hers
    upstream.saw(2)


@with_clients({"alice": client_of(ALICE, scope="team"), "bob": client_of(BOB, scope="team")})
def test_in_a_group_a_custom_key_needs_leave(alice):
    alice.post(chat(), {"Refrain-Key": "k"}).refused(400)
    alice.post(chat(), {"Refrain-TTL": "none"}).refused(400)


SHARING = {"alice": client_of(ALICE), "bob": client_of(BOB, scope="shared"), "carol": client_of(CAROL, scope="carol")}


def shares(client, ask):
    """Which of the three are answered what another was."""
    bodies = {}
    for name, tok in (("alice", ALICE), ("bob", BOB), ("carol", CAROL)):
        bodies.setdefault(client.with_credential(tok).post(ask).whole().body, []).append(name)
    return sorted(names for names in bodies.values())


@with_clients(SHARING)
def test_by_default_nobody_shares(client):
    assert shares(client, chat()) == [["alice"], ["bob"], ["carol"]]


@with_clients(SHARING, cache={"scope": "shared"})
def test_what_is_shared_by_all_is_not_by_who_is_set_apart(client):
    assert shares(client, chat()) == [["alice", "bob"], ["carol"]]


@with_clients(SHARING, rules=[{"match": {"operation": "embedding"}, "scope": "shared"}])
def test_a_rule_shares_what_it_is_about(client):
    assert shares(client, chat()) == [["alice"], ["bob"], ["carol"]]
    assert shares(client, embedding()) == [["alice", "bob"], ["carol"]]


@with_clients({**SHARING, "alice": client_of(ALICE, scope="shared")},
              rules=[{"match": {"operation": "embedding"}, "scope": "credential"}])
def test_what_a_rule_says_is_nobody_elses_is_not_shared_by_who_shares(client):
    assert shares(client, chat()) == [["alice", "bob"], ["carol"]]
    assert shares(client, embedding()) == [["alice"], ["bob"], ["carol"]]


@with_clients(SHARING, cache={"scope": ["X-User"]}, key={"ignore_headers": ["X-User"]})
@pytest.mark.parametrize("tok", [ALICE, BOB, CAROL])
def test_what_tells_callers_apart_within_a_client_still_does(client, tok):
    one = client.with_credential(tok)
    first = one.post(chat(), {"X-User": "1"}).was("MISS").body
    assert one.post(chat(), {"X-User": "2"}).was("MISS").body != first
    assert one.post(chat(), {"X-User": "1"}).was("HIT").body == first


# Namespaces.


SPACES = {"alice": client_of(ALICE, namespace="hers", scope="team"), "bob": client_of(BOB, scope="team"),
          "carol": client_of(CAROL, namespace="hers", scope="team")}


@with_clients(SPACES, rules=[{"match": {"operation": "chat"}, "namespace": "ruled"}])
def test_a_namespace_of_its_own_cannot_be_left_nor_entered(client, operator):
    alice, bob, carol = (client.with_credential(t) for t in (ALICE, BOB, CAROL))
    hers = alice.post(chat()).was("MISS").body
    assert bob.post(chat()).was("MISS").body != hers
    assert carol.post(chat()).was("HIT").body == hers
    alice.post(chat(), {"Refrain-Namespace": "else"}).refused(400, "request_invalid")
    assert alice.post(chat(), {"Refrain-Namespace": "hers"}).was("HIT").body == hers
    bob.post(chat(), {"Refrain-Namespace": "hers"}).refused(400, "request_invalid")
    for peer in ("x-portkey-cache-namespace", "Helicone-Cache-Seed"):
        assert alice.post(chat(), {peer: "else"}).was("HIT").body == hers
        assert bob.post(chat(), {peer: "hers"}).whole().body != hers
    assert {row["namespace"] for row in operator.reads("/namespaces")["namespaces"]} == {"hers", "ruled"}
    operator.does("/invalidate", {"namespace": "hers"})
    alice.post(chat()).was("MISS")
    bob.post(chat()).was("HIT")


# What upstream says of our credential is not about a client.


REFUSAL = b'{"error":{"message":"Incorrect API key provided: sk-upstr***5b4a.","code":"invalid_api_key"}}'


@with_clients()
def test_our_refused_credential_punishes_no_client_and_is_quoted_to_none(alice, bob, refrain, upstream):
    stored = alice.post(chat()).was("MISS").body
    for _ in range(2):
        upstream.reply(whole, REFUSAL, status=401, headers={"WWW-Authenticate": "Bearer error=sk-upstr"})
        answer = alice.post(chat("other")).refused(502, "upstream_unauthorized")
        assert b"sk-upstr" not in answer.body and not any("sk-upstr" in value for (_, value) in answer.headers)
        assert answer.header("x-should-retry") == "false"
    assert refrain.metric("credentials_suspended") == 0
    assert alice.post(chat()).was("HIT").body == stored
    bob.post(chat("other")).was("MISS")
    told = [event for event in refrain.events if event.get("event") == "upstream_credential_refused"]
    assert len(told) == 1 and told[0]["upstream"] == "default"
    refrain.logged(lambda e: e.get("event") == "upstream_credential_accepted", "that it is taken again")


@with_clients()
@pytest.mark.parametrize("status", [400, 403, 404, 429])
def test_what_upstream_says_of_the_request_is_passed_on(alice, upstream, status):
    upstream.reply(whole, b'{"error":{"message":"no"}}', status=status)
    alice.post(chat()).was("MISS", status=status)


# Limits.


@with_clients({"alice": client_of(ALICE, requests_per_minute=3), "bob": client_of(BOB)})
def test_requests_a_minute_are_counted_to_the_unit(alice, bob, refrain, upstream):
    answers = [alice.post(chat(), {"Connection": "close"}).whole() for _ in range(6)]
    assert [a.status for a in answers] == [200] * 3 + [429] * 3
    assert answers[3].json()["error"]["code"] == "rate_limited"
    assert 1 <= int(answers[3].header("retry-after")) <= 20
    assert answers[3].header("x-should-retry") is None
    bob.post(chat()).was("MISS")
    upstream.saw(2)
    refrain.waits_for("client_limited_total", 3, client="alice", limit="requests_per_minute")
    refrain.waits_for("client_requests_total", 6, client="alice")
    refrain.waits_for("client_requests_total", 3, client="alice", result="error")
    refrain.waits_for("client_requests_total", 2, client="alice", result="hit")


@with_clients({"alice": client_of(ALICE, requests_per_minute=2, limit_hits=False)})
def test_hits_need_not_count(alice, upstream):
    alice.post(chat()).was("MISS")
    for _ in range(5):
        alice.post(chat()).was("HIT")
    alice.ask("POST", "/v1/files", None, b"an upload").was("BYPASS")
    alice.post(chat("more")).refused(429, "rate_limited")
    alice.ask("POST", "/v1/files", None, b"an upload").refused(429, "rate_limited")
    alice.post(chat()).was("HIT")
    upstream.saw(2)


@with_clients({"alice": client_of(ALICE, max_concurrent=2), "bob": client_of(BOB)})
def test_requests_at_the_same_time_are_counted_to_the_unit(alice, bob, refrain, upstream):
    upstream.always(sse, token("A"), hold("g"), event("[DONE]"))
    first, second = alice.post(chat_stream("1")), alice.post(chat_stream("2"))
    first.sees("A"), second.sees("A")
    over = alice.post(chat_stream("3")).refused(429, "rate_limited")
    assert over.header("retry-after") == "1"
    bob.post(chat_stream("3")).sees("A")
    first.leave()  # gone: its place is free
    wait_until(lambda: alice.post(chat_stream("2")).status == 200, "a free place")
    upstream.release("g")
    second.whole()
    assert refrain.metric("client_limited_total", client="alice", limit="max_concurrent") >= 1


# A reload.


def changed(refrain, **clients):
    before = sum(event.get("event") == "reloaded" for event in refrain.events)
    refrain.write_config({**refrain.config, "clients": clients})
    refrain.reload()
    refrain.logged(lambda e: e.get("event") == "reloaded", "the reload", times=before + 1)


@with_clients()
def test_a_client_taken_out_is_refused_what_is_stored_on_the_connection_it_has(alice, bob, refrain):
    with alice.connect() as connection:
        alice.post(chat(), on=connection).was("MISS")
        alice.post(chat(), on=connection).was("HIT")
        changed(refrain, bob=client_of(BOB))
        wait_until(lambda: alice.post(chat()).whole().status == 401, "the refusal")
        assert alice.post(chat(), on=connection).whole().status == 401
    bob.post(chat()).was("MISS")
    changed(refrain, alice=client_of(ALICE_NEXT), bob=client_of(BOB))
    again = alice.with_credential(ALICE_NEXT)
    wait_until(lambda: again.post(chat()).whole().status == 200, "the new token")
    again.post(chat()).was("HIT")
    assert alice.post(chat()).whole().status == 401


@with_clients({"alice": {"token_sha256": [sha256(ALICE), sha256(ALICE_NEXT)]}})
def test_an_old_and_a_new_token_are_the_same_client(alice):
    alice.post(chat()).was("MISS")
    alice.with_credential(ALICE_NEXT).post(chat()).was("HIT")


@with_clients({"alice": client_of(ALICE, requests_per_minute=2)})
def test_a_reload_gives_no_requests_back(alice, refrain):
    alice.post(chat()).was("MISS")
    alice.post(chat()).was("HIT")
    changed(refrain, alice=client_of(ALICE, requests_per_minute=2, namespace="new"))
    assert alice.post(chat()).whole().status == 429
    refrain.waits_for("client_requests_total", 3, client="alice")


def test_the_credential_is_read_anew(start, upstream):
    folder = start.folder / "secrets"
    folder.mkdir()
    (folder / "key").write_text("sk-first\n")
    (folder / "key").chmod(0o600)
    refrain = start(clients=TWO, upstreams={"default": {"credential_file": str(folder / "key")}})
    alice = start.client(refrain, credential=ALICE)
    stored = alice.post(chat()).was("MISS").body
    (folder / "key").write_text("sk-second\n")
    refrain.reload()
    refrain.logged(lambda e: e.get("event") == "reloaded", "the reload")

    def new_key_is_shown():
        alice.post(chat(f"again {len(upstream.requests)}")).was("MISS")
        return upstream.requests[-1].header("authorization") == "Bearer sk-second"

    wait_until(new_key_is_shown, "the new key")
    assert alice.post(chat()).was("HIT").body == stored, "a new key of the same account: what is stored is still good"


# Strangers in numbers.


@with_clients()
def test_strangers_are_counted_and_told_of_together(nobody, alice, refrain):
    with nobody.connect() as _:
        pass
    for i in range(50):
        nobody.post(chat(), {"Authorization": f"Bearer guess-{i}", "Connection": "close"}).refused(401)
    nobody.post(chat()).refused(401)
    alice.post(chat()).was("MISS")
    refrain.request_lines(1)
    refrain.waits_for("unauthorized_total", 50, why="unknown")
    refrain.waits_for("unauthorized_total", 1, why="missing")
    refrain.waits_for("client_requests_total", 1)
    lines = [event for event in refrain.events if event.get("event") in ("unauthorized", "request")]
    assert sum(line["event"] == "unauthorized" for line in lines) <= 3
    assert sum(line["event"] == "request" for line in lines) == 1
    assert "guess-" not in "\n".join(refrain.lines)


# Nothing of a token, and nothing of ours, where it does not belong.


def everywhere(refrain, operator, upstream, folder):
    """All that is told or written by this instance, by where it stands."""
    told = {"log": "\n".join(refrain.lines), "upstream": told_upstream(upstream)}
    told["metrics"] = repr(refrain.scrape())
    for path in ("/clients", "/stats", "/entries?limit=100", "/namespaces", "/breakers", "/config", "/slow", "/popular",
                 "/performance", "/stats/history", "/alerts", "/recommendations", "/export?format=json"):
        told[path] = json.dumps(operator.reads(path))
    shown = subprocess.run([binary(), "config", "show", "--config", str(refrain.config_file)], capture_output=True,
                           text=True, check=False)
    told["config show"] = shown.stdout + shown.stderr
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file() and path != refrain.config_file:
            told[str(path)] = path.read_bytes().decode("latin-1")
    return told


def told_upstream(upstream):
    return told(upstream).decode("latin-1")


def test_no_token_and_nothing_of_ours_is_told_or_written(start, upstream, redis):
    refrain = start(clients=TWO, upstreams=HELD, log={"level": "debug"}, admin={"recent_requests": 64},
                    tiers={"disk": {"path": str(start.folder / "cache.db"), "timeout": "10s"},
                           "redis": {"url": redis.url, "timeout": "10s"}})
    operator, alice = Operator(refrain), start.client(refrain, credential=ALICE)
    upstream.reply(whole, GEMINI_ANSWER)
    by_key = alice.with_credential(None)
    for result in ("MISS", "HIT"):
        by_key.post(GEMINI.at(f"{GEMINI.path}?key={ALICE}")).was(result)
    for ask in (chat(), chat_stream(), messages()):
        alice.post(ask, {"Authorization": f"Bearer {ALICE}", "x-api-key": None}).whole()
        alice.post(ask, {"Authorization": f"Bearer {STRANGER}", "x-api-key": None}).whole()
    alice.get("/v1/models?x=1").whole()
    by_key.get(f"/v1/models?key={STRANGER}").whole()
    for headers in ({"Authorization": f"Bearer {ALICE}"}, {"x-api-key": STRANGER}, {}):
        explained = operator.does("/explain", {"method": "POST", "path": GEMINI.path + f"?key={ALICE}",
                                               "headers": headers, "body": GEMINI.body})
        assert ALICE[4:] not in json.dumps(explained) and OURS not in json.dumps(explained)
    wait_until(lambda: refrain.metric("write_queue_entries") == 0, "what is stored to be written")
    for where, text in everywhere(refrain, operator, upstream, start.folder).items():
        for secret in (ALICE, STRANGER, sha256(ALICE)):
            assert secret not in text, f"a token, or its sum, is in {where}"
        if where != "upstream":
            assert OURS not in text, f"ours is in {where}"
    kept = repr(redis.everything())
    assert "refrain:" in kept and ALICE not in kept and sha256(ALICE) not in kept and OURS not in kept
    operator.close()


@with_clients()
def test_explaining_goes_by_the_same(alice, bob, operator):
    def explained(tok):
        return operator.does("/explain", {"method": "POST", "path": "/v1/chat/completions", "body": chat().body, "headers": {
            "Host": "x", "Accept": "application/json", "User-Agent": "x", "Content-Type": "application/json",
            **({"Authorization": f"Bearer {tok}"} if tok else {})}})

    alice.post(chat()).was("MISS")
    hers = explained(ALICE)
    assert hers["would_hit"] is True and hers["client"] == "alice" and hers["scope"] == "client"
    assert explained(BOB)["would_hit"] is False
    for tok in (STRANGER, None):
        assert explained(tok)["would_hit"] is not True and "client" not in explained(tok)


@with_clients({"alice": client_of(ALICE, requests_per_minute=3, namespace="hers"), "bob": client_of(BOB)})
def test_the_api_tells_what_each_asked(alice, bob, operator, refrain):
    alice.post(chat()).was("MISS")
    alice.post(chat()).was("HIT")
    alice.ask("POST", "/v1/files", None, b"x").was("BYPASS")
    alice.post(chat()).refused(429)
    refrain.request_lines(4)
    rows = {row["client"]: row for row in operator.reads("/clients")["clients"]}
    assert list(rows) == ["alice", "bob"]
    hers = rows["alice"]
    assert hers["requests"] == {"total": 4, "hit": 1, "miss": 1, "coalesced": 0, "stale": 0, "revalidated": 0,
                                "bypass": 1, "error": 1}
    assert hers["hit_rate"] == 0.5 and hers["limited"] == 1 and hers["concurrent"] == 0
    assert hers["namespace"] == "hers" and hers["requests_per_minute"] == 3
    assert (hers["tokens_saved_in"], hers["tokens_saved_out"]) == (USAGE["prompt_tokens"], USAGE["completion_tokens"])
    assert rows["bob"]["requests"]["total"] == 0 and rows["bob"]["hit_rate"] is None


# What configuration may say.


def checked(tmp_path, **groups):
    file = tmp_path / "refrain.yaml"
    file.write_text(to_yaml({"upstreams": {"default": {"url": "https://api.openai.com", "credential": OURS}}, **groups}))
    ran = subprocess.run([binary(), "config", "check", "--config", str(file)], capture_output=True, text=True, check=False)
    assert OURS not in ran.stdout + ran.stderr and ALICE not in ran.stdout + ran.stderr
    return ran.returncode, ran.stdout + ran.stderr


GOOD = client_of(ALICE)


@pytest.mark.parametrize(("why", "groups", "fails", "says"), [
    ("good", {"clients": {"a": GOOD}}, False, "good"),
    ("nothing in it", {"clients": {}}, True, "nothing in it"),
    ("nothing behind a name", {"clients": {"a": None}}, True, "nothing"),
    ("no token", {"clients": {"a": {"scope": "x"}}}, True, "token_sha256"),
    ("a token in clear", {"clients": {"a": {"token_sha256": ALICE}}}, True, "SHA-256"),
    ("a token of two", {"clients": {"a": GOOD, "b": GOOD}}, True, "the same token"),
    ("a name that is a word", {"clients": {"shared": GOOD}}, True, "named so"),
    ("a scope that is a client's", {"clients": {"a": GOOD, "b": client_of(BOB, scope="a")}}, False, "is a client"),
    ("nobody can be it", {"clients": {"a": {"token_sha256": []}}}, False, "nobody can be"),
    ("too many tokens", {"clients": {"a": {"token_sha256": [sha256(str(i)) for i in range(9)]}}}, True, "at most 8"),
    ("a limit out of range", {"clients": {"a": {**GOOD, "requests_per_minute": 200001}}}, True, "200000"),
    ("no clients, on this machine", {}, False, "say in `clients`"),
    ("no clients, for everybody", {"listen": {"address": "0.0.0.0:8080"}}, True, "say in `clients`"),
    ("two words", {"clients": {"a": GOOD}, "upstreams": {"d": {"url": "https://x.example", "credential": "Bearer x"}}},
     True, "a key alone"),
    ("the wrong place", {"clients": {"a": GOOD}, "upstreams": {"d": {"url": "https://api.anthropic.com", "credential": "x"}}},
     False, "x-api-key"),
    ("twice", {"clients": {"a": GOOD}, "upstreams": {"d": {"url": "https://x.example", "credential": "x", "headers": {
        "add": {"authorization": "y"}}}}}, True, "headers.add"),
    ("none to show", {"clients": {"a": GOOD}, "upstreams": {"d": {"url": "https://x.example"}}}, False, "shown none"),
])
def test_what_configuration_may_say(tmp_path, why, groups, fails, says):
    code, said = checked(tmp_path, **groups)
    assert (code != 0) == fails, f"{why}: {said}"
    assert says in said, f"{why}: {said}"


def test_more_clients_than_there_may_be(tmp_path):
    many = {f"c{i}": client_of(str(i)) for i in range(1001)}
    assert "at most 1000" in checked(tmp_path, clients=many)[1]


def test_a_token_that_was_made_opens(start, upstream):
    made = json.loads(subprocess.run([binary(), "clients", "new", "dora", "--json"], capture_output=True, check=True).stdout)
    other = subprocess.run([binary(), "clients", "new", "dora"], capture_output=True, text=True, check=True).stdout
    assert made["token"].startswith("rfr_") and len(made["token"]) == 47 and made["token"] not in other
    assert sha256(made["token"]) == made["token_sha256"]
    pasted = yaml.safe_load(other[other.index("clients:"):])
    assert list(pasted["clients"]) == ["dora"]
    refrain = start(clients={"dora": {"token_sha256": made["token_sha256"]}}, upstreams=HELD)
    start.client(refrain, credential=made["token"]).post(chat()).was("MISS")
    listed = subprocess.run([binary(), "clients", "--admin", "http://%s:%d" % refrain.admin, "--token-file",
                             str(refrain.folder / "state" / "admin.token")], capture_output=True, text=True, check=True).stdout
    assert "dora" in listed and made["token"] not in listed


def test_past_the_labels_ceiling_clients_are_others(start, upstream):
    many = {f"c{i}": client_of(f"token-{i}") for i in range(103)}
    refrain = start(clients=many, upstreams=HELD)
    for i in (0, 100, 101, 102):
        start.client(refrain, credential=f"token-{i}").post(chat()).was("MISS")
    refrain.request_lines(4)
    refrain.waits_for("client_requests_total", 1, client="c0")
    refrain.waits_for("client_requests_total", 3, client="other")
    refrain.waits_for("client_requests_total", 4)
