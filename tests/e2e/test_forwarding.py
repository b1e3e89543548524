"""Everything else passes through: any method, any path, streamed both ways, framed anew. SPEC section 2."""

import gzip
import hashlib
import json
import socket

import pytest

from harness.asks import chat, chat_stream, messages
from harness.client import PATIENCE_S, chunk, last_chunk
from harness.process import sanitized
from harness.upstream import bodiless, chunked, cut, hold, raw, token, sse, whole, wire

MIB = 1 << 20


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_any_method_and_path_passes(client, upstream, method):
    body = None if method == "GET" else b"some bytes \x00\xff"
    target = "/any/%2F/path//x/../y;p=1?q=%20&r&&s=a+b"
    answer = client.ask(method, target, body=body).whole()
    seen = upstream.saw(1)
    assert (seen.method, seen.target, seen.body) == (method, target, body or b"")
    assert answer.status == 200 and method.encode() in answer.body


def test_options_asterisk_passes(client, upstream):
    client.ask("OPTIONS", "*").whole()
    assert upstream.saw(1).target == "*"


def test_the_body_goes_upstream_unchanged(client, upstream):
    body = b'{ "messages":[ ],\t"model" : "x" , "a":1.0,"a":2 }\r\n'
    client.post(chat().written(body)).whole()
    assert upstream.saw(1).body == body


@pytest.mark.parametrize("as_chunks", [False, True], ids=["length", "chunked"])
def test_an_upload_reaches_upstream_while_it_is_still_being_sent(client, upstream, as_chunks):
    upstream.reply(whole, b"thanks")
    framing = [("Transfer-Encoding", "chunked")] if as_chunks else [("Content-Length", "300000")]
    upload = client.connect()
    upload.send(client.wire("POST", "/v1/files", framing))

    def send(data):
        upload.send(chunk(data) if as_chunks else data)

    send(b"a" * 100_000)
    upstream.wait(lambda: upstream.requests and upstream.requests[0].body_so_far >= 100_000,
                  "the first part before the second is sent")
    send(b"b" * 200_000)
    if as_chunks:
        upload.send(last_chunk())
    assert upload.answer().whole().body == b"thanks"
    assert upstream.saw(1).body == b"a" * 100_000 + b"b" * 200_000


