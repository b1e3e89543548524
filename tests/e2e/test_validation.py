"""Upstream is asked about what is stored rather than asked for it again, and its 304 serves everyone; clients that hold
an answer already are told so. RFC 9111 sections 3.2, 4.3 and 4.4, RFC 9110 section 13."""

import gzip

import pytest

from harness.asks import chat
from harness.process import wait_until
from harness.upstream import bodiless, hold, whole

TAG = '"v1"'
STALE = {"Cache-Control": "public, max-age=60", "Age": "100", "ETag": TAG}  # stale when it comes
FRESH = {"Cache-Control": "public, max-age=60", "ETag": TAG}
ASKS_EACH_TIME = {"Cache-Control": "public, no-cache", "ETag": TAG}


def unchanged(upstream, headers=None, **how):
    upstream.reply(bodiless, status=304, headers={**FRESH, **(headers or {})}, **how)


def test_a_304_serves_all_who_wait_and_is_asked_for_once(client, upstream, refrain):
    upstream.reply(whole, b"page", headers={**FRESH, "Age": "59"})
    client.get("/page").was("MISS")
    wait_until(lambda: client.get("/page", {"Cache-Control": "only-if-cached"}).whole().status == 504, "a stale page")
    unchanged(upstream, before=hold("asked"))
    first = client.get("/page")
    upstream.held("asked")
    more = [client.get("/page") for _ in range(3)]
    refrain.waits_for("flight_readers", 4)
    upstream.release("asked")
    for answer in [first, *more]:
        assert answer.was("REVALIDATED").body == b"page" and answer.header("etag") == TAG
        assert "fwd=stale; fwd-status=304" in answer.header("cache-status")
    assert [("collapsed" in answer.header("cache-status")) for answer in [first, *more]] == [False, True, True, True]
    assert client.get("/page").was("HIT").body == b"page"
    upstream.saw(2)
    assert upstream.requests[1].header("if-none-match") == TAG
    refrain.waits_for("requests_total", 4, result="revalidated")


def test_the_condition_upstream_sees_is_ours_not_the_clients(client, upstream):
    upstream.reply(whole, b"page", headers=STALE)
    client.get("/page").was("MISS")
    unchanged(upstream)
    answer = client.get("/page", {"If-None-Match": '"mine"', "If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"})
    assert answer.was("REVALIDATED").body == b"page", "it holds something else, so it gets the whole"
    assert upstream.requests[1].headers.all("if-none-match") == [TAG]
    assert "if-modified-since" not in upstream.requests[1].headers


def test_nobody_gets_a_304_for_another_clients_condition_nor_its_headers(client, refrain, upstream):
    upstream.reply(whole, b"page", headers={**FRESH, "Age": "59", "X-Plan": "basic"})
    client.get("/page").was("MISS")
    wait_until(lambda: client.get("/page", {"Cache-Control": "only-if-cached"}).whole().status == 504, "a stale page")
    unchanged(upstream, {"X-Plan": "basic", "Set-Cookie": "id=alice", "X-RateLimit-Remaining-Requests": "7",
                         "X-Request-Id": "req-of-alice"}, before=hold("asked"))
    alice = client.get("/page", {"If-None-Match": TAG})
    upstream.held("asked")
    bob = client.get("/page")
    refrain.waits_for("flight_readers", 2)
    upstream.release("asked")
    assert alice.was("REVALIDATED", status=304).body == b""
    assert alice.header("set-cookie") == "id=alice", "who was answered gets upstream's word as it came"
    late = client.get("/page").was("HIT")
    for answer in (bob.was("REVALIDATED"), late):
        assert answer.body == b"page" and answer.header("x-plan") == "basic"
        for name in ("set-cookie", "x-ratelimit-remaining-requests"):
            assert answer.header(name) is None, f"{name} was about alice: {answer!r}"
        assert answer.header("x-request-id") != "req-of-alice"


