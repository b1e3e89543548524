"""What lies on disk outlives its instance in the form it was given: gzip-coded, sealed, both; and keys come and go.
SPEC section 8; docs/encryption.md.
"""

import gzip
import sqlite3

import pytest

from harness.asks import chat, chat_stream
from harness.process import wait_until
from harness.upstream import chat_answer, sse, token, whole

LONG = "it depends, and it depends on what it depends on; " * 100
OLD, NEW = "11" * 32, "22" * 32
GZIP = {"Accept-Encoding": "gzip"}
SECRET = "one for all, so that keys outlive instances"


@pytest.fixture
def lives(start, tmp_path):
    """lives(…): the instance's next life on the same disk, once the one before has ended."""
    path, ended = tmp_path / "shared.db", []

    def begin(**groups):
        if ended:
            ended[-1].stop()
        more = {"tiers": {"disk": {"path": str(path), "timeout": "10s"}}, "cache": {"secret": SECRET}, **groups}
        ended.append(start(**more))
        return ended[-1], start.client(ended[-1])

    begin.path = path
    return begin


def on_disk(refrain, entries):
    wait_until(lambda: refrain.metric("entries", tier="disk") == entries, f"{entries} on disk")


def kept(lives, upstream, ask=None, **groups):
    """A first life, in which a long answer was stored; what it was."""
    upstream.reply(whole, chat_answer(LONG))
    refrain, client = lives(**groups)
    miss = client.post(ask or chat()).was("MISS")
    on_disk(refrain, 1)
    return miss


def found_on_disk(answer):
    assert answer.was("HIT").header("cache-status").endswith("; detail=disk")
    return answer


# -- compression --------------------------------------------------------------------------------------------------------


def test_what_is_gzip_coded_on_disk_goes_as_it_is_to_those_who_take_it(lives, upstream):
    miss = kept(lives, upstream)
    refrain, client = lives()
    hit = found_on_disk(client.post(chat(), headers=GZIP))
    assert hit.header("content-encoding") == "gzip" and gzip.decompress(hit.body) == miss.body
    assert hit.header("etag") == miss.header("etag")[:-1] + '-gz"' and hit.header("vary") == "Accept-Encoding"
    assert client.post(chat(), headers=GZIP).was("HIT").header("cache-status").endswith("; detail=memory")
    assert client.post(chat(), headers=GZIP).was("HIT").body == hit.body
    upstream.saw(1)


def test_others_get_it_decoded_and_then_from_where_it_lies(lives, upstream):
    miss = kept(lives, upstream)
    refrain, client = lives()
    assert found_on_disk(client.post(chat())).body == miss.body
    [line] = refrain.request_lines(1)
    assert line["bytes"] == len(miss.body), "the line tells what was sent, not what was stored"

    def from_where_it_lies():
        hit = client.post(chat()).was("HIT")
        assert hit.body == miss.body and hit.header("content-encoding") is None
        return hit.header("content-length") == str(len(miss.body))

    wait_until(from_where_it_lies, "the identity copy to be kept")
    upstream.saw(1)


def test_a_stream_outlives_its_instance(lives, upstream):
    upstream.reply(sse, *(token(f"word {i} ") for i in range(200)))
    refrain, client = lives()
    miss = client.post(chat_stream()).was("MISS").whole()
    on_disk(refrain, 1)
    assert refrain.metric("compression_ratio") > 2
    _, client = lives()
    assert found_on_disk(client.post(chat_stream()).whole()).body == miss.body
    assert gzip.decompress(client.post(chat_stream(), headers=GZIP).was("HIT").body) == miss.body


def test_without_compression_the_bytes_lie_there_as_they_came(lives, upstream):
    kept(lives, upstream, compression={"level": "off"})
    lives(compression={"level": "off"})[0].stop()
    assert LONG.encode() in lives.path.read_bytes()


# -- encryption ---------------------------------------------------------------------------------------------------------


def sealed_by(*keys, **more):
    return {"encryption": {"key": ",".join(keys)}, "compression": {"level": "off"}, **more}


def test_what_is_sealed_opens_in_the_next_life(lives, upstream):
    miss = kept(lives, upstream, **sealed_by(OLD))
    _, client = lives(**sealed_by(OLD))
    assert found_on_disk(client.post(chat())).body == miss.body
    with sqlite3.connect(f"file:{lives.path}?mode=ro", uri=True) as database:
        everything = "\n".join(database.iterdump())
    assert LONG.encode().hex().upper()[:200] not in everything.upper(), "the answer lies in the open"


def test_keys_rotate_and_a_lost_one_is_told_of(lives, upstream):
    kept(lives, upstream, **sealed_by(OLD))
    refrain, client = lives(**sealed_by(NEW, OLD))
    found_on_disk(client.post(chat()))
    client.post(chat("under the new key")).was("MISS")
    on_disk(refrain, 2)
    refrain, client = lives(**sealed_by(NEW))
    found_on_disk(client.post(chat("under the new key")))
    client.post(chat()).was("MISS")
    alert = refrain.logged(lambda e: e.get("event") == "records_unreadable", "an alert")
    assert (alert["level"], alert["reason"], alert["records"]) == ("warn", "locked", 1)
    assert refrain.metric("records_unreadable_total", why="locked") == 1
    assert refrain.metric("records_unreadable_total") == 1
    assert refrain.metric("corrupt_total") == 0


def test_keys_rotate_without_a_restart(lives, upstream, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"{OLD}\n")
    keys.chmod(0o600)
    by_file = {"encryption": {"key_file": str(keys)}}
    refrain, client = lives(**by_file)
    client.post(chat("under the old key")).was("MISS")
    on_disk(refrain, 1)
    keys.write_text(f"# since today\n{NEW}\n{OLD}\n")
    refrain.reload()
    refrain.logged(lambda e: e.get("event") == "reloaded", "the reload")
    client.post(chat("under the new key")).was("MISS")
    on_disk(refrain, 2)
    _, client = lives(encryption={"key": NEW})
    found_on_disk(client.post(chat("under the new key")))
    client.post(chat("under the old key")).was("MISS")


def test_a_reload_that_would_switch_encryption_on_says_it_needs_a_restart(lives):
    refrain, _ = lives()
    refrain.write_config({**refrain.config, "encryption": {"key": OLD}})
    refrain.reload()
    told = refrain.logged(lambda e: e.get("event") == "reload_needs_restart", "what the reload cannot do")
    assert told["option"] == "encryption.key"


def test_with_a_key_nothing_is_believed_that_anybody_could_have_written(lives, upstream):
    kept(lives, upstream)
    refrain, client = lives(**sealed_by(OLD))
    client.post(chat()).was("MISS")
    alert = refrain.logged(lambda e: e.get("event") == "records_unreadable", "an alert")
    assert alert["reason"] == "unsealed"


def test_without_its_key_what_is_sealed_is_a_miss_and_stays(lives, upstream):
    kept(lives, upstream, **sealed_by(OLD))
    refrain, client = lives()
    client.post(chat(), headers={"Cache-Control": "only-if-cached"}).refused(504, "only_if_cached_miss")
    refrain.logged(lambda e: e.get("event") == "records_unreadable" and e["reason"] == "locked", "an alert")
    _, client = lives(**sealed_by(OLD))
    found_on_disk(client.post(chat()))
    upstream.saw(1)
