"""APIs that are not OpenAI's: model and streaming in the path, credentials in the query, streams as lines, as a growing
array, as sound. SPEC section 3. What each stores and does not is in test_gate_table.py."""

import json

import pytest

from harness.asks import Ask
from harness.samples import Generate, GenerateArray, Ollama, OllamaGenerate, Rerank
from harness.upstream import chunked, cut, hold, whole

GEMINI, GEMINI_ARRAY, OLLAMA, OLLAMA_GENERATE = Generate(), GenerateArray(), Ollama(), OllamaGenerate()
STREAMING = {api.name: api for api in (GEMINI, GEMINI_ARRAY, OLLAMA, OLLAMA_GENERATE)}
SPEECH = Ask("/v1/audio/speech", {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "hello"})
SOUND = [b"ID3\x04\x00\xff\xfb\x90", b"\x00\xff\x0a\x0d", b"\x80" * 1000]


def answers_whole(upstream, api):
    upstream.reply(whole, api_json(api.whole()), content_type=api.whole_type)


def api_json(value):
    import json
    return json.dumps(value).encode()


def answers_streamed(upstream, api):
    frames = api.frames()
    upstream.reply(chunked, *frames, content_type=api.stream_type)
    return b"".join(frames)


@pytest.mark.parametrize("api", STREAMING.values(), ids=STREAMING)
def test_a_repeat_is_answered_from_memory(client, upstream, api):
    answers_whole(upstream, api)
    first = client.post(api.ask(1, False)).was("MISS")
    second = client.post(api.ask(1, False)).was("HIT")
    assert second.body == first.body
    assert second.header("content-type") == "application/json"
    upstream.saw(1)


@pytest.mark.parametrize("api", STREAMING.values(), ids=STREAMING)
def test_a_repeated_stream_is_the_same_bytes_from_memory(client, upstream, api):
    sent = answers_streamed(upstream, api)
    assert client.post(api.ask(1, True)).was("MISS").body == sent
    second = client.post(api.ask(1, True)).was("HIT")
    assert second.body == sent
    assert second.header("content-type") == api.stream_type
    upstream.saw(1)


@pytest.mark.parametrize("api", STREAMING.values(), ids=STREAMING)
def test_pieces_reach_every_reader_as_they_come(client, upstream, api):
    frames = api.frames()
    upstream.reply(chunked, frames[0], hold("rest"), *frames[1:], content_type=api.stream_type)
    first = client.post(api.ask(1, True))
    first.sees(frames[0])
    second = client.post(api.ask(1, True))
    second.sees(frames[0])
    upstream.release("rest")
    assert first.was("MISS").body == second.was("COALESCED").body == b"".join(frames)
    upstream.saw(1)


@pytest.mark.parametrize("api", STREAMING.values(), ids=STREAMING)
def test_a_stream_and_a_whole_answer_are_two_things(client, upstream, api):
    answers_whole(upstream, api)
    client.post(api.ask(1, False)).was("MISS")
    answers_streamed(upstream, api)
    client.post(api.ask(1, True)).was("MISS")
    upstream.saw(2)


def test_the_forms_of_a_gemini_stream_are_two_things(client, upstream):
    sent = answers_streamed(upstream, GEMINI)
    assert client.post(GEMINI.ask(1, True)).was("MISS").body == sent
    sent = answers_streamed(upstream, GEMINI_ARRAY)
    assert client.post(GEMINI_ARRAY.ask(1, True)).was("MISS").body == sent
    upstream.saw(2)


def test_ollama_streams_unless_told_otherwise(client, upstream):
    ask = OLLAMA.ask(1, True)
    sent = answers_streamed(upstream, OLLAMA)
    client.post(ask).was("MISS")
    assert client.post(ask.but(stream=True)).was("HIT").body == sent
    answers_whole(upstream, OLLAMA)
    client.post(ask.but(stream=False)).was("MISS")
    upstream.saw(2)


