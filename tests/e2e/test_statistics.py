"""What operators are told of counts and times is what clients have sent and seen. SPEC section 12."""

from harness.asks import chat, messages
from harness.process import wait_until

RESULTS = ("hit", "miss", "coalesced", "stale", "revalidated", "bypass", "error")


def counted(**results):
    """The member "requests" where this was counted and nothing else."""
    return {"total": sum(results.values()), **{name: results.get(name, 0) for name in RESULTS}}


def settled(operator, total, path="/stats"):
    """What @path tells once @total requests have ended: one does so just after its client has the last byte."""
    wait_until(lambda: operator.reads("/stats")["requests"]["total"] >= total, "the requests have ended")
    return operator.reads(path)


def test_nothing_has_happened_yet(operator):
    stats = operator.reads("/stats")
    assert stats["requests"] == counted() and stats["hit_rate"] is None
    assert stats["operations"] == [] and stats["not_stored"] == []
    memory, disk, redis = stats["tiers"]
    assert memory["tier"] == "memory" and memory["state"] == "up" and memory["entries"] == 0
    assert 0 < memory["bytes"] < memory["limit_bytes"] and 0 < memory["fill"] < 1
    assert disk["state"] == redis["state"] == "off" and redis["entries"] is None
    assert stats["process"]["rss_bytes"] > 1 << 20 and stats["uptime_s"] >= 0
    assert stats["started"] <= stats["now"] and stats["now"].endswith("Z")


def test_each_request_is_counted_once_by_operation_and_result(operator, client, upstream):
    for _ in range(3):
        client.post(chat("one")).whole()
    client.post(chat("two"), {"Cache-Control": "no-store"}).whole()
    client.post(messages("one")).whole()
    stats = settled(operator, 5)
    assert stats["requests"] == counted(hit=2, miss=2, bypass=1) and stats["hit_rate"] == 0.5
    told = {one["operation"]: one for one in stats["operations"]}
    assert told["chat"]["requests"] == counted(hit=2, miss=1, bypass=1)
    assert told["chat"]["hit_rate"] == 0.666666667
    assert told["messages"]["requests"] == counted(miss=1) and told["messages"]["hit_rate"] == 0
    assert stats["upstream"] == {"calls": 3, "failures": 0}
    assert stats["tiers"][0]["entries"] == 2 and stats["tiers"][0]["hits"] == 2
    assert stats["flights"] == {"open": 0, "readers": 0} and stats["breakers_open"] == 0
