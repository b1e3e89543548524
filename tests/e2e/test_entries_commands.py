"""Commands for what an instance holds: `refrain invalidate`, `refrain keys`, `refrain get`. SPEC section 10."""

import json

import pytest

from harness.asks import chat
from harness.command import run


def tagged(prompt, *tags):
    return chat(prompt).with_headers(Refrain_Tags=",".join(tags))


def test_invalidate_says_what_went(client, refrain_command):
    client.post(tagged("a", "red")).was("MISS")
    client.post(tagged("b", "red")).was("MISS")
    dry = refrain_command("invalidate", "--tag", "red", "--dry-run", status=0)
    assert dry.stdout == "2 entries would go (memory 2)\n"
    assert refrain_command("invalidate", "--tag", "red", status=0).stdout == "2 entries invalidated (memory 2)\n"
    assert refrain_command("invalidate", "--tag", "red", status=0).stdout == "0 entries invalidated (memory 0)\n"
    client.post(chat("a")).was("MISS")
    assert refrain_command("invalidate", "--all", status=0).stdout == "1 entry invalidated (memory 1)\n"


def test_invalidate_in_json(client, refrain_command):
    client.post(tagged("a", "red")).was("MISS")
    told = json.loads(refrain_command("invalidate", "--tag", "red", "--json", status=0).stdout)
    assert (told["kind"], told["matched"], told["tiers"]["memory"]) == ("tag", 1, 1)


@pytest.mark.parametrize("flags", [["--model", "gpt*"], ["--operation", "chat"], ["--namespace", "default"],
                                   ["--pattern", "*:chat:*"], ["--model", "gpt*", "--operation", "chat"]], ids=" ".join)
def test_each_way_to_say_what_is_meant(client, refrain_command, flags):
    client.post(chat("a")).was("MISS")
    assert refrain_command("invalidate", *flags, status=0).stdout.startswith("1 entry invalidated")


def test_everything_must_be_said(client, refrain_command):
    client.post(chat("a")).was("MISS")
    for flags in ([], ["--dry-run"]):
        refused = refrain_command("invalidate", *flags, status=2)
        assert "for everything, --all" in refused.stderr and refused.stdout == ""
    assert "expected nothing beside it" in refrain_command("invalidate", "--all", "--tag", "red", status=2).stderr
    assert "; older_than: expected seconds" in refrain_command("invalidate", "--older-than", "soon", status=2).stderr
    assert "; tag: expected one tag, whole: 1 to 64 of" in refrain_command("invalidate", "--tag", "a b", status=2).stderr
    assert "expected flags alone" in refrain_command("invalidate", "red", status=2).stderr
    client.post(chat("a")).was("HIT")


def test_keys_lists_names_and_no_prompts(client, refrain_command):
    client.post(tagged("a secret question", "red")).was("MISS")
    client.post(chat("b").but(model="o3")).was("MISS")
    lines = refrain_command("keys", status=0).stdout.splitlines()
    assert len(lines) == 3 and lines[0].startswith("id\ttier\t")
    assert {line.split()[-1].rsplit(":", 1)[0] for line in lines[1:]} == {"refrain:default:chat:gpt-4o-mini",
                                                                         "refrain:default:chat:o3"}
    assert "secret" not in "".join(lines)
    assert len(refrain_command("keys", "--model", "o3", status=0).stdout.splitlines()) == 2
    assert len(refrain_command("keys", "--tier", "disk", status=0).stdout.splitlines()) == 1


def test_keys_goes_from_page_to_page(client, refrain_command):
    for n in range(12):
        client.post(chat(f"{n}")).was("MISS")
    page = json.loads(refrain_command("keys", "--json", "--limit", "5", status=0).stdout)
    assert 5 <= len(page["entries"]) and page["not_read"] == {}
    everything = refrain_command("keys", "--limit", "0", status=0).stdout.splitlines()
    assert len(everything) == 1 + 12
    assert "expected a number" in refrain_command("keys", "--limit", "some", status=2).stderr
    assert "expected one of memory, disk, redis" in refrain_command("keys", "--tier", "tape", status=2).stderr


def test_get_tells_of_an_entry_and_prints_its_body(client, refrain_command):
    answer = client.post(tagged("a", "red", "blue")).was("MISS")
    told = refrain_command("get", answer.header("refrain-entry"), status=0).stdout
    assert "tags\tred blue\n" in told and "tiers\tmemory (gone in " in told
    assert refrain_command("get", answer.header("refrain-entry"), "--body", status=0).stdout.encode() == answer.body
    assert json.loads(refrain_command("get", answer.header("refrain-entry"), "--json", status=0).stdout)["hits"] == 0
    refrain_command("get", "0" * 32, status=1)
    assert "expected one ID" in refrain_command("get", status=2).stderr


def test_a_stored_body_that_is_coded_is_printed_as_text(client, upstream, refrain_command):
    upstream.gzip = True
    answer = client.post(chat("a")).was("MISS")
    printed = refrain_command("get", answer.header("refrain-entry"), "--body", status=0).stdout
    assert json.loads(printed)["object"] == "chat.completion"


def test_nobody_there_is_told(tmp_path):
    (tmp_path / "c.yaml").write_text(f"upstream: http://127.0.0.1:1\nadmin: {{address: 127.0.0.1:1}}\n"
                                     f"cache: {{state_dir: {tmp_path}/none}}\n")
    for command in (["invalidate", "--all"], ["keys"], ["get", "0" * 32]):
        assert "nobody answers at http://127.0.0.1:1" in run(*command, "--config", str(tmp_path / "c.yaml"), status=2).stderr
