"""What the cache has saved, to the token and to the nano-dollar; and who says on a hit that nothing was used.
SPEC section 12, docs/savings.md."""

import gzip
import json
import random

import pytest

from harness.answers import compact, sse_event
from harness.asks import chat, embedding
from harness.operator import Operator
from harness.process import wait_until
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



# The same of an API that had some of the input in its own prompt cache: what it writes in place of what the sample has,
# and how much of the input it then had there, or wrote there.
CACHED_IN, CACHE_WRITE = 0.123457, 1.543211
CACHED_PRICED = [{"model": ["*"], "input": IN, "output": OUT, "cached_input": CACHED_IN, "cache_write": CACHE_WRITE}]
OF_CHAT = (b'"prompt_tokens":11', b'"prompt_tokens":11,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0}')
OF_RESPONSES = (b'"input_tokens":11', b'"input_tokens":11,"input_tokens_details":{"cached_tokens":4}')
OF_MESSAGES = (b'"input_tokens":11', b'"input_tokens":2,"cache_read_input_tokens":6,"cache_creation_input_tokens":3')
OF_GEMINI = (b'"promptTokenCount":11', b'"promptTokenCount":11,"cachedContentTokenCount":5')
CACHED = {"chat": (OF_CHAT, 4, 0), "completion": (OF_CHAT, 4, 0), "responses": (OF_RESPONSES, 4, 0),
          "messages": (OF_MESSAGES, 6, 3), "generate": (OF_GEMINI, 5, 0), "generate []": (OF_GEMINI, 5, 0)}
CACHED_CASES = [case for case in CASES if case.values[0] in CACHED]


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


def cached_answers(upstream, api, streamed, **more):
    """An answer of an upstream that had some of the prompt in its cache; tells (bytes, cached, written)."""
    (plain_usage, told), cached, written = CACHED[api.name]
    frames = [frame.replace(plain_usage, told) for frame in (frames_of(api) if streamed else [compact(api.whole()).encode()])]
    assert any(told in frame for frame in frames)
    if streamed:
        upstream.reply(chunked, *frames, content_type=api.stream_type, **more)
    else:
        upstream.reply(whole, *frames, content_type=api.whole_type, **more)
    return b"".join(frames), cached, written


