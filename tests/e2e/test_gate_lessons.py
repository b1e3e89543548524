"""What other caches of models' answers got wrong, each as it would be noticed. SPEC section 5."""

import gzip
import json

import pytest

from harness.answers import compact
from harness.asks import chat, chat_stream, completion, embedding, messages, responses
from harness.samples import FILTERED, GOOD, LENGTH, REFUSED, Chat, Messages, Responses
from harness.upstream import chat_answer, chunked, cut, event, hold, reset, sse, sse_unended, token, until_close, whole

CHAT, MESSAGES, RESPONSES = Chat(), Messages(), Responses()


def body_of(value):
    return compact(value).encode()


# Answers cut off by a limit were kept for ever.


def test_an_answer_cut_off_by_its_limit_is_asked_for_anew_each_time(client, upstream):
    upstream.reply(whole, body_of(CHAT.whole("half a sen", LENGTH)))
    assert "not-stored:finish_reason" in client.post(chat()).was("MISS").header("cache-status")
    upstream.reply(whole, body_of(CHAT.whole("half a sentence, and the rest")))
    assert b"the rest" in client.post(chat()).was("MISS").body
    assert b"the rest" in client.post(chat()).was("HIT").body


def test_the_same_of_a_stream(client, upstream):
    upstream.reply(chunked, *CHAT.frames("half a sen", LENGTH), content_type="text/event-stream")
    answer = client.post(chat_stream(), {"TE": "trailers"}).was("MISS")
    assert answer.trailers.get("cache-status").endswith("not-stored:finish_reason")
    client.post(chat_stream()).was("MISS")
    upstream.saw(2)


def test_a_stream_that_ends_without_a_word_on_why_was_broken_off(client, upstream):
    begin = CHAT.frames("half a sen")[:-2]
    upstream.reply(chunked, *begin, event("[DONE]"), content_type="text/event-stream")
    answer = client.post(chat_stream(), {"TE": "trailers"}).was("MISS")
    assert answer.trailers.get("cache-status").endswith("not-stored:finish_reason")
    upstream.reply(chunked, *CHAT.frames(), content_type="text/event-stream")
    client.post(chat_stream()).was("MISS")
    client.post(chat_stream()).was("HIT")


def test_of_several_choices_every_one_must_have_ended_well(client, upstream):
    answer = CHAT.whole()
    cut_off = {**CHAT.whole("half a sen", LENGTH)["choices"][0], "index": 1}
    upstream.reply(whole, body_of({**answer, "choices": [*answer["choices"], cut_off]}))
    assert "not-stored:finish_reason" in client.post(chat(n=2)).was("MISS").header("cache-status")


def test_of_several_streamed_choices_every_one_counts(client, upstream):
    frames = CHAT.frames()
    other = [CHAT._frame({"content": "half a sen"}, index=1), CHAT._frame({}, "length", index=1)]
    upstream.reply(chunked, *frames[:2], *other, *frames[2:], content_type="text/event-stream")
    client.post(chat_stream(n=2)).was("MISS")
    client.post(chat_stream(n=2)).was("MISS")


FOR_A_WHILE = {"finish_reasons": {"length": "7s", "stop": "90s", "refusal": "never", "tool_calls": "30s"}}


def ttl_of(answer):
    return int(answer.header("cache-status").partition("ttl=")[2].partition(";")[0])


@pytest.mark.refrain(validation=FOR_A_WHILE)
@pytest.mark.parametrize("ends, at_most", [(LENGTH, 7), (GOOD, 90), (FILTERED, None)])
def test_each_way_to_end_may_have_a_lifetime_of_its_own(client, upstream, ends, at_most):
    upstream.always(whole, body_of(CHAT.whole(ends=ends)))
    client.post(chat()).was("MISS")
    if at_most is None:
        client.post(chat()).was("MISS")
    else:
        assert at_most - 5 <= ttl_of(client.post(chat()).was("HIT")) <= at_most


