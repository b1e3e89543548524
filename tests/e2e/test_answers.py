"""What comes back, and what a client may ask of the cache. SPEC section 6."""

import gzip
import json
import re
import time

import pytest

from harness.asks import chat, chat_stream, messages
from harness.process import wait_until
from harness.upstream import chat_answer, hold, sse, token, whole


def test_every_outcome_says_what_it_was(client, upstream):
    miss = client.post(chat()).was("MISS")
    hit = client.post(chat()).was("HIT")
    bypass = client.post(chat(), headers={"Refrain-Cache": "off"}).was("BYPASS")
    assert miss.header("cache-status") == "refrain; fwd=miss; stored"
    assert re.fullmatch(r"refrain; hit; ttl=(3600|359\d); detail=memory", hit.header("cache-status"))
    assert bypass.header("cache-status").startswith("refrain; fwd=bypass")
    assert client.post(chat_stream()).was("MISS").header("cache-status").startswith("refrain; fwd=miss")
    for answer in (miss, hit, bypass):
        assert answer.header("refrain-request-id")


def test_a_hit_carries_its_age_its_count_and_its_entry(client, upstream):
    miss = client.post(chat()).was("MISS")
    one, two = client.post(chat()).was("HIT"), client.post(chat()).was("HIT")
    assert one.header("age").isdigit() and int(one.header("age")) < 10
    assert (one.header("x-cache-hits"), two.header("x-cache-hits")) == ("1", "2")
    assert one.header("refrain-entry") == two.header("refrain-entry") is not None
    assert one.header("etag") == two.header("etag") == miss.header("etag")
    assert one.header("date") == miss.header("date") is not None, "a hit keeps upstream's Date"
    assert len(one.headers.all("date")) == 1


@pytest.mark.parametrize("ask", [chat(), chat_stream()], ids=["whole", "stream"])
def test_if_none_match_gets_304_on_a_stored_answer(client, upstream, ask):
    etag = client.post(ask).was("MISS").header("etag")
    assert re.fullmatch(r'"[^"]+"', etag)
    for condition in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = client.post(ask, headers={"If-None-Match": condition}).whole()
        assert (answer.status, answer.body) == (304, b""), f"{condition} matches: {answer!r}"
        assert answer.header("etag") == etag and answer.header("x-cache") == "HIT"
    client.post(ask, headers={"If-None-Match": '"other"'}).was("HIT")
    upstream.saw(1)


def test_if_none_match_on_a_post_is_never_forwarded(client, upstream):
    client.post(chat(), headers={"If-None-Match": '"x"'}).was("MISS")
    assert upstream.saw(1).header("if-none-match") is None


@pytest.mark.parametrize("ask, more", [(chat().at("/v1/files"), {}), (chat(background=True), {}),
                                       (chat(), {"Refrain-Cache": "off"})], ids=["a file", "a write", "off"])
def test_only_if_cached_is_504_where_nothing_is_ever_stored(client, upstream, ask, more):
    client.post(ask, headers={"Cache-Control": "only-if-cached", **more}).refused(504, "only_if_cached_miss")
    upstream.saw(0)
    client.post(chat("another")).was("MISS")


def test_only_if_cached_is_504_on_a_miss(client, upstream):
    answer = client.post(chat(), headers={"Cache-Control": "only-if-cached"})
    answer.refused(504, "only_if_cached_miss")
    upstream.saw_nothing()
    client.post(chat()).was("MISS")
    client.post(chat(), headers={"Cache-Control": "only-if-cached"}).was("HIT")


def test_max_age_wants_what_is_no_older(client, upstream):
    client.post(chat()).was("MISS")
    client.post(chat(), headers={"Cache-Control": "max-age=600"}).was("HIT")

    def too_old():
        return client.post(chat(), headers={"Cache-Control": "max-age=0"}).whole().header("x-cache") == "MISS"

    wait_until(too_old, "the entry to be a second old")
    upstream.saw(2)


def test_min_fresh_wants_what_stays_fresh(client, upstream):
    client.post(chat()).was("MISS")
    client.post(chat(), headers={"Cache-Control": "min-fresh=60"}).was("HIT")
    client.post(chat(), headers={"Cache-Control": "min-fresh=4000"}).was("MISS")


