"""Certificates made for a test, and instances whose proxy listener speaks TLS."""

import ssl
import subprocess

from .redis import CERTIFICATE


def make_pair(folder, name, subject="localhost", days=2, extra=()):
    """NAME.pem and NAME.key, self-signed, for localhost and this machine's addresses; the paths of both."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", *CERTIFICATE.split(), "-days", str(days), "-subj", f"/CN={subject}",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1", *extra,
                    "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    key.chmod(0o600)
    return str(cert), str(key)


def trusting(ca):
    """A client's context that trusts @ca alone, and offers what SDKs do."""
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["http/1.1"])
    return context


def sign(folder, name, ca, ca_key, extensions="extendedKeyUsage=clientAuth"):
    """NAME.pem and NAME.key, a client's unless @extensions say otherwise, signed by @ca."""
    cert, key, request = folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}.csr"
    subprocess.run(["openssl", "req", *CERTIFICATE.split(), "-subj", f"/CN={name}", "-keyout", str(key),
                    "-out", str(request)], check=True, capture_output=True)
    (folder / f"{name}.ext").write_text(extensions + "\n")
    subprocess.run(["openssl", "x509", "-req", "-in", str(request), "-CA", ca, "-CAkey", ca_key, "-CAcreateserial",
                    "-days", "2", "-extfile", str(folder / f"{name}.ext"), "-out", str(cert)], check=True,
                   capture_output=True)
    return str(cert), str(key)


AUTHORITY = """[ca]
default_ca = own
[own]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
[any]
commonName = supplied
"""


def make_expired(folder):
    """A pair whose time was in 2020."""
    cert, key, request = folder / "expired.pem", folder / "expired.key", folder / "expired.csr"
    (folder / "index.txt").write_text("")
    (folder / "serial").write_text("01\n")
    (folder / "ca.cnf").write_text(AUTHORITY.format(folder=folder))
    subprocess.run(["openssl", "req", *CERTIFICATE.split(), "-subj", "/CN=expired", "-keyout", str(key),
                    "-out", str(request)], check=True, capture_output=True)
    subprocess.run(["openssl", "ca", "-batch", "-notext", "-selfsign", "-config", str(folder / "ca.cnf"),
                    "-keyfile", str(key), "-in", str(request), "-out", str(cert), "-startdate", "20200101000000Z",
                    "-enddate", "20200201000000Z"], check=True, capture_output=True)
    return str(cert), str(key)
