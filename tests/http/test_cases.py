"""Every case of the table, against the real binary."""

import pathlib

import cases  # noqa: F401
import pytest
from play import play
from table import CASES, DEVIATIONS

PENDING = (pathlib.Path(__file__).parent / "pending.txt").read_text().split()


def marks(case):
    return [pytest.mark.xfail(strict=False, reason="being built")] if case.name in PENDING else []


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name, marks=marks(case)) for case in CASES])
def test_case(stage, case):
    play(stage, case)


def test_every_name_is_unique():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


def test_there_are_enough_cases():
    assert len(CASES) >= 150


def test_every_deviation_is_shown_by_cases():
    names = {case.name for case in CASES}
    for deviation in DEVIATIONS:
        assert deviation.shown_by and names.issuperset(deviation.shown_by), deviation
