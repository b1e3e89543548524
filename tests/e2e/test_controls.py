"""What requests may ask of the cache: Refrain-* headers, and those of other gateways that mean the same. SPEC section 6.

Each peer's header has a test that names the peer.
"""

import pytest

from harness.asks import chat, embedding, messages
from harness.upstream import chat_answer, hold, whole

CLOUDFLARE, HELICONE, PORTKEY, OPENROUTER, BRAINTRUST = (
    "Cloudflare AI Gateway", "Helicone", "Portkey", "OpenRouter", "Braintrust")


def peers(*rows):
    """Rows of (peer, header, value …), each a test that bears the peer's name and the header's."""
    return pytest.mark.parametrize("header, value", [(header, value) for (_, header, value) in rows],
                                   ids=[f"{peer}: {header}: {value}" for (peer, header, value) in rows])


def ttl_of(answer):
    answer.was("HIT")
    return int(answer.header("cache-status").partition("ttl=")[2].partition(";")[0])


# -- off --

OFF = [(CLOUDFLARE, "cf-aig-skip-cache", "true"), (HELICONE, "Helicone-Cache-Enabled", "false"),
       (OPENROUTER, "X-OpenRouter-Cache", "false"), (BRAINTRUST, "x-bt-use-cache", "never"),
       ("Refrain", "Refrain-Cache", "off")]


@peers(*OFF)
def test_off_touches_nothing(client, upstream, header, value):
    client.post(chat(), {header: value}).was("BYPASS")
    client.post(chat()).was("MISS")
    assert "detail=off" in client.post(chat(), {header: value}).was("BYPASS").header("cache-status")
    client.post(chat()).was("HIT")
    upstream.saw(3)
    assert all(request.header(header) is None for request in upstream.requests), "it was meant for Refrain"


@peers((CLOUDFLARE, "cf-aig-skip-cache", "false"), (HELICONE, "Helicone-Cache-Enabled", "true"),
       (OPENROUTER, "X-OpenRouter-Cache", "true"), (BRAINTRUST, "x-bt-use-cache", "auto"),
       (BRAINTRUST, "x-bt-use-cache", "always"), (PORTKEY, "x-portkey-cache-force-refresh", "false"),
       (OPENROUTER, "X-OpenRouter-Cache-Clear", "false"), ("Refrain", "Refrain-Cache", "on"))
def test_on_is_what_holds_anyway(client, upstream, header, value):
    client.post(chat(), {header: value}).was("MISS")
    client.post(chat(), {header: value}).was("HIT")
    client.post(chat()).was("HIT")
    upstream.saw(1)


# -- refresh, reading and writing --

@peers((PORTKEY, "x-portkey-cache-force-refresh", "true"), (OPENROUTER, "X-OpenRouter-Cache-Clear", "true"),
       ("Refrain", "Refrain-Cache", "refresh"))
def test_refresh_replaces_what_is_stored(client, upstream, header, value):
    old = client.post(chat()).was("MISS").body
    new = client.post(chat(), {header: value}).was("MISS").body
    assert new != old
    assert client.post(chat()).was("HIT").body == new
    upstream.saw(2)


def test_refresh_does_not_join_but_others_join_it(client, refrain, upstream):
    upstream.reply(whole, hold("old"), chat_answer("old"))
    upstream.reply(whole, hold("new"), chat_answer("new"))
    first = client.post(chat())
    upstream.held("old")
    fresh = client.post(chat(), {"Refrain-Cache": "refresh"})
    upstream.held("new")
    late = client.post(chat())
    refrain.waits_for("flight_readers", 3)
    upstream.release("new")
    assert fresh.was("MISS").body == late.was("COALESCED").body
    upstream.release("old")
    assert first.was("MISS").body != fresh.body
    assert client.post(chat()).was("HIT").body == fresh.body, "of two, the one that began later stays"


def test_read_only_does_not_store(client, upstream):
    read_only = {"Refrain-Cache": "read-only"}
    assert "not-stored:client" in client.post(chat(), read_only).was("MISS").header("cache-status")
    client.post(chat()).was("MISS")
    client.post(chat(), read_only).was("HIT")
    upstream.saw(2)


def test_write_only_is_not_answered_from_the_store(client, upstream):
    client.post(chat()).was("MISS")
    new = client.post(chat(), {"Refrain-Cache": "write-only"}).was("MISS").body
    assert client.post(chat()).was("HIT").body == new
    upstream.saw(2)


# -- how long --

@peers((CLOUDFLARE, "cf-aig-cache-ttl", "600"), (OPENROUTER, "X-OpenRouter-Cache-TTL", "600"),
       (BRAINTRUST, "x-bt-cache-ttl", "600"), ("Refrain", "Refrain-TTL", "600"), ("Refrain", "Refrain-TTL", "10m"))
def test_a_lifetime_counts_when_it_is_stored_and_only_then(client, upstream, header, value):
    client.post(chat(), {header: value}).was("MISS")
    assert 540 < ttl_of(client.post(chat())) <= 600
    assert 540 < ttl_of(client.post(chat(), {"Refrain-TTL": "5s"})) <= 600