@pytest.mark.refrain(validation=FOR_A_WHILE)
@pytest.mark.parametrize("ask, text, stream_type, at_most", [
    (chat_stream(), CHAT.frames(ends=LENGTH), "text/event-stream", 7),
    (chat_stream(), CHAT.frames(arguments='{"a":1}'), "text/event-stream", 30),
    (messages(stream=True), MESSAGES.frames(ends=LENGTH), "text/event-stream", 7),
    (responses(stream=True), RESPONSES.frames(ends=LENGTH), "text/event-stream", 7),
], ids=["chat", "chat calls a tool", "messages", "responses"])
def test_streams_have_it_too(client, upstream, ask, text, stream_type, at_most):
    upstream.reply(chunked, *text, content_type=stream_type)
    client.post(ask).was("MISS")
    assert at_most - 5 <= ttl_of(client.post(ask).was("HIT")) <= at_most


@pytest.mark.refrain(validation=FOR_A_WHILE)
@pytest.mark.parametrize("wanted, at_most", [("3s", 3), ("1h", 7), ("none", 7)])
def test_a_request_may_shorten_that_lifetime_and_not_lengthen_it(client, upstream, wanted, at_most):
    upstream.reply(whole, body_of(CHAT.whole(ends=LENGTH)))
    client.post(chat(), {"Refrain-TTL": wanted}).was("MISS")
    assert ttl_of(client.post(chat()).was("HIT")) <= at_most


@pytest.mark.refrain(validation={"statuses": [200, 203]})
def test_which_statuses_are_good_is_the_operators_to_say(client, upstream):
    upstream.reply(whole, chat_answer("good"), status=203)
    client.post(chat()).was("MISS", 203)
    client.post(chat()).was("HIT", 203)


# Half a stream was stored after upstream had been cut off.


@pytest.mark.parametrize("ending", [cut, reset])
def test_half_a_stream_is_never_had_again(client, refrain, upstream, ending):
    frames = CHAT.frames("one two three four")
    upstream.reply(sse_unended, *frames[:2], ending)
    assert client.post(chat_stream()).ends() == "cut"
    upstream.reply(sse_unended, *frames)
    assert client.post(chat_stream()).was("MISS").body == b"".join(frames)
    assert client.post(chat_stream()).was("HIT").body == b"".join(frames)
    assert refrain.metric("not_stored_total", reason="incomplete") == 1


def test_what_ends_by_close_is_not_known_to_be_whole(client, refrain, upstream):
    upstream.always(until_close, chat_answer("all of it, or so it seems"))
    for _ in range(2):
        client.post(chat()).was("MISS")
    assert refrain.metric("not_stored_total", reason="by_close") == 2


def test_an_answer_nobody_waited_for_is_no_broken_one(client, refrain, upstream):
    upstream.reply(sse, token("alpha"), hold("g"))
    client.post(chat_stream()).sees("alpha").leave()
    upstream.lost()
    refrain.waits_for("not_stored_total", 1, reason="abandoned")
    assert refrain.metric("not_stored_total", reason="incomplete") == 0


def test_no_answer_at_all_is_no_broken_one(client, refrain, upstream):
    upstream.down()
    client.post(chat()).refused(502)
    assert refrain.metric("not_stored_total", reason="no_answer") == 1
    upstream.up()


# A 200 with an error inside was stored.


@pytest.mark.parametrize("ask, body", [
    (chat(), {"error": {"message": "overloaded", "type": "server_error"}}),
    (chat(), {"error": "model is loading"}),
    (chat(), {**CHAT.whole(), "error": {"code": 502, "message": "provider returned an error"}}),
    (completion(), {"error": {"message": "overloaded"}}),
    (embedding(), {"error": {"message": "overloaded"}}),
    (messages(), MESSAGES.error()),
    (responses(), RESPONSES.error()),
])
def test_a_200_with_an_error_inside_is_passed_on_and_forgotten(client, upstream, ask, body):
    upstream.reply(whole, body_of(body))
    first = client.post(ask).was("MISS")
    assert first.body == body_of(body) and "not-stored:error_inside" in first.header("cache-status")
    assert client.post(ask).was("MISS").body != first.body