def test_directives_are_read_in_any_case_and_several_fields(client, upstream):
    wire = client.wire("POST", "/v1/chat/completions", [("Cache-Control", "foo=1"), ("cache-control", "No-Store")],
                       chat().wire_body)
    client.connect().ask(wire).was("BYPASS")


def test_a_ttl_ends_when_it_says(client, upstream):
    asked = time.monotonic()
    first = client.post(chat(), headers={"Refrain-TTL": "1"}).was("MISS")
    stored = time.monotonic()
    seen = []

    def asked_again():
        began = time.monotonic()
        answer = client.post(chat()).whole()
        seen.append((began, answer.header("x-cache")))
        return answer.body != first.body

    wait_until(asked_again, "the entry to expire")
    assert [result for (began, result) in seen if began > stored + 1.002 and result == "HIT"] == [], "never late"
    assert seen[-1][0] > asked + 0.9, "and not early"


def test_custom_ttls_show_in_cache_status(client, upstream):
    for number, (text, seconds) in enumerate({"90": 90, "10m": 600, "2h": 7200, "7d": 604800}.items()):
        client.post(chat(str(number)), headers={"Refrain-TTL": text}).was("MISS")
        status = client.post(chat(str(number))).was("HIT").header("cache-status")
        ttl = int(re.search(r"ttl=(\d+)", status)[1])
        assert seconds - 5 <= ttl <= seconds, f"Refrain-TTL: {text} gave {status}"


BAD_CONTROLS = [("Refrain-Cache", "maybe"), ("Refrain-TTL", "soon"), ("Refrain-TTL", "0"), ("Refrain-TTL", "-5"),
                ("Refrain-TTL", "2y"), ("Refrain-Namespace", "a b"), ("Refrain-Namespace", "x" * 65),
                ("Refrain-Namespace", ""), ("Refrain-Tags", ",".join(f"t{i}" for i in range(17)))]


@pytest.mark.parametrize("name,value", BAD_CONTROLS, ids=[f"{n}={v[:12]}" for (n, v) in BAD_CONTROLS])
def test_a_bad_control_is_400_in_the_dialects_shape(client, upstream, name, value):
    answer = client.post(chat(), headers={name: value}).refused(400, "request_invalid")
    assert name.lower() in json.loads(answer.body)["error"]["message"].lower(), f"it must say which: {answer!r}"
    assert answer.header("x-should-retry") == "false"
    error = json.loads(client.post(messages(), headers={name: value}).refused(400).body)
    assert error["type"] == "error" and error["error"]["message"]
    upstream.saw(0)


def test_a_bad_value_of_a_peers_header_is_ignored(client, upstream):
    client.post(chat(), headers={"cf-aig-cache-ttl": "soon"}).was("MISS")
    client.post(chat(), headers={"Helicone-Cache-Enabled": "maybe"}).was("HIT")


def test_off_touches_nothing(client, upstream):
    client.post(chat(), headers={"Refrain-Cache": "off"}).was("BYPASS")
    client.post(chat()).was("MISS")
    client.post(chat(), headers={"Refrain-Cache": "off"}).was("BYPASS")
    upstream.saw(3)


def test_read_only_reads_but_never_stores(client, upstream):
    client.post(chat(), headers={"Refrain-Cache": "read-only"}).was("MISS")
    client.post(chat()).was("MISS")
    client.post(chat(), headers={"Refrain-Cache": "read-only"}).was("HIT")
    upstream.saw(2)


def test_write_only_stores_but_never_reads(client, upstream):
    client.post(chat()).was("MISS")
    newer = client.post(chat(), headers={"Refrain-Cache": "write-only"}).was("MISS")
    assert client.post(chat()).was("HIT").body == newer.body
    upstream.saw(2)


PEERS_SKIP = {"cf-aig-skip-cache": "true", "Helicone-Cache-Enabled": "false", "X-OpenRouter-Cache": "false",
              "x-bt-use-cache": "never"}


@pytest.mark.parametrize("name", PEERS_SKIP)
def test_a_peers_header_to_skip_the_cache_is_understood_and_removed(client, upstream, name):
    client.post(chat()).was("MISS")
    skipped = client.post(chat(), headers={name: PEERS_SKIP[name]}).whole()
    assert skipped.header("x-cache") == "BYPASS", f"{name} says to skip: {skipped!r}"
    assert upstream.saw(2).header(name) is None


PEERS_REFRESH = {"x-portkey-cache-force-refresh": "true", "X-OpenRouter-Cache-Clear": "true"}


