"""TLS on the listeners: the same cache behind it, certificates renewed under load, and what is wrong with files told
before anything is served. SPEC section 2; docs/tls.md."""

import re
import shutil
import socket
import ssl
import subprocess
import time

import pytest

from conftest import Starter, configuration
from harness.answers import digest
from harness.asks import chat, chat_stream
from harness.client import PATIENCE_S, Client
from harness.load import Load
from harness.operator import token_of
from harness.process import binary, merged, to_yaml, wait_until
from harness.tls import make_expired, make_pair, sign, trusting
from harness.upstream import chat_answer, hold, sse, token, whole

# The same scenarios as without TLS, over it: `start` below is what they are given.
from test_flights import (  # noqa: F401
    test_a_client_that_vanishes_while_it_waits_is_noticed, test_a_flight_past_its_bound_takes_the_pace_of_its_reader,
    test_a_late_joiner_gets_everything_from_the_first_byte, test_a_slow_reader_stalls_nobody,
    test_every_reader_of_a_stream_learns_that_it_was_cut, test_the_leader_leaves_and_the_follower_is_unharmed,
    test_tokens_reach_the_client_as_they_come, test_waiters_of_a_whole_answer_share_one_call,
    test_when_all_have_left_the_call_is_cancelled)
from test_forwarding import (  # noqa: F401
    test_a_download_of_64_mib_takes_the_pace_of_its_reader, test_an_upload_of_64_mib_does_not_pile_up,
    test_an_upload_reaches_upstream_while_it_is_still_being_sent, test_both_directions_flow_at_once)
from test_hits import (  # noqa: F401
    test_a_large_body_is_cached_as_well, test_a_repeat_is_the_same_answer_from_memory,
    test_a_repeated_stream_is_the_same_bytes_from_memory)
from test_limits import (  # noqa: F401
    test_a_client_that_waits_for_a_slow_model_is_not_idle, test_a_quiet_stream_is_no_slow_reader,
    test_a_reader_without_progress_is_ended, test_an_idle_connection_is_closed,
    test_body_and_fin_in_one_segment_leak_no_connection, test_clients_that_vanish_leak_nothing)

SLACK_S = 4  # a sweep visits every connection once a second; the rest is a busy machine


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    return make_pair(tmp_path_factory.mktemp("pair"), "server")


class TlsStarter(Starter):
    """Instances whose clients' listener shows @pair."""

    def __init__(self, folder, upstream, pair):
        super().__init__(folder, upstream)
        self.pair = pair

    def __call__(self, *args, listen=None, **groups):
        cert, key = self.pair
        return super().__call__(*args, listen=merged({"tls": {"cert": cert, "key": key}}, listen or {}), **groups)

    def client(self, refrain, **kwargs):
        return super().client(refrain, **{"tls": trusting(self.pair[0]), **kwargs})


@pytest.fixture
def start(tmp_path, upstream, pair):
    starter = TlsStarter(tmp_path, upstream, pair)
    yield starter
    starter.stop()


def serial_of(connection):
    """Of the certificate that the server has shown."""
    return connection.sock.getpeercert()["serialNumber"]


# What clients speak.


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_http_1_1_is_agreed_on_and_old_tls_refused(client, refrain, pair):
    connection = client.connect()
    assert connection.sock.selected_alpn_protocol() == "http/1.1"
    assert connection.sock.version() == "TLSv1.3"
    context = trusting(pair[0])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with client.connect(tls=context) as older:
        assert older.sock.version() == "TLSv1.2" and "GCM" in older.sock.cipher()[0] or "POLY" in older.sock.cipher()[0]
        client.post(chat(), on=older).was("MISS")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        client.connect(tls=context)


@pytest.mark.refrain(listen={"tls": {"min_version": "1.3"}})
def test_tls_1_2_can_be_refused_as_well(client, pair):
    context = trusting(pair[0])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        client.connect(tls=context)
    client.post(chat()).was("MISS")


def test_a_session_is_resumed(client, pair):
    context = trusting(pair[0])
    with client.connect(tls=context) as first:
        client.post(chat(), on=first).was("MISS")  # by then its ticket has come
        session = first.sock.session
    sock = socket.create_connection(client.address, PATIENCE_S)
    with context.wrap_socket(sock, server_hostname="127.0.0.1", session=session) as again:
        assert again.session_reused