# Every hit said `finish_reason: stop`.


@pytest.mark.parametrize("ask, body, finish", [
    (chat(), CHAT.whole(arguments='{"city":"Oslo"}'), "tool_calls"),
    (chat(), CHAT.whole(), "stop"),
    (messages(), MESSAGES.whole(arguments='{"city":"Oslo"}'), "tool_use"),
])
def test_a_hit_ends_as_the_answer_did(client, upstream, ask, body, finish):
    upstream.reply(whole, body_of(body))
    client.post(ask).was("MISS")
    hit = client.post(ask).was("HIT")
    assert hit.body == body_of(body) and finish in json.dumps(hit.json())


def test_a_streamed_hit_ends_as_the_answer_did(client, upstream):
    frames = CHAT.frames(arguments='{"city":"Oslo"}')
    upstream.reply(sse_unended, *frames)
    client.post(chat_stream()).was("MISS")
    hit = client.post(chat_stream()).was("HIT")
    assert hit.body == b"".join(frames) and b'"finish_reason":"tool_calls"' in hit.body


# Upstream's no-cache, which providers put on everything, switched the cache off.


@pytest.mark.parametrize("control", ["no-cache", "no-store", "private, max-age=0", "no-cache, must-revalidate"])
def test_upstreams_no_cache_on_a_post_does_not_switch_the_cache_off(client, upstream, control):
    upstream.reply(whole, chat_answer("good"), headers={"Cache-Control": control, "Pragma": "no-cache"})
    client.post(chat()).was("MISS")
    client.post(chat()).was("HIT")
    upstream.reply(sse_unended, *CHAT.frames(), headers={"Cache-Control": control})
    client.post(chat_stream()).was("MISS")
    client.post(chat_stream()).was("HIT")


# Negative answers were cached.


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529])
def test_a_negative_answer_is_asked_for_anew(client, upstream, status):
    upstream.reply(whole, body_of(CHAT.error()), status=status, headers={"Cache-Control": "max-age=3600"})
    assert client.post(chat()).was("MISS", status).body == body_of(CHAT.error())
    client.post(chat()).was("MISS", 200)
    client.post(chat()).was("HIT", 200)


@pytest.mark.parametrize("ask, refusal", [
    (chat(), CHAT.whole(ends=REFUSED)), (messages(), MESSAGES.whole(ends=REFUSED)),
    (responses(), RESPONSES.whole(ends=REFUSED)), (chat(), CHAT.whole(ends=FILTERED)),
])
def test_a_refusal_is_asked_for_anew(client, upstream, ask, refusal):
    upstream.reply(whole, body_of(refusal))
    assert "not-stored:finish_reason" in client.post(ask).was("MISS").header("cache-status")
    client.post(ask).was("MISS")


# Why an answer was not stored could not be found out.


def test_the_reason_is_told_to_the_client_to_the_log_and_to_the_metrics(client, refrain, upstream):
    upstream.reply(whole, body_of(CHAT.no_payload()))
    assert client.post(chat()).was("MISS").header("cache-status") == "refrain; fwd=miss; detail=not-stored:payload"
    upstream.reply(sse_unended, *CHAT.frames("no JSON"))
    answer = client.post(chat_stream(response_format={"type": "json_object"}), {"TE": "trailers"}).was("MISS")
    assert answer.trailers.get("cache-status") == "refrain; fwd=miss; detail=not-stored:wanted_json"
    assert [line["reason"] for line in refrain.request_lines(2)] == ["payload", "wanted_json"]
    for reason in ("payload", "wanted_json"):
        assert refrain.metric("not_stored_total", reason=reason) == 1


