"""The disk tier in trouble: killed, damaged, full, not to be written, somebody else's. Clients are served all along,
operators are told, and it comes back by itself. SPEC section 8, docs/disk.md."""

import contextlib
import itertools
import json
import os
import random
import sqlite3
import time

import pytest

from harness.asks import chat
from harness.client import Client
from harness.process import wait_until
from harness.tmpfs import mounted, remounted
from harness.upstream import chat_answer, whole

ROUNDS = int(os.environ.get("REFRAIN_KILL_ROUNDS", "4"))
PROMISED_S = 1.0  # what was answered so long before a kill is not lost


class Disk:
    """A file for the tier, and instances over it with one server secret."""

    def __init__(self, folder, start, upstream):
        self.folder, self.start, self.upstream = folder, start, upstream
        self.file = folder / "cache.db"
        self.state = folder.parent / "shared-state"

    def opens(self, path=None, **groups):
        # The time-out is no subject here: a slow machine is no miss.
        settings = {"path": str(path or self.file), "timeout": "10s"}
        return self.start(cache={"state_dir": str(self.state)}, tiers={"disk": settings}, **groups)

    def client(self, refrain):
        return self.start.client(refrain)


@pytest.fixture
def disk(tmp_path, start, upstream):
    upstream.always(whole, chat_answer("an answer"))
    folder = tmp_path / "disk"
    folder.mkdir()
    return Disk(folder, start, upstream)


@pytest.fixture
def small_disk(disk):
    """The same on a file system of 50 MB."""
    with mounted(disk.folder, "size=50m"):
        yield disk


def is_up(refrain):
    refrain.logged(lambda e: e.get("event") == "disk_up", "the disk tier to be up")
    return refrain


@contextlib.contextmanager
def readiness(refrain):
    """A function that tells what /readyz says of the disk tier."""
    def tells():
        return json.loads(asking.get("/readyz", on=kept).whole().body)["tiers"]["disk"]

    with contextlib.closing(Client(refrain.admin, credential=None)) as asking:
        kept = asking.connect()  # a connection for each look would be too many on a slow machine
        yield tells


def tier_is(refrain, word):
    """Waits until readiness says this of the disk tier."""
    with readiness(refrain) as tells:
        wait_until(lambda: tells() == word, f"the disk tier to be {word}")


def stored(refrain, n):
    """Waits until @n entries lie on the disk."""
    refrain.waits_for("entries", n, tier="disk")


def where(answer):
    """`memory`, `disk` or None: where a hit came from."""
    status = answer.whole().header("cache-status")
    return status.rpartition("detail=")[2] if "; hit;" in status else None


def kill(refrain):
    refrain.process.kill()
    refrain.process.wait()
    refrain.stop = lambda: None


# -- kill -9 --


def test_what_was_answered_a_second_before_a_kill_is_there_after_it(disk):
    """The journal holds every answer with the time it was complete; after each kill all that is old enough is a hit
    on disk, byte for byte, and what is younger is a whole answer or a miss."""
    journal, asked = {}, 0
    for _ in range(ROUNDS):
        refrain = is_up(disk.opens())
        client = disk.client(refrain)
        end = time.monotonic() + random.uniform(1.2, 2.5)
        while time.monotonic() < end:
            asked += 1
            answer = client.post(chat(f"question {asked}")).was("MISS").whole()
            journal[asked] = (time.monotonic(), answer.body)
        killed = time.monotonic()
        kill(refrain)

        again = is_up(disk.opens())
        client = disk.client(again)
        young = {n: kept for (n, kept) in journal.items() if killed - kept[0] < PROMISED_S}
        journal = {n: kept for (n, kept) in journal.items() if n not in young}
        for n, (_, body) in random.sample(sorted(journal.items()), min(150, len(journal))):
            found = client.post(chat(f"question {n}")).whole()
            assert where(found) == "disk", f"expected question {n} on disk: {found!r}"
            assert found.body == body
        for n, (_, body) in sorted(young.items())[-20:]:
            assert client.post(chat(f"question {n}")).whole().body == body
        assert again.metric("corrupt_total") == 0
        assert again.metric("tier_set_aside_total", tier="disk") == 0
        again.stop()


# -- damage --


def test_a_damaged_file_is_put_aside_and_told_of(disk):
    first = is_up(disk.opens())
    disk.client(first).post(chat()).was("MISS").whole()
    stored(first, 1)
    first.stop()
    disk.file.write_bytes(b"this was a database once" * 1000)

    second = is_up(disk.opens())
    told = second.logged(lambda e: e.get("event") == "disk_file_set_aside", "the damage to be told")
    assert told["level"] == "warn" and told["why"] == "damaged"
    assert open(told["now"], "rb").read(24) == b"this was a database once", "kept for whoever wants to look"
    assert second.metric("tier_set_aside_total", tier="disk") == 1
    client = disk.client(second)
    client.post(chat()).was("MISS").whole()
    stored(second, 1)
    second.stop()
    assert where(disk.client(is_up(disk.opens())).post(chat())) == "disk"


