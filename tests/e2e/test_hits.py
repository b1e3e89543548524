"""The second asking is answered from memory: what counts as the same request, and what does not. SPEC sections 3, 4."""

import json

import pytest

from harness.asks import TOOLS, chat, chat_stream, completion, embedding, messages, responses
from harness.upstream import chat_answer, whole

WHOLE_ASKS = {"chat": chat(), "completion": completion(), "embedding": embedding(), "responses": responses(),
              "messages": messages(), "chat with tools": chat(tools=TOOLS)}
STREAM_ASKS = {"chat": chat_stream(), "chat with usage": chat_stream(stream_options={"include_usage": True}),
               "completion": completion(stream=True), "responses": responses(stream=True),
               "messages": messages(stream=True)}


@pytest.mark.parametrize("ask", WHOLE_ASKS.values(), ids=WHOLE_ASKS)
def test_a_repeat_is_the_same_answer_from_memory(client, upstream, ask):
    first = client.post(ask).was("MISS")
    second = client.post(ask).was("HIT")
    assert second.body == first.body
    assert second.header("content-type") == first.header("content-type")
    upstream.saw(1)


@pytest.mark.parametrize("ask", STREAM_ASKS.values(), ids=STREAM_ASKS)
def test_a_repeated_stream_is_the_same_bytes_from_memory(client, upstream, ask):
    first = client.post(ask).was("MISS")
    second = client.post(ask).was("HIT")
    assert second.body == first.body
    assert second.header("content-type").startswith("text/event-stream")
    upstream.saw(1)


def test_the_bytes_from_memory_are_upstreams_own(client, upstream):
    odd = b'{ "choices" : [ {"message": {"content": "\\u00e9  \xc3\xa9"}, "finish_reason":"stop"} ],\n"usage":{} }\n'
    upstream.reply(whole, odd)
    assert client.post(chat()).was("MISS").body == odd
    assert client.post(chat()).was("HIT").body == odd


SAME = {
    "members in another order": '{"messages":[{"content":"hello","role":"user"}],"model":"gpt-4o-mini"}',
    "white space": '{ "model":\t"gpt-4o-mini",\r\n "messages" : [ { "role":"user","content":"hello" } ] }\n',
    "escapes": '{"model":"gpt-4o-mini","messages":[{"role":"\\u0075ser","content":"h\\u0065llo"}]}',
    "stream false, as LangChain writes it":
        '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}],"stream":false}',
    "a null at the top": '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}],"temperature":null}',
    "user": '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}],"user":"u-7"}',
    "metadata": '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}],"metadata":{"run":"9"}}',
    "safety_identifier":
        '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}],"safety_identifier":"s"}',
    "prompt_cache_key":
        '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}],"prompt_cache_key":"p"}',
}


@pytest.mark.parametrize("body", SAME.values(), ids=SAME)
def test_the_same_question_written_otherwise_hits(client, upstream, body):
    client.post(chat()).was("MISS")
    client.post(chat().written(body)).was("HIT")
    upstream.saw(1)


def test_equal_numbers_hit_and_unequal_ones_never_merge(client, upstream):
    def asking(number):
        return chat().written(f'{{"model":"m","messages":[],"seed":{number}}}')

    client.post(asking("1")).was("MISS")
    for same in ("1.0", "1e0", "10e-1"):
        client.post(asking(same)).was("HIT")
    for other in ("9007199254740992", "9007199254740993", "1.0000000000000000001", "1e-400", "0"):
        client.post(asking(other)).was("MISS")


