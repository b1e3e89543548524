"""The page on conformance says what the suite shows, no more and no less."""

from page import PAGE, page


def test_the_page_lists_just_the_cases():
    made = page()
    assert PAGE.read_text() == made, "make it anew: python3 tests/http/page.py > docs/http-conformance.md"
