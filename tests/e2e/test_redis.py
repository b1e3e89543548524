"""Redis as a tier: every way to reach it, what operators hear when it cannot be reached or lets nobody in, and that no
credential of it is ever shown. SPEC sections 8 and 11."""

import json
import pathlib
import re
import socket
import threading
import time

import pytest

from harness.asks import chat
from harness.load import Load, figures, quantile
from harness.operator import Operator
from harness.process import sanitized, wait_until

SECRET = "planted-redis-password"
SHARED = {"cache": {"secret": "one secret for all of these instances"}}
PATIENT = {"timeout": "10s", "connect_timeout": "10s"}  # a busy machine is no subject here


def reached(start, server, tier, **groups):
    """An instance that has stored an answer, which another one finds."""
    one, other = (start(tiers={"redis": {**PATIENT, **tier}}, **SHARED, **groups) for _ in range(2))
    start.client(one).post(chat()).was("MISS")
    wait_until(lambda: server.keys("refrain:default:*"), "the answer in Redis")
    start.client(other).post(chat()).was("HIT")
    other.waits_for("hits_total", 1, tier="redis")
    return other


@pytest.fixture
def operator_of(request):
    def made(refrain):
        operator = Operator(refrain)
        request.addfinalizer(operator.close)
        return operator
    return made


@pytest.mark.parametrize("shape", [
    {}, {"unix": True}, {"password": SECRET}, {"unix": True, "password": SECRET}, {"user": "refrain", "password": SECRET},
], ids=["plain", "unix socket", "password", "unix socket and password", "user of least rights"])
def test_ways_to_reach_it(start, redis_server, upstream, shape):
    server = redis_server(**shape)
    refrain = reached(start, server, server.tier())
    upstream.saw(1)
    assert SECRET not in "\n".join(refrain.lines)


def test_the_rights_that_the_page_names_are_enough(start, redis_server, upstream, operator_of):
    page = (pathlib.Path(__file__).parents[2] / "docs" / "redis.md").read_text(encoding="utf-8")
    rights = re.search(r"user refrain on >PASSWORD (.*)", page)[1].replace("refrain:", "{prefix}:")
    server = redis_server(user="refrain", password=SECRET, rights=rights)
    refrain = reached(start, server, server.tier(), coalescing={"cluster": True})
    client = start.client(refrain)
    ask = chat("something new")
    client.post(ask).was("MISS")
    wait_until(lambda: len(server.keys("refrain:default:*")) == 2, "both answers in Redis")
    operator_of(refrain).does("/invalidate", {"all": True})
    wait_until(lambda: not server.keys("refrain:default:*"), "none of them")
    client.post(ask).was("MISS")
    denied = server.cli("ACL", "LOG")
    assert not denied, denied


def test_tls_with_a_client_certificate_and_a_user(start, redis_server, certificates, upstream):
    server = redis_server(certificates=certificates, user="refrain", password=SECRET)
    reached(start, server, server.tier(min_tls="1.3"))
    upstream.saw(1)


def test_the_url_may_say_it_all(start, redis_server, upstream):
    server = redis_server(user="refrain", password="p@ss:w/rd")
    reached(start, server, {"url": f"redis://refrain:p%40ss%3Aw%2Frd@localhost:{server.port}/0"})
    upstream.saw(1)


def test_the_environment_may_say_it_all(start, redis_server, certificates, upstream):
    server = redis_server(certificates=certificates, password=SECRET)
    environment = {"REDIS_URL": server.url, "REDIS_AUTH": SECRET, "REDIS_TLS_CA": certificates.file("ca.pem"),
                   "REDIS_TLS_CERT": certificates.file("client.pem"), "REDIS_TLS_KEY": certificates.file("client.key")}
    refrain = start(environment=environment, tiers={"redis": PATIENT})
    start.client(refrain).post(chat()).was("MISS")
    wait_until(lambda: server.keys("refrain:default:*"), "the answer in Redis")
    upstream.saw(1)


# -- what operators hear ------------------------------------------------------------------------------------------------


def told(refrain, name):
    return [event for event in refrain.events if event.get("event") == name]


@pytest.mark.parametrize("shape, tier, cause, advice", [
    ({"password": SECRET}, {"password": f"not-{SECRET}"}, "not taken", "password_file"),
    ({"password": SECRET}, {"password": None}, "password is wanted", "password_file"),
    ({"user": "refrain", "password": SECRET}, {"username": "someone"}, "not taken", "ACL"),
    ({"certificates": True}, {"cert": None, "key": None}, "TLS failed", "certificate of ours"),
    ({"certificates": True}, {"ca_file": "stranger-ca.pem"}, "TLS failed", "ca_file"),
    ({"certificates": True}, {"server_name": "other.test"}, "TLS failed", "server_name"),
    ({"certificates": True}, {"ca_file": "no-such-file"}, "TLS files", "ca_file"),
    ({}, {"url": "redis://127.0.0.1:{port}/99"}, "no such database", "url"),
    ({}, {"url": "rediss://127.0.0.1:{port}", "connect_timeout": "2s"}, "not connected in time", "speaks TLS"),
    ({"certificates": True}, {"url": "redis://127.0.0.1:{port}"}, "closed", "speaks TLS"),
], ids=["wrong password", "no password", "wrong user", "no certificate of ours", "a stranger's authority", "another name",
        "no such file", "no such database", "TLS where there is none", "no TLS where there is"])
