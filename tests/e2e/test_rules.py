"""Rules and the operator's own operations: what configuration says of some requests only. SPEC sections 3, 6, 11."""

import json

import pytest

from harness.asks import chat, chat_stream, embedding, messages
from harness.upstream import whole

GOOD = b'{"result": "fine"}'


def rules(*rows, **groups):
    return pytest.mark.refrain(rules=list(rows), **groups)


def off(**match):
    return {"match": match, "cache": "off"}


def passes_by(answer):
    answer.was("BYPASS")
    assert "fwd=bypass; detail=rule" in answer.header("cache-status"), f"{answer!r}"


MATCHES = {
    "path": ({"path": "*/chat/*"}, chat(), messages()),
    "model": ({"model": "gpt-4o*"}, chat(model="gpt-4o-mini"), chat(model="o3")),
    "model, however its name is written": (
        {"model": "vendor/*"}, chat().written('{"model":"vendor\\/a","messages":[{"role":"user","content":"hi"}]}'),
        chat(model="other/a")),
    "one of several models": ({"model": ["o1", "o3"]}, chat(model="o3"), chat(model="o4")),
    "operation": ({"operation": "chat"}, chat(), embedding()),
    "stream": ({"stream": "true"}, chat_stream(), chat()),
    "no stream": ({"stream": "false"}, chat(), chat_stream()),
    "header, any case": ({"header": {"x-plan": "free"}}, chat().with_headers(**{"X-Plan": "free"}),
                         chat().with_headers(**{"X-Plan": "paid"})),
    "header by glob": ({"header": {"X-Plan": "free*"}}, chat().with_headers(**{"X-Plan": "free-2"}),
                       chat().with_headers(**{"X-Plan": "paid"})),
    "header that is there": ({"header": {"X-Debug": "*"}}, chat().with_headers(**{"X-Debug": "1"}), chat()),
    "header that does not count in the key": ({"header": {"User-Agent": "probe/*"}},
                                              chat().with_headers(**{"User-Agent": "probe/1"}), chat()),
    "temperature above": ({"temperature_above": 0.5}, chat(temperature=0.6), chat(temperature=0.5)),
    "temperature below": ({"temperature_below": 0.5}, chat(temperature=0), chat(temperature=0.5)),
    "no temperature is the API's own, 1": ({"temperature_above": 0.9}, chat(), chat(temperature=0)),
    "prompt above": ({"prompt_above": 5}, chat("sixsix"), chat("fives")),
    "prompt below": ({"prompt_below": 5}, chat("four"), chat("fives")),
    "size of the prompt": ({"prompt": "medium"}, chat("x" * 500), chat("x" * 499)),
    "characters are no bytes": ({"prompt_above": 5}, chat("ääääää"), chat("äääää")),
    "messages": ({"messages_above": 1}, chat(messages=[{"role": "user", "content": "a"}] * 2), chat()),
    "all that is asked": ({"model": "gpt*", "stream": "true"}, chat_stream(model="gpt-4"), chat(model="gpt-4")),
}


@pytest.mark.parametrize("match, inside, outside", MATCHES.values(), ids=MATCHES)
def test_a_rule_is_about_the_requests_it_matches_and_no_others(start, upstream, match, inside, outside):
    client = start.client(start(rules=[off(**match)]))
    for _ in range(2):
        passes_by(client.post(inside))
    upstream.saw(2)
    client.post(outside).was("MISS")
    client.post(outside).was("HIT")


@rules({"match": {"model": "gpt*"}, "ttl": 600, "tags": ["first", "both"]},
       {"match": {"operation": "chat"}, "ttl": 60, "tags": ["both", "second"], "namespace": "chats"},
       {"ttl": 30})
def test_the_first_rule_that_says_a_thing_decides_it(client, upstream):
    client.post(chat(model="gpt-4")).was("MISS")
    assert 590 < ttl_of(client.post(chat(model="gpt-4"))) <= 600
    client.post(chat(model="o3")).was("MISS")
    assert 50 < ttl_of(client.post(chat(model="o3"))) <= 60
    client.post(messages()).was("MISS")
    assert 20 < ttl_of(client.post(messages())) <= 30