def test_a_304_never_changes_what_describes_the_stored_bytes(client, upstream):
    body = gzip.compress(b"page " * 100)
    upstream.reply(whole, body, headers={**STALE, "Content-Encoding": "gzip"}, content_type="text/plain")
    client.get("/page", {"Accept-Encoding": "gzip"}).was("MISS")
    unchanged(upstream, {"Content-Length": "3", "Content-Encoding": "br", "Content-Range": "bytes 0-1/9",
                         "Content-Type": "text/html", "X-New": "1"})
    answer = client.get("/page", {"Accept-Encoding": "gzip"}).was("REVALIDATED")
    hit = client.get("/page", {"Accept-Encoding": "gzip"}).was("HIT")
    for got in (answer, hit):
        assert got.body == body and got.header("content-encoding") == "gzip" and got.header("x-new") == "1"
        assert got.header("content-type") == "text/plain" and got.header("content-range") is None
    assert client.get("/page").was("HIT").body == b"page " * 100


def test_a_page_that_must_be_asked_about_is_asked_about_in_parallel(client, upstream):
    upstream.reply(whole, b"page", headers=ASKS_EACH_TIME)
    client.get("/page").was("MISS")
    for gate in ("one", "two"):
        unchanged(upstream, ASKS_EACH_TIME, before=hold(gate))
    one = client.get("/page")
    upstream.held("one")
    two = client.get("/page")
    upstream.held("two")  # it did not wait for the first
    upstream.release("two")
    assert two.was("REVALIDATED").body == b"page"
    upstream.release("one")
    assert one.was("REVALIDATED").body == b"page"
    upstream.reply(whole, b"changed", headers={**ASKS_EACH_TIME, "ETag": '"v2"'})
    assert client.get("/page").was("MISS").body == b"changed"
    unchanged(upstream, {**ASKS_EACH_TIME, "ETag": '"v2"'})
    assert client.get("/page").was("REVALIDATED").body == b"changed"
    assert upstream.requests[4].header("if-none-match") == '"v2"'


def test_a_304_about_something_else_makes_everyone_start_over(client, refrain, upstream):
    upstream.reply(whole, b"old", headers=STALE)
    client.get("/page").was("MISS")
    unchanged(upstream, {"ETag": '"other"'})
    upstream.reply(whole, b"new", headers={**FRESH, "ETag": '"other"'})
    assert client.get("/page").was("MISS").body == b"new"
    assert client.get("/page").was("HIT").body == b"new"
    assert "if-none-match" not in upstream.requests[2].headers
    upstream.saw(3)


def test_what_is_coded_is_not_asked_about_for_one_who_wants_it_neither_coded_nor_decoded(client, upstream):
    coded = {**STALE, "Content-Encoding": "gzip"}
    upstream.reply(whole, gzip.compress(b"page"), headers=coded)
    client.get("/page", {"Accept-Encoding": "gzip"}).was("MISS")
    upstream.reply(whole, b"page", headers=FRESH)
    answer = client.get("/page", {"Accept-Encoding": "identity", "Cache-Control": "no-transform"}).was("MISS")
    assert "if-none-match" not in upstream.saw(2).headers
    assert answer.body == b"page" and answer.header("etag") == TAG
    assert client.get("/page").was("HIT").body == b"page"


@pytest.mark.parametrize("size", [10, 300_000, 3_000_000], ids=["small", "on the pool", "past the window"])
def test_large_answers_are_confirmed_like_small_ones(client, upstream, size):
    upstream.reply(whole, b"x" * size, headers=STALE)
    client.get("/page").was("MISS")
    unchanged(upstream)
    assert client.get("/page").was("REVALIDATED").body == b"x" * size
    assert client.get("/page").was("HIT").body == b"x" * size
    upstream.saw(2)


def test_who_leaves_while_it_is_asked_about_disturbs_nothing(client, upstream, refrain):
    upstream.reply(whole, b"page", headers=STALE)
    client.get("/page").was("MISS")
    unchanged(upstream, before=hold("asked"))
    client.get("/page").leave()
    upstream.held("asked")
    upstream.lost(2)
    unchanged(upstream)
    assert client.get("/page").was("REVALIDATED").body == b"page"


