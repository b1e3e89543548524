"""Parts of a stored whole. RFC 9110 section 14; that each form of Range means what it should is the conformance suite's."""

import gzip

import pytest

from harness.asks import chat
from harness.upstream import hold, whole

TEN = b"0123456789"
FRESH = {"Cache-Control": "public, max-age=60", "ETag": '"v1"'}


def stored(client, upstream, body=TEN, **headers):
    upstream.reply(whole, body, headers={**FRESH, **{n.replace("_", "-"): v for (n, v) in headers.items()}})
    client.get("/audio", {"Accept-Encoding": "gzip"}).was("MISS")


@pytest.mark.parametrize("size", [10, 500_000])
def test_a_part_is_cut_from_the_stored_whole(client, upstream, size):
    body = bytes(i % 251 for i in range(size))
    stored(client, upstream, body)
    answer = client.get("/audio", {"Range": f"bytes={size // 2}-{size // 2 + 3}"}).was("HIT", status=206)
    assert answer.body == body[size // 2:size // 2 + 4]
    assert answer.header("content-range") == f"bytes {size // 2}-{size // 2 + 3}/{size}"
    assert client.get("/audio").was("HIT").body == body
    upstream.saw(1)


def test_a_part_that_is_not_there_is_416(client, upstream):
    stored(client, upstream)
    answer = client.get("/audio", {"Range": "bytes=10-"}).was("HIT", status=416)
    assert answer.header("content-range") == "bytes */10" and answer.body == b""


def test_if_range_gets_the_part_of_the_same_whole_alone(client, upstream):
    stored(client, upstream)
    assert client.get("/audio", {"Range": "bytes=1-2", "If-Range": '"v1"'}).was("HIT", status=206).body == b"12"
    assert client.get("/audio", {"Range": "bytes=1-2", "If-Range": '"v0"'}).was("HIT").body == TEN


def test_gzip_is_cut_as_it_is_sent_and_never_as_it_decodes(client, upstream):
    coded = gzip.compress(TEN * 50, mtime=0)
    stored(client, upstream, coded, Content_Encoding="gzip")
    part = client.get("/audio", {"Accept-Encoding": "gzip", "Range": "bytes=0-3"}).was("HIT", status=206)
    assert part.body == coded[:4] and part.header("content-encoding") == "gzip" and part.header("etag") == '"v1"'
    whole_one = client.get("/audio", {"Range": "bytes=0-3"}).was("HIT")
    assert whole_one.body == TEN * 50 and whole_one.header("content-range") is None
    assert whole_one.header("etag") == 'W/"v1"'


def test_without_a_stored_whole_upstream_cuts_and_its_part_is_not_stored(client, upstream):
    upstream.reply(whole, b"34", status=206, headers={**FRESH, "Content-Range": "bytes 3-4/10"})
    answer = client.get("/audio", {"Range": "bytes=3-4", "If-Range": '"v1"'}).was("BYPASS", status=206)
    assert answer.body == b"34" and answer.header("content-range") == "bytes 3-4/10"
    assert (upstream.requests[0].header("range"), upstream.requests[0].header("if-range")) == ("bytes=3-4", '"v1"')
    stored(client, upstream)
    assert client.get("/audio").was("HIT").body == TEN


def test_a_part_never_joins_the_whole_on_its_way_nor_the_other_way_round(client, upstream):
    upstream.reply(whole, TEN, headers=FRESH, before=hold("whole"))
    all_of_it = client.get("/audio")
    upstream.held("whole")
    upstream.reply(whole, b"34", status=206, headers={"Content-Range": "bytes 3-4/10"})
    assert client.get("/audio", {"Range": "bytes=3-4"}).was("BYPASS", status=206).body == b"34"
    upstream.release("whole")
    assert all_of_it.was("MISS").body == TEN


def test_a_part_of_a_stale_whole_comes_at_once_and_the_whole_is_refreshed(client, upstream):
    stored(client, upstream, Age="100", Cache_Control="public, max-age=60, stale-while-revalidate=600")
    upstream.reply(whole, TEN, headers=FRESH, before=hold("refresh"))
    part = client.get("/audio", {"Range": "bytes=3-4"}).was("STALE", status=206)
    assert part.body == b"34"
    upstream.held("refresh")
    assert "range" not in upstream.requests[1].headers, "the whole is asked for"


def test_a_range_on_a_question_is_upstreams_to_understand(client, upstream):
    client.post(chat()).was("MISS")
    client.post(chat(), {"Range": "bytes=0-1"}).was("BYPASS")
    client.post(chat()).was("HIT")
    upstream.saw(2)