def ttl_of(answer):
    """Seconds that a hit has still to live, as Cache-Status tells."""
    answer.was("HIT")
    return int(answer.header("cache-status").partition("ttl=")[2].partition(";")[0])


@rules({"match": {"operation": "chat"}, "cache": "on"}, {"cache": "off"})
def test_on_keeps_later_rules_from_switching_off(client):
    client.post(chat()).was("MISS")
    client.post(chat()).was("HIT")
    passes_by(client.post(embedding()))


@rules({"match": {"operation": "chat"}, "cache": "off"})
def test_a_request_cannot_switch_on_what_a_rule_switches_off(client, upstream):
    for _ in range(2):
        passes_by(client.post(chat(), {"Refrain-Cache": "on"}))
    upstream.saw(2)


@rules({"match": {"model": "gpt*"}, "cache": "off"}, listen={"workers": 1},
       breaker={"availability": {"ratio": 0.5, "samples": 4, "open_for": "300s", "fail_fast": True}})
@pytest.mark.parametrize("ask", [chat(), chat_stream()], ids=["whole", "streamed"])
def test_what_passes_by_again_is_known_by_its_model_as_it_was_the_first_time(client, refrain, upstream, ask):
    for _ in range(3):
        passes_by(client.post(ask))
    assert [line["model"] for line in refrain.request_lines(3)] == ["gpt-4o-mini"] * 3
    upstream.always(whole, b"busy", status=503)
    for _ in range(4):
        assert client.post(ask).whole().status == 503
    client.post(ask).refused(503, "circuit_open")
    opened = refrain.logged(lambda e: e.get("event") == "breaker" and e.get("state") == "open", "that it opened")
    assert [line["model"] for line in refrain.events if line.get("event") == "breaker"] == ["gpt-4o-mini"], opened


@rules({"match": {"header": {"X-Raw": "*"}}, "cache": "off"})
def test_where_the_head_tells_that_it_is_off_the_body_is_not_held(client, upstream):
    upload = client.connect()
    upload.send(client.wire("POST", "/v1/chat/completions", [("X-Raw", "1"), ("Content-Length", "200000")]))
    upload.send(b"a" * 100_000)
    upstream.wait(lambda: upstream.requests and upstream.requests[0].body_so_far >= 100_000,
                  "the first part before the second is sent")
    upload.send(b"b" * 100_000)
    passes_by(upload.answer())
    assert upstream.saw(1).body == b"a" * 100_000 + b"b" * 100_000


@rules({"match": {"header": {"X-Role": "reader"}}, "cache": "read-only"},
       {"match": {"header": {"X-Role": "writer"}}, "cache": "write-only"}, key={"ignore_headers": ["X-Role"]})
def test_readers_do_not_store_and_writers_are_not_answered_from_the_store(client, upstream):
    reader, writer = {"X-Role": "reader"}, {"X-Role": "writer"}
    assert "not-stored:rule" in client.post(chat(), reader).was("MISS").header("cache-status")
    client.post(chat(), reader).was("MISS")
    client.post(chat(), writer).was("MISS")
    client.post(chat(), writer).was("MISS")
    client.post(chat(), reader).was("HIT")
    upstream.saw(4)


@rules({"match": {"header": {"X-Team": "red"}}, "namespace": "red"}, key={"ignore_headers": ["X-Team"]})
def test_a_rule_puts_requests_into_a_namespace(client):
    client.post(chat(), {"X-Team": "red"}).was("MISS")
    client.post(chat()).was("MISS")
    client.post(chat(), {"Refrain-Namespace": "red"}).was("HIT")
    client.post(chat(), {"X-Team": "red", "Refrain-Namespace": "blue"}).was("MISS")  # the request has the last word


@rules({"match": {"operation": "embedding"}, "scope": "shared"})
def test_a_rule_shares_some_requests_among_credentials(client):
    bob = client.with_credential("sk-bob")
    client.post(embedding()).was("MISS")
    bob.post(embedding()).was("HIT")
    client.post(chat()).was("MISS")
    bob.post(chat()).was("MISS")
    bob.close()


