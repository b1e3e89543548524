"""Who must not use the admin listener, in the ways they try: guessing, by a browser that was talked into it, by size, by
number. SPEC section 12. The rules one by one are in test_admin_api.py."""

import json
import pathlib
import statistics
import time

import pytest

from harness.asks import chat
from harness.client import Client
from harness.flood import begin, flooded
from harness.operator import Operator, token_of
from harness.process import sanitized

EVIL = "evil.example"
BAD = 10_000


def lines(refrain, event):
    return [e for e in refrain.events if e.get("event") == event]


def more(refrain, reason):
    return refrain.logged(lambda e: e.get("event") == "admin_refused_more" and e["reason"] == reason, "the count of the rest")


# Refused, told once, counted all.


KINDS = {
    "no_token": (401, [{"Authorization": None}] * 5),
    "wrong_token": (401, [{"Authorization": "Bearer wrong"}] * 5),
    "host": (403, [{"Host": EVIL}] * 5),
    "origin": (403, [{"Origin": f"https://{EVIL}"}] * 3 + [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}]),
}


def test_what_is_refused_is_told_once_and_counted(refrain, operator):
    for reason, (status, asked) in KINDS.items():
        for headers in asked:
            assert operator.get("/breakers", headers).whole().status == status
        assert refrain.metric("admin_refused_total", reason=reason) == 5
    for reason in KINDS:
        line = more(refrain, reason)
        assert (line["times"], line["from"]) == (4, "127.0.0.1")
    assert [(line["reason"], line["from"]) for line in lines(refrain, "admin_refused")] == [
        (reason, "127.0.0.1") for reason in KINDS]
    assert operator.get("").whole().status == 200, "the operator is still served"


def hits_on(connection, client, count, until=lambda: False):
    """Seconds that each of @count hits took, or of those until then."""
    took = []
    while len(took) < count and not until():
        began = time.monotonic()
        client.post(chat(), on=connection).was("HIT")
        took.append(time.monotonic() - began)
    return took


def p99_ms(took):
    return statistics.quantiles(took, n=100)[98] * 1e3


def test_ten_thousand_wrong_tokens_are_two_lines(client, refrain):
    client.post(chat()).was("MISS")
    flood = begin(refrain.admin, BAD)
    hits_on(client.connect(), client, 100_000, until=lambda: flood.poll() is not None)
    statuses = flooded(flood)
    assert sum(statuses.values()) == BAD and set(statuses) <= {401, 429} and statuses[401] >= 10
    assert (refrain.metric("admin_refused_total", reason="wrong_token"),
            refrain.metric("admin_refused_total", reason="too_many")) == (statuses[401], statuses[429])
    assert more(refrain, "wrong_token")["times"] >= 1
    told = lines(refrain, "admin_refused") + lines(refrain, "admin_refused_more")
    assert len(told) <= 4 and sum(line.get("times", 1) for line in told) <= BAD, told
    assert "wrong\"" not in json.dumps(told).replace("wrong_token", ""), "what was guessed is not told"


def test_ten_thousand_wrong_tokens_slow_no_hit(client, refrain, table):
    """Repeated, as the machine has other things to do: the best counts. A sanitizer is slower by itself than what is
    measured; who waits for the end of the flood would still be found."""
    more_ms = 200 if sanitized() else 15
    client.post(chat()).was("MISS")
    connection, rows = client.connect(), []
    hits_on(connection, client, 200)
    for _ in range(4):
        calm = p99_ms(hits_on(connection, client, 1000))
        flood = begin(refrain.admin, BAD)
        took = hits_on(connection, client, 100_000, until=lambda: flood.poll() is not None)
        flooded(flood)
        assert len(took) > 20
        stormy = p99_ms(took)
        rows.append(f"p99 {calm:.2f} ms before, {stormy:.2f} ms meanwhile ({len(took)} hits)")
        if stormy < calm + more_ms:
            break
    table("hits while wrong tokens come", rows)
    assert stormy < calm + more_ms, f"a flood at the admin listener must not reach hits: {rows}"


def test_who_answers_the_operator_gives_way_to_who_answers_clients(refrain):
    nice = {int(task.name): int((task / "stat").read_text().rsplit(")", 1)[1].split()[16])
            for task in pathlib.Path(f"/proc/{refrain.process.pid}/task").iterdir()}
    main = nice.pop(refrain.process.pid)
    assert len(set(nice.values())) == 1 and main == min(19, nice.popitem()[1] + 10)


def test_connections_are_bounded_and_do_not_use_up_those_of_clients(client, refrain):
    greedy = Client(refrain.admin)
    for _ in range(300):
        greedy.connect(source="127.0.0.2")
    client.post(chat()).was("MISS")
    assert refrain.metric("admin_refused_total", reason="connection") >= 300 - 256
    greedy.close()