@pytest.mark.refrain(routes=[{"path": "/", "ttl": "1h"}])
def test_a_list_of_models_stored_by_a_routes_lifetime_gets_a_tag(client, upstream):
    upstream.always(whole, b'{"data":[]}')
    miss, hit = client.get("/v1/models").was("MISS"), client.get("/v1/models").was("HIT")
    assert miss.header("etag") == hit.header("etag") is not None
    client.get("/v1/models", {"If-None-Match": hit.header("etag")}).was("HIT", status=304)
    client.get("/v1/models", {"Cache-Control": "no-cache"}).was("MISS")
    assert "if-none-match" not in upstream.requests[1].headers, "upstream knows nothing of our tag"


def test_only_what_a_304_must_carry_is_in_it(client, upstream):
    upstream.reply(whole, b"page", content_type="text/plain",
                   headers={**FRESH, "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT", "Content-Language": "en",
                            "Content-Location": "/page.en", "Expires": "Fri, 31 Dec 2100 00:00:00 GMT"})
    client.get("/page").was("MISS")
    answer = client.get("/page", {"If-None-Match": TAG}).was("HIT", status=304)
    for name in ("cache-control", "content-location", "date", "etag", "expires", "age"):
        assert answer.header(name) is not None, f"{name} must be there: {answer!r}"
    for name in ("content-type", "content-language", "content-encoding", "last-modified"):
        assert answer.header(name) is None, f"{name} describes what is not there: {answer!r}"


# HEAD.


def test_head_is_answered_from_a_stored_get_and_updates_it(client, upstream):
    upstream.reply(whole, b"page", headers=STALE)
    client.get("/page").was("MISS")
    upstream.reply(bodiless, headers={**FRESH, "Content-Length": "4", "X-New": "1"})
    assert client.ask("HEAD", "/page").was("MISS").header("content-length") == "4"
    hit = client.get("/page").was("HIT")
    assert hit.body == b"page" and hit.header("x-new") == "1"
    head = client.ask("HEAD", "/page").was("HIT")
    assert head.header("content-length") == "4" and head.header("etag") == TAG
    upstream.saw(2)


def test_a_head_stores_nothing_by_itself(client, upstream):
    upstream.reply(bodiless, headers={**FRESH, "Content-Length": "4"})
    client.ask("HEAD", "/page").was("MISS")
    upstream.reply(whole, b"page", headers=FRESH)
    assert client.get("/page").was("MISS").body == b"page"


def test_a_head_that_tells_another_page_is_nobodys_fault(client, refrain, upstream):
    upstream.reply(whole, b"page", headers=STALE)
    client.get("/page").was("MISS")
    upstream.reply(bodiless, headers={**FRESH, "ETag": '"another"', "Content-Length": "9"})
    assert client.ask("HEAD", "/page").was("MISS").header("content-length") == "9"
    upstream.reply(whole, b"new", headers=FRESH)
    assert client.get("/page").was("MISS").body == b"new"
    refrain.waits_for("flights", 0)
    assert not refrain.metric("not_stored_total"), "an answer to HEAD has nothing to store"


def test_a_head_that_proves_nothing_does_not_make_what_is_stored_young(client, upstream):
    upstream.reply(whole, b"page", headers={"Cache-Control": "public, max-age=600", "Age": "100"})
    client.get("/page").was("MISS")
    young = {"Cache-Control": "max-age=50"}
    upstream.reply(bodiless, headers={"Cache-Control": "public, max-age=600", "Content-Length": "4"})
    client.ask("HEAD", "/page", young).was("MISS")
    upstream.reply(whole, b"newp", headers={"Cache-Control": "public, max-age=600"})
    assert client.get("/page", young).was("MISS").body == b"newp", "no validator said that it was the same"