def cached_nano_of(cached, written, times):
    """What that answer would have cost."""
    pico = [round(price * 1e6) for price in (IN, CACHED_IN, CACHE_WRITE, OUT)]
    return times * ((sum(n * p for n, p in zip((11 - cached - written, cached, written, 22), pico)) + 500) // 1000)


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


@pytest.mark.refrain(pricing=CACHED_PRICED, cache={"usage_on_hit": "zero"})
@pytest.mark.parametrize("name, streamed", CACHED_CASES)
def test_what_upstream_had_in_its_own_cache_would_have_cost_less_and_is_counted_so(
        client, refrain, upstream, name, streamed):
    api = BY_NAME[name]
    sent, cached, written = cached_answers(upstream, api, streamed, before=hold("g"))
    waiting = [client.post(api.ask(1, streamed)) for _ in range(2)]
    refrain.waits_for("flight_readers", 2)
    upstream.release("g")
    assert sorted(answer.whole().header("x-cache") for answer in waiting) == ["COALESCED", "MISS"]
    hit = client.post(api.ask(1, streamed)).was("HIT")
    says_nothing_was_used(hit, sent, api.stream_type if streamed else api.whole_type)
    lines = refrain.request_lines(3)
    assert [(line["tokens_in"], line["tokens_cached"], line.get("tokens_cache_write", 0)) for line in lines] == [
        (11, cached, written)] * 3
    assert saved(refrain) == (2 * 11, 2 * 22), "cached input is input"
    assert refrain.metric("cached_tokens_saved_total") == 2 * cached
    assert nano_dollars(refrain) == cached_nano_of(cached, written, 2)


@pytest.mark.parametrize("name, streamed", [("chat", False), ("messages", True)])
def test_it_is_known_of_what_lies_on_disk_and_the_api_tells_it(start, upstream, tmp_path, name, streamed):
    api = BY_NAME[name]
    disk = {"path": str(tmp_path / "cache.db"), "max_bytes": "64MiB", "timeout": "10s"}
    _, cached, written = cached_answers(upstream, api, streamed)
    for outcome in ("MISS", "HIT"):
        refrain = start(cache={"state_dir": str(tmp_path / "state")}, tiers={"disk": disk}, pricing=CACHED_PRICED)
        operator = Operator(refrain, (tmp_path / "state" / "admin.token").read_text())
        start.client(refrain).post(api.ask(1, streamed)).was(outcome)
        (line,) = refrain.request_lines(1)
        told = operator.reads(f"/entries/{line['entry']}")
        assert (told["tokens_in"], told["tokens_cached"], told["tokens_cache_write"]) == (11, cached, written)
        if outcome == "HIT":
            total = operator.reads("/stats")["saved"]
            assert (total["tokens_in"], total["tokens_cached"], total["models"][0]["tokens_cached"]) == (11, cached, cached)
            assert nano_dollars(refrain) == cached_nano_of(cached, written, 1)
        refrain.stop()


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


# -- usage on a hit --

ZERO = {"usage_on_hit": "zero"}
# Where each tells of usage; everything else must stay as it came.
USAGE_NAMES = {"usage", "usageMetadata", "prompt_eval_count", "eval_count"}


def numbers(value):
    if isinstance(value, dict):
        return [n for inner in value.values() for n in numbers(inner)]
    if isinstance(value, list):
        return [n for inner in value for n in numbers(inner)]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def parted(value):
    """The numbers of usage in it, and all the rest, by a parser that has nothing to do with ours."""
    told = []

    def rest(inner):
        if isinstance(inner, list):
            return [rest(item) for item in inner]
        if not isinstance(inner, dict):
            return inner
        for name in USAGE_NAMES & inner.keys():
            told.extend(numbers(inner[name]))
        return {name: rest(item) for name, item in inner.items() if name not in USAGE_NAMES}

    return rest(value), told


def values(body, content_type):
    """The JSON texts of an answer, in their order."""
    text = body.decode()
    if content_type.startswith("text/event-stream"):
        data = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
        return [json.loads(line) for line in data if line != "[DONE]"]
    if content_type.startswith("application/x-ndjson"):
        return [json.loads(line) for line in text.splitlines()]
    return [json.loads(text)]


def says_nothing_was_used(answer, sent, content_type):
    assert len(answer.body) == len(sent), "of the same length"
    was, used = zip(*map(parted, values(sent, content_type)))
    now, zeros = zip(*map(parted, values(answer.body, content_type)))
    assert now == was, "nothing else is altered"
    assert any(n for told in used for n in told), "upstream's own tells of usage"
    assert [len(told) for told in zeros] == [len(told) for told in used]
    assert not any(n for told in zeros for n in told), f"expected zeros: {answer.body!r}"


@pytest.mark.refrain(cache=ZERO, pricing=PRICED)
@pytest.mark.parametrize("name, streamed", CASES)
def test_who_did_not_make_the_call_is_told_that_nothing_was_used(client, refrain, upstream, name, streamed):
    api, (tokens_in, tokens_out) = BY_NAME[name], USED[name, streamed]
    content_type = api.stream_type if streamed else api.whole_type
    sent = answers(upstream, api, streamed, before=hold("g"))
    waiting = [client.post(api.ask(1, streamed)) for _ in range(3)]
    refrain.waits_for("flight_readers", 3)
    upstream.release("g")
    for answer in waiting:
        if answer.whole().header("x-cache") == "MISS":
            assert answer.body == sent, "who made the call is told upstream's own"
            assert answer.header("etag") is None, "the tag is that of other bytes"
        else:
            says_nothing_was_used(answer, sent, content_type)
    hit = client.post(api.ask(1, streamed)).was("HIT")
    says_nothing_was_used(hit, sent, content_type)
    assert {answer.header("etag") for answer in waiting if answer.header("etag")} == {hit.header("etag")}
    client.post(api.ask(1, streamed), headers={"If-None-Match": hit.header("etag")}).refused(304)
    refrain.request_lines(5)
    assert saved(refrain) == (4 * tokens_in, 4 * tokens_out), "what was saved is counted all the same"
    assert nano_dollars(refrain) == nano_of(tokens_in, tokens_out, 4)
    upstream.saw(1)


@pytest.mark.refrain(cache=ZERO, compression={"memory": True, "threshold": 100})
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("length", [10, 300_000], ids=["small", "large"])
def test_it_is_so_of_answers_that_come_gzip_coded_whatever_the_client_takes(client, refrain, upstream, streamed, length):
    api, text = BY_NAME["chat"], random.Random(1).randbytes(length // 2).hex()  # what shrinks more is taken for a bomb
    frames = [*api.frames(text)[:-1], sse_event({"choices": [], "usage": api.usage}), sse_event("[DONE]")]
    sent = b"".join(frames) if streamed else compact(api.whole(text)).encode()
    content_type = api.stream_type if streamed else api.whole_type
    upstream.reply(chunked, gzip.compress(sent), content_type=content_type, headers={"Content-Encoding": "gzip"},
                   before=hold("g"))
    first = client.post(api.ask(1, streamed), headers={"Accept-Encoding": "gzip"})
    refrain.waits_for("flight_readers", 1)
    others = [client.post(api.ask(1, streamed), headers={"Accept-Encoding": coding}) for coding in ("gzip", "identity")]
    refrain.waits_for("flight_readers", 3)
    upstream.release("g")
    assert plain(first.was("MISS")) == sent
    hits = []
    for answer in others:
        says_nothing_was_used(decoded(answer.was("COALESCED")), sent, content_type)
    for coding in ("gzip", "identity", "gzip"):
        hits.append(client.post(api.ask(1, streamed), headers={"Accept-Encoding": coding}).was("HIT"))
    for answer in hits:
        says_nothing_was_used(decoded(answer), sent, content_type)


@pytest.mark.refrain(cache=ZERO)
def test_a_sum_over_upstreams_own_bytes_does_not_stand_behind_altered_ones(client, refrain, upstream):
    api = BY_NAME["messages"]
    upstream.reply(chunked, *api.frames(), content_type=api.stream_type, before=hold("g"),
                   trailers=(("Content-Digest", "sha-256=:of-these-bytes:"), ("X-Sum", "1")))
    first = client.post(api.ask(1, True))
    refrain.waits_for("flight_readers", 1)
    second = client.post(api.ask(1, True))
    refrain.waits_for("flight_readers", 2)
    upstream.release("g")
    assert first.was("MISS").trailers.get("content-digest") == "sha-256=:of-these-bytes:"
    assert second.was("COALESCED").trailers.get("x-sum") == "1"
    assert second.trailers.get("content-digest") is None


class decoded:
    """An answer whose body is what it means."""

    def __init__(self, answer):
        self.body = plain(answer)


def plain(answer):
    return gzip.decompress(answer.body) if answer.header("content-encoding") == "gzip" else answer.body


@pytest.mark.refrain(rules=[{"match": {"model": "billed-*"}, "usage_on_hit": "zero"}])
def test_a_rule_says_for_whom(client, upstream):
    body = compact(BY_NAME["chat"].whole()).encode()
    upstream.always(whole, body)
    for model, altered in (("billed-1", True), ("gpt-4o", False)):
        client.post(chat(model=model)).was("MISS")
        assert (client.post(chat(model=model)).was("HIT").body != body) == altered


@pytest.mark.refrain(cache=ZERO, rules=[{"match": {"model": "free-*"}, "usage_on_hit": "upstream"}])
def test_a_rule_says_for_whom_not(client, upstream):
    body = compact(BY_NAME["chat"].whole()).encode()
    upstream.always(whole, body)
    client.post(chat(model="free-1")).was("MISS")
    assert client.post(chat(model="free-1")).was("HIT").body == body


def test_switching_it_costs_misses_and_gives_nobody_what_is_meant_for_others(start, upstream, tmp_path):
    disk = {"path": str(tmp_path / "cache.db"), "max_bytes": "64MiB", "timeout": "10s"}
    body = compact(BY_NAME["chat"].whole()).encode()
    upstream.always(whole, body)

    def lives(usage_on_hit, *wanted):
        refrain = start(cache={"usage_on_hit": usage_on_hit, "state_dir": str(tmp_path / "state")},
                        tiers={"disk": disk})
        client = start.client(refrain)
        for outcome, own in wanted:
            assert (client.post(chat()).was(outcome).body == body) == own, f"{outcome} with {usage_on_hit}"
        refrain.stop()

    lives("upstream", ("MISS", True), ("HIT", True))
    lives("zero", ("MISS", True), ("HIT", False))
    lives("upstream", ("HIT", True))
    lives("zero", ("HIT", False))
    upstream.saw(2)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_another_instance_that_shares_the_call_learns_what_it_cost_and_tells_its_reader_nothing_was_used(
        start, redis, upstream, streamed):
    api = BY_NAME["messages"]
    sent, cached, written = cached_answers(upstream, api, streamed, before=hold("g"))
    pair = [start(cache={**ZERO, "secret": "the fleet's own secret, thirty-two bytes"}, pricing=CACHED_PRICED,
                  tiers={"redis": {"url": redis.url, "timeout": "10s"}}, coalescing={"cluster": True})
            for _ in range(2)]
    first = start.client(pair[0]).post(api.ask(1, streamed))
    pair[0].waits_for("flight_readers", 1)
    upstream.saw(1)
    second = start.client(pair[1]).post(api.ask(1, streamed))
    wait_until(lambda: any("{flight:" in name and name.endswith(":readers") for name in redis.keys()), "a follower")
    upstream.release("g")
    assert first.was("MISS").body == sent
    says_nothing_was_used(second.was("COALESCED"), sent, api.stream_type if streamed else api.whole_type)
    pair[1].request_lines(1)
    assert saved(pair[1]) == (11, 22) and nano_dollars(pair[1]) == cached_nano_of(cached, written, 1)
    assert saved(pair[0]) == (0, 0)
    upstream.saw(1)