@pytest.mark.parametrize("name", PEERS_REFRESH)
def test_a_peers_header_to_refresh_is_understood_and_removed(client, upstream, name):
    client.post(chat()).was("MISS")
    newer = client.post(chat(), headers={name: PEERS_REFRESH[name]}).was("MISS")
    assert upstream.saw(2).header(name) is None
    assert client.post(chat()).was("HIT").body == newer.body


def test_namespaces_are_apart(client, upstream):
    one = client.post(chat(), headers={"Refrain-Namespace": "one"}).was("MISS")
    client.post(chat(), headers={"Refrain-Namespace": "two"}).was("MISS")
    client.post(chat()).was("MISS")
    assert client.post(chat(), headers={"Refrain-Namespace": "one"}).was("HIT").body == one.body
    assert client.post(chat(), headers={"x-portkey-cache-namespace": "one"}).was("HIT").body == one.body


def test_a_custom_key_replaces_the_prompt_but_nothing_else(client, upstream):
    named = {"Refrain-Key": "greeting"}
    one = client.post(chat("hello"), headers=named).was("MISS")
    assert client.post(chat("hi there"), headers=named).was("HIT").body == one.body
    client.post(chat("hello", model="other"), headers=named).was("MISS")
    client.post(chat_stream("hello"), headers=named).was("MISS")
    client.with_credential("sk-bob").post(chat("hello"), headers=named).was("MISS")
    client.post(chat("hello")).was("MISS")
    client.post(chat("hello"), headers={"Refrain-Key": "another"}).was("MISS")


@pytest.mark.refrain(cache={"client_control": False})
def test_without_client_control_every_control_is_ignored_and_still_stripped(client, upstream):
    client.post(chat(), headers={"Refrain-Cache": "off"}).was("MISS")
    assert upstream.saw(1).header("refrain-cache") is None
    client.post(chat(), headers={"Refrain-TTL": "soon", "Cache-Control": "no-cache"}).was("HIT")


@pytest.mark.parametrize("name", ["Refrain-Cache", "Refrain-TTL", "Refrain-Namespace", "Refrain-Key", "Refrain-Tags"])
def test_our_own_headers_never_leave(client, upstream, name):
    value = {"Refrain-Cache": "on", "Refrain-TTL": "60"}.get(name, "x")
    client.post(chat(), headers={name: value}).was("MISS")
    assert [n for n in upstream.saw(1).headers.names() if n.startswith("refrain")] == []


def test_gzip_goes_to_clients_that_take_it(client, upstream):
    upstream.gzip = True
    miss = client.post(chat(), headers={"Accept-Encoding": "gzip"}).was("MISS")
    hit = client.post(chat(), headers={"Accept-Encoding": "gzip"}).was("HIT")
    plain = client.post(chat(), headers={"Accept-Encoding": None}).was("HIT")
    assert hit.header("content-encoding") == "gzip"
    assert gzip.decompress(hit.body) == plain.body
    assert plain.header("content-encoding") is None
    assert "accept-encoding" in hit.header("vary").lower()
    assert miss.header("x-cache") == "MISS"
    assert hit.header("etag") != plain.header("etag"), "two representations have two tags"
    for tag in (hit.header("etag"), plain.header("etag")):
        assert client.post(chat(), headers={"If-None-Match": tag}).whole().status == 304, f"{tag} must match"
    upstream.saw(1)


def test_a_client_that_refuses_gzip_gets_identity(client, upstream):
    upstream.gzip = True
    client.post(chat(), headers={"Accept-Encoding": "gzip"}).was("MISS")
    for refusal in ("gzip;q=0", "identity", "br", "*;q=0"):
        answer = client.post(chat(), headers={"Accept-Encoding": refusal}).was("HIT")
        assert answer.header("content-encoding") is None, f"{refusal}: {answer!r}"
        json.loads(answer.body)


def test_accept_encoding_does_not_split_the_entry(client, upstream):
    client.post(chat(), headers={"Accept-Encoding": "gzip, deflate"}).was("MISS")
    client.post(chat(), headers={"Accept-Encoding": "br"}).was("HIT")


