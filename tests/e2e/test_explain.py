"""What would become of a request, and why: SPEC section 4, last point. Explaining changes nothing and asks nobody."""

import json

import pytest

from harness.asks import chat, completion, embedding, messages, responses
from harness.client import Client
from harness.operator import Operator
from harness.samples import Generate, Ollama, OllamaGenerate, Rerank
from harness.upstream import chat_answer, hold, whole

ALICE = {"Authorization": "Bearer sk-alice", "Content-Type": "application/json", "Accept": "application/json"}


def about(ask, **headers):
    """The request that a scripted client sends for @ask, as one writes it down."""
    fields = {**ALICE, **ask.headers, **{name.replace("_", "-"): value for (name, value) in headers.items()}}
    body = ask.body if ask.raw is None else ask.raw.decode()
    return {"method": "POST", "path": ask.path, "body": body,
            "headers": {name: value for (name, value) in fields.items() if value is not None}}


@pytest.fixture
def explain(operator):
    return lambda ask, **headers: operator.does("/explain", about(ask, **headers))


EACH = pytest.mark.parametrize("ask", [chat("a"), chat("a", stream=True), completion("a"), embedding("a"), messages("a"),
                                       responses("a")], ids=lambda ask: ask.path + (" stream" if "stream" in ask.body else ""))
OTHERS = [Generate(), Ollama(), OllamaGenerate(), Rerank()]


# Found or not.


@EACH
def test_it_says_what_then_happens(client, explain, upstream, ask):
    before = explain(ask)
    assert (before["result"], before["would_hit"], before["reason"]) == ("miss", False, "absent")
    client.post(ask).was("MISS")
    after = explain(ask)
    assert (after["result"], after["would_hit"], after["reason"]) == ("hit", True, None)
    assert after["key"] == before["key"] and after["entry"]["tier"] == "memory"
    assert client.post(ask).was("HIT").header("refrain-entry") == after["entry"]["id"]
    upstream.saw(1)


@pytest.mark.parametrize("api", OTHERS, ids=[api.name for api in OTHERS])
def test_other_apis_too(client, explain, upstream, api):
    upstream.reply(whole, json.dumps(api.whole()).encode(), content_type=api.whole_type)
    client.post(api.ask(1, False)).was("MISS")
    assert explain(api.ask(1, False))["would_hit"]
    told = explain(api.ask(2, False))
    assert told["reason"] == "absent" and told["nearest"]["different"] == 1
    assert told["nearest"]["differences"][0]["part"] == "body" and told["nearest"]["differences"][0]["name"]


@pytest.mark.refrain(cache={"default_ttl": "1h", "ttl_jitter": 50}, rules=[{"match": {"model": "ruled*"}, "ttl": "2h"},
                                                                           {"match": {"model": "kept"}, "cache": "read-only"}])
def test_how_long_it_would_be_kept_and_who_says_so(explain):
    assert explain(chat())["would_store"] == {"by": "configuration", "ttl_s": 3600}
    assert explain(chat(model="ruled-1"))["would_store"] == {"by": "rules", "ttl_s": 7200}
    assert explain(chat(model="ruled-1"), Refrain_TTL="10m")["would_store"] == {"by": "request", "ttl_s": 600}
    assert explain(chat(), Refrain_TTL="none")["would_store"]["by"] == "request"
    assert explain(chat(), Refrain_Cache="read-only")["would_store"] is None
    assert explain(chat(model="kept"))["would_store"] is None


def test_breakers_of_its_upstream_and_model_are_told(operator, explain):
    assert explain(chat())["breakers"] == {"validation": "closed", "availability": "closed"}
    operator.does("/breakers/default/validation", b'{"action": "open"}')
    assert explain(chat())["breakers"] == {"validation": "open", "availability": "closed"}


