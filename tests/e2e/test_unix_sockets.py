"""Listeners on unix sockets, clients' and operators'. SPEC section 2."""

import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile

import pytest

from harness.asks import chat, chat_stream
from harness.client import PATIENCE_S
from harness.process import Refrain, merged, wait_until
from harness.upstream import chat_answer, hold, sse, token, whole


@pytest.fixture
def folder():
    """Of its own, as the path of a socket may have no more than 107 bytes."""
    path = tempfile.mkdtemp(prefix="refrain-")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def refrain(start, folder):
    return start(listen={"address": f"unix:{folder}/proxy.sock"}, admin={"address": f"unix:{folder}/admin.sock"})


@pytest.fixture
def client(start, refrain):
    return start.client(refrain)


def curl(sock, *args):
    run = subprocess.run(["curl", "--silent", "--show-error", "--include", "--unix-socket", sock, *args],
                         capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_curl_is_served_and_served_again_from_the_cache(refrain, upstream):
    def asked():
        return curl(refrain.proxy, "http://localhost/v1/chat/completions", "-H", "Authorization: Bearer sk-alice",
                    "-H", "Content-Type: application/json", "-d", json.dumps(chat().body))

    first, second = asked(), asked()
    assert "X-Cache: MISS" in first and "X-Cache: HIT" in second
    assert first.partition("\r\n\r\n")[2] == second.partition("\r\n\r\n")[2]
    upstream.saw(1)


def test_operators_are_served_by_curl(refrain):
    assert "refrain_build_info" in curl(refrain.admin, "http://localhost/metrics")
    for path in ("healthz", "readyz"):
        assert curl(refrain.admin, f"http://localhost/{path}").startswith("HTTP/1.1 200")
    assert curl(refrain.admin, "http://localhost/api/v1/breakers").startswith("HTTP/1.1 401")
    secret = open(os.path.join(refrain.config["cache"]["state_dir"], "admin.token"), encoding="utf-8").read().strip()
    answer = curl(refrain.admin, "http://localhost/api/v1/breakers", "-H", f"Authorization: Bearer {secret}")
    assert answer.startswith("HTTP/1.1 200"), answer


def test_the_proxy_socket_has_no_admin_paths_and_the_other_way_round(refrain, upstream):
    upstream.reply(whole, b"upstream's own", content_type="text/plain")
    assert "upstream's own" in curl(refrain.proxy, "http://localhost/metrics")
    assert curl(refrain.admin, "http://localhost/v1/models").startswith("HTTP/1.1 404")


def test_streams_flights_and_connections_work_as_over_tcp(client, refrain, upstream):
    upstream.reply(sse, token("alpha"), hold("g"), token("beta"))
    first = client.post(chat_stream()).sees("alpha")
    second = client.post(chat_stream()).sees("alpha")
    upstream.release("g")
    assert first.was("MISS").body == second.was("COALESCED").body
    with client.connect() as connection:
        for _ in range(3):
            client.post(chat_stream(), on=connection).was("HIT")
    upstream.saw(1)


def test_who_hangs_up_is_noticed(client, refrain, upstream):
    upstream.reply(sse, token("alpha"), hold("g"))
    client.post(chat_stream()).sees("alpha").leave()
    upstream.lost(1)
    refrain.waits_for("connections", 0)


def test_a_large_answer_comes_whole(client, upstream):
    large = chat_answer("x" * 3_000_000)
    upstream.always(whole, large)
    assert client.post(chat()).was("MISS").body == large
    assert client.post(chat()).was("HIT").body == large


def test_an_end_leaves_no_sockets_behind_and_takes_nobody_elses(start, refrain, folder, tmp_path, configured, upstream):
    upstream.reply(whole, chat_answer("slow"), before=hold("g"))
    last = start.client(refrain).post(chat())
    upstream.held("g")
    refrain.terminate()
    wait_until(lambda: os.listdir(folder) == ["admin.sock"], "the clients' socket to go")
    heir = begun(tmp_path, configured, "heir").listening()
    upstream.release("g")
    assert b"slow" in last.whole().body
    assert refrain.exits() == 0
    assert os.listdir(folder) == ["proxy.sock"]
    start.client(heir).post(chat("another")).was("MISS")
    heir.stop()
    assert os.listdir(folder) == []


@pytest.fixture
def configured(tmp_path, folder, upstream):
    return {"listen": {"address": f"unix:{folder}/proxy.sock", "workers": 2}, "admin": {"address": "127.0.0.1:0"},
            "upstreams": {"default": {"url": upstream.url}}, "cache": {"state_dir": str(tmp_path / "state")}}


def begun(folder, configured, name):
    place = folder / name
    place.mkdir()
    return Refrain(place, configured)


def test_the_socket_of_a_killed_one_is_taken_over(start, tmp_path, folder, configured):
    killed = begun(tmp_path, configured, "killed").listening()
    killed.process.send_signal(signal.SIGKILL)
    killed.exits()
    assert stat.S_ISSOCK(os.stat(f"{folder}/proxy.sock").st_mode), "it left its socket behind"
    heir = begun(tmp_path, configured, "heir").listening()
    start.client(heir).post(chat()).was("MISS")
    heir.stop()


def test_the_socket_of_a_living_one_is_not(start, refrain, tmp_path, configured):
    second = begun(tmp_path, merged(configured, {"listen": {"address": f"unix:{refrain.proxy}"}}), "second")
    told = second.logged(lambda event: event.get("event") == "cannot_listen", "the address to be taken")
    assert told["what"] == "something else listens there already"
    assert second.exits() != 0
    start.client(refrain).post(chat()).was("MISS")


def test_a_file_that_is_no_socket_is_left_alone(tmp_path, folder, configured):
    with open(f"{folder}/proxy.sock", "w", encoding="utf-8") as file:
        file.write("precious")
    ended = begun(tmp_path, configured, "ended")
    ended.logged(lambda event: event.get("event") == "cannot_listen", "the address to be taken")
    assert ended.exits() != 0
    with open(f"{folder}/proxy.sock", encoding="utf-8") as file:
        assert file.read() == "precious"