@rules({"match": {"operation": "embedding"}, "scope": "shared"})
def test_where_a_rule_shares_a_key_of_the_clients_wants_leave(client, upstream):
    for _ in range(2):  # judged again when the bytes are known
        client.post(embedding(), {"Refrain-Key": "mine"}).refused(400, "request_invalid")
    client.post(chat(), {"Refrain-Key": "mine"}).was("MISS")
    client.post(embedding(), {"cf-aig-cache-key": "theirs"}).was("MISS")  # a peer's is as if not given
    client.post(embedding()).was("HIT")
    upstream.saw(2)


@rules({"match": {"model": "web*"}, "server_tools": "true"})
def test_a_rule_lets_server_side_tools_be_cached(client, upstream):
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    client.post(messages(model="web-1", tools=tools)).was("MISS")
    client.post(messages(model="web-1", tools=tools)).was("HIT")
    client.post(messages(model="other", tools=tools)).was("BYPASS")
    client.post(messages(model="web-1", tools=tools, container="c1")).was("BYPASS")  # that is state, not a tool


@rules({"match": {"operation": "read", "path": "/v1/models*"}, "ttl": 60})
def test_a_rule_gives_gets_a_lifetime_as_a_route_would(client, upstream):
    upstream.always(whole, b"list", headers={"Content-Type": "text/plain"})
    client.get("/v1/models").was("MISS")
    assert ttl_of(client.get("/v1/models")) <= 60
    client.get("/v1/files").was("MISS")
    client.get("/v1/files").was("MISS")


@rules({"match": {"header": {"X-Plan": "free"}, "model": "gpt*"}, "ttl": 60}, key={"ignore_headers": ["X-Plan"]},
       listen={"workers": 1})
def test_a_repeat_is_not_parsed_and_a_header_that_a_rule_reads_tells_requests_apart(client, refrain):
    client.post(chat()).was("MISS")
    for headers in ({"X-Plan": "free"}, {}, {"X-Plan": "free"}):
        client.post(chat(), headers).was("HIT")
    refrain.waits_for("requests_total", 4)
    assert (refrain.metric("memo_misses_total"), refrain.metric("memo_hits_total")) == (2, 2)


def test_a_reload_brings_other_rules(start, upstream):
    refrain = start()
    client = start.client(refrain)
    client.post(chat()).was("MISS")
    client.post(chat()).was("HIT")
    config = json.loads(json.dumps(refrain.config))
    refrain.write_config({**config, "rules": [off(operation="chat")]})
    refrain.reload()
    refrain.logged(lambda e: e.get("event") == "reloaded", "the reload")
    passes_by(client.post(chat()))


# -- the operator's own operations --

SHIPPED = {"summarize": 7200, "sentiment": 86400, "key_points": 7200, "questions": 3600, "qa": 1800}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_name_sets_the_lifetime(client, name):
    ask = chat().with_headers(**{"Refrain-Operation": name})
    client.post(ask).was("MISS")
    assert SHIPPED[name] - 60 < ttl_of(client.post(ask)) <= SHIPPED[name]


@pytest.mark.refrain(cache={"ttl": {"qa": 40}}, operations={"summarize": {"ttl": 50}})
def test_a_shipped_names_lifetime_can_be_set(client):
    for (name, ttl) in (("qa", 40), ("summarize", 50)):
        ask = chat(name).with_headers(**{"Refrain-Operation": name})
        client.post(ask).was("MISS")
        assert ttl - 30 < ttl_of(client.post(ask)) <= ttl


@pytest.mark.parametrize("ask", [chat(), messages()], ids=["chat", "messages"])
def test_an_unknown_name_is_refused_in_the_apis_shape(client, upstream, ask):
    answer = client.post(ask, {"Refrain-Operation": "sumarize"}).whole()
    assert answer.status == 400
    message = answer.json()["error"]["message"]
    assert "key_points" in message and "qa" in message and "summarize" in message, message
    upstream.saw(0)


