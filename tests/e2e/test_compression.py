"""Answers are kept gzip-coded where that makes them smaller, and nobody sees it who does not want to. SPEC sections 6
and 8. Here in memory, where configuration asks for that; below it the same is done to all that is written."""

import gzip

import pytest

from harness.asks import chat, chat_stream
from harness.process import wait_until
from harness.upstream import chat_answer, sse, token, whole

in_memory = pytest.mark.refrain(compression={"memory": True})
LONG = "it depends, and it depends on what it depends on; " * 100
GZIP = {"Accept-Encoding": "gzip"}


def is_coded(answer):
    return answer.header("content-encoding") == "gzip"


def compressed(client, ask):
    """Waits until the stored answer has been made smaller, which is done behind the request; the hit that shows it."""
    found = []

    def look():
        found.append(client.post(ask, headers=GZIP).was("HIT"))
        return is_coded(found[-1])

    wait_until(look, "the stored answer to be gzip-coded")
    return found[-1]


def long_answer(client, upstream, ask=None):
    """Has a long answer stored; what it was."""
    upstream.reply(whole, chat_answer(LONG))
    miss = client.post(ask or chat(), headers=GZIP).was("MISS")
    assert not is_coded(miss), "what upstream sent goes on as it came"
    return miss


@in_memory
def test_a_long_answer_goes_gzip_coded_to_those_who_take_it(refrain, client, upstream):
    miss = long_answer(client, upstream)
    hit = compressed(client, chat())
    assert gzip.decompress(hit.body) == miss.body
    assert hit.header("vary") == "Accept-Encoding"
    assert hit.header("etag") == miss.header("etag")[:-1] + '-gz"'
    assert refrain.metric("compression_ratio") > 2
    upstream.saw(1)


@pytest.mark.parametrize("ask", [chat(), None], ids=["chat", "read"])
def test_what_is_coded_twice_goes_on_as_it_came(client, upstream, ask):
    twice = gzip.compress(gzip.compress(chat_answer("coded twice")))
    upstream.reply(whole, twice, headers=[("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")])
    answer = (client.post(ask) if ask else client.get("/page")).whole()
    assert answer.body == twice
    assert answer.headers.all("content-encoding") == ["gzip", "gzip"]


@in_memory
def test_a_stream_is_compressed_and_replayed_whole(client, upstream):
    upstream.reply(sse, *(token(f"word {i} ") for i in range(200)))
    miss = client.post(chat_stream(), headers=GZIP).was("MISS").whole()
    hit = compressed(client, chat_stream())
    assert hit.header("content-type").startswith("text/event-stream")
    assert gzip.decompress(hit.body) == miss.body == client.post(chat_stream()).was("HIT").body


@in_memory
def test_others_get_the_answer_as_it_came_and_the_second_time_as_it_lies(client, upstream):
    miss = long_answer(client, upstream)
    compressed(client, chat())
    first = client.post(chat()).was("HIT").whole()
    assert first.body == miss.body and not is_coded(first)
    assert first.header("etag") == miss.header("etag")
    assert first.header("content-length") is None, "decoded on the way"

    def from_where_it_lies():
        hit = client.post(chat()).was("HIT").whole()
        assert hit.body == miss.body
        return hit.header("content-length") == str(len(miss.body))

    wait_until(from_where_it_lies, "the identity copy to be kept")
    assert is_coded(client.post(chat(), headers=GZIP).was("HIT")), "and the other form goes on"
    assert int(client.post(chat()).was("HIT").header("x-cache-hits")) > 3, "its hits were not forgotten"
    upstream.saw(1)


def test_what_upstream_coded_has_its_identity_kept_too(client, upstream):
    upstream.gzip = True
    miss = client.post(chat(), headers=GZIP).was("MISS").whole()
    plain = gzip.decompress(miss.body)

    def from_where_it_lies():
        hit = client.post(chat()).was("HIT").whole()
        assert hit.body == plain
        return hit.header("content-length") == str(len(plain))

    wait_until(from_where_it_lies, "the identity copy to be kept")
    assert client.post(chat(), headers=GZIP).was("HIT").body == miss.body


@in_memory
def test_who_wants_nothing_transformed_gets_what_upstream_sent(client, upstream):
    miss = long_answer(client, upstream)
    compressed(client, chat())
    for accepts in ("gzip", "identity"):
        hit = client.post(chat(), headers={"Accept-Encoding": accepts, "Cache-Control": "no-transform"}).was("HIT")
        assert hit.body == miss.body and not is_coded(hit)
    upstream.saw(1)


@in_memory
def test_either_tag_is_known(client, upstream):
    miss = long_answer(client, upstream)
    coded = compressed(client, chat())
    for tag in (miss.header("etag"), coded.header("etag")):
        assert client.post(chat(), headers={"If-None-Match": tag, **GZIP}).whole().status == 304


@in_memory
@pytest.mark.parametrize("name, value", [("Cache-Control", "no-transform"), ("Content-Digest", "sha-256=:AAAA:")])
def test_what_must_not_be_changed_is_not(refrain, client, upstream, name, value):
    upstream.reply(whole, chat_answer(LONG), headers={name: value})
    client.post(chat("as it is")).was("MISS")
    long_answer(client, upstream)
    compressed(client, chat())  # by then the first would have been, too
    assert not is_coded(client.post(chat("as it is"), headers=GZIP).was("HIT"))


@in_memory
def test_a_short_answer_stays_as_it_is(client, upstream):
    upstream.reply(whole, chat_answer("short"))
    client.post(chat("short")).was("MISS")
    long_answer(client, upstream)
    compressed(client, chat())
    assert not is_coded(client.post(chat("short"), headers=GZIP).was("HIT"))


def test_memory_keeps_what_came_unless_it_is_asked_to(refrain, client, upstream):
    long_answer(client, upstream)
    assert not is_coded(client.post(chat(), headers=GZIP).was("HIT"))
    assert refrain.metric("compression_ratio") == 0