@pytest.mark.refrain(cache={"max_ttl": "100s", "default_ttl": "10s"})
@peers((CLOUDFLARE, "cf-aig-cache-ttl", "9999"), (OPENROUTER, "X-OpenRouter-Cache-TTL", "9999"),
       (BRAINTRUST, "x-bt-cache-ttl", "9999"), ("Refrain", "Refrain-TTL", "7d"), ("Refrain", "Refrain-TTL", "none"))
def test_a_lifetime_asked_for_is_bounded(client, header, value):
    client.post(chat(), {header: value}).was("MISS")
    assert 40 < ttl_of(client.post(chat())) <= 100


@pytest.mark.refrain(rules=[{"ttl": 50}])
def test_a_request_goes_before_a_rule(client):
    client.post(chat("a")).was("MISS")
    assert ttl_of(client.post(chat("a"))) <= 50
    client.post(chat("b"), {"Refrain-TTL": "1h"}).was("MISS")
    assert ttl_of(client.post(chat("b"))) > 3000


def test_lifetime_and_tags_are_those_of_the_first_that_may_write(client, refrain, upstream):
    upstream.reply(whole, hold("gate"), chat_answer("shared"))
    asks = [{"Refrain-Cache": "read-only", "Refrain-TTL": "1d"}, {"Refrain-TTL": "200"}, {"Refrain-TTL": "300"}]
    answers = []
    for (i, headers) in enumerate(asks):
        answers.append(client.post(chat(), headers))
        refrain.waits_for("flight_readers", i + 1)
    upstream.release("gate")
    for answer in answers:
        answer.whole()
    assert 150 < ttl_of(client.post(chat())) <= 200
    upstream.saw(1)


# -- where --

@peers((PORTKEY, "x-portkey-cache-namespace", "team-1"), (HELICONE, "Helicone-Cache-Seed", "team-1"),
       ("Refrain", "Refrain-Namespace", "team-1"))
def test_a_namespace_shares_no_entries_with_others(client, upstream, header, value):
    client.post(chat()).was("MISS")
    client.post(chat(), {header: value}).was("MISS")
    client.post(chat(), {"Refrain-Namespace": value}).was("HIT")
    client.post(chat(), {header: "team-2"}).was("MISS")
    upstream.saw(3)


@peers((CLOUDFLARE, "cf-aig-cache-key", "today's question"), ("Refrain", "Refrain-Key", "today's question"))
def test_a_custom_key_stands_for_the_prompt(client, upstream, header, value):
    mine = {header: value}
    first = client.post(chat("how are you?"), mine).was("MISS").body
    assert client.post(chat("how do you do?"), mine).was("HIT").body == first
    client.post(chat("how are you?")).was("MISS")
    client.post(chat("how are you?", model="other"), mine).was("MISS")
    client.post(chat("how are you?"), {header: "another"}).was("MISS")
    upstream.saw(4)


@pytest.mark.refrain(cache={"scope": "shared"})
def test_under_a_shared_scope_a_custom_key_wants_leave(client, upstream):
    client.post(chat(), {"Refrain-Key": "k"}).refused(400, "request_invalid")
    client.post(chat(), {"Refrain-TTL": "none"}).refused(400, "request_invalid")
    client.post(chat("a"), {"cf-aig-cache-key": "k"}).was("MISS")
    client.post(chat("b"), {"cf-aig-cache-key": "k"}).was("MISS")  # as if not given: Cloudflare's is ignored
    client.post(chat("a")).was("HIT")
    upstream.saw(2)


@pytest.mark.refrain(cache={"scope": "shared", "allow_custom_keys": True, "allow_endless_ttl": True})
def test_leave_is_given_by_configuration(client):
    client.post(chat("a"), {"Refrain-Key": "k", "Refrain-TTL": "none"}).was("MISS")
    client.post(chat("b"), {"Refrain-Key": "k"}).was("HIT")
    client.post(chat("c"), {"cf-aig-cache-key": "k"}).was("HIT")


@peers((HELICONE, "Helicone-Cache-Bucket-Max-Size", "3"), ("Refrain", "Refrain-Variants", "3"))
def test_several_answers_are_kept(client, upstream, header, value):
    for _ in range(3):
        client.post(chat(), {header: value}).was("MISS")
    client.post(chat(), {header: value}).was("HIT")
    upstream.saw(3)


# -- bad values --

BAD = {
    "Refrain-Cache": ["maybe", ""], "Refrain-TTL": ["0", "366d", "1.5h", "soon", "-1"],
    "Refrain-Namespace": ["a b", "x" * 65, ""], "Refrain-Key": ["", "x" * 1025],
    "Refrain-Tags": ["a b", "x" * 65, ",".join(f"t{i}" for i in range(17))],
    "Refrain-Operation": ["no such", "nosuch"], "Refrain-Variants": ["0", "65", "many"],
}


