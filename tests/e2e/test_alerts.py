"""Every alert comes for its cause and goes with it; every recommendation is there for its evidence, and not once what it
says has been done. SPEC section 12, docs/alerts.md."""

import contextlib
import itertools
import json
import random

import pytest

from harness.asks import chat
from harness.events import Listener
from harness.operator import Operator
from harness.process import wait_until
from harness.upstream import chat_answer, hold, whole

OFTEN = {"sample_every": "50ms"}
SHORT = {"window": "300ms"}
MIB = 1 << 20


@pytest.fixture
def watched(start):
    """watched(alerts={…}, …): an instance that looks at itself often; what has not just happened is forgotten soon."""
    def begin(alerts=None, **groups):
        refrain = start(monitoring=OFTEN, alerts={**SHORT, **(alerts or {})}, **groups)
        refrain.operator = Operator(refrain)
        return refrain

    return begin


def alert(refrain, code, subject=None):
    """The alert as it is told now, or None."""
    told = refrain.operator.reads("/alerts")
    found = [a for a in told["alerts"] if a["code"] == code and subject in (None, a["subject"])]
    assert sum(told["counts"].values()) == len(told["alerts"])
    return found[0] if found else None


def raised(refrain, code, level, subject=None):
    """Waits until it is there, at this level, in all the places that tell of it."""
    def there():
        found = alert(refrain, code, subject)
        return found if found and found["level"] == level else None

    found = wait_until(there, f"the alert {code} to be raised")
    assert found["message"] and found["what_to_do"] and found["for_s"] >= 0
    line = refrain.logged(lambda e: e.get("event") == "alert_raised" and e["code"] == code and
                          e["alert_level"] == level, f"`alert_raised` {code}")
    assert line["what_to_do"] == found["what_to_do"]
    return found


def cleared(refrain, code, subject=None):
    """Waits until it is gone, and has been told to be."""
    wait_until(lambda: alert(refrain, code, subject) is None, f"the alert {code} to go")
    refrain.logged(lambda e: e.get("event") == "alert_cleared" and e["code"] == code, f"`alert_cleared` {code}")
    assert refrain.metric("alerts", alert=code) == 0


def ask_all(client, requests, **kwargs):
    with client.connect() as connection:
        return [client.post(request, on=connection, **kwargs).whole() for request in requests]


def new_ones(count, label="new"):
    return [chat(f"{label} {number}") for number in range(count)]


# -- alerts --


def test_memory_that_fills_up(watched, start, upstream):
    refrain = watched(tiers={"memory": {"max_bytes": "4MiB"}})
    client = start.client(refrain)
    upstream.always(whole, chat_answer("x" * 100_000))
    numbers = itertools.count()

    def fuller(level):
        ask_all(client, [chat(f"long {next(numbers)}")])
        found = alert(refrain, "memory")
        return found and found["level"] == level

    wait_until(lambda: fuller("warning"), "the warning")
    wait_until(lambda: fuller("critical"), "the critical alert")
    found = raised(refrain, "memory", "critical")
    assert found["threshold"] == 0.95 and found["value"] >= 0.9 and found["unit"] == "ratio"
    assert refrain.metric("alerts", alert="memory", level="critical") == 1
    refrain.operator.does("/invalidate", json.dumps({"all": True}))
    cleared(refrain, "memory")