def test_curl_is_served(client, refrain, upstream, pair):
    def curl():
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--include", "--http1.1", "--cacert", pair[0],
             f"https://localhost:{refrain.proxy[1]}/v1/chat/completions", "-H", "Authorization: Bearer sk-alice",
             "-H", "Content-Type: application/json", "-d", chat().wire_body.decode()],
            capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        return done.stdout

    assert "X-Cache: MISS" in curl() and "X-Cache: HIT" in curl()
    upstream.saw(1)


# What lies decrypted inside the library while its socket has nothing to say.


def test_requests_in_one_record_are_all_answered(client, upstream):
    """The second one and its body lie behind a first one that waits for upstream, so nothing comes from the socket."""
    upstream.reply(whole, chat_answer("first"), before=hold("g"))
    connection = client.connect()
    wires = [client.wire("POST", "/v1/chat/completions", body=chat(prompt).wire_body) for prompt in ("one", "two", "two")]
    connection.send(b"".join(wires))
    upstream.held("g")
    upstream.release("g")
    answers = [connection.answer().whole() for _ in wires]
    assert [answer.header("x-cache") for answer in answers] == ["MISS", "MISS", "HIT"]


def test_an_upload_in_full_records_is_taken_while_upstream_is_slow(client, upstream):
    body = b"x" * (1 << 20)
    answer = client.ask("POST", "/v1/files", {"Content-Type": "application/octet-stream"}, body)
    answer.whole()
    assert digest(upstream.saw(1).body) == digest(body)


@pytest.mark.parametrize("size", [16 * 1024 - 700, 16 * 1024, 100_000, 1 << 20])
def test_bodies_of_every_size_are_whole_both_ways(client, upstream, size):
    upstream.reply(whole, chat_answer("y" * size))
    connection = client.connect()
    ask = chat("x" * size)
    miss = client.post(ask, on=connection).was("MISS")
    hit = client.post(ask, on=connection).was("HIT")
    assert hit.body == miss.body and len(hit.body) > size


# Who does not speak TLS, or never gets there.


def test_plain_http_is_told_that_this_is_tls(client, refrain):
    plain = Client(refrain.proxy)
    answer = plain.post(chat())
    answer.refused(400, "request_invalid")
    assert b"https://" in answer.body
    big = plain.ask("POST", "/v1/files", None, b"x" * 40_000)
    big.refused(400, "request_invalid")
    plain.close()
    client.post(chat()).was("MISS")
    client.close()
    refrain.waits_for("connections", 0)


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01" + bytes(200), b"SSH-2.0-x\r\n",
                                  b"\x00" * 600, b"\x80\x2e\x01"])
@pytest.mark.refrain(listen={"header_timeout": "1s"})
def test_a_handshake_that_goes_nowhere_is_ended(client, refrain, said):
    lost = Client(refrain.proxy).connect()
    began = time.monotonic()
    lost.send(said)
    lost.ends()
    assert time.monotonic() - began < 1 + SLACK_S
    lost.close()
    client.post(chat()).was("MISS")