def test_an_upload_of_64_mib_does_not_pile_up(client, refrain, upstream):
    size, piece = 64 * MIB, bytes(range(256)) * 1024
    client.post(chat()).was("MISS")
    before = refrain.rss_bytes()
    highest = before
    upload = client.connect()
    upload.send(client.wire("PUT", "/v1/uploads/1", [("Content-Length", str(size))]))
    for number in range(size // len(piece)):
        upload.send(piece)
        if number % 32 == 0:
            highest = max(highest, refrain.rss_bytes())
    assert upload.answer().whole().status == 200
    assert hashlib.sha256(upstream.requests[1].body).digest() == hashlib.sha256(piece * (size // len(piece))).digest()
    if not sanitized():
        assert highest - before < 8 * MIB, f"expected a streamed upload; memory grew by {highest - before} bytes"


def test_a_download_of_64_mib_takes_the_pace_of_its_reader(client, refrain, upstream):
    piece = bytes(range(256)) * 4096
    upstream.reply(whole, *[piece] * 64, content_type="application/octet-stream")
    before = refrain.rss_bytes()
    download = client.connect(receive_buffer=8192).ask(client.wire("GET", "/v1/files/f/content"), "GET")
    download.sees(piece)
    grown = refrain.rss_bytes() - before
    assert not upstream.requests[0].answered, "upstream must be held back"
    assert download.whole().body == piece * 64
    if not sanitized():
        assert grown < 32 * MIB, f"expected a bounded download; memory grew by {grown} bytes"


def test_both_directions_flow_at_once(client, upstream):
    upstream.reply(chunked, b"ready", hold("g"), b"done", early=True, content_type="text/plain")
    both = client.connect()
    both.send(client.wire("POST", "/v1/realtime/session", [("Transfer-Encoding", "chunked")]))
    both.send(chunk(b"first"))
    upstream.wait(lambda: upstream.requests and upstream.requests[0].body_so_far >= 5, "the first part")
    both.send(chunk(b"second") + last_chunk())
    upstream.wait(lambda: upstream.requests[0].complete, "the whole upload, though the answer has begun")
    upstream.release("g")
    assert both.answer().whole().body == b"readydone"


def test_a_streamed_answer_is_not_buffered_when_it_passes(client, upstream):
    upstream.reply(chunked, b"one ", hold("g"), b"two", content_type="text/plain")
    a = client.ask("POST", "/v1/audio/transcriptions", body=b"sound").sees("one")
    assert not a.saw_end()
    upstream.release("g")
    assert a.whole().body == b"one two"


def test_request_trailers_pass(client, upstream):
    client.ask("PUT", "/thing", {"Trailer": "X-Sum"}, b"body", chunked=True, trailers=[("X-Sum", "42")]).whole()
    seen = upstream.saw(1)
    assert seen.body == b"body"
    assert seen.reader.trailers.get("x-sum") == "42", f"expected the trailer upstream: {seen.reader.trailers}"


@pytest.mark.refrain(upstreams={"default": {"headers": {"add": {"X-Team": "ours"}, "remove": ["X-Admin"]}}})
def test_a_trailer_says_nothing_that_a_field_may_not(client, upstream):
    trailers = [("X-Team", "mine"), ("x-admin", "1"), ("Content-Length", "5"), ("Transfer-Encoding", "gzip"),
                ("Host", "elsewhere"), ("Keep-Alive", "1"), ("Refrain-Cache", "off"), ("X-Sum", "42")]
    client.ask("PUT", "/thing", {"Trailer": "X-Sum"}, b"body", chunked=True, trailers=trailers).whole()
    assert upstream.saw(1).reader.trailers == [("X-Sum", "42")]


def test_response_trailers_pass(client, upstream):
    upstream.reply(chunked, b"body", trailers=[("X-Sum", "42")], headers={"Trailer": "X-Sum"})
    answer = client.ask("PUT", "/thing", {"TE": "trailers", "Connection": "TE"}, b"x").whole()
    assert answer.body == b"body"
    assert answer.trailers.get("x-sum") == "42", f"expected the trailer: {answer.trailers}"


def test_interim_responses_do_not_disturb(client, upstream):
    upstream.reply(whole, b"real", interim=[(103, [("Link", "</a>")]), (102, [])], headers={"X-Real": "1"})
    answer = client.ask("PUT", "/thing", body=b"x").whole()
    assert (answer.status, answer.body, answer.header("x-real")) == (200, b"real", "1")
    assert answer.header("link") is None, "a field of a 103 is none of the answer's"


def test_expect_100_continue_is_answered(client, upstream):
    connection = client.connect()
    answer = connection.ask(client.wire("PUT", "/thing", [("Expect", "100-continue"), ("Content-Length", "4")]), "PUT")
    answer._until(lambda: answer.informational, "100 Continue")
    connection.send(b"body")
    assert answer.whole().status == 200
    assert upstream.saw(1).body == b"body"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_body_has_none(client, upstream, status):
    upstream.reply(bodiless, status=status, headers={"X-Kept": "1"})
    connection = client.connect()
    answer = client.ask("DELETE", "/thing", on=connection).whole()
    assert (answer.status, answer.body, answer.header("x-kept")) == (status, b"", "1")
    if status == 204:  # RFC 9112 section 6.1; a 304 may tell how its GET would be framed
        assert answer.header("content-length") is None and answer.header("transfer-encoding") is None
    assert client.ask("DELETE", "/thing", on=connection).whole().status == 200, "the connection must go on"


def test_head_tells_the_length_and_sends_no_body(client, upstream):
    upstream.reply(bodiless, headers={"Content-Length": "1234", "Content-Type": "text/plain"})
    connection = client.connect()
    answer = client.ask("HEAD", "/thing", on=connection).whole()
    assert (answer.status, answer.header("content-length"), answer.body) == (200, "1234", b"")
    assert upstream.saw(1).method == "HEAD"
    assert client.get("/thing", on=connection).whole().status == 200, "the connection must go on"


@pytest.mark.parametrize("framing", [{"Transfer-Encoding": "chunked"}, {}], ids=["in chunks", "unsaid"])
def test_nothing_follows_the_head_of_an_answer_to_head(client, upstream, framing):
    upstream.reply(bodiless, headers=framing)
    assert sent_back(client, "/thing") == b"", "the next answer begins behind this"


def test_nor_that_of_a_stored_one_whose_length_is_not_known(client, upstream):
    fresh = {"Content-Encoding": "gzip", "Cache-Control": "public, max-age=60"}
    upstream.reply(whole, gzip.compress(b"page"), headers=fresh)
    client.get("/page", {"Accept-Encoding": "gzip"}).was("MISS")
    assert sent_back(client, "/page") == b""
    upstream.saw(1)


def sent_back(client, path):
    """What comes behind the head that answers HEAD, until the connection is closed."""
    with socket.create_connection(client.address, timeout=PATIENCE_S) as line:
        line.sendall(b"HEAD %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nAccept: application/json\r\n"
                     b"Connection: close\r\n\r\n" % (path.encode(), client.credential.encode()))
        received = b"".join(iter(lambda: line.recv(65536), b""))
    head, end, rest = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and end, received
    return rest


@pytest.mark.parametrize("status", [301, 307, 401, 404, 418, 500, 503, 599])
def test_a_status_passes_with_its_body(client, upstream, status):
    upstream.reply(whole, b"why", status=status, headers={"Location": "http://elsewhere.test/", "Retry-After": "3"})
    answer = client.ask("PUT", "/thing", body=b"x").whole()
    assert (answer.status, answer.body) == (status, b"why")
    assert answer.header("location") == "http://elsewhere.test/", "no redirect is followed"
    assert answer.header("retry-after") == "3"
    upstream.saw(1)


HOP_BY_HOP = {"Connection": "close, traceparent", "Keep-Alive": "timeout=5", "Proxy-Connection": "keep-alive",
              "TE": "trailers", "traceparent": "00-1", "Proxy-Authorization": "Basic eDp5"}


def test_hop_by_hop_fields_stop_here_on_the_way_up(client, upstream):
    client.ask("PUT", "/thing", {**HOP_BY_HOP, "X-Stays": "1"}, b"x").whole()
    seen = upstream.saw(1)
    assert seen.header("x-stays") == "1"
    for name in ("keep-alive", "proxy-connection", "traceparent", "upgrade"):
        assert seen.header(name) is None, f"{name} is hop-by-hop: {seen!r}"
    assert "traceparent" not in (seen.header("connection") or "")


def test_hop_by_hop_fields_stop_here_on_the_way_down(client, upstream):
    upstream.reply(whole, b"x", headers={"Connection": "X-Hop", "X-Hop": "1", "Keep-Alive": "timeout=5",
                                         "Proxy-Authenticate": "Basic", "X-Stays": "1"})
    answer = client.ask("PUT", "/thing", body=b"x").whole()
    assert answer.header("x-stays") == "1"
    for name in ("x-hop", "keep-alive"):
        assert answer.header(name) is None, f"{name} is hop-by-hop: {answer!r}"


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "Content-Type", "OpenAI-Beta", "Cookie", "X-Any"])
def test_connection_cannot_strip_what_counts(client, upstream, name):
    value = "application/json" if name == "Content-Type" else "secret-1"
    client.post(chat(), headers={name: value, "Connection": name}).whole()
    assert upstream.saw(1).header(name) == value, f"Connection: {name} must not strip it"


def test_host_is_upstreams_own(client, upstream):
    client.post(chat(), headers={"Host": "evil.example:99"}).was("MISS")
    assert upstream.saw(1).headers.all("host") == [upstream.host]


def test_via_is_added(client, upstream):
    client.ask("PUT", "/thing", {"Via": "1.1 before"}, b"x").whole()
    via = ", ".join(upstream.saw(1).headers.all("via"))
    assert via.startswith("1.1 before, 1.1 "), f"expected Via to grow by one: {via}"


def test_nothing_of_the_client_library_shows(client, upstream):
    client.ask("GET", "/thing", {"User-Agent": None, "Accept": None}).whole()
    seen = upstream.saw(1)
    assert seen.header("user-agent") is None and seen.header("accept") is None
    client.ask("PUT", "/thing", {"Content-Type": None}, b"x").whole()
    assert upstream.saw(2).header("content-type") is None
    client.ask("PUT", "/thing", body=b"x" * 5000).whole()
    assert upstream.saw(3).header("expect") is None


def test_duplicate_fields_are_kept_in_order(client, upstream):
    upstream.reply(whole, b"x", headers=[("X-Many", "1"), ("X-Many", "2"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    wire_bytes = client.wire("PUT", "/thing", [("X-Many", "1"), ("Cookie", "c=1"), ("X-Many", "2")], b"x")
    answer = client.connect().ask(wire_bytes, "PUT").whole()
    assert upstream.saw(1).headers.all("x-many") == ["1", "2"]
    assert answer.headers.all("x-many") == ["1", "2"]
    assert answer.headers.all("set-cookie") == ["a=1", "b=2"]


def test_field_values_pass_byte_for_byte(client, upstream):
    odd = "caf\xe9 ,;= \"quoted\" \t end"
    upstream.reply(whole, b"x", headers={"X-Odd": odd, "X-Empty": ""})
    answer = client.ask("PUT", "/thing", {"X-Odd": odd, "X-Empty": ""}, b"x").whole()
    assert upstream.saw(1).header("x-odd") == odd
    assert upstream.requests[0].header("x-empty") == ""
    assert answer.header("x-odd") == odd and answer.header("x-empty") == ""


@pytest.mark.refrain(upstreams={"default": {"headers": {"add": {"X-Added": "yes", "Authorization": "Bearer real"},
                                                        "remove": ["X-Secret"]}}})
def test_config_adds_and_removes_fields(client, upstream):
    client.post(chat(), headers={"X-Secret": "1"}).whole()
    seen = upstream.saw(1)
    assert seen.header("x-added") == "yes" and seen.header("x-secret") is None
    assert seen.headers.all("authorization") == ["Bearer real"]


def test_a_websocket_upgrade_is_a_clear_501(client, upstream):
    answer = client.get("/v1/realtime", headers={"Connection": "Upgrade", "Upgrade": "websocket",
                                                 "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                                                 "Sec-WebSocket-Version": "13"}).refused(501)
    assert json.loads(answer.body)["error"]["message"]
    upstream.saw_nothing()


def test_any_other_upgrade_is_just_not_forwarded(client, upstream):
    client.get("/thing", headers={"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c",
                                  "HTTP2-Settings": "AAMAAABk"}).whole()
    seen = upstream.saw(1)
    assert seen.header("upgrade") is None and seen.header("http2-settings") is None


def test_connections_upstream_are_reused(start, upstream):
    client = start.client(start(listen={"workers": 1}))
    connection = client.connect()
    for number in range(5):
        client.post(chat(str(number)), on=connection).was("MISS")
    assert upstream.connections == 1


def test_a_connection_that_upstream_closed_while_idle_is_no_error(client, upstream):
    upstream.always(whole, b"x", headers={"Connection": "close"})
    for number in range(5):
        assert client.ask("PUT", f"/thing/{number}", body=b"x").whole().status == 200


SHAPES = {"OpenAI": chat(), "OpenAI streaming": chat_stream(), "Anthropic": messages()}


@pytest.mark.parametrize("dialect", SHAPES)
def test_upstream_down_is_502_in_the_dialects_shape(client, upstream, dialect):
    upstream.down()
    answer = client.post(SHAPES[dialect]).refused(502)
    body = json.loads(answer.body)
    assert answer.header("content-type").startswith("application/json")
    if dialect == "Anthropic":
        assert body["type"] == "error" and body["error"]["type"] and body["error"]["message"]
    else:
        assert body["error"]["code"] == "upstream_unreachable" and body["error"]["type"] and body["error"]["message"]
    upstream.up()
    client.post(SHAPES[dialect]).was("MISS")


@pytest.mark.refrain(upstreams={"default": {"first_byte_timeout": "1s"}})
@pytest.mark.parametrize("ask", [chat(), messages()], ids=["OpenAI", "Anthropic"])
def test_an_upstream_that_does_not_begin_is_504(client, upstream, ask):
    upstream.reply(whole, b"{}", before=hold("g"))
    answer = client.post(ask).refused(504)
    assert b"upstream_timeout" in answer.body or json.loads(answer.body)["type"] == "error"
    upstream.lost(1)
    client.post(ask).was("MISS")


@pytest.mark.refrain(upstreams={"default": {"idle_timeout": "1s"}})
def test_an_upstream_that_falls_silent_is_cut(client, upstream):
    upstream.reply(sse, token("alpha"), hold("g"))
    assert client.post(chat_stream()).sees("alpha").ends() == "cut"
    upstream.lost(1)
    client.post(chat_stream()).was("MISS")


@pytest.mark.refrain(upstreams={"default": {"total_timeout": "1s"}})
def test_the_total_timeout_ends_what_only_drips(client, upstream):
    upstream.reply(sse, token("alpha"), hold("g"))
    assert client.post(chat_stream()).sees("alpha").ends() == "cut"
    upstream.lost(1)


NO_HTTP = {"not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
           "nothing at all": b"", "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n"}


@pytest.mark.parametrize("said", NO_HTTP.values(), ids=NO_HTTP)
@pytest.mark.parametrize("ask", [chat(), None], ids=["cached", "passed"])
def test_an_upstream_that_speaks_nonsense_is_502(client, upstream, said, ask):
    upstream.reply(raw, wire(said), cut)
    answer = client.post(ask) if ask else client.ask("PUT", "/thing", body=b"x")
    answer.refused(502)


def test_a_passing_answer_cut_upstream_is_cut_for_the_client(client, upstream):
    upstream.reply(whole, b"half", cut, headers={"Content-Length": "100"})
    assert client.ask("PUT", "/thing", body=b"x").ends() == "cut"
    upstream.reply(chunked, b"half", cut)
    assert client.ask("PUT", "/thing", body=b"x").ends() == "cut"


def test_a_post_is_not_sent_twice(client, upstream):
    client.post(chat("warm")).was("MISS")
    upstream.reply(raw, cut)
    client.post(chat("once")).refused(502)
    assert [request.body for request in upstream.requests].count(chat("once").wire_body) == 1, \
        "a repeated POST is billed twice"


def test_an_environment_proxy_is_not_obeyed(start, upstream):
    refrain = start(environment={"http_proxy": "http://127.0.0.1:1", "all_proxy": "http://127.0.0.1:1"})
    start.client(refrain).post(chat()).was("MISS")


def test_upstream_sees_bytes_of_a_bypassed_large_request_at_once(start, upstream):
    client = start.client(start(key={"max_body_bytes": "64KiB"}))
    body = chat("x" * 300_000).wire_body
    large = client.connect()
    large.send(client.wire("POST", "/v1/chat/completions", [("Content-Length", str(len(body)))]))
    large.send(body[:200_000])
    upstream.wait(lambda: upstream.requests and upstream.requests[0].body_so_far > 0, "the first bytes upstream")
    large.send(body[200_000:])
    large.answer().was("BYPASS")
    assert upstream.saw(1).body == body


def test_a_cors_preflight_passes(client, upstream):
    upstream.reply(bodiless, status=204, headers={"Access-Control-Allow-Origin": "*"})
    answer = client.ask("OPTIONS", "/v1/chat/completions",
                        {"Origin": "http://app.test", "Access-Control-Request-Method": "POST"}).whole()
    assert answer.status == 204 and answer.header("access-control-allow-origin") == "*"
    assert upstream.saw(1).method == "OPTIONS"