def test_the_model_in_the_path_is_part_of_the_key_and_in_the_log(refrain, client, upstream):
    answers_whole(upstream, GEMINI)
    ask = GEMINI.ask(1, False)
    client.post(ask).was("MISS")
    answers_whole(upstream, GEMINI)
    client.post(ask.at("/v1beta/models/gemini-2.5-pro:generateContent")).was("MISS")
    upstream.saw(2)
    assert [(line["operation"], line["model"]) for line in refrain.request_lines(2)] == [
        ("generate", "gemini-2.5-flash"), ("generate", "gemini-2.5-pro")]


def test_a_key_in_the_query_is_a_credential_to_gemini(client, upstream):
    def with_key(key):
        ask = GEMINI.ask(1, False)
        return Ask(f"{ask.path}?key={key}", ask.body, {"Authorization": None})

    for key, want in (("alice", "MISS"), ("alice", "HIT"), ("bob", "MISS"), ("bob", "HIT"), ("alice", "HIT")):
        if want == "MISS":
            answers_whole(upstream, GEMINI)
        client.post(with_key(key)).was(want)
    upstream.saw(2)


@pytest.mark.refrain(cache={"scope": "shared"})
def test_under_a_shared_scope_a_key_in_the_query_does_not_count(client, upstream):
    ask = GEMINI.ask(1, False)
    answers_whole(upstream, GEMINI)
    client.post(Ask(f"{ask.path}?key=alice", ask.body)).was("MISS")
    client.post(Ask(f"{ask.path}?key=bob", ask.body)).was("HIT")
    assert upstream.saw(1).target.endswith("?key=alice")


SERVER_TOOLS = {
    "search": {"google_search": {}}, "search, in camels": {"googleSearch": {}}, "code": {"codeExecution": {}},
    "pages": {"urlContext": {}}, "maps": {"googleMaps": {}}, "one not heard of": {"newKindOfSearch": {}},
    "beside functions": {"functionDeclarations": [{"name": "f"}], "googleSearch": {}},
}


@pytest.mark.parametrize("tool", SERVER_TOOLS.values(), ids=SERVER_TOOLS)
def test_a_tool_that_looks_at_the_world_is_not_cached(client, upstream, tool):
    for _ in range(2):
        answers_whole(upstream, GEMINI)
        client.post(GEMINI.ask(1, False, tools=[tool])).was("BYPASS")
    upstream.saw(2)


def test_tools_of_the_client_are_cached(client, upstream):
    ask = GEMINI.ask(1, False, tools=[{"functionDeclarations": [{"name": "f"}]}])
    answers_whole(upstream, GEMINI)
    client.post(ask).was("MISS")
    client.post(ask).was("HIT")


def test_a_prompt_that_gemini_blocks_is_passed_on_and_not_stored(client, upstream):
    blocked = b'{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":4}}'
    for _ in range(2):
        upstream.reply(whole, blocked)
        answer = client.post(GEMINI.ask(1, False)).was("MISS")
        assert answer.body == blocked
        assert answer.header("cache-status").endswith("detail=not-stored:finish_reason")


def test_loading_a_model_is_no_answer_to_keep(client, upstream):
    loaded = b'{"model":"m","message":{"role":"assistant","content":""},"done_reason":"load","done":true}'
    for _ in range(2):
        upstream.reply(whole, loaded)
        answer = client.post(Ask("/api/chat", {"model": "m", "messages": [], "stream": False})).was("MISS")
        assert answer.header("cache-status").endswith("detail=not-stored:finish_reason")
    upstream.saw(2)


def test_errors_of_ours_have_googles_shape(client, upstream):
    answer = client.post(GEMINI.ask(1, False), {"Cache-Control": "only-if-cached"})
    error = answer.json()["error"]
    assert answer.status == 504
    assert (error["code"], error["status"]) == (504, "DEADLINE_EXCEEDED")
    assert error["details"][0]["reason"] == "only_if_cached_miss"
    assert error["message"]
    upstream.saw_nothing()