@pytest.mark.parametrize("header, value", [(name, value) for name in BAD for value in BAD[name]],
                         ids=lambda value: value[:20] or "empty")
@pytest.mark.parametrize("ask", [chat(), messages()], ids=["OpenAI", "Anthropic"])
def test_a_bad_value_of_ours_is_refused_in_the_apis_shape(client, upstream, ask, header, value):
    answer = client.post(ask, {header: value}).whole()
    assert answer.status == 400
    error = answer.json()
    assert header in error["error"]["message"], f"the message says which: {error}"
    assert (error.get("type") == "error") == (ask.path == "/v1/messages"), f"Anthropic's shape has a type: {error}"
    upstream.saw(0)


@peers((CLOUDFLARE, "cf-aig-skip-cache", "yes"), (CLOUDFLARE, "cf-aig-cache-ttl", "-1"),
       (CLOUDFLARE, "cf-aig-cache-key", "x" * 1025), (HELICONE, "Helicone-Cache-Enabled", "perhaps"),
       (HELICONE, "Helicone-Cache-Seed", "a b"), (HELICONE, "Helicone-Cache-Bucket-Max-Size", "lots"),
       (PORTKEY, "x-portkey-cache-force-refresh", "1"), (PORTKEY, "x-portkey-cache-namespace", "a b"),
       (OPENROUTER, "X-OpenRouter-Cache", "?"), (OPENROUTER, "X-OpenRouter-Cache-Clear", ""),
       (OPENROUTER, "X-OpenRouter-Cache-TTL", "1h"), (BRAINTRUST, "x-bt-use-cache", "sometimes"),
       (BRAINTRUST, "x-bt-cache-ttl", "0"))
def test_a_bad_value_of_a_peers_is_as_if_not_given(client, upstream, header, value):
    client.post(chat()).was("MISS")
    client.post(chat(), {header: value}).was("HIT")
    upstream.saw(1)


# -- who hears of them --

PEERS = {"cf-aig-skip-cache": "false", "cf-aig-cache-ttl": "60", "cf-aig-cache-key": "k",
         "Helicone-Cache-Enabled": "true", "Helicone-Cache-Seed": "s", "Helicone-Cache-Bucket-Max-Size": "1",
         "x-portkey-cache-force-refresh": "false", "x-portkey-cache-namespace": "n",
         "X-OpenRouter-Cache": "true", "X-OpenRouter-Cache-Clear": "false", "X-OpenRouter-Cache-TTL": "60",
         "x-bt-use-cache": "auto", "x-bt-cache-ttl": "60"}
OURS = {"Refrain-Cache": "on", "Refrain-TTL": "60", "Refrain-Namespace": "n", "Refrain-Key": "k", "Refrain-Tags": "t",
        "Refrain-Operation": "qa", "Refrain-Variants": "1", "Refrain-Anything-Else": "x"}


def test_upstream_hears_of_none(client, upstream):
    client.post(chat(), {**PEERS, **OURS}).was("MISS")
    client.post(chat().at("/v1/elsewhere"), {**PEERS, **OURS}).whole()
    for request in upstream.requests:
        assert [name for name in (*PEERS, *OURS) if request.header(name) is not None] == []


def test_an_upstream_that_is_the_peer_hears_of_its_own_but_never_of_ours(start, upstream):
    client = start.client(start(upstreams={"default": {"url": upstream.url, "control_headers": "pass"}}))
    client.post(chat(), {**PEERS, **OURS}).was("MISS")
    seen = upstream.saw(1)
    assert {name: seen.header(name) for name in PEERS} == PEERS
    assert [name for name in OURS if seen.header(name) is not None] == []
    client.post(chat("other"), {"cf-aig-cache-key": "k", "Refrain-Namespace": "n"}).was("HIT")  # heeded all the same


@pytest.mark.refrain(cache={"client_control": False})
def test_without_client_control_all_are_ignored_and_still_stripped(client, upstream):
    client.post(chat()).was("MISS")
    asked = {**PEERS, **OURS, "cf-aig-skip-cache": "true", "Refrain-Cache": "off", "Refrain-TTL": "nonsense",
             "Refrain-Operation": "nosuch", "Cache-Control": "no-store"}
    client.post(chat(), asked).was("HIT")
    client.post(chat("other"), asked).was("MISS")
    client.post(chat("other")).was("HIT")
    seen = upstream.requests[1]
    assert [name for name in (*PEERS, *OURS) if seen.header(name) is not None] == []


@pytest.mark.parametrize("ours, theirs", [("on", "true"), ("refresh", "true")])
def test_ours_has_the_last_word_over_cloudflares(client, upstream, ours, theirs):
    client.post(chat()).was("MISS")
    client.post(chat(), {"cf-aig-skip-cache": theirs, "Refrain-Cache": ours}).was("HIT" if ours == "on" else "MISS")
    client.post(embedding(), {"cf-aig-cache-ttl": "60", "Refrain-TTL": "900"}).was("MISS")
    assert ttl_of(client.post(embedding())) > 800