def test_explaining_changes_nothing(client, refrain, explain, upstream):
    client.post(chat()).was("MISS")
    refrain.waits_for("requests_total", 1)
    counts = {name: refrain.metric(name) for name in ("requests_total", "hits_total", "upstream_requests_total",
                                                      "memo_misses_total", "entries")}
    for _ in range(3):
        assert explain(chat())["would_hit"]
        assert not explain(chat("other"))["would_hit"]
    assert counts == {name: refrain.metric(name) for name in counts}
    assert client.post(chat()).was("HIT").header("x-cache-hits") == "1", "no hit was counted"
    upstream.saw(1)


def test_what_was_explained_is_not_remembered_as_asked(explain):
    explain(chat("a"))
    assert explain(chat("b"))["nearest"] is None


def test_a_request_that_is_being_answered_is_told(client, explain, upstream):
    upstream.reply(whole, hold("g"), b"{}")
    answer = client.post(chat())
    upstream.held("g")
    assert explain(chat())["in_flight"] and not explain(chat("other"))["in_flight"]
    upstream.release("g")
    answer.whole()


def test_an_entry_past_its_lifetime_is_told_as_such(client, explain, upstream):
    client.post(chat(), headers={"Refrain-TTL": "1"}).was("MISS")
    entry = explain(chat(), Cache_Control="min-fresh=3600")
    assert entry["result"] == "miss" and entry["reason"] == "request" and entry["entry"]["ttl_s"] <= 1


def test_of_several_answers_all_must_be_there(client, explain, upstream):
    several = {"Refrain-Variants": "2"}
    client.post(chat(), headers=several).was("MISS")
    told = explain(chat(), Refrain_Variants="2")
    assert (told["result"], told["reason"]) == ("miss", "variants") and told["answers"] == {"kept": 2, "stored": 1}
    client.post(chat(), headers=several).was("MISS")
    told = explain(chat(), Refrain_Variants="2")
    assert told["would_hit"] and told["answers"] == {"kept": 2, "stored": 2}
    client.post(chat(), headers=several).was("HIT")


def test_an_answer_that_varies_is_found_by_its_own_fields(client, explain, upstream):
    upstream.always(whole, chat_answer("x"), headers={"Vary": "User-Agent"})
    client.post(chat(), headers={"User-Agent": "one"}).was("MISS")
    assert explain(chat(), User_Agent="one")["entry"]["varies"]
    assert explain(chat(), User_Agent="one")["would_hit"]
    told = explain(chat(), User_Agent="two")
    assert (told["would_hit"], told["reason"]) == (False, "vary")


def test_a_credential_that_upstream_refuses_has_no_hits(client, explain, upstream):
    client.post(chat()).was("MISS")
    upstream.reply(whole, b"{}", status=401)
    client.post(chat("other")).whole()
    told = explain(chat())
    assert (told["would_hit"], told["reason"]) == (False, "reauth") and told["entry"]


@pytest.mark.parametrize("headers, reason", [({"Cache_Control": "no-cache"}, "request"),
                                             ({"Refrain_Cache": "refresh"}, "request")])
def test_a_request_that_wants_no_stored_answer_says_so_itself(client, explain, headers, reason):
    client.post(chat()).was("MISS")
    told = explain(chat(), **headers)
    assert (told["would_hit"], told["reason"]) == (False, reason)
    assert told["entry"]["id"], "it is held all the same"


@pytest.mark.parametrize("ask, headers, reason", [
    (chat(), {"Cache_Control": "no-store"}, "no-store"),
    (chat(), {"Refrain_Cache": "off"}, "off"),
    (chat().at("/v1/uploads"), {}, "operation"),
    (chat().written("[1]"), {}, "shape"),
    (responses(background=True), {}, "stateful"),
    (chat().written('{"a'), {}, "key"),
])
def test_what_the_cache_has_no_business_with(client, explain, upstream, ask, headers, reason):
    told = explain(ask, **headers)
    assert (told["result"], told["cacheable"], told["reason"]) == ("bypass", False, reason)
    assert " " in told["because"], "words, not the code again"
    assert "key" not in told
    sent = {name.replace("_", "-"): value for (name, value) in headers.items()}
    assert f"detail={reason}" in client.post(ask, headers=sent).was("BYPASS").header("cache-status")