@pytest.mark.refrain(operations={"digest": {"path": ["*/digests", "/other"], "ttl": 120, "tags": "digests"}})
def test_a_path_of_the_operators_own_is_plain_json(client, upstream):
    upstream.always(whole, GOOD)
    ask = chat().at("/v1/digests")
    client.post(ask).was("MISS")
    assert 60 < ttl_of(client.post(ask)) <= 120
    for other in (ask.but(user="me"), ask.but(stream=False)):  # nothing is dropped, defaulted or ignored
        client.post(other).was("MISS")
    client.post(ask.written('{"messages": [{"content": "hello", "role": "user"}], "model": "gpt-4o-mini"}')).was("HIT")
    client.post(chat().at("/v1/elsewhere")).was("BYPASS")
    client.get("/v1/digests").was("MISS")
    client.get("/v1/digests").was("MISS")  # it is about POST
    for outcome in ("MISS", "HIT"):
        client.post(ask.but(thread="a text of its own", store=True)).was(outcome)


def test_a_kind_that_only_the_request_claims_does_not_make_state_cacheable(client, upstream):
    upstream.always(whole, GOOD)
    ask = chat().at("/v1/unknown").with_headers(**{"Refrain-Operation": "qa"})
    client.post(ask).was("MISS")
    client.post(ask).was("HIT")
    for _ in range(2):
        client.post(ask.but(thread="t1")).was("BYPASS")


WRITES = ["/v1/threads/t1/messages", "/v1/batches", "/v1/fine_tuning/jobs", "/v1/vector_stores", "/v1/assistants",
          "/v1/conversations", "/openai/v1/files", "/v1beta/cachedContents"]


@pytest.mark.refrain(operations={"asked": {"dialect": "chat"}, "mine": {"path": "/v1/threads/*/summary"}})
@pytest.mark.parametrize("path", WRITES)
def test_a_write_is_none_of_a_kind_that_only_the_request_claims(client, upstream, path):
    """A client may send the header with all that it asks."""
    upstream.always(whole, GOOD)
    for name in ("qa", "asked"):
        for _ in range(2):
            client.post(chat().at(path), {"Refrain-Operation": name}).was("BYPASS")
    upstream.saw(4)
    client.post(chat().at("/v1/threads/t1/summary"), {"Refrain-Operation": "qa"}).was("MISS")
    client.post(chat().at("/v1/threads/t1/summary")).was("HIT")  # here the operator says so, too


@pytest.mark.refrain(operations={"digest": {"path": "/talk", "dialect": "chat"}})
def test_an_operation_of_the_operators_own_may_have_a_dialect(client, upstream):
    client.post(chat().at("/talk/chat/completions")).was("BYPASS")
    upstream.always(whole, json.dumps({"choices": [{"finish_reason": "stop", "message": {"content": "a"}}]}).encode())
    client.post(chat().at("/talk")).was("MISS")
    client.post(chat(user="me").at("/talk")).was("HIT")  # as chat has it


@pytest.mark.refrain(operations={"drafts": {"model": "draft-*", "ttl": 90}},
                     rules=[{"match": {"operation": "drafts", "stream": "true"}, "cache": "off"}])
def test_an_operation_may_be_known_by_its_model(client):
    client.post(chat(model="draft-1")).was("MISS")
    assert 60 < ttl_of(client.post(chat(model="draft-1"))) <= 90
    for _ in range(2):
        passes_by(client.post(chat_stream(model="draft-1")))
    client.post(chat_stream(model="final-1")).was("MISS")


def test_an_operation_of_the_operators_own_is_counted_and_logged_by_its_name(client, refrain):
    client.post(chat(), {"Refrain-Operation": "summarize"}).was("MISS")
    client.post(chat()).was("HIT")
    refrain.waits_for("requests_total", 1, operation="summarize", result="miss")
    refrain.waits_for("requests_total", 1, operation="chat", result="hit")
    logged = {line["operation"]: line["result"] for line in refrain.request_lines(2)}  # each worker writes on its own
    assert logged == {"summarize": "miss", "chat": "hit"}


@pytest.mark.refrain(routes=[{"path": "/corp/llm/", "upstream": "default"}, {"path": "/", "upstream": "default"}])
def test_an_operation_is_known_behind_a_prefix_that_a_route_names(client, upstream):
    for path in ("/corp/llm/v1/chat/completions", "/corp/llm/chat/completions"):
        client.post(chat().at(path)).was("MISS")
        client.post(chat().at(path)).was("HIT")
    client.post(chat().at("/other/llm/v1/chat/completions")).was("BYPASS")
    assert upstream.requests[0].target == "/corp/llm/v1/chat/completions"