def test_a_record_that_rotted_is_a_miss_and_goes(disk):
    first = is_up(disk.opens())
    disk.client(first).post(chat()).was("MISS").whole()
    stored(first, 1)
    first.stop()
    with contextlib.closing(sqlite3.connect(disk.file)) as db, db:
        (record,) = db.execute("SELECT record FROM records").fetchone()
        rotted = record[:-10] + bytes([record[-10] ^ 1]) + record[-9:]
        db.execute("UPDATE records SET record = ?", (rotted,))

    second = is_up(disk.opens())
    disk.client(second).post(chat()).was("MISS").whole()
    second.waits_for("corrupt_total", 1)
    disk.upstream.saw(2)


# -- a full disk --


def test_a_full_disk_is_no_trouble_for_clients(small_disk):
    """A tier of 10 GiB on 50 MB: it fills up, says so, goes on with what there is, and grows again when it may."""
    disk = small_disk
    refrain = is_up(disk.opens(compression={"level": "off"}))
    client = disk.client(refrain)
    numbers = itertools.count()

    def is_full_after_another():  # it finds a little room again and again, while it has time to
        disk.upstream.reply(whole, chat_answer(random.randbytes(500_000).hex()))
        client.post(chat(f"long {next(numbers)}")).was("MISS").whole()
        return tells() == "degraded"

    with readiness(refrain) as tells:
        wait_until(is_full_after_another, "the disk to be full")
    client.post(chat(f"long {next(numbers) - 1}")).was("HIT").whole()
    told = refrain.logged(lambda e: e.get("event") == "disk_degraded", "the full disk to be told")
    assert told["why"] == "disk full" and told["level"] == "warn"
    assert refrain.metric("tier_errors_total", tier="disk", kind="full") >= 1
    client.post(chat("short")).was("MISS").whole()
    client.post(chat("short")).was("HIT").whole()

    remounted(disk.folder, "size=120m")
    refrain.logged(lambda e: e.get("event") == "disk_up", "the tier to be up again", times=2)
    tier_is(refrain, "up")
    client.post(chat("after")).was("MISS").whole()
    refrain.waits_for("write_queue_entries", 0)
    refrain.stop()
    after = is_up(disk.opens())
    assert where(disk.client(after).post(chat("after"))) == "disk"
    after.stop()


# -- a place that cannot be written --


def test_a_read_only_disk_is_read(small_disk):
    disk = small_disk
    first = is_up(disk.opens())
    disk.client(first).post(chat()).was("MISS").whole()
    stored(first, 1)
    first.stop()
    remounted(disk.folder, "ro")

    second = disk.opens()
    told = second.logged(lambda e: e.get("event") == "disk_degraded", "the read-only disk to be told")
    assert told["why"] == "read-only"
    client = disk.client(second)
    assert where(client.post(chat())) == "disk"
    client.post(chat("new")).was("MISS").whole()
    client.post(chat("new")).was("HIT").whole()
    tier_is(second, "degraded")
    remounted(disk.folder, "rw")
    is_up(second)
    second.stop()


def test_no_directory_no_tier_and_clients_are_served(disk):
    refrain = disk.opens(path=disk.folder / "later" / "cache.db")
    told = refrain.logged(lambda e: e.get("event") == "disk_down", "what is missing to be told")
    assert told["why"] == "no such directory"
    client = disk.client(refrain)
    client.post(chat()).was("MISS").whole()
    client.post(chat()).was("HIT").whole()
    tier_is(refrain, "down")
    (disk.folder / "later").mkdir()
    is_up(refrain)


# -- two on one file --


def test_a_second_instance_waits_for_the_file(disk):
    """As in a restart where old and new overlap: the new one serves without its disk, and takes it over."""
    old = is_up(disk.opens())
    disk.client(old).post(chat("kept")).was("MISS").whole()
    stored(old, 1)
    new = disk.opens()
    told = new.logged(lambda e: e.get("event") == "disk_down", "the file's owner to be told")
    assert told["why"] == "in use by another process"
    disk.client(new).post(chat("meanwhile")).was("MISS").whole()
    assert where(disk.client(new).post(chat("meanwhile"))) == "memory"
    old.stop()
    is_up(new)
    wait_until(lambda: where(disk.client(new).post(chat("kept"))) is not None, "what lies on disk to be found")