# What a page in the operator's browser can send without asking, and what it must ask for.


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_form_on_another_page_changes_nothing(refrain, operator, client, content_type):
    client.post(chat()).was("MISS")
    browser = {"Origin": f"https://{EVIL}", "Referer": f"https://{EVIL}/", "Content-Type": content_type, "Cookie": "a=b",
               "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Authorization": None}
    operator.post("/invalidate", b'{"all": true}', browser).refused(403, "origin_not_allowed")
    without = {name: value for (name, value) in browser.items() if name != "Origin" and not name.startswith("Sec-")}
    operator.post("/invalidate", b'{"all": true}', without).refused(401, "unauthorized")
    client.post(chat()).was("HIT")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_preflight_is_granted_nothing(refrain, operator, method):
    answer = operator.client.ask("OPTIONS", "/api/v1/invalidate", {
        "Origin": f"https://{EVIL}", "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type", "Authorization": None}).whole()
    assert answer.status == 403
    assert not [name for (name, _) in answer.headers if name.lower().startswith("access-control-")]


def test_a_name_rebound_to_this_machine_is_no_way_in_even_with_the_token(refrain, operator):
    rebound = {"Host": f"{EVIL}:{refrain.admin[1]}", "Origin": f"http://{EVIL}:{refrain.admin[1]}", "Sec-Fetch-Site": "same-origin"}
    operator.get("/entries", rebound).refused(403, "host_not_allowed")
    operator.post("/invalidate", {"all": True}, rebound).refused(403, "host_not_allowed")


def test_every_path_of_the_api_wants_the_token(refrain, operator):
    for route in operator.reads("")["routes"]:
        path = "/api/v1" + route["path"].replace("{}", "x")
        answer = operator.client.ask(route["method"], path, {"Authorization": None})
        answer.refused(401, "unauthorized")


# Sizes.


def test_a_body_far_over_the_limit_is_told_so(refrain, operator):
    answer = operator.post("/explain", b" " * (20 << 20)).refused(413, "too_large")
    assert json.loads(answer.body)["error"]["expected"] == "at most 16777216 bytes"
    operator.post("/invalidate", b" " * (20 << 20)).refused(413, "too_large")
    assert refrain.metric("admin_refused_total", reason="too_large") == 2
    assert operator.get("").whole().status == 200


def test_a_stranger_is_not_read_for_long(refrain, operator):
    answer = operator.client.connect()
    wire = operator.client.wire("POST", "/api/v1/explain", {"Authorization": "Bearer wrong", "Content-Length": str(1 << 30)})
    answer.send(wire)
    with pytest.raises((ConnectionError, TimeoutError, AssertionError)):
        for _ in range(64):
            answer.send(b"x" * (1 << 20))
        raise AssertionError("it reads on and on")
    assert operator.get("").whole().status == 200


def test_a_head_far_over_the_limit_is_431(refrain, operator):
    operator.get("", {"X-Long": "x" * 20_000}).refused(431)


# Nothing of it for clients.


def test_nothing_of_the_admin_listener_is_on_the_clients_one(client, refrain, upstream):
    token = token_of(refrain)
    for path in ("/metrics", "/healthz", "/readyz", "/dashboard", "/api/v1", "/api/v1/entries"):
        client.get(path, {"Authorization": f"Bearer {token}"}).whole()
    assert [seen.target for seen in upstream.requests] == ["/metrics", "/healthz", "/readyz", "/dashboard", "/api/v1",
                                                           "/api/v1/entries"], "every path is upstream's"


# Addresses of IPv6.


@pytest.mark.refrain(admin={"address": "[::1]:0"}, listen={"address": "[::1]:0"})
def test_over_ipv6_it_is_the_same(start, refrain, client):
    client.post(chat()).was("MISS")
    operator = Operator(refrain)
    assert operator.client.host == f"[::1]:{refrain.admin[1]}"
    operator.reads("")
    operator.get("", {"Origin": f"http://[::1]:{refrain.admin[1]}"}).whole()
    operator.get("", {"Origin": "http://[::2]"}).refused(403, "origin_not_allowed")
    operator.get("", {"Host": "[::1]"}).whole()
    operator.get("", {"Authorization": "Bearer wrong"}).refused(401, "unauthorized")
    line = refrain.logged(lambda e: e.get("event") == "admin_refused" and e["reason"] == "wrong_token", "the refusal")
    assert line["from"] == "::/64"
    operator.close()


@pytest.mark.refrain(admin={"address": ":0", "token": "0123456789abcdef"}, listen={"address": ":0"})
def test_every_address_is_those_of_both_families(refrain, start):
    port = refrain.proxy[1]
    for host in ("127.0.0.1", "::1"):
        client = Client((host, port))
        client.post(chat()).whole()
        client.close()
        probe = Client((host, refrain.admin[1]))
        assert probe.get("/healthz").whole().status == 200
        probe.close()