def test_accept_encoding_is_ours_towards_upstream(client, upstream):
    client.post(chat(), headers={"Accept-Encoding": "br, zstd"}).was("MISS")
    assert upstream.requests[0].header("accept-encoding") == "gzip"
    client.post(chat_stream(), headers={"Accept-Encoding": "gzip, deflate"}).was("MISS")
    assert upstream.requests[1].header("accept-encoding") in (None, "identity")
    client.ask("PUT", "/v1/thing", {"Accept-Encoding": "br, zstd"}, b"x").whole()
    assert upstream.requests[2].header("accept-encoding") == "br, zstd"


@pytest.mark.refrain(listen={"workers": 1})
def test_a_stream_that_is_known_and_not_stored_any_more_is_asked_for_uncoded_as_well(client, operator, upstream):
    client.post(chat_stream()).was("MISS")
    client.post(chat_stream()).was("HIT")
    operator.does("/invalidate", {"all": True})
    client.post(chat_stream()).was("MISS")
    assert [request.header("accept-encoding") for request in upstream.requests] == ["identity"] * 2


def test_the_callers_request_id_is_kept_and_echoed(client, upstream):
    answer = client.post(chat(), headers={"X-Request-Id": "mine-7"}).was("MISS")
    assert upstream.saw(1).header("x-request-id") == "mine-7"
    assert answer.header("refrain-request-id") == "mine-7"
    hit = client.post(chat(), headers={"X-Request-Id": "mine-8"}).was("HIT")
    assert hit.header("refrain-request-id") == "mine-8"
    assert hit.header("x-request-id") == "mine-8", "the SDK's own field tells of this request"


def test_a_request_without_id_is_given_one(client, upstream):
    answers = [client.post(chat()).whole() for _ in range(3)]
    ids = [answer.header("refrain-request-id") for answer in answers]
    assert len(set(ids)) == 3 and all(ids)
    assert upstream.saw(1).header("x-request-id") == ids[0]
    assert answers[0].header("x-request-id") == "req_upstream_1", "a miss tells upstream's own id"


def test_an_anthropic_hit_carries_our_id_in_anthropics_field(client, upstream):
    client.post(messages()).was("MISS")
    assert client.post(messages(), headers={"X-Request-Id": "mine-9"}).was("HIT").header("request-id") == "mine-9"


def test_a_hit_under_head_of_line_pipelining_keeps_its_order(client, upstream):
    client.post(chat("a")).was("MISS")
    upstream.reply(whole, chat_answer("slow"), before=hold("g"))
    connection = client.connect()
    wires = [client.wire("POST", "/v1/chat/completions", body=chat(text).wire_body) for text in ("b", "a", "a")]
    connection.send(b"".join(wires))
    upstream.held("g")
    upstream.release("g")
    assert b"slow" in connection.answer().was("MISS").body
    connection.answer().was("HIT")
    connection.answer().was("HIT")


def test_a_stream_tells_its_verdict_in_a_trailer_where_trailers_are_taken(client, upstream):
    upstream.reply(sse, token("alpha"))
    told = client.post(chat_stream("one"), headers={"TE": "trailers", "Connection": "TE"}).was("MISS")
    assert "stored" in (told.trailers.get("cache-status") or ""), f"expected the verdict in a trailer: {told.trailers}"
    assert len(client.post(chat_stream("two")).was("MISS").trailers) == 0


def test_the_answer_in_head_form(client, upstream):
    upstream.reply(whole, b"models", headers={"Cache-Control": "public, max-age=60"})
    client.get("/v1/models").was("MISS")
    head = client.ask("HEAD", "/v1/models").whole()
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-length") == "6"
    assert head.header("x-cache") == "HIT"
    upstream.saw(1)


def test_if_modified_since_gets_304_on_a_stored_get(client, upstream):
    upstream.reply(whole, b"models", headers={"Cache-Control": "public, max-age=60", "ETag": '"up"',
                                              "Last-Modified": "Mon, 30 Jun 2025 10:00:00 GMT"})
    assert client.get("/v1/models").was("MISS").header("etag") == '"up"', "a GET keeps upstream's tag"
    same = {"If-Modified-Since": "Mon, 30 Jun 2025 10:00:00 GMT"}
    assert client.get("/v1/models", headers=same).whole().status == 304
    older = {"If-Modified-Since": "Sun, 29 Jun 2025 10:00:00 GMT"}
    client.get("/v1/models", headers=older).was("HIT")
    assert client.get("/v1/models", headers={"If-None-Match": '"up"'}).whole().status == 304
    upstream.saw(1)
