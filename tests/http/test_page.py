"""The page on conformance says what the suite shows, no more and no less."""

from page import PAGE, page
from table import DEVIATIONS


def test_the_page_lists_just_the_cases():
    made = page()
    assert PAGE.read_text() == made, "make it anew: /usr/bin/python3 tests/http/page.py > docs/http-conformance.md"


def test_every_decision_named_is_there():
    for deviation in DEVIATIONS:
        assert deviation.decision is None or (PAGE.parent / "decisions" / deviation.decision).exists(), deviation