@pytest.mark.refrain(listen={"header_timeout": "1s"})
def test_a_drip_fed_handshake_meets_the_same_deadline(client, refrain):
    hello, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = ssl.create_default_context().wrap_bio(hello, out, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    lost, began, tick = Client(refrain.proxy).connect(), time.monotonic(), 0.05
    lost.sock.settimeout(tick)
    for byte in out.read()[:-1]:
        try:
            lost.send(bytes([byte]))
            if lost.sock.recv(1) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    took = time.monotonic() - began
    assert 0.8 < took < 1 + SLACK_S, f"expected about 1 s, it took {took:.1f} s"
    lost.close()
    client.post(chat()).was("MISS")


@pytest.mark.refrain(listen={"header_timeout": "1s", "idle_timeout": "60s"})
def test_a_connection_opened_in_advance_is_not_taken_for_a_slow_head(client):
    ready = client.connect()
    until = time.monotonic() + 3
    wait_until(lambda: time.monotonic() > until, "three times the deadline")
    client.post(chat(), on=ready).was("MISS")


@pytest.mark.refrain(listen={"header_timeout": "1s", "idle_timeout": "60s"})
def test_a_head_that_stops_behind_the_handshake_is_ended(client):
    slow, began = client.connect(), time.monotonic()
    slow.send(b"POST /v1/chat/comple")
    slow.ends()
    assert time.monotonic() - began < 1 + 2 * SLACK_S


@pytest.mark.refrain(listen={"header_timeout": "60s", "drain_timeout": "5s"})
def test_who_has_not_begun_a_handshake_holds_up_no_end(client, refrain):
    client.post(chat()).was("MISS")
    silent = Client(refrain.proxy).connect()
    refrain.waits_for("connections", 2)
    refrain.terminate()
    assert refrain.exits() == 0
    assert not [e for e in refrain.events if e.get("event") == "drain_cut_short"]
    silent.close()


@pytest.mark.refrain(listen={"max_connections": 3})
def test_one_connection_too_many_is_closed_and_the_rest_served(client, refrain):
    kept = [client.connect() for _ in range(3)]
    with pytest.raises((ssl.SSLError, OSError)):
        client.connect()
    for number, connection in enumerate(kept):
        client.post(chat(str(number)), on=connection).was("MISS")


# Clients' certificates.


def test_only_clients_whose_certificate_is_signed_get_in(start, tmp_path, pair):
    ca, ca_key = make_pair(tmp_path, "ca", extra=("-addext", "keyUsage=critical,keyCertSign,cRLSign"))
    good = sign(tmp_path, "good", ca, ca_key)
    refrain = start(listen={"tls": {"client_ca": ca}})
    context = trusting(pair[0])
    context.load_cert_chain(*good)
    start.client(refrain, tls=context).post(chat()).was("MISS")
    stranger = trusting(pair[0])
    stranger.load_cert_chain(*make_pair(tmp_path, "stranger"))
    for context in (trusting(pair[0]), stranger):
        with pytest.raises((ssl.SSLError, OSError, AssertionError)):  # TLS 1.3 tells only behind the handshake
            start.client(refrain, tls=context).post(chat()).whole()


@pytest.mark.parametrize(("extensions", "gets_in"), [
    ("extendedKeyUsage=clientAuth,serverAuth", True), ("subjectAltName=DNS:of-no-purpose", True),
    ("extendedKeyUsage=serverAuth", False), ("extendedKeyUsage=emailProtection", False)])
def test_a_certificate_that_is_signed_for_another_purpose_is_none_of_a_client(start, tmp_path, pair, extensions, gets_in):
    ca, ca_key = make_pair(tmp_path, "ca", extra=("-addext", "keyUsage=critical,keyCertSign,cRLSign"))
    refrain = start(listen={"tls": {"client_ca": ca}})
    context = trusting(pair[0])
    context.load_cert_chain(*sign(tmp_path, "signed", ca, ca_key, extensions))
    if gets_in:
        start.client(refrain, tls=context).post(chat()).was("MISS")
    else:
        with pytest.raises((ssl.SSLError, OSError, AssertionError)):
            start.client(refrain, tls=context).post(chat()).whole()


# Renewing.


@pytest.fixture
def renewable(tmp_path):
    """renewable(): puts a new pair where the configuration says; returns its paths."""
    def renew(source=None):
        made = source or make_pair(tmp_path, f"made{time.monotonic_ns()}")
        shutil.copy(made[0], tmp_path / "live.pem")
        shutil.copy(made[1], tmp_path / "live.key")
        return str(tmp_path / "live.pem"), str(tmp_path / "live.key")
    return renew


def reloads(refrain, event="reloaded"):
    before = sum(e.get("event") == event for e in refrain.events)
    refrain.reload()
    refrain.logged(lambda e: e.get("event") == event, event, times=before + 1)


def test_a_new_certificate_comes_under_load_and_nobody_notices(start, renewable, tmp_path):
    cert, key = renewable()
    refrain = start(listen={"tls": {"cert": cert, "key": key}})
    old_ca = tmp_path / "old.pem"
    shutil.copy(cert, old_ca)
    keeping = start.client(refrain, tls=trusting(str(old_ca)))
    kept = keeping.connect()
    first = serial_of(kept)
    with Load(refrain.proxy, [chat(str(number)) for number in range(20)], tls=trusting(str(old_ca))) as load:
        load.goes_on(100)
        for _ in range(3):
            renewable()
            reloads(refrain)
            load.goes_on(100)
    assert not load.faults, f"a connection that was open is none of a reload's business: {load.faults[:3]}"
    assert keeping.post(chat(), on=kept).whole().status == 200
    with start.client(refrain, tls=trusting(cert)).connect() as now:
        assert serial_of(now) != first


def test_a_broken_new_certificate_is_refused_and_the_old_one_goes_on(start, renewable, tmp_path):
    cert, key = renewable()
    refrain = start(listen={"tls": {"cert": cert, "key": key}})
    context = trusting(cert)
    with start.client(refrain, tls=context).connect() as before:
        first = serial_of(before)
    renewable((make_pair(tmp_path, "one")[0], make_pair(tmp_path, "two")[1]))
    reloads(refrain, "reload_failed")
    fault = refrain.logged(lambda e: e.get("event") == "config" and "listen.tls.key" in e["fault"], "what is wrong")
    assert "is not the key of the certificate" in fault["fault"]
    with start.client(refrain, tls=context).connect() as after:
        assert serial_of(after) == first


def expiry_of(cert):
    """By openssl."""
    told = subprocess.run(["openssl", "x509", "-noout", "-enddate", "-in", cert], capture_output=True, text=True, check=True)
    return ssl.cert_time_to_seconds(told.stdout.strip().removeprefix("notAfter="))


def test_a_certificate_that_runs_out_is_told_of_until_it_is_renewed(start, renewable, tmp_path):
    def changes(event, level):
        refrain.logged(lambda e: e.get("event") == event and e["code"] == "certificate" and e["subject"] == "proxy" and
                       e["alert_level"] == level, f"{event} {level}")

    cert, key = renewable(make_pair(tmp_path, "soon", days=2))
    refrain = start(listen={"tls": {"cert": cert, "key": key}}, monitoring={"sample_every": "50ms"})
    assert refrain.metric("certificate_expiry_timestamp_seconds", listener="proxy") == expiry_of(cert)
    assert not [pairs for (name, pairs) in refrain.scrape() if "certificate" in name and ("listener", "admin") in pairs]
    changes("alert_raised", "error")
    renewable(make_pair(tmp_path, "better", days=10))
    reloads(refrain)
    changes("alert_eased", "warning")
    renewable(make_pair(tmp_path, "good", days=60))
    refrain.reload()
    changes("alert_cleared", "warning")
    assert refrain.metric("certificate_expiry_timestamp_seconds", listener="proxy") == expiry_of(cert)


def test_tls_is_not_taken_on_or_off_by_a_reload(start, upstream, pair):
    refrain = start(listen={"tls": {"cert": None, "key": None}})
    plain = Client(refrain.proxy)
    cert, key = pair
    refrain.write_config(merged(refrain.config, {"listen": {"tls": {"cert": cert, "key": key}}}))
    reloads(refrain)
    refrain.logged(lambda e: e.get("event") == "reload_needs_restart" and e["option"] == "listen.tls", "that it cannot")
    plain.post(chat()).was("MISS")
    plain.close()


# Files that are not what they should be.


def broken(folder):
    """name: (cert, key, what the error says, about which option)"""
    one, two = make_pair(folder, "one"), make_pair(folder, "two")
    locked = folder / "locked.key"
    subprocess.run(["openssl", "pkey", "-in", one[1], "-aes256", "-passout", "pass:secret", "-out", locked], check=True,
                   capture_output=True)
    (folder / "empty").write_text("")
    (folder / "nonsense").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    return {
        "absent": (str(folder / "none"), one[1], "No such file", "cert"),
        "a directory": (str(folder), one[1], "directory", "cert"),
        "empty": (str(folder / "empty"), one[1], "holds no certificate", "cert"),
        "nonsense": (str(folder / "nonsense"), one[1], "holds no certificate", "cert"),
        "a key for a certificate": (one[1], one[1], "holds no certificate", "cert"),
        "a certificate for a key": (one[0], one[0], "holds no key", "key"),
        "no key": (one[0], str(folder / "none"), "No such file", "key"),
        "of another": (one[0], two[1], "is not the key of the certificate", "key"),
        "locked": (one[0], str(locked), "passphrase", "key"),
        "expired": (*make_expired(folder), "expired on 2020-02-01", "cert"),
        "alone": (one[0], None, "must be given, too", "key"),
    }


@pytest.mark.parametrize("listener", ["listen", "admin"])
def test_what_is_wrong_with_files_is_told_before_anything_is_served(tmp_path, upstream, listener):
    for name, (cert, key, says, option) in broken(tmp_path).items():
        file = tmp_path / "refrain.yaml"
        file.write_text(to_yaml(merged(configuration(tmp_path, upstream.url), {listener: {"tls": {"cert": cert, "key": key}}})))
        for command, code in (("serve", 2), ("config check", 1)):
            done = subprocess.run([binary(), *command.split(), "--config", str(file)], capture_output=True, text=True,
                                  timeout=PATIENCE_S)
            told = done.stdout + done.stderr
            assert done.returncode == code, f"{name}, {command}: expected exit {code}: {done}"
            assert f"{listener}.tls.{option}" in told and says in told, f"{name}, {command}: {told}"
            assert re.search(r"refrain\.yaml:\d+", told), f"{name}: expected the line of it: {told}"


def test_what_will_be_wrong_is_warned_of(tmp_path, upstream):
    cert, key = make_pair(tmp_path, "soon", days=2)
    (tmp_path / "soon.key").chmod(0o644)
    file = tmp_path / "refrain.yaml"
    file.write_text(to_yaml(merged(configuration(tmp_path, upstream.url), {"listen": {"tls": {"cert": cert, "key": key}}})))
    done = subprocess.run([binary(), "config", "check", "--config", str(file)], capture_output=True, text=True,
                          timeout=PATIENCE_S)
    assert done.returncode == 0 and re.search(r"expires in [12] days", done.stdout) and "chmod 600" in done.stdout, done


# The operators' listener.


@pytest.fixture
def secured(start, pair):
    """An instance whose admin listener speaks TLS, and the clients' does not."""
    cert, key = pair
    return start(listen={"tls": {"cert": None, "key": None}}, admin={"tls": {"cert": cert, "key": key}})


def test_operators_come_over_tls(secured, pair):
    client = Client(secured.admin, credential=token_of(secured), tls=trusting(pair[0]))
    for path in ("/metrics", "/healthz", "/readyz", "/api/v1/breakers"):
        assert client.get(path).whole().status == 200
    own = {"Origin": f"https://{client.host}"}
    assert client.get("/api/v1", own).whole().status == 200
    client.close()
    plain = Client(secured.admin)
    plain.get("/metrics").refused(400, "request_invalid")
    plain.close()


def command(secured, *words):
    return subprocess.run([binary(), "breakers", *words], capture_output=True, text=True, timeout=PATIENCE_S)


def test_the_command_line_knows_its_own_instance_and_believes_no_other(secured, start, pair, tmp_path):
    """By its configuration it knows the key; a URL needs an authority that is trusted, as anywhere."""
    config = tmp_path / "cli.yaml"

    def asks(cert, *more):
        admin = {"address": f"127.0.0.1:{secured.admin[1]}", "tls": {"cert": cert, "key": pair[1]}}
        config.write_text(to_yaml(merged(secured.config, {"admin": admin})))
        return command(secured, "--config", str(config), *more)

    assert asks(pair[0]).returncode == 0
    other = asks(make_pair(tmp_path, "other")[0])
    assert other.returncode == 2 and "--ca-file" in other.stderr, other
    url, token = f"https://localhost:{secured.admin[1]}", str(secured.folder / "state" / "admin.token")
    trusted = command(secured, "--admin", url, "--token-file", token, "--ca-file", pair[0])
    assert trusted.returncode == 0 and "default" in trusted.stdout, trusted
    unknown = command(secured, "--admin", url, "--token-file", token)
    assert unknown.returncode == 2 and "--ca-file" in unknown.stderr, unknown
    nothing = command(secured, "--admin", url, "--token-file", token, "--ca-file", str(tmp_path / "nowhere.pem"))
    assert nothing.returncode == 2 and "wants a PEM file" in nothing.stderr, nothing
    plain = command(secured, "--admin", url.replace("https", "http"), "--token-file", token)
    assert plain.returncode == 2 and "https://" in plain.stderr, plain
