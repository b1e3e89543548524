"""Fixtures of the conformance suite."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from play import Stage  # noqa: E402


@pytest.fixture(scope="session")
def stage(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("http"))
    yield stage
    stage.close()