def test_what_would_be_refused(client, explain, upstream):
    told = explain(chat(), Refrain_TTL="soon")
    assert (told["result"], told["reason"]) == ("refused", "refused") and "Refrain-TTL" in told["because"]
    assert told["operation"] == "chat", "a refusal says of what kind the request was, as the log does"


@pytest.mark.refrain(routes=[{"path": "/only/", "upstream": "default"}])
def test_a_path_without_a_route(explain):
    told = explain(chat())
    assert told["result"] == "refused" and "route" in told["because"]


def test_a_get_is_explained_too(client, operator, upstream):
    upstream.reply(whole, b"models", headers={"Cache-Control": "max-age=60"})
    asked = {"url": "https://api.example/v1/models", "headers": {"Authorization": "Bearer sk-alice"}}
    assert operator.does("/explain", asked)["reason"] == "absent"
    client.get("/v1/models", {"Accept": None, "Cache-Control": None}).whole()
    told = operator.does("/explain", asked)
    assert told["operation"] == "read" and told["canonical"]["form"] == "none"


# The key: what is in it, and what is not.


def test_the_canonical_form_and_what_was_left_out_of_it(explain):
    told = explain(chat().written('{ "user":"u-1", "temperature":1.0, "seed":null, "stream":false, "metadata":{"a":1},'
                                  ' "model":"m", "messages":[{"role":"user","content":"hi"}]}'))
    text = '{"messages":[{"content":"hi","role":"user"}],"model":"m","temperature":1}'
    assert told["canonical"] == {"form": "canonical", "bytes": len(text), "cut": False, "text": text}
    left_out = {f["name"]: f["because"] for f in told["excluded"]["body"]}
    assert left_out == {"user": "the API's list", "metadata": "the API's list",
                        "seed": "null: as if it were not there", "stream": "the API's default"}
    assert told["model"] == "m" and told["stream"] is False


@pytest.mark.refrain(key={"ignore_fields": ["trace.id"], "ignore_headers": ["X-Team"]})
def test_what_the_operator_leaves_out_is_told_apart(explain):
    told = explain(chat(trace={"id": 7, "on": True}), X_Team="a", User_Agent="x", X_Custom="y")
    assert {"name": "trace.id", "because": "key.ignore_fields"} in told["excluded"]["body"]
    headers = {f["name"]: f["because"] for f in told["excluded"]["headers"]}
    assert headers["X-Team"] == "key.ignore_headers" and headers["User-Agent"] == "the shipped list"
    assert headers["Accept"] == "selects nothing here" and "X-Custom" not in headers
    assert "X-Custom" in told["keyed_headers"]


def test_a_body_without_an_exact_form_says_why(explain):
    told = explain(chat().written('{"model":"m","messages":[],"a":1,"a":2}'))
    assert told["canonical"] == {"form": "exact", "because": "duplicate member"}
    assert told["key"]


def test_a_key_reads_as_it_does_in_stores(explain):
    told = explain(chat(), Refrain_Namespace="team-a")
    assert told["key_text"] == f"refrain:team-a:chat:gpt-4o-mini:{told['key']}"
    assert (told["namespace"], told["scope"], told["upstream"], told["route"]) == ("team-a", "credential", "default", "/")


@pytest.mark.refrain(rules=[{"match": {"model": "gpt-4o*"}, "namespace": "fours"},
                            {"match": {"temperature_above": 1.0}, "cache": "off"}])
def test_rules_that_match_are_told_by_number(client, explain, upstream):
    client.post(chat()).was("MISS")
    told = explain(chat())
    assert (told["would_hit"], told["rules"], told["namespace"]) == (True, [0], "fours")
    told = explain(chat(temperature=1.5))
    assert (told["result"], told["reason"], told["rules"]) == ("bypass", "rule", [0, 1])