def test_errors_of_ours_have_ollamas_shape(client, upstream):
    answer = client.post(OLLAMA.ask(1, True), {"Cache-Control": "only-if-cached"})
    assert answer.status == 504
    assert isinstance(answer.json()["error"], str)
    assert answer.json()["code"] == "only_if_cached_miss"
    upstream.saw_nothing()


# Sound


def test_sound_is_passed_on_as_it_comes_and_kept_when_whole(client, upstream):
    upstream.reply(chunked, SOUND[0], hold("rest"), *SOUND[1:], content_type="audio/mpeg")
    first = client.post(SPEECH)
    first.sees(SOUND[0])
    upstream.release("rest")
    assert first.was("MISS").body == b"".join(SOUND)
    second = client.post(SPEECH).was("HIT")
    assert second.body == b"".join(SOUND)
    assert second.header("content-type") == "audio/mpeg"
    upstream.saw(1)


BAD_SOUND = {
    "cut": (chunked, [SOUND[0], cut], "audio/mpeg", "cut"),
    "none": (chunked, [], "audio/mpeg", "clean"),
    "a JSON in its place": (whole, [b'{"error":{"message":"no"}}'], "application/json", "clean"),
    "a page in its place": (whole, [b"<html>"], "text/html", "clean"),
}


@pytest.mark.parametrize("kind, parts, content_type, ends", BAD_SOUND.values(), ids=BAD_SOUND)
def test_what_is_no_sound_is_passed_on_and_not_stored(client, upstream, kind, parts, content_type, ends):
    for _ in range(2):
        upstream.reply(kind, *parts, content_type=content_type)
        answer = client.post(SPEECH)
        assert answer.ends() == ends
        assert answer.body == b"".join(part for part in parts if part is not cut)
    upstream.saw(2)


def test_a_client_that_leaves_sound_early_leaves_nothing_behind(client, upstream):
    upstream.reply(chunked, SOUND[0], hold("rest"), *SOUND[1:], content_type="audio/mpeg")
    leaver = client.post(SPEECH)
    leaver.sees(SOUND[0])
    leaver.leave()
    upstream.lost(1)
    upstream.reply(chunked, *SOUND, content_type="audio/mpeg")
    assert client.post(SPEECH).was("MISS").body == b"".join(SOUND)


# Kinds, as metrics and lifetimes have them


@pytest.mark.refrain(routes=[{"path": "/anything/", "upstream": "default"}])
def test_a_prefix_that_a_route_names_may_stand_before_any_path(client, upstream):
    upstream.reply(chunked, *SOUND, content_type="audio/mpeg")
    client.post(SPEECH.at("/anything/v1/audio/speech")).was("MISS").whole()
    client.post(SPEECH.at("/anything/v1/audio/speech")).was("HIT")
    answers_whole(upstream, GEMINI)
    ask = GEMINI.ask(1, False)
    client.post(ask.at("/anything" + ask.path)).was("MISS")
    client.post(ask.at("/anything" + ask.path)).was("HIT")


def test_every_form_of_an_operation_counts_as_that_operation(refrain, client, upstream):
    for path, answer in (("/v1/embeddings", {"data": [{"embedding": [1]}]}),
                         ("/api/embed", {"embeddings": [[1]]}),
                         ("/v1beta/models/e:embedContent", {"embedding": {"values": [1]}})):
        upstream.reply(whole, api_json(answer))
        client.post(Ask(path, {"model": "e", "input": "hello"})).was("MISS").whole()
    refrain.waits_for("requests_total", 3, operation="embedding", result="miss")


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_reranking_is_known_under_each_of_its_paths(client, upstream, path):
    api = Rerank()
    answers_whole(upstream, api)
    client.post(api.ask(1, False).at(path)).was("MISS")
    client.post(api.ask(1, False).at(path)).was("HIT")