def test_what_is_wrong_is_told_once_with_what_to_do(start, redis_server, certificates, upstream, shape, tier, cause, advice):
    server = redis_server(**{**shape, **({"certificates": certificates} if "certificates" in shape else {})})
    group = server.tier(**PATIENT)
    group = {name: value for name, value in {**group, **tier}.items() if value is not None}
    if authority := tier.get("ca_file"):
        group["ca_file"] = certificates.file(authority)
    if "url" in tier:
        group["url"] = tier["url"].format(port=server.port)
    refrain = start(tiers={"redis": group})
    event = refrain.logged(lambda e: e.get("event") == "redis_down", "what is wrong")
    assert cause in event["cause"] and advice in event["what_to_do"], event
    client = start.client(refrain)
    for number in range(20):
        client.post(chat(f"question {number}")).was("MISS").whole()
    assert len(told(refrain, "redis_down")) == 1
    assert SECRET not in "\n".join(refrain.lines)
    upstream.saw(20)


def test_missing_rights_are_told_with_the_server_s_words(start, redis_server, upstream):
    few = "~{prefix}:* &{prefix}:* -@all +ping +client|setname +cluster +get"
    server = redis_server(user="refrain", password=SECRET, rights=few)
    refrain = start(tiers={"redis": server.tier(**PATIENT)})
    client = start.client(refrain)
    for number in range(5):
        client.post(chat(f"question {number}")).was("MISS").whole()
    refrain.logged(lambda e: e.get("event") == "redis_refuses" and "getrange" in e["detail"], "which right is missing")
    assert len(told(refrain, "redis_refuses")) == 1


def test_no_credential_is_ever_shown(start, redis_server, upstream, operator_of):
    server = redis_server(user="refrain", password=SECRET)
    refrain = start(tiers={"redis": {"url": f"redis://refrain:{SECRET}@127.0.0.1:{server.port}", **PATIENT}})
    start.client(refrain).post(chat()).was("MISS")
    wait_until(lambda: server.keys("refrain:default:*"), "the answer in Redis")
    server.kill()
    refrain.logged(lambda e: e.get("event") == "redis_down", "that it is gone")
    for path in ("/breakers", "/instances"):
        told_there = operator_of(refrain).reads(path)
        assert SECRET not in json.dumps(told_there)
    assert SECRET not in "\n".join(refrain.lines)


# -- servers that are not well ------------------------------------------------------------------------------------------


class Confused:
    """Takes connections, and says the same to everybody who says anything."""

    def __init__(self, says):
        self.listener, self.says = socket.create_server(("127.0.0.1", 0)), says
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            while connection.recv(65536):
                connection.sendall(self.says)
        except OSError:
            pass
        connection.close()

    def close(self):
        self.listener.close()


@pytest.mark.parametrize("says", [
    b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*2147483647\r\n", b"$536870912\r\n" + b"x" * 4096, b"*1\r\n" * 100, b"+OK\r\n",
    b"+OK\r\n+PONG\r\n-ERR no\r\n$1000000000\r\n", b":1\r\n", b"-ERR no\r\n", b"\0" * 100, b"+OK\r\n+PONG\r\n" * 10,
], ids=["HTTP", "a count to fill all memory", "a text without end", "nested", "OK to all", "well at first", "numbers",
        "errors", "NULs", "more than was asked for"])
def test_a_confused_server_is_a_miss(start, upstream, says):
    server = Confused(says)
    refrain = start(tiers={"redis": {"url": server.url}})
    client = start.client(refrain)
    before = refrain.rss_bytes()
    for number in range(30):
        client.post(chat(f"question {number}")).was("MISS").whole()
        client.post(chat(f"question {number}")).was("HIT").whole()
    assert sanitized() or refrain.rss_bytes() - before < 48 << 20
    upstream.saw(30)
    server.close()


# -- frozen -------------------------------------------------------------------------------------------------------------


def seconds_of_misses(client, name):
    """How long each of 30 answers took that nothing has."""
    took = []
    for number in range(30):
        began = time.monotonic()
        client.post(chat(f"{name} {number}")).was("MISS").whole()
        took.append(time.monotonic() - began)
    return sorted(took)


def test_a_frozen_redis_is_not_noticed_in_memory(start, redis, upstream, table):
    """While Redis stands still, what memory has comes as ever; what it has not waits for Redis as long as said, until
    that is given a rest."""
    refrain = start(tiers={"redis": {"url": redis.url, "timeout": "50ms"}})
    client = start.client(refrain)
    asks = [chat(f"question {number}") for number in range(50)]
    for ask in asks:
        client.post(ask).was("MISS")
    refrain.waits_for("write_queue_entries", 0)

    def hits():
        with Load(refrain.proxy, asks) as load:
            load.goes_on(1500)
        assert not load.faults, load.faults
        assert all(answer.tier == "memory" for answer in load.answers)
        return load.answers

    well, misses_well = hits(), seconds_of_misses(client, "well")
    refrain.waits_for("write_queue_entries", 0)
    redis.freeze()
    misses_frozen = seconds_of_misses(client, "frozen")
    frozen = hits()
    refrain.logged(lambda e: e.get("event") == "tier_rested", "that Redis is given a rest")
    misses_rested = seconds_of_misses(client, "rested")
    redis.thaw()
    table("Redis frozen", [figures("hits in memory, Redis well", well), figures("hits in memory, Redis frozen", frozen)] + [
        f"misses, {name}: p50 {quantile(took, 0.5) * 1000:.1f} ms, longest {took[-1] * 1000:.1f} ms"
        for name, took in (("well", misses_well), ("frozen", misses_frozen), ("rested", misses_rested))])
    assert quantile(sorted(answer.seconds for answer in frozen), 0.5) < 0.05, "memory does not ask Redis"
    assert sum(took >= 0.045 for took in misses_frozen) >= 3, "Redis was asked"
    assert quantile(misses_rested, 0.5) < 0.045, "nobody waits for a Redis that rests"
