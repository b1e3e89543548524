"""Every case of the table, against the real binary."""

import cases  # noqa: F401
import pytest
from play import play
from table import CASES, DEVIATIONS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(stage, case):
    play(stage, case)


def test_every_name_is_unique():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


def test_every_deviation_is_shown_by_cases():
    names = {case.name for case in CASES}
    for deviation in DEVIATIONS:
        assert deviation.shown_by and names.issuperset(deviation.shown_by), deviation