# The nearest neighbour.


def differences(told):
    return [(d["part"], d.get("name"), d["how"]) for d in told["nearest"]["differences"]]


@EACH
def test_the_first_thing_that_differs_is_the_prompt(client, explain, upstream, ask):
    name = {"messages": "messages[0].content", "prompt": "prompt", "input": "input"}
    [member] = [name[m] for m in name if m in ask.body]
    client.post(ask).was("MISS")
    other = json.loads(json.dumps(ask.body).replace('"a"', '"b"'))
    told = explain(ask.but(**other))
    assert told["result"] == "miss" and differences(told) == [("body", member, "differs")]
    assert told["nearest"]["different"] == 1 and told["nearest"]["seconds_ago"] < 60


def test_each_way_to_differ(client, explain, upstream):
    client.post(chat("a", seed=1, temperature=0.5)).was("MISS")
    told = explain(chat("a", temperature=0.7, top_p=1))
    assert set(differences(told)) == {("body", "seed", "only_there"), ("body", "temperature", "differs"),
                                      ("body", "top_p", "only_here")}


def test_a_header_that_differs_is_named(client, explain, upstream):
    client.post(messages(), headers={"anthropic-beta": "one"}).was("MISS")
    assert differences(explain(messages(), anthropic_beta="two")) == [("header", "anthropic-beta", "differs")]
    assert differences(explain(messages())) == [("header", "anthropic-beta", "only_there")]
    assert differences(explain(messages(), anthropic_beta="one", X_Mine="x")) == [("header", "X-Mine", "only_here")]


def test_another_credential_is_told_but_not_which(client, refrain, operator, explain, upstream):
    secret = "sk-bob-whom-nobody-may-see"
    client.with_credential(secret).post(chat()).was("MISS")
    told = explain(chat())
    assert differences(told) == [("credential", None, "differs")]
    assert secret not in json.dumps(told) and told["credentials"] == ["Authorization"]


def test_a_namespace_and_a_path_and_an_upstream_are_told(client, explain, upstream):
    client.post(chat()).was("MISS")
    assert differences(explain(chat(), Refrain_Namespace="b")) == [("namespace", None, "differs")]
    assert differences(explain(chat().at("/v1/chat/completions?a=1"))) == [("target", None, "differs")]


def test_of_several_neighbours_the_nearest_is_taken(client, explain, upstream):
    client.post(chat("a", seed=1, n=1)).was("MISS")
    client.post(chat("b", seed=2, n=2)).was("MISS")
    client.post(chat("c", seed=3, n=3)).was("MISS")
    assert differences(explain(chat("b", seed=2, n=9))) == [("body", "n", "differs")]


def test_the_same_request_whose_answer_was_not_stored_is_its_own_neighbour(client, explain, upstream):
    upstream.always(whole, b"{}", status=500)
    client.post(chat()).whole()
    told = explain(chat())
    assert told["result"] == "miss" and told["nearest"]["key"] == told["key"]
    assert told["nearest"]["different"] == 0 and told["nearest"]["differences"] == []
    assert told["nearest"]["not_stored"] == "status"
    upstream.always(whole, chat_answer("cut short").replace(b'"finish_reason":"stop"', b'"finish_reason":"length"'))
    client.post(chat()).whole()
    assert explain(chat())["nearest"]["not_stored"] == "finish_reason"


@pytest.mark.refrain(admin={"recent_requests": "off"})
def test_nothing_need_be_remembered(client, explain, upstream):
    client.post(chat("a")).was("MISS")
    assert explain(chat("b"))["nearest"] is None


