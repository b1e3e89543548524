"""Upstream over TLS and through an egress proxy: who is trusted, and who we are. SPEC sections 2 and 11."""

import ssl
import subprocess

import pytest

from conftest import Starter
from harness.asks import chat, chat_stream
from harness.upstream import Upstream

OPENSSL = {
    "ca": "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem",
    "server": "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server -keyout server.key -out server.csr",
    "other": "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=other -keyout other.key -out other.csr",
    "client": "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=refrain -keyout client.key "
              "-out client.csr",
}
NAMES = {"server": "subjectAltName=IP:127.0.0.1", "other": "subjectAltName=DNS:other.test",
         "client": "extendedKeyUsage=clientAuth"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """ca.pem, and server, other and client signed by it."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(words):
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)

    for words in OPENSSL.values():
        openssl(words)
    for name, extension in NAMES.items():
        (folder / f"{name}.ext").write_text(extension + "\n")
        openssl(f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext "
                f"-out {name}.pem")
    return folder


@pytest.fixture
def behind_tls(tmp_path, certificates):
    """behind_tls(upstream options, server certificate, client wanted): (client, upstream)."""
    made = []

    def begin(certificate="server", wants_client=False, **options):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / f"{certificate}.pem", certificates / f"{certificate}.key")
        if wants_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificates / "ca.pem")
        upstream = Upstream(tls=context)
        starter = Starter(tmp_path, upstream)
        made.append((starter, upstream))
        refrain = starter(upstreams={"default": options})
        return starter.client(refrain), upstream

    yield begin
    for starter, upstream in made:
        starter.stop()
        upstream.close()
        assert not upstream.faults


def test_an_upstream_whose_ca_is_trusted_is_asked(behind_tls, certificates):
    client, upstream = behind_tls(ca_file=str(certificates / "ca.pem"))
    miss = client.post(chat()).was("MISS")
    assert client.post(chat()).was("HIT").body == miss.body
    stream = client.post(chat_stream()).was("MISS")
    assert client.post(chat_stream()).was("HIT").body == stream.body
    upstream.saw(2)


def test_an_upstream_whose_ca_nobody_knows_is_not_asked(behind_tls):
    client, upstream = behind_tls()
    client.post(chat()).refused(502, "upstream_unreachable")
    upstream.saw(0)


def test_a_certificate_for_another_name_is_not_believed(behind_tls, certificates):
    client, upstream = behind_tls(certificate="other", ca_file=str(certificates / "ca.pem"))
    client.post(chat()).refused(502, "upstream_unreachable")
    upstream.saw(0)


def test_the_client_certificate_is_shown(behind_tls, certificates):
    client, upstream = behind_tls(wants_client=True, ca_file=str(certificates / "ca.pem"),
                                  cert=str(certificates / "client.pem"), key=str(certificates / "client.key"))
    client.post(chat()).was("MISS")
    upstream.saw(1)


def test_without_a_client_certificate_that_is_wanted_there_is_a_502(behind_tls, certificates):
    client, upstream = behind_tls(wants_client=True, ca_file=str(certificates / "ca.pem"))
    client.post(chat()).refused(502)
    upstream.saw(0)


def test_tls_connections_are_reused(behind_tls, certificates):
    client, upstream = behind_tls(ca_file=str(certificates / "ca.pem"))
    kept = client.connect()
    for number in range(4):
        client.post(chat(str(number)), on=kept).was("MISS")
    assert upstream.connections <= 2, "at most one handshake a worker"


def test_the_egress_proxy_is_used_and_only_it(start, upstream):
    proxy = Upstream()  # answers absolute-form requests itself
    try:
        client = start.client(start(upstreams={"default": {"proxy": proxy.url}}))
        client.post(chat()).was("MISS")
        assert proxy.saw(1).target == upstream.url + "/v1/chat/completions"
        upstream.saw_nothing()
    finally:
        proxy.close()
