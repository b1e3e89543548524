"""Fixtures of the scenarios: `upstream`, `refrain` (the binary between), `client`; `start` for further instances.

A test that wants another configuration says so: `@configured(coalescing={"on_abandon": "finish"})`.
"""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.client import Client  # noqa: E402
from harness.command import run  # noqa: E402
from harness.operator import Operator  # noqa: E402
from harness.process import Refrain, binary, merged  # noqa: E402
from harness.redis import Certificates, RedisCluster, RedisServer  # noqa: E402
from harness.upstream import Upstream  # noqa: E402

TABLES = pytest.StashKey()


def pytest_configure(config):
    config.addinivalue_line("markers", "refrain(**groups): configuration laid over the harness's own")
    config.stash[TABLES] = []


def pytest_sessionstart(session):
    if not pathlib.Path(binary()).exists():
        pytest.exit(f"no binary at {binary()}: build it, or name one in REFRAIN_BIN", returncode=2)


def pytest_terminal_summary(terminalreporter, config):
    for title, rows in config.stash[TABLES]:
        terminalreporter.section(title)
        for row in rows:
            terminalreporter.write_line(row)


@pytest.fixture(scope="session")
def table(request):
    """table(title, rows): printed at the end of the run."""
    return lambda title, rows: request.config.stash[TABLES].append((title, rows))


@pytest.fixture
def upstream():
    scripted = Upstream()
    yield scripted
    scripted.close()
    assert not scripted.faults, f"upstream was sent what it must never see: {scripted.faults}"


def configuration(folder, upstream_url):
    """What every scenario runs with unless it says otherwise."""
    return {
        "listen": {"address": "127.0.0.1:0", "workers": 2},
        "admin": {"address": "127.0.0.1:0"},
        "upstreams": {"default": {"url": upstream_url}},
        "cache": {"state_dir": str(folder / "state")},
        "tiers": {"memory": {"max_bytes": "64MiB"}},
    }


class Starter:
    """Starts instances and, at the end, stops each and checks how it ended."""

    def __init__(self, folder, upstream):
        self.folder, self.upstream = folder, upstream
        self.running, self.clients = [], []

    def __call__(self, *args, environment=None, **groups):
        folder = self.folder / f"refrain{len(self.running)}"
        folder.mkdir()
        config = merged(configuration(folder, self.upstream.url), groups)
        refrain = Refrain(folder, config, args, environment)
        self.running.append(refrain)
        return refrain.listening()

    def client(self, refrain, **kwargs):
        client = Client(refrain.proxy, **kwargs)
        self.clients.append(client)
        return client

    def stop(self):
        for client in self.clients:
            client.close()
        self.upstream.release_all()
        faults = []
        for refrain in self.running:
            try:
                refrain.stop()
            except AssertionError as fault:
                faults.append(str(fault))
            print(f"--- log of {refrain.folder.name}:\n{refrain.log()}")
        assert not faults, "\n".join(faults)


@pytest.fixture
def start(tmp_path, upstream):
    starter = Starter(tmp_path, upstream)
    yield starter
    starter.stop()


@pytest.fixture
def refrain(request, start):
    marker = request.node.get_closest_marker("refrain")
    return start(**(marker.kwargs if marker else {}))


@pytest.fixture
def client(start, refrain):
    return start.client(refrain)


@pytest.fixture
def operator(refrain):
    asking = Operator(refrain)
    yield asking
    asking.close()


@pytest.fixture
def refrain_command(refrain):
    """Runs a command with what it needs to find this instance."""
    url = "http://%s:%d" % refrain.admin
    return lambda *args, **kw: run(*args, "--config", str(refrain.config_file), "--admin", url, **kw)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def redis_server():
    """redis_server(…): a server of the test's own (harness/redis.py), as often as wanted."""
    running = []

    def begin(**kwargs):
        running.append(RedisServer(**kwargs))
        return running[-1]

    yield begin
    for server in running:
        server.close()


@pytest.fixture
def redis(redis_server):
    return redis_server()


@pytest.fixture
def redis_cluster():
    with RedisCluster() as cluster:
        yield cluster
