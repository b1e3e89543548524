"""A Redis Cluster below memory: entries on all masters, failovers and slots that move while clients ask, nodes that go and
come back. No client hears of any of it. SPEC sections 8 and 13."""

import json
import time

import pytest

from harness.asks import chat
from harness.load import Load, figures
from harness.operator import Operator
from harness.process import merged, wait_until
from harness.redis import slot_of

PROMPTS = 90
ASKS = [chat(f"question {number}") for number in range(PROMPTS)]
SHARED = {"cache": {"secret": "one secret for all of these instances"}, "admin": {"token": "an-operator's-token"}}
WITHOUT_MEMORY = {"tiers": {"memory": {"enabled": False}}}
NEVER = ("KEYS", "FLUSHDB", "FLUSHALL")


@pytest.fixture
def join(request, start, redis_cluster):
    """join(node): an instance that was told of this node of the cluster; all have the same secret."""
    def made(node=0, **groups):
        tier = redis_cluster.nodes[node].tier(timeout="1s")  # a busy machine needs more than 50 ms now and then
        instance = start(**merged(merged(SHARED, {"tiers": {"redis": tier}}), groups))
        instance.client = start.client(instance)
        instance.operator = Operator(instance, token=SHARED["admin"]["token"])
        request.addfinalizer(instance.operator.close)
        return instance
    yield made
    redis_cluster.never(*NEVER)


def fill(instance, cluster):
    for ask in ASKS:
        instance.client.post(ask).was("MISS")
    wait_until(lambda: len(cluster.keys("refrain:*:chat:*")) == PROMPTS, "every answer in the cluster")


def all_are_hits(instance):
    return all(instance.client.post(ask).whole().header("x-cache") == "HIT" for ask in ASKS)


