"""Requests that could be read in two ways, as raw bytes: each whole and in every split of its bytes into two segments
gets exactly one response, then the connection ends, and upstream hears nothing. SPEC section 2.

Every row stands for itself; the table at the end of the run counts what was sent.
"""

import pytest

from conftest import Starter
from harness.crowd import Crowd, taken_in
from harness.http1 import Unsound, count_responses
from harness.upstream import Upstream

BODY_BYTES_MAX = 1000


def post(*lines, body=b"", path="/v1/chat/completions", version="1.1"):
    head = [f"POST {path} HTTP/{version}".encode(), *(line if isinstance(line, bytes) else line.encode() for line in lines)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def get(*lines, target=b"/", version=b"HTTP/1.1", method=b"GET", host=b"Host: a"):
    head = [method + b" " + target + b" " + version, *([host] if host else []), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n"


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

CLOSED = 0  # no answer at all, where a libmicrohttpd closes the connection before we hear of the request

# name: (raw request, the status it must get)
REFUSED = {
    # framing
    "two Content-Lengths alike": (post("Host: a", "Content-Length: 2", "Content-Length: 2", body=b"{}"), 400),
    "two Content-Lengths that differ": (post("Host: a", "Content-Length: 0", f"Content-Length: {len(SMUGGLED)}",
                                             body=SMUGGLED), 400),
    "Content-Length as a list": (post("Host: a", "Content-Length: 2, 2", body=b"{}"), 400),
    "Content-Length, then Transfer-Encoding": (post("Host: a", "Content-Length: 5", "Transfer-Encoding: chunked",
                                                    body=b"0\r\n\r\n" + SMUGGLED), 400),
    "Transfer-Encoding, then Content-Length": (post("Host: a", "Transfer-Encoding: chunked", "Content-Length: 5",
                                                    body=b"0\r\n\r\n" + SMUGGLED), 400),
    "Transfer-Encoding twice": (post("Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked",
                                     body=b"0\r\n\r\n"), 400),
    "Transfer-Encoding chunked, then identity": (post("Host: a", "Transfer-Encoding: chunked",
                                                      "Transfer-Encoding: identity", body=b"0\r\n\r\n"), 400),
    "Transfer-Encoding: gzip, chunked": (post("Host: a", "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 400),
    "Transfer-Encoding: chunked, chunked": (post("Host: a", "Transfer-Encoding: chunked, chunked",
                                                 body=b"0\r\n\r\n"), 400),
    "Transfer-Encoding: identity": (post("Host: a", "Transfer-Encoding: identity", body=SMUGGLED), 400),
    "Transfer-Encoding: xchunked": (post("Host: a", "Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 400),
    "Transfer-Encoding: chunked;q=1": (post("Host: a", "Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"), 400),
    "Transfer-Encoding empty": (post("Host: a", "Transfer-Encoding:", body=b"0\r\n\r\n"), 400),
    "Transfer-Encoding under HTTP/1.0": (post("Host: a", "Transfer-Encoding: chunked", body=b"0\r\n\r\n",
                                              version="1.0"), 400),
    "Content-Length: +2": (post("Host: a", "Content-Length: +2", body=b"{}"), 400),
    "Content-Length: -2": (post("Host: a", "Content-Length: -2", body=b"{}"), 400),
    "Content-Length: 0x2": (post("Host: a", "Content-Length: 0x2", body=b"{}"), 400),
    "Content-Length: 2 2": (post("Host: a", "Content-Length: 2 2", body=b"{}"), 400),
    "Content-Length: 2a": (post("Host: a", "Content-Length: 2a", body=b"{}"), 400),
    "Content-Length: 2.0": (post("Host: a", "Content-Length: 2.0", body=b"{}"), 400),
    "Content-Length empty": (post("Host: a", "Content-Length:", body=b"{}"), 400),
    "Content-Length past 64 bits": (post("Host: a", "Content-Length: 99999999999999999999", body=b"{}"), (400, 413)),
    "a space before Content-Length's colon": (post("Host: a", "Content-Length : 2", body=b"{}"), 400),
    "a space before Transfer-Encoding's colon": (post("Host: a", "Transfer-Encoding : chunked",
                                                      body=b"0\r\n\r\n"), 400),
    "a tab before Content-Length's colon": (post("Host: a", "Content-Length\t: 2", body=b"{}"), 400),
    # chunked coding, in a body that is held until it is whole
    "a chunk size that is no number": (post("Host: a", "Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"), 400),
    "a chunk size with a sign": (post("Host: a", "Transfer-Encoding: chunked", body=b"-2\r\n{}\r\n0\r\n\r\n"), 400),
    "a chunk size with 0x": (post("Host: a", "Transfer-Encoding: chunked", body=b"0x2\r\n{}\r\n0\r\n\r\n"), 400),
    "a chunk size past 64 bits": (post("Host: a", "Transfer-Encoding: chunked",
                                       body=b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n"), (400, 413)),
    "a chunk longer than its size": (post("Host: a", "Transfer-Encoding: chunked", body=b"1\r\n{}\r\n0\r\n\r\n"), 400),
    # Host
    "no Host": (get(host=None), 400),
    "two Hosts": (get(b"Host: b"), 400),
    "two Hosts alike": (get(b"Host: a"), 400),
    "Host: a b": (get(host=b"Host: a b"), 400),
    "Host: a\\b": (get(host=b"Host: a\\b"), 400),
    "Host: a/b": (get(host=b"Host: a/b"), 400),
    "Host: user@a": (get(host=b"Host: user@a"), 400),
    "Host: a:port": (get(host=b"Host: a:port"), 400),
    "Host: [::1": (get(host=b"Host: [::1"), 400),
    "Host: a:80:90": (get(host=b"Host: a:80:90"), 400),
    "Host: a?b": (get(host=b"Host: a?b"), 400),
    # fields
    "@ in a name": (get(b"X@Y: 1"), 400),
    "( in a name": (get(b"X(Y: 1"), 400),
    "a space in a name": (get(b"X Y: 1"), 400),
    "a control byte in a name": (get(b"X\x01Y: 1"), 400),
    "a byte over 127 in a name": (get(b"X\xe9: 1"), 400),
    "a line without colon": (get(b"nonsense"), 400),
    "0x01 in a value": (get(b"X: a\x01b"), 400),
    "0x1F in a value": (get(b"X: a\x1fb"), 400),
    "0x7F in a value": (get(b"X: a\x7fb"), 400),
    "a folded line": (get(b"X: a", b" b"), 400),
    "a line folded by a tab": (get(b"X: a", b"\tb"), 400),
    "a folded Content-Length": (post("Host: a", "Content-Length:", " 2", body=b"{}"), 400),
    "a folded Transfer-Encoding": (post("Host: a", "Transfer-Encoding:", " chunked", body=b"0\r\n\r\n"), 400),
    "white space before the first field": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    # targets
    "absolute-form": (get(target=b"http://a/"), 400),
    "absolute-form of another": (get(target=b"http://b/x"), 400),
    "authority-form": (get(target=b"a:80"), 400),
    "//host": (get(target=b"//b/x"), 400),
    "* for GET": (get(target=b"*"), 400),
    "no leading slash": (get(target=b"x"), 400),
    "# in the target": (get(target=b"/x#y"), 400),
    "NUL in the target": (get(target=b"/x\0y"), (400, CLOSED)),  # 1.0 closes
    "CR in the target": (get(target=b"/x\ry"), 400),
    "0x01 in the target": (get(target=b"/x\x01y"), 400),
    "0x7F in the target": (get(target=b"/x\x7fy"), 400),
    "CONNECT": (get(method=b"CONNECT", target=b"a:443"), 405),
    "CONNECT with a path": (get(method=b"CONNECT", target=b"/"), 405),
    "TRACE": (get(method=b"TRACE"), 405),
    "an Expect nobody knows": (post("Host: a", "Expect: 200-ok", "Content-Length: 2", body=b"{}"), 417),
    "a WebSocket upgrade": (get(b"Connection: Upgrade", b"Upgrade: websocket"), 501),
    # sizes
    "a body over max_body_bytes": (post("Host: a", "Content-Length: 1001", body=b"{}"), 413),
    "a chunked body over max_body_bytes": (post("Host: a", "Transfer-Encoding: chunked",
                                                body=b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"), 413),
    "a body to pass on over max_body_bytes": (post("Host: a", "Content-Length: 1001", path="/v1/files", body=b"x"), 413),
    "a header block over max_header_bytes": (get(b"X: " + b"a" * 25_000), 431),
    "many fields over max_header_bytes": (get(*[b"X-%d: " % n + b"a" * 100 for n in range(260)]), 431),
    "a target over max_header_bytes": (get(target=b"/" + b"a" * 25_000), (414, 431)),
}

# What libmicrohttpd reads before anyone else can, or does not tell. Whatever comes of these, it is at most one response,
# and what leaves Refrain is framed anew.
HIDDEN = {
    "bare LF ends every line": b"POST /v1/chat/completions HTTP/1.1\nHost: a\nContent-Length: 2\n\n{}",
    "bare LF ends one line": b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\nContent-Length: 2\r\n\r\n{}",
    "bare LF in chunk lines": post("Host: a", "Transfer-Encoding: chunked", body=b"2\n{}\n0\n\n"),
    "bare CR in a value": get(b"X: a\rb"),
    "bare CR before a Content-Length": post("Host: a", b"X: a\rContent-Length: 2", body=b"{}"),
    "CR CR LF": post("Host: a", b"Content-Length: 2\r", body=b"{}"),
    "NUL in a value": get(b"X: a\0b"),
    "NUL in a name": get(b"X\0Y: 1"),
    "a space in the target": get(target=b"/x y"),
    "tabs in the request line": b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces in the request line": b"GET  /  HTTP/1.1\r\nHost: a\r\n\r\n",
    "an empty name": get(b": 1"),
    "no version": b"GET /\r\n\r\n",
    "HTTP/2.0": get(version=b"HTTP/2.0"),
    "HTTP/1.2": get(version=b"HTTP/1.2"),
    "HTTP/1.15": get(version=b"HTTP/1.15"),
    "no HTTP": get(version=b"HTP/1.1"),
    "a chunk extension": post("Host: a", "Transfer-Encoding: chunked", body=b"2;x=\"y\"\r\n{}\r\n0\r\n\r\n"),
    "a chunk size with a space": post("Host: a", "Transfer-Encoding: chunked", body=b"2 \r\n{}\r\n0\r\n\r\n"),
    "a chunk size of many zeros": post("Host: a", "Transfer-Encoding: chunked",
                                       body=b"0" * 40 + b"2\r\n{}\r\n0\r\n\r\n"),
    "empty lines before the request": b"\r\n\r\n" + get(),
}


class Front:
    """One instance and one upstream for the whole table."""

    def __init__(self, folder):
        self.upstream = Upstream()
        self.starter = Starter(folder, self.upstream)
        self.refrain = self.starter(listen={"max_body_bytes": BODY_BYTES_MAX, "max_connections": 20_000,
                                            "header_timeout": "20s"})
        self.rows = []

    def barrage(self, request, splits, answers=1):
        """Sends the request whole and split at each of @splits; returns its connections, all closed or answered."""
        crowd = Crowd(self.refrain.proxy)
        try:
            for at in splits:
                crowd.join(method=None).at = at
            for member in crowd.members:
                member.send(request[:member.at])
            taken_in(self.refrain.proxy[1], {member.port for member in crowd.members})
            for member in crowd.members:
                if member.at < len(request):
                    member.send(request[member.at:])
            crowd.settle()
            crowd.read_until(lambda: all(m.gone for m in crowd.members if b"\nConnection: close\r" in m.data),
                             "the connections to close that were said to")
            if answers > 1:
                crowd.read_until(lambda: all(m.gone or m.data.count(b"HTTP/1.1 ") >= answers for m in crowd.members),
                                 f"{answers} answers on each connection")
            return crowd.members
        finally:
            crowd.close()

    def close(self):
        self.starter.stop()
        self.upstream.close()


def splits_of(request):
    """Every split, whole included; of a long request those around its structure, and some between."""
    if len(request) <= 400:
        return range(1, len(request) + 1)
    return sorted({*range(1, 60), *range(60, len(request), 997), *range(len(request) - 20, len(request) + 1)})


@pytest.fixture(scope="module")
def front(tmp_path_factory, table):
    front = Front(tmp_path_factory.mktemp("front"))
    yield front
    table("raw requests, each whole and in every split of its bytes", front.rows)
    front.close()


def verdict_on(member, request, statuses):
    """None, or what is wrong with what came back."""
    split = "whole" if member.at == len(request) else f"split at {member.at}"
    try:
        seen = count_responses(member.data)
    except Unsound as fault:
        return f"{split}: {fault}"
    if len(seen) > 1 or (seen or [CLOSED])[0] not in statuses:
        return f"{split}: expected exactly one response of {statuses}, got {seen}"
    if seen and b"connection: close" not in bytes(member.data).lower():
        return f"{split}: expected Connection: close in {bytes(member.data)!r}"
    if not member.gone:
        return f"{split}: the connection was left open"
    return None


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_once_and_upstream_hears_nothing(front, name):
    request, expected = REFUSED[name]
    statuses = expected if isinstance(expected, tuple) else (expected,)
    heard = front.upstream.connections
    members = front.barrage(request, splits_of(request))
    wrong = [w for w in (verdict_on(member, request, statuses) for member in members) if w]
    front.rows.append(f"{name:<45} {'/'.join(map(str, statuses)):<8} {len(members) - len(wrong):>4} of {len(members)}")
    assert not wrong, f"{request[:300]!r}: {len(wrong)} of {len(members)} wrong: {wrong[:5]}"
    assert front.upstream.connections == heard, f"upstream must hear nothing, it saw {front.upstream.requests[-1:]}"


@pytest.mark.parametrize("name", HIDDEN)
def test_what_the_library_hides_is_at_most_one_request_upstream(front, name):
    request = HIDDEN[name]
    before, faults = len(front.upstream.requests), len(front.upstream.faults)
    members = front.barrage(request, splits_of(request))
    seen = set()
    for member in members:
        statuses = count_responses(member.data)
        assert len(statuses) <= 1, f"{request!r} split at {member.at}: expected at most one response, got {statuses}"
        seen.update(statuses or ["closed"])
    front.rows.append(f"{name:<45} {'/'.join(map(str, sorted(seen, key=str))):<8} {len(members):>4} of {len(members)}")
    assert len(front.upstream.requests) - before <= len(members)
    assert front.upstream.faults[faults:] == [], "upstream was sent what could be read in two ways"


def test_a_good_request_is_answered_in_every_split(front):
    body = b'{"model":"m","messages":[]}'
    request = post("Host: a", "Connection: close", f"Content-Length: {len(body)}", body=body)
    members = front.barrage(request, splits_of(request))
    wrong = [w for w in (verdict_on(member, request, (200,)) for member in members) if w]
    assert not wrong, f"{len(wrong)} of {len(members)} wrong: {wrong[:5]}"
    bodies = {bytes(member.data).partition(b"\r\n\r\n")[2] for member in members}
    assert len(bodies) == 1, "every split must get the same answer"
    front.rows.append(f"{'a good request':<45} {'200':<8} {len(members):>4} of {len(members)}")


def test_a_good_chunked_request_is_answered_in_every_split(front):
    before = len(front.upstream.requests)
    request = post("Host: a", "Connection: close", "Transfer-Encoding: chunked",
                   body=b'7\r\n{"chunk\r\n10\r\ned":"x","a":[1]}\r\n0\r\nX-T: 1\r\n\r\n')
    members = front.barrage(request, splits_of(request))
    wrong = [w for w in (verdict_on(member, request, (200,)) for member in members) if w]
    assert not wrong, f"{len(wrong)} of {len(members)} wrong: {wrong[:5]}"
    bodies = {sent.body for sent in front.upstream.requests[before:]}
    assert bodies == {b'{"chunked":"x","a":[1]}'}, f"upstream must see the one body: {bodies}"
    front.rows.append(f"{'a good chunked request':<45} {'200':<8} {len(members):>4} of {len(members)}")


def test_two_pipelined_requests_are_two_answers_in_every_split(front):
    body = b'{"model":"m","messages":[]}'
    one = post("Host: a", f"Content-Length: {len(body)}", body=body)
    last = post("Host: a", "Connection: close", f"Content-Length: {len(body)}", body=body)
    members = front.barrage(one + last, splits_of(one + last), answers=2)
    wrong = [(member.at, seen) for member in members if (seen := count_responses(member.data)) != [200, 200]]
    assert not wrong, f"expected two answers in every split: {wrong[:5]}"
    front.rows.append(f"{'two pipelined requests':<45} {'200+200':<8} {len(members):>4} of {len(members)}")


def test_a_broken_chunk_in_a_streamed_upload_ends_upstreams_request_unclean(front):
    before = len(front.upstream.requests)
    request = post("Host: a", "Transfer-Encoding: chunked", path="/v1/files", body=b"3\r\nabc\r\nzz\r\n")
    for member in front.barrage(request, [len(request)]):
        assert len(count_responses(member.data)) <= 1
    for sent in front.upstream.requests[before:]:
        assert not sent.complete, f"upstream must not take it for whole: {sent!r}"


def test_a_thousand_parameters_reach_upstream_as_they_came(client, upstream, refrain):
    target = "/v1/models?" + "&".join(f"p{i}=%26{i}" for i in range(1000))
    assert client.get(target).whole().status == 200
    assert [seen.target for seen in upstream.requests] == [target]
    assert client.get("/v1/models?a&&=&b").whole().status == 200
    assert upstream.requests[-1].target == "/v1/models?a&&=&b"
