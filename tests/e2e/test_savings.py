"""What the cache has saved, to the token and to the nano-dollar; and who says on a hit that nothing was used.
SPEC section 12, docs/savings.md."""

import json

import pytest

from harness.answers import compact, sse_event
from harness.asks import chat, embedding
from harness.samples import APIS
from harness.upstream import chunked, hold, whole

BY_NAME = {api.name: api for api in APIS}
IN, OUT = 1.234567, 7.654321  # dollars a million
PRICED = [{"model": ["*"], "input": IN, "output": OUT}]
# What an answer of each says it has used: samples.py.
BOTH = (11, 22)
USED = {("chat", False): BOTH, ("chat", True): BOTH, ("completion", False): BOTH, ("completion", True): BOTH,
        ("responses", False): BOTH, ("responses", True): BOTH, ("messages", False): BOTH, ("messages", True): BOTH,
        ("generate", False): BOTH, ("generate", True): BOTH, ("generate []", True): BOTH,
        ("ollama", False): BOTH, ("ollama", True): BOTH, ("ollama gen.", True): BOTH,
        ("embedding", False): (11, 0), ("speech events", True): BOTH}
CASES = [pytest.param(*case, id=f"{case[0]}, {'streamed' if case[1] else 'whole'}") for case in USED]


def frames_of(api):
    """Its stream; of chat with the event that `include_usage` asks for."""
    frames = api.frames()
    if api.name != "chat":
        return frames
    told = sse_event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": api.usage})
    return [*frames[:-1], told, frames[-1]]


def answers(upstream, api, streamed, **more):
    if streamed:
        upstream.reply(chunked, *frames_of(api), content_type=api.stream_type, **more)
        return b"".join(frames_of(api))
    body = compact(api.whole()).encode()
    upstream.reply(whole, body, content_type=api.whole_type, **more)
    return body


def nano_dollars(refrain, **labels):
    return round(refrain.metric("cost_saved_dollars_total", **labels) * 1e9)


def nano_of(tokens_in, tokens_out, times=1, price=(IN, OUT)):
    """Each answer's is rounded for itself."""
    pico = tokens_in * round(price[0] * 1e6) + tokens_out * round(price[1] * 1e6)
    return times * ((pico + 500) // 1000)


def saved(refrain, **labels):
    return (refrain.metric("tokens_saved_total", kind="input", **labels),
            refrain.metric("tokens_saved_total", kind="output", **labels))


@pytest.mark.refrain(pricing=PRICED)
@pytest.mark.parametrize("name, streamed", CASES)
def test_who_shares_a_call_and_who_repeats_it_has_saved_what_it_cost(client, refrain, upstream, name, streamed):
    api, (tokens_in, tokens_out) = BY_NAME[name], USED[name, streamed]
    answers(upstream, api, streamed, before=hold("g"))
    waiting = [client.post(api.ask(1, streamed)) for _ in range(3)]
    refrain.waits_for("flight_readers", 3)
    upstream.release("g")
    assert sorted(answer.whole().header("x-cache") for answer in waiting) == ["COALESCED", "COALESCED", "MISS"]
    client.post(api.ask(1, streamed)).was("HIT")
    lines = refrain.request_lines(4)
    model = lines[0]["model"]
    assert saved(refrain, model=model) == (3 * tokens_in, 3 * tokens_out)
    assert nano_dollars(refrain, model=model) == nano_of(tokens_in, tokens_out, 3)
    assert all(line["tokens_in"] == tokens_in for line in lines), "whoever asked, the line tells what it cost"
    upstream.saw(1)


@pytest.mark.refrain(pricing=PRICED)
def test_a_stream_that_tells_no_usage_has_saved_a_call_and_no_tokens(client, refrain, upstream):
    api = BY_NAME["chat"]
    upstream.reply(chunked, *api.frames(), content_type=api.stream_type)
    client.post(api.ask(1, True)).was("MISS")
    client.post(api.ask(1, True)).was("HIT")
    refrain.request_lines(2)
    assert saved(refrain) == (0, 0) and nano_dollars(refrain) == 0


@pytest.mark.refrain(pricing={"gpt-4o-mini": {"input": 0.15, "output": 0.6}, "gpt-4o*": {"input": 2.5, "output": 10}})
def test_each_model_has_the_price_of_the_first_row_that_matches_and_one_without_has_none(client, refrain, upstream):
    body = compact({"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 100, "completion_tokens": 10}}).encode()
    upstream.always(whole, body)
    for model, hits in (("gpt-4o-mini", 1), ("gpt-4o-2024-08-06", 2), ("unheard-of", 3)):
        client.post(chat(model=model)).was("MISS")
        for _ in range(hits):
            client.post(chat(model=model)).was("HIT")
    refrain.request_lines(9)
    assert nano_dollars(refrain, model="gpt-4o-mini") == 100 * 150 + 10 * 600
    assert nano_dollars(refrain, model="gpt-4o-2024-08-06") == 2 * (100 * 2500 + 10 * 10000)
    assert nano_dollars(refrain, model="unheard-of") == 0
    assert saved(refrain, model="unheard-of") == (300, 30)


@pytest.mark.refrain(pricing=[{"model": [f"m{n}"], "input": n} for n in range(105)])
def test_models_that_share_a_label_keep_their_own_prices(client, refrain, upstream):
    upstream.always(whole, compact({"data": [{"index": 0, "embedding": [1]}],
                                    "usage": {"prompt_tokens": 1000}}).encode())
    for n in range(105):
        client.post(embedding(model=f"m{n}")).was("MISS")
        client.post(embedding(model=f"m{n}")).was("HIT")
    refrain.request_lines(210)
    assert nano_dollars(refrain) == sum(n * 1000 * 1000 for n in range(105))
    assert nano_dollars(refrain, model="other") == sum(n * 1000 * 1000 for n in range(100, 105))


def test_a_new_price_holds_from_the_reload_on_and_a_faulty_file_changes_nothing(start, upstream, tmp_path):
    file = tmp_path / "prices.yaml"
    file.write_text("gpt-4o-mini: {input: 1, output: 1}\n")
    refrain = start(pricing_file=str(file))
    client = start.client(refrain)
    upstream.reply(whole, compact(BY_NAME["chat"].whole()).encode())
    client.post(chat()).was("MISS")
    client.post(chat()).was("HIT")
    refrain.request_lines(2)
    assert nano_dollars(refrain) == 33 * 1000
    file.write_text("gpt-4o-mini: {input: 2, output: 2}\n")
    refrain.reload()
    refrain.logged(lambda line: line.get("event") == "reloaded", "the reload")
    client.post(chat()).was("HIT")
    refrain.request_lines(3)
    assert nano_dollars(refrain) == 33 * 1000 + 33 * 2000
    file.write_text("gpt-4o-mini: {inptu: 2}\n")
    refrain.reload()
    refrain.logged(lambda line: "prices.yaml:1" in json.dumps(line), "file and line of the fault")
    client.post(chat()).was("HIT")
    refrain.request_lines(4)
    assert nano_dollars(refrain) == 33 * 1000 + 2 * 33 * 2000