def test_entries_lie_on_all_masters_and_are_found_by_another_instance(join, redis_cluster, upstream):
    fill(join(), redis_cluster)
    assert all(len(master.keys("refrain:*:chat:*")) > PROMPTS // 10 for master in redis_cluster.masters())
    other = join(node=4)  # a replica tells the way as well
    for ask in ASKS:
        other.client.post(ask).was("HIT")
    other.waits_for("hits_total", PROMPTS, tier="redis")
    upstream.saw(PROMPTS)


def test_a_master_dies_while_clients_ask(join, redis_cluster, upstream, table):
    instance = join(**WITHOUT_MEMORY)
    fill(instance, redis_cluster)
    with Load(instance.proxy, ASKS) as load:
        load.goes_on(400)
        before, killed_at = len(upstream.requests), time.monotonic()
        redis_cluster.kill_master(redis_cluster.nodes[0])
        decided_at = time.monotonic()
        wait_until(lambda: all(took.result == "HIT" for took in load.answers[-50:]), "misses to end")
        load.goes_on(400)
    load.went_well()
    missed = [took.at for took in load.between(killed_at) if took.result != "HIT"]
    table("a master of three dies under load", [
        figures("before", load.between(0, killed_at)), figures("from kill -9 on", load.between(killed_at)),
        f"the cluster has another master after {decided_at - killed_at:.1f} s, the last miss came "
        f"{(max(missed) if missed else killed_at) - killed_at:.1f} s after the kill",
        f"{len(upstream.requests) - before} calls to upstream more"])
    wait_until(lambda: all_are_hits(instance), "every answer to be found again")


def test_an_orderly_failover_costs_next_to_nothing(join, redis_cluster, upstream, table):
    instance = join(**WITHOUT_MEMORY)
    fill(instance, redis_cluster)
    with Load(instance.proxy, ASKS) as load:
        load.goes_on(200)
        before, began = len(upstream.requests), time.monotonic()
        redis_cluster.failover(redis_cluster.nodes[1])
        load.goes_on(200)
    load.went_well()
    table("an orderly failover under load", [figures("before", load.between(0, began)),
                                             figures("after", load.between(began)),
                                             f"{len(upstream.requests) - before} calls to upstream more"])
    wait_until(lambda: all_are_hits(instance), "every answer to be found again")


def test_slots_move_while_clients_ask(join, redis_cluster, upstream, table):
    instance = join(**WITHOUT_MEMORY)
    fill(instance, redis_cluster)
    source, target = redis_cluster.nodes[0], redis_cluster.nodes[2]
    slots = sorted({slot_of(name) for name in source.keys("refrain:*:chat:*")})
    with Load(instance.proxy, ASKS) as load:
        load.goes_on(200)
        before, began = len(upstream.requests), time.monotonic()
        for slot in slots:
            redis_cluster.move_begin(slot, target)
            load.goes_on(5)
            redis_cluster.move(slot, target)
        load.goes_on(200)
    load.went_well()
    assert not source.keys("refrain:*:chat:*")
    table(f"{len(slots)} slots move under load", [figures("before", load.between(0, began)),
                                                  figures("meanwhile and after", load.between(began)),
                                                  f"{len(upstream.requests) - before} calls to upstream more"])
    wait_until(lambda: all_are_hits(instance), "every answer to be found")


def test_replicas_may_go_and_come_back(join, redis_cluster, upstream):
    instance = join(**WITHOUT_MEMORY)
    fill(instance, redis_cluster)
    for replica in redis_cluster.nodes[3:]:
        replica.kill()
    assert all_are_hits(instance)
    for replica in redis_cluster.nodes[3:]:
        replica.restart()
    redis_cluster.settled()
    assert all_are_hits(instance)
    upstream.saw(PROMPTS)


def test_a_master_that_is_away_is_told_of_and_the_others_serve_on(join, redis_cluster, upstream):
    instance = join(**WITHOUT_MEMORY)
    fill(instance, redis_cluster)
    dead = redis_cluster.nodes[0]
    theirs = len(dead.keys("refrain:*:chat:*"))
    redis_cluster.nodes[3].kill()  # nobody stands in
    for node in redis_cluster.living():
        node.cli("CONFIG", "SET", "cluster-require-full-coverage", "no")
    dead.kill()
    wait_until(lambda: sum(instance.client.post(ask).whole().header("x-cache") == "HIT" for ask in ASKS)
               == PROMPTS - theirs, "what the others have to be found, and nothing else")
    ready = instance.operator.client.get("/readyz").whole()
    assert ready.status == 200 and b"redis" in ready.body and b"degraded" in ready.body, f"{ready!r}"
    assert instance.metric("tier_up", tier="redis") == 1
    dead.restart()
    redis_cluster.settled()
    wait_until(lambda: all_are_hits(instance), "the master that came back to be used")


def test_a_whole_cluster_goes_and_comes_back(join, redis_cluster, upstream):
    instance = join(**WITHOUT_MEMORY)
    fill(instance, redis_cluster)
    for node in redis_cluster.nodes:
        node.kill()
    for ask in ASKS[:10]:
        instance.client.post(ask).was("MISS")
    wait_until(lambda: instance.metric("tier_up", tier="redis") == 0, "the tier to be told as down")
    for node in redis_cluster.nodes:
        node.restart()
    redis_cluster.settled()
    wait_until(lambda: all_are_hits(instance), "the cluster to be used again")


@pytest.mark.parametrize("body", [{"pattern": "default:chat:*"}, {"tag": "red"}, {"all": True}], ids=["pattern", "tag", "all"])
def test_an_invalidation_reaches_every_master(join, redis_cluster, body):
    instance = join()
    asks = [ask.with_headers(Refrain_Tags="red") for ask in ASKS[:30]]
    for ask in asks:
        instance.client.post(ask).was("MISS")
    wait_until(lambda: len(redis_cluster.keys("refrain:*:chat:*")) == len(asks), "every answer in the cluster")
    for node in redis_cluster.masters():
        node.cli("SET", f"others:{node.port}{{{redis_cluster.tag_of(node)}}}", "theirs")
    said = instance.operator.does("/invalidate", json.dumps(body).encode())
    assert (said["matched"], said["tiers"]["redis"]) == (len(asks), len(asks)), said
    assert not redis_cluster.keys("refrain:*:chat:*") and len(redis_cluster.keys("others:*")) == 3
    for ask in asks:
        instance.client.post(ask).was("MISS")


def test_instances_hear_of_each_other_by_whatever_node_is_left(join, redis_cluster):
    """The node that one of them was told of has died: both go on hearing of invalidations."""
    first, second = join(node=0), join(node=1)
    ask = chat("what both know").with_headers(Refrain_Tags="red")

    def is_gone_at_the_other(told, other):
        for instance in (told, other):  # more than once, where one catches up with what it has missed
            wait_until(lambda i=instance: i.client.post(ask).whole().header("x-cache") == "HIT", "it to be known")
        told.operator.does("/invalidate", json.dumps({"tag": "red"}).encode())
        wait_until(lambda: other.client.post(ask).whole().header("x-cache") == "MISS", "the other to have dropped it")

    is_gone_at_the_other(second, first)
    redis_cluster.kill_master(redis_cluster.nodes[0])
    is_gone_at_the_other(second, first)
    is_gone_at_the_other(first, second)