def test_nothing_of_a_request_is_shown_to_who_asks_about_another(client, refrain, operator, explain, upstream):
    planted = ["the-planted-prompt", "planted_name", "the-planted-value", "sk-the-planted-key", "x-planted-header"]
    schema = {"type": "object", "properties": {planted[1]: {"type": "string", "const": planted[2]}}}
    spy = client.with_credential(planted[3])
    spy.post(chat(planted[0], response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}),
             headers={planted[4]: planted[2]}).whole()
    told = json.dumps([explain(chat("hello")), explain(chat("hello", response_format={"type": "text"})),
                       explain(chat(planted[0][:-1]))])
    explain(chat("my own words"), Authorization="Bearer sk-my-own-key")
    said = told + "\n".join(refrain.lines) + str(refrain.scrape())
    for secret in [*planted, "my own words", "sk-my-own-key"]:
        assert secret not in said.replace(planted[0][:-1] + '"', ""), f"{secret!r} was shown"


# How a request is written down.


def test_the_text_of_a_request_is_as_good(client, operator, explain, upstream):
    ask = chat()
    client.post(ask).was("MISS")
    head = "".join(f"{name}: {value}\r\n" for (name, value) in {**ALICE, "Host": "x"}.items())
    text = f"POST {ask.path} HTTP/1.1\r\n{head}\r\n{ask.wire_body.decode()}"
    for written in (text, text.replace("\r\n", "\n"), text + "\n"):
        told = operator.does("/explain", written)
        assert told["would_hit"] and told["key"] == explain(ask)["key"]


@pytest.mark.parametrize("body, where", [
    (b"", "the request"), (b"{", "the request"), (b"{}", "url"), (b'{"url": "v1"}', "url"), (b'{"url": 7}', "url"),
    (b'{"url": "/a b"}', "url"), (b'{"url": "/", "method": "A B"}', "method"),
    (b'{"url": "/", "header": {}}', "a member that is not known"), (b'{"url": "/", "headers": "x"}', "headers"),
    (b'{"url": "/", "headers": {"a b": "c"}}', "headers"), (b'{"url": "/", "headers": {"a": "b\\nc"}}', "headers"),
    (b"POST /v1 HTTP/1.1\r\nbroken\r\n\r\n", "headers"), (b"hello", "the first line"),
    (b"POST /v1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "headers"),
])
def test_what_is_no_request_is_told_what_was_expected(operator, body, where):
    answer = operator.post("/explain", body).refused(400, "request_invalid")
    error = json.loads(answer.body)["error"]
    assert error["where"] == where and error["expected"], error


def test_a_credential_in_a_query_is_masked(operator):
    asked = {"method": "POST", "url": "/v1beta/models/g:generateContent?key=the-google-key&alt=sse", "body": {"contents": []}}
    told = operator.does("/explain", asked)
    assert "the-google-key" not in json.dumps(told) and "?key=***&alt=sse" in told["request"]["target"]


def test_a_large_request_is_explained_aside(client, refrain, operator, explain, upstream):
    ask = chat("x" * 3_000_000)
    client.post(ask).was("MISS")
    told = explain(ask)
    assert told["would_hit"] and told["canonical"]["cut"] and told["canonical"]["bytes"] > 3_000_000
    operator.post("/explain", b"x" * (17 << 20)).refused(413, "too_large")


def test_who_leaves_while_it_is_explained_leaves_nothing_behind(client, refrain, operator):
    body = json.dumps(about(chat("x" * 8_000_000))).encode()
    for _ in range(3):
        connection = operator.client.connect()
        connection.send(operator.client.wire("POST", "/api/v1/explain", None, body))
        connection.close()
    assert operator.reads("")["routes"]


def test_it_needs_the_token(refrain):
    asking = Operator(refrain, "wrong")
    asking.post("/explain", about(chat())).refused(401, "unauthorized")
    asking.close()
    plain = Client(refrain.proxy)
    assert plain.ask("POST", "/api/v1/explain", None, b"{}").whole().header("x-cache") == "BYPASS"
    plain.close()