def test_a_head_in_another_coding_is_told_as_it_is(client, upstream):
    tag = {"ETag": 'W/"a"', "Vary": "Accept-Encoding"}
    coded = {**tag, "Content-Encoding": "gzip", "Cache-Control": "public, max-age=0"}
    upstream.reply(whole, gzip.compress(b"page" * 9), headers=coded)
    client.get("/page", {"Accept-Encoding": "gzip"}).was("MISS")
    upstream.reply(bodiless, headers={**tag, "Cache-Control": "public, max-age=60", "Content-Length": "36"})
    head = client.ask("HEAD", "/page", {"Accept-Encoding": "gzip"}).was("MISS")
    assert (head.header("content-length"), head.header("content-encoding")) == ("36", None)


def test_a_head_is_not_coded_for_who_takes_no_coding(client, upstream):
    upstream.reply(bodiless, headers={"ETag": '"a"', "Content-Encoding": "gzip", "Content-Length": "30"})
    head = client.ask("HEAD", "/page").was("MISS")
    assert head.header("content-encoding") is None and head.header("content-length") is None
    assert head.header("etag") == 'W/"a"'


# What unsafe requests change.


def test_what_is_on_its_way_when_it_is_changed_is_joined_no_more(client, upstream):
    upstream.reply(whole, b"old", headers=FRESH, before=hold("get"))
    before = client.get("/v1/files")
    upstream.held("get")
    upstream.reply(whole, b"{}")
    client.ask("DELETE", "/v1/files").was("BYPASS")
    upstream.reply(whole, b"new", headers=FRESH)
    assert client.get("/v1/files").was("MISS").body == b"new"
    upstream.release("get")
    assert before.was("MISS").body == b"old", "who asked before may have what was then"
    assert client.get("/v1/files").was("HIT").body == b"new"
    upstream.saw(3)


def test_nor_is_the_variant_that_a_common_call_is_bringing(client, upstream):
    varies = {**FRESH, "Vary": "User-Agent"}
    upstream.reply(whole, hold("body"), b"old", headers=varies)
    before = client.get("/v1/files", {"User-Agent": "a"})
    upstream.held("body")
    upstream.reply(whole, b"another's", headers=varies)
    client.get("/v1/files", {"User-Agent": "b"}).was("MISS")  # from here on the store leads to variants
    upstream.reply(whole, b"{}")
    client.ask("DELETE", "/v1/files").was("BYPASS")
    upstream.reply(whole, b"new", headers=varies)
    assert client.get("/v1/files", {"User-Agent": "a"}).was("MISS").body == b"new"
    upstream.release("body")
    assert before.was("MISS").body == b"old"
    assert client.get("/v1/files", {"User-Agent": "a"}).was("HIT").body == b"new"
    upstream.saw(4)


def test_what_was_asked_for_before_a_change_is_stored_in_vain(client, upstream):
    upstream.reply(whole, b"old", headers=FRESH, before=hold("get"))
    before = client.get("/v1/files")
    upstream.held("get")
    upstream.reply(whole, b"{}")
    client.ask("DELETE", "/v1/files").was("BYPASS")
    upstream.release("get")
    before.was("MISS")
    upstream.reply(whole, b"new", headers={**FRESH, "ETag": '"v2"'})
    assert client.get("/v1/files").whole().body == b"new"


def test_a_question_to_a_model_changes_nothing(client, upstream):
    upstream.reply(whole, b"list", headers=FRESH)
    client.get("/v1/chat/completions").was("MISS")
    client.post(chat()).was("MISS")
    client.get("/v1/chat/completions").was("HIT")


def test_who_shares_a_page_from_another_cache_learns_its_age(client, refrain, upstream):
    upstream.reply(whole, b"page", headers={**FRESH, "Age": "20"}, before=hold("page"))
    first = client.get("/page")
    upstream.held("page")
    second = client.get("/page")
    refrain.waits_for("flight_readers", 2)
    upstream.release("page")
    assert first.was("MISS").header("age") == "20"
    assert 20 <= int(second.was("COALESCED").header("age")) < 50