@pytest.mark.refrain(cache={"respect_upstream_cache_control": True})
def test_a_stream_whose_head_tells_the_reason_says_so_at_once(client, upstream):
    upstream.reply(sse_unended, CHAT.frames()[0], hold("g"), *CHAT.frames()[1:], headers={"Cache-Control": "no-store"})
    answer = client.post(chat_stream(), {"TE": "trailers"})
    assert answer.header("cache-status").endswith("detail=not-stored:cache_control")
    upstream.release("g")
    answer.whole()


@pytest.mark.refrain(cache={"max_object_bytes": "8KiB"})
def test_a_stream_over_the_object_bound_flows_on_unstored(client, upstream):
    frames = CHAT.frames("word " * 4000)
    upstream.always(sse_unended, *frames)
    for _ in range(2):
        answer = client.post(chat_stream(), {"TE": "trailers"}).was("MISS")
        assert answer.body == b"".join(frames)
        assert answer.trailers.get("cache-status").endswith("not-stored:too_large")


def test_what_a_follower_is_told_is_the_same(client, refrain, upstream):
    upstream.reply(whole, body_of(CHAT.whole(ends=LENGTH)), before=hold("g"))
    first = client.post(chat())
    upstream.held("g")
    second = client.post(chat())
    refrain.waits_for("flight_readers", 2)
    upstream.release("g")
    first.was("MISS")
    status = second.whole().header("cache-status")
    assert second.header("x-cache") in ("COALESCED", "MISS") and "not-stored:finish_reason" in status


# What the model says is its own: nothing is altered on the way.


@pytest.mark.parametrize("arguments", ["", "{}", '{"a":"\\u00e9 \\ud83d\\ude00"}', "[1,2]", '"text"'])
def test_tool_arguments_that_parse_are_good(client, upstream, arguments):
    upstream.reply(whole, body_of(CHAT.whole(arguments=arguments)))
    client.post(chat()).was("MISS")
    client.post(chat()).was("HIT")


def test_text_of_a_custom_tool_is_good_though_it_is_no_json(client, upstream):
    answer = CHAT.whole()
    call = {"id": "call_1", "type": "custom", "custom": {"name": "python", "input": "print('no JSON')"}}
    answer["choices"][0].update(message={"role": "assistant", "content": None, "tool_calls": [call]},
                                finish_reason="tool_calls")
    upstream.reply(whole, body_of(answer))
    client.post(chat()).was("MISS")
    client.post(chat()).was("HIT")
    answer = RESPONSES._whole([{"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "python",
                                "input": "print('no JSON')", "status": "completed"}])
    upstream.reply(whole, body_of(answer))
    client.post(responses()).was("MISS")
    client.post(responses()).was("HIT")


def calls_in_turn(*arguments):
    """A stream of several tool calls whose arguments come in turn, a piece of each at a time."""
    def frame(index, **function):
        return CHAT._frame({"tool_calls": [{"index": index, "function": function}]})
    begin = [CHAT._frame({"tool_calls": [{"index": i, "id": f"call_{i}", "type": "function",
                                          "function": {"name": "weather", "arguments": ""}}]})
             for i in range(len(arguments))]
    pieces = [frame(i, arguments=text[at:at + 3]) for at in range(0, max(map(len, arguments)), 3)
              for i, text in enumerate(arguments) if text[at:at + 3]]
    return [*begin, *pieces, CHAT._frame({}, "tool_calls"), event("[DONE]")]


def test_arguments_of_calls_that_come_in_turn_are_put_together_call_by_call(client, upstream):
    upstream.reply(sse_unended, *calls_in_turn('{"city":"Oslo"}', '{"city":"Rome","days":[1,2]}', "{}"))
    client.post(chat_stream()).was("MISS")
    client.post(chat_stream()).was("HIT")


