"""The servers that other scenarios lean on are what they say: each lets in whom it should, forgets what it held when it
is killed, comes back where it was, and a cluster of them replaces a master that dies."""

import socket
import ssl

import pytest

from harness.redis import RedisError, slot_of

SHAPES = {"plain": {}, "unix": {"unix": True}, "password": {"password": "secret"},
          "user": {"user": "refrain", "password": "secret"}}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_server_dies_and_comes_back_where_it_was_empty(redis_server, shape):
    server = redis_server(**SHAPES[shape])
    server.cli("SET", "refrain:a", "kept in memory alone")
    assert server.keys("refrain:*") == ["refrain:a"] and b"memory alone" in server.everything()
    where = server.url
    server.freeze()
    server.kill()
    server.restart()
    assert (server.url, server.keys()) == (where, [])


def test_the_user_of_least_rights_may_do_nothing_that_hurts_others(redis_server):
    server = redis_server(user="refrain", password="secret")
    mine = server.connection()
    assert mine("AUTH", "refrain", "secret") == b"OK"
    assert mine("SET", "refrain:a", "b") == b"OK"
    for words in (("KEYS", "*"), ("FLUSHDB",), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("GET", "others:a"), ("MONITOR",)):
        with pytest.raises(RedisError, match="NOPERM"):
            mine(*words)
    mine.close()


def test_what_a_server_was_asked_is_known(redis):
    redis.never("KEYS", "FLUSHDB")
    redis.cli("KEYS", "*")
    with pytest.raises(AssertionError, match="KEYS"):
        redis.never("KEYS", "FLUSHDB")


def test_slots_are_counted_as_the_server_counts_them(redis_server):
    node = redis_server(cluster=True)
    for name in ("", "a", "{a}b", "b{a}", "{}a", "a{b", "a}b{c}", "{{a}}", "refrain:default:chat:gpt-4o:00ff"):
        assert slot_of(name) == node.cli("CLUSTER", "KEYSLOT", name), name


def test_a_cluster_replaces_a_master_that_dies(redis_cluster):
    for number in range(60):
        redis_cluster.master_of(f"refrain:{number}").cli("SET", f"refrain:{number}", "x")
    assert all(master.keys() for master in redis_cluster.masters())
    dead = redis_cluster.master_of("refrain:1")
    replica = redis_cluster.kill_master(dead)
    assert redis_cluster.master_of("refrain:1") is replica and len(redis_cluster.keys()) == 60
    dead.restart()
    redis_cluster.settled()
    assert dead not in redis_cluster.masters() and len(redis_cluster.masters()) == 3


def test_a_slot_of_a_cluster_moves_with_what_it_holds(redis_cluster):
    source = redis_cluster.master_of("{moving}1")
    for number in range(10):
        source.cli("SET", f"{{moving}}{number}", "x")
    target = next(master for master in redis_cluster.masters() if master is not source)
    redis_cluster.move_begin(slot_of("{moving}1"), target)
    assert redis_cluster.move_keys(slot_of("{moving}1"), target, 3) == 3
    with pytest.raises(RedisError, match="TRYAGAIN"):
        source.cli("MGET", *(f"{{moving}}{number}" for number in range(10)))
    redis_cluster.move(slot_of("{moving}1"), target)
    assert redis_cluster.master_of("{moving}1") is target
    assert len(redis_cluster.keys("{moving}*")) == len(target.keys("{moving}*")) == 10


def test_a_server_behind_tls_wants_a_certificate(redis_server, certificates):
    server = redis_server(certificates=certificates)
    context = ssl.create_default_context(cafile=certificates.file("ca.pem"))
    context.load_cert_chain(certificates.file("client.pem"), certificates.file("client.key"))
    with socket.create_connection((server.host, server.port)) as plain:
        with context.wrap_socket(plain, server_hostname="redis.test") as wrapped:
            wrapped.sendall(b"PING\r\n")
            assert wrapped.recv(100) == b"+PONG\r\n"
    stranger = ssl.create_default_context(cafile=certificates.file("ca.pem"))
    with socket.create_connection((server.host, server.port)) as plain, pytest.raises(OSError):
        with stranger.wrap_socket(plain, server_hostname="redis.test") as wrapped:
            wrapped.sendall(b"PING\r\n")
            if not wrapped.recv(100):
                raise ConnectionError("closed")
