"""What was sent, kept beside what Refrain says that it counted: each step of a scenario writes down what it must add,
and at the end the whole of both is compared, to the unit. What nobody has written down must not have been counted.

    ledger = Ledger()
    client.post(chat()).was("HIT"); ledger.request("chat", "hit", tokens=(5, 7))
    ledger.equals(refrain)
"""

import collections

from .process import wait_until

# What a ledger keeps: counters, and how many observations a histogram has.
COUNTED = ("requests_total", "namespace_requests_total", "request_duration_seconds_count", "hits_total", "coalesced_total",
           "upstream_requests_total", "upstream_retries_total", "upstream_duration_seconds_count", "not_stored_total",
           "answers_saved_total", "tokens_saved_total", "invalidations_total", "connections_refused_total", "corrupt_total", "promoted_total")


def sample(name, **labels):
    return f"refrain_{name}", frozenset(labels.items())


class Ledger:
    def __init__(self):
        self.counts = collections.Counter()

    def add(self, name, n=1, **labels):
        self.counts[sample(name, **labels)] += n

    def request(self, operation, result, n=1, namespace="default", model="gpt-4o-mini", tier="memory", tokens=(0, 0)):
        """@n requests; @tokens: what the answer of each cost, if that was saved."""
        self.add("requests_total", n, operation=operation, result=result)
        self.add("namespace_requests_total", n, namespace=namespace, result=result)
        self.add("request_duration_seconds_count", n, result=result)
        if result in ("hit", "stale"):
            self.add("hits_total", n, tier=tier)
        if result in ("hit", "stale", "revalidated", "coalesced"):
            self.add("answers_saved_total", n, model=model or "other")
            for kind, count in zip(("input", "output"), tokens):
                if count:
                    self.add("tokens_saved_total", n * count, model=model or "other", kind=kind)

    def upstream(self, code=200, n=1, upstream="default"):
        self.add("upstream_requests_total", n, upstream=upstream, code=str(code))
        self.add("upstream_duration_seconds_count", n)

    @property
    def requests(self):
        return sum(n for ((name, _), n) in self.counts.items() if name == "refrain_requests_total")

    def differences(self, samples):
        """What differs, as text a line."""
        names = {f"refrain_{name}" for name in COUNTED}
        said = {key: value for (key, value) in samples.items() if key[0] in names and value}
        return [f"{name}{dict(sorted(labels))}: expected {self.counts.get((name, labels), 0)}, "
                f"got {said.get((name, labels), 0):.0f}"
                for (name, labels) in sorted(said.keys() | {key for key in self.counts if self.counts[key]},
                                             key=lambda key: (key[0], sorted(key[1])))
                if self.counts.get((name, labels), 0) != said.get((name, labels), 0)]

    def equals(self, refrain):
        """An answer is counted when its last byte has gone, which its client may know a moment sooner."""
        def counted():
            return sum(value for ((name, _), value) in refrain.scrape().items()
                       if name == "refrain_requests_total") >= self.requests

        wait_until(counted, "all requests to be counted")
        different = self.differences(refrain.scrape())
        assert not different, "what was counted is not what was sent:\n" + "\n".join(different)