def test_one_call_among_several_spoils_the_answer(client, upstream):
    upstream.reply(sse_unended, *calls_in_turn('{"city":"Oslo"}', '{"city":"Rome","days":[1,2}'))
    answer = client.post(chat_stream(), {"TE": "trailers"}).was("MISS")
    assert answer.trailers.get("cache-status").endswith("not-stored:tool_arguments")


SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": {"type": "object"}}}


@pytest.mark.parametrize("ask, body, verdict", [
    (chat(response_format=SCHEMA), CHAT.whole('{"a":"\\u00e9"}'), "; stored"),
    (chat(response_format=SCHEMA), CHAT.whole('```json\n{"a":1}\n```'), "not-stored:wanted_json"),
    (chat(response_format={"type": "text"}), CHAT.whole("prose"), "; stored"),
    (chat(response_format=SCHEMA), CHAT.whole(arguments="{}"), "; stored"),
    (chat(response_format=SCHEMA), CHAT.whole(ends=REFUSED), "not-stored:finish_reason"),
    (chat(response_format=SCHEMA), CHAT.whole('{"a":', LENGTH), "not-stored:finish_reason"),
    (responses(text_format="ignored"), RESPONSES.whole("prose"), "; stored"),
], ids=["an object", "fenced", "text is wanted", "a call", "a refusal", "cut off", "another member"])
def test_json_is_expected_where_it_was_asked_for(client, upstream, ask, body, verdict):
    upstream.reply(whole, body_of(body))
    assert client.post(ask).was("MISS").header("cache-status").endswith(verdict)


def test_a_stream_that_comes_gzip_coded_unasked_is_judged_and_stored(client, upstream):
    frames = b"".join(CHAT.frames())
    upstream.reply(sse_unended, gzip.compress(frames), headers={"Content-Encoding": "gzip"})
    assert client.post(chat_stream(), {"Accept-Encoding": "identity"}).was("MISS").body == frames
    assert client.post(chat_stream(), {"Accept-Encoding": "identity"}).was("HIT").body == frames
    assert gzip.decompress(client.post(chat_stream(), {"Accept-Encoding": "gzip"}).was("HIT").body) == frames


@pytest.mark.refrain(cache={"max_object_bytes": "64KiB"})
def test_a_stream_that_grows_like_a_bomb_is_passed_on_unstored(client, upstream):
    bomb = gzip.compress(b": nothing\n\n" * 100_000 + b"".join(CHAT.frames()))
    upstream.reply(sse_unended, bomb, headers={"Content-Encoding": "gzip"})
    answer = client.post(chat_stream(), {"Accept-Encoding": "gzip", "TE": "trailers"}).was("MISS")
    assert answer.body == bomb and answer.trailers.get("cache-status").endswith("not-stored:too_large")


def test_a_stream_that_grows_more_than_any_answer_does_is_no_answer(client, upstream):
    bomb = gzip.compress(b":\n" * 4_000_000 + b"".join(CHAT.frames()))
    upstream.reply(sse_unended, bomb, headers={"Content-Encoding": "gzip"})
    answer = client.post(chat_stream(), {"Accept-Encoding": "gzip", "TE": "trailers"}).was("MISS")
    assert answer.body == bomb and answer.trailers.get("cache-status").endswith("not-stored:too_large")


def test_a_whole_answer_that_grows_so_is_none_either(client, upstream):
    bomb = gzip.compress(chat_answer(" " * 4_000_000))
    upstream.reply(whole, bomb, headers={"Content-Encoding": "gzip"})
    answer = client.post(chat(), {"Accept-Encoding": "gzip"}).was("MISS")
    assert answer.body == bomb and answer.header("cache-status").endswith("not-stored:too_large")


def test_events_of_the_api_that_are_not_known_do_no_harm(client, upstream):
    frames = CHAT.frames()
    upstream.reply(sse_unended, b": keep-alive\n\n", frames[0], event({"something": "new"}), *frames[1:])
    client.post(chat_stream()).was("MISS")
    client.post(chat_stream()).was("HIT")