CHANGED = {
    "model": {"model": "gpt-4o"},
    "prompt": {"messages": [{"role": "user", "content": "hello!"}]},
    "an earlier message": {"messages": [{"role": "system", "content": "be brief"},
                                        {"role": "user", "content": "hello"}]},
    "tools": {"tools": TOOLS},
    "response_format": {"response_format": {"type": "json_object"}},
    "temperature": {"temperature": 0.5},
    "seed": {"seed": 1},
    "n": {"n": 2},
    "stream": {"stream": True},
    "a field nobody has heard of": {"x_provider_thinking": {"budget": 5}},
    "an explicit false": {"logprobs": False},
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_any_change_of_the_question_misses(client, upstream, change):
    first = client.post(chat()).was("MISS")
    other = client.post(chat().but(**change)).was("MISS")
    assert other.body != first.body
    client.post(chat()).was("HIT")
    upstream.saw(2)


def test_stream_options_count(client, upstream):
    plain = client.post(chat_stream()).was("MISS")
    counted = client.post(chat_stream(stream_options={"include_usage": True})).was("MISS")
    assert b'"usage"' in counted.body and b'"usage"' not in plain.body
    assert client.post(chat_stream()).was("HIT").body == plain.body


SCHEMAS = {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": ...}},
           "guided_json": ..., "structured_outputs": {"json": ...}, "json_schema": ..., "nvext": {"guided_json": ...}}


@pytest.mark.parametrize("where", SCHEMAS)
def test_schema_members_keep_their_order_in_the_key(client, where):
    def schema(properties, **dumping):
        def filled(part):
            if part is ...:
                return {"type": "object", "properties": {name: {"type": "string"} for name in properties}}
            return {name: filled(value) for name, value in part.items()} if isinstance(part, dict) else part

        return chat().written(json.dumps({"model": "m", "messages": [], where: filled(SCHEMAS[where])}, **dumping))

    client.post(schema("ab")).was("MISS")
    client.post(schema("ba")).was("MISS")
    client.post(schema("ab", indent=1)).was("HIT")


def test_array_order_counts(client, upstream):
    client.post(embedding(["a", "b"])).was("MISS")
    client.post(embedding(["b", "a"])).was("MISS")
    client.post(embedding(["a", "b"])).was("HIT")


def test_the_path_and_its_query_count(client, upstream):
    client.post(chat()).was("MISS")
    for path in ("/v1beta/chat/completions", "/chat/completions", "/v1/chat/completions?api-version=1",
                 "/v1/chat/completions?api-version=2", "/openai/deployments/gpt/chat/completions"):
        client.post(chat().at(path)).was("MISS")
        client.post(chat().at(path)).was("HIT")
    upstream.saw(6)


def test_percent_escapes_of_a_path_are_not_unpicked(client, upstream):
    client.post(chat().at("/v1/chat/completions?a=%62")).was("MISS")
    client.post(chat().at("/v1/chat/completions?a=b")).was("MISS")
    assert upstream.requests[0].target == "/v1/chat/completions?a=%62"


KEYED = {"OpenAI-Organization": "org-2", "OpenAI-Project": "p", "OpenAI-Beta": "assistants=v2", "X-Custom": "1",
         "Accept-Language": "de"}


@pytest.mark.parametrize("name", KEYED)
def test_a_header_that_may_change_the_answer_counts(client, upstream, name):
    client.post(chat()).was("MISS")
    client.post(chat(), headers={name: KEYED[name]}).was("MISS")
    client.post(chat(), headers={name: KEYED[name]}).was("HIT")


UNKEYED = {"User-Agent": "other/2", "X-Stainless-Retry-Count": "2", "X-Stainless-Timeout": "600",
           "Idempotency-Key": "i-1", "X-Request-Id": "r-1", "traceparent": "00-0af7651916cd43dd-b7ad6b7169203331-01",
           "X-Forwarded-For": "10.0.0.1"}


@pytest.mark.parametrize("name", UNKEYED)
def test_a_header_that_varies_by_call_does_not_count(client, upstream, name):
    client.post(chat()).was("MISS")
    client.post(chat(), headers={name: UNKEYED[name]}).was("HIT")


def test_anthropic_version_counts(client, upstream):
    client.post(messages()).was("MISS")
    client.post(messages(), headers={"anthropic-version": "2024-01-01"}).was("MISS")
    client.post(messages(), headers={"anthropic-beta": "x"}).was("MISS")
    client.post(messages()).was("HIT")


CREDENTIALS = {"Authorization": "Bearer sk-{}", "x-api-key": "sk-{}", "api-key": "sk-{}", "x-goog-api-key": "sk-{}"}


@pytest.mark.parametrize("name", CREDENTIALS)
def test_two_credentials_never_share_an_answer(client, upstream, name):
    def asking_as(who):
        return client.post(chat(), headers={"Authorization": None, name: CREDENTIALS[name].format(who)})

    alice = asking_as("alice").was("MISS")
    bob = asking_as("bob").was("MISS")
    assert alice.body != bob.body
    assert asking_as("alice").was("HIT").body == alice.body
    assert asking_as("bob").was("HIT").body == bob.body
    nobody = client.post(chat(), headers={"Authorization": None}).was("MISS")
    assert nobody.body not in (alice.body, bob.body)


def test_one_secret_in_two_headers_is_two_callers(client, upstream):
    client.post(chat(), headers={"Authorization": None, "x-api-key": "sk-1"}).was("MISS")
    client.post(chat(), headers={"Authorization": None, "api-key": "sk-1"}).was("MISS")


def test_a_credential_in_the_query_scopes_too(client, upstream):
    ask = chat().with_headers(Authorization=None)
    client.post(ask.at("/v1/chat/completions?key=alice")).was("MISS")
    client.post(ask.at("/v1/chat/completions?key=bob")).was("MISS")
    client.post(ask.at("/v1/chat/completions?key=alice")).was("HIT")


@pytest.mark.refrain(cache={"scope": "shared"})
def test_a_shared_scope_shares_among_credentials(client, upstream):
    first = client.post(chat()).was("MISS")
    assert client.with_credential("sk-bob").post(chat()).was("HIT").body == first.body


STATEFUL = {
    "store": responses(store=True), "background": responses(background=True),
    "conversation": responses(conversation="conv_1"), "a chat that is to be stored": chat(store=True),
    "a stored prompt without version": responses(prompt={"id": "pmpt_1"}),
}


@pytest.mark.parametrize("ask", STATEFUL.values(), ids=STATEFUL)
def test_what_makes_state_upstream_is_never_cached(client, upstream, ask):
    client.post(ask).was("BYPASS")
    client.post(ask).was("BYPASS")
    upstream.saw(2)


def test_previous_response_id_is_simply_in_the_key(client, upstream):
    client.post(responses(previous_response_id="resp_1")).was("MISS")
    client.post(responses(previous_response_id="resp_2")).was("MISS")
    client.post(responses(previous_response_id="resp_1")).was("HIT")


@pytest.mark.parametrize("path", ["/v1/threads/t1/messages", "/v1/files", "/v1/responses/r1/cancel", "/v1/batches"])
def test_a_write_that_looks_like_an_operation_is_passed_on(client, upstream, path):
    for _ in range(2):
        answer = client.post(messages().at(path)).whole()
        assert answer.header("x-cache") == "BYPASS", f"{path} must not be cached: {answer!r}"
    upstream.saw(2)


AWKWARD = {
    "duplicate members": b'{"model":"a","model":"b","messages":[]}',
    "an integer over 64 bits": b'{"model":"a","messages":[],"seed":123456789012345678901234567890}',
    "a number out of range": b'{"model":"a","messages":[],"seed":1e400}',
    "a NUL escape": b'{"model":"a","messages":[{"role":"user","content":"\\u0000"}]}',
    "depth 600": b'{"model":"a","messages":' + b"[" * 600 + b"]" * 600 + b"}",
    "bad UTF-8": b'{"model":"a","messages":[{"role":"user","content":"\xff"}]}',
    "a BOM": b'\xef\xbb\xbf{"model":"a","messages":[]}',
    "trailing bytes": b'{"model":"a","messages":[]} x',
    "no JSON at all": b"hello",
    "an empty body": b"",
}


@pytest.mark.parametrize("body", AWKWARD.values(), ids=AWKWARD)
def test_a_body_without_exact_form_is_forwarded_as_it_came(client, upstream, body):
    upstream.always(whole, chat_answer("fine"))
    answer = client.post(chat().written(body)).whole()
    assert answer.status == 200, f"a body that is odd is upstream's business: {answer!r}"
    assert upstream.requests[0].body == body
    client.post(chat()).was("MISS")


def test_bodies_that_differ_only_in_a_duplicate_member_are_two(client, upstream):
    one = chat().written('{"model":"a","model":"b","messages":[]}')
    other = chat().written('{"model":"b","model":"a","messages":[]}')
    first, second = client.post(one).whole(), client.post(other).whole()
    assert first.body != second.body
    upstream.saw(2)


def test_a_large_body_is_cached_as_well(client, upstream):
    ask = chat("x" * 700_000)
    first = client.post(ask).was("MISS")
    assert client.post(ask).was("HIT").body == first.body
    assert client.post(chat("x" * 699_999 + "y")).was("MISS").body != first.body


def test_a_hit_does_not_need_the_memo(client, upstream):
    """The raw-request memo is an optimisation: requests it has never seen still hit by their canonical form."""
    client.post(chat(top_p=0.5)).was("MISS")
    body = chat(top_p=0.5).body
    for indent in range(1, 6):
        client.post(chat().written(json.dumps(body, indent=indent))).was("HIT")
        client.post(chat().written(json.dumps(body, indent=indent))).was("HIT")
    upstream.saw(1)


def test_the_path_prefix_of_a_route_is_its_own(start, upstream):
    refrain = start(upstreams={"other": {"url": upstream.url + "/behind"}},
                    routes=[{"path": "/other/", "upstream": "other", "strip_prefix": True},
                            {"path": "/", "upstream": "default"}])
    client = start.client(refrain)
    client.post(chat()).was("MISS")
    client.post(chat().at("/other/v1/chat/completions")).was("MISS")
    assert upstream.requests[1].target == "/behind/v1/chat/completions"
    client.post(chat().at("/other/v1/chat/completions")).was("HIT")


def test_a_prefix_that_is_taken_off_ends_with_a_segment(start, upstream):
    """What is left would otherwise run into the upstream's own name."""
    refrain = start(routes=[{"path": "/api", "upstream": "default", "strip_prefix": True}])
    client = start.client(refrain)
    for target in ("/api.evil.example/v1/models", "/apiary", "/api", "/api?key=1"):
        client.get(target).refused(404, "no_route")
    upstream.saw_nothing()
    client.get("/api/v1/models").whole()
    assert upstream.saw(1).target == "/v1/models"
