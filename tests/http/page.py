"""docs/http-conformance.md, made from the table of cases: `/usr/bin/python3 tests/http/page.py > docs/http-conformance.md`."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import cases  # noqa: E402, F401
import play  # noqa: E402, F401  makes the harness known to those below
import test_everywhere  # noqa: E402, F401
import test_together  # noqa: E402, F401
from table import CASES, DEVIATIONS, TESTS  # noqa: E402

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "http-conformance.md"

STANDARDS = {
    "9110": "HTTP Semantics",
    "9111": "HTTP Caching",
    "5861": "Cache-Control Extensions for Stale Content",
    "8246": "HTTP Immutable Responses",
    "9211": "The Cache-Status HTTP Response Header Field",
    "9213": "Targeted HTTP Cache Control",
}

OPENING = """# HTTP conformance

For GET and HEAD Refrain is a shared cache as RFC 9111 describes it. This page lists, section by section, what is followed,
and before that what is deliberately not. It is made from the suite in `tests/http`, where each line below is a case
that runs against the real binary (`tests/run.sh --only http`); a test compares the two.

POST operations (chat, embeddings …) follow the operator's rules instead; see [rules.md](rules.md).
"""


def section_order(section):
    standard, number = section.split(" ")
    return list(STANDARDS).index(standard), [int(part) for part in number.split(".")]


def escaped(text):
    return text.replace("|", "\\|")


def deviations():
    yield "## What is deliberately not followed\n"
    yield "| section | what the RFC says | what Refrain does, and why | shown by |"
    yield "|---|---|---|---|"
    for d in sorted(DEVIATIONS, key=lambda d: section_order(d.section)):
        shown = " ".join(f"`{name}`" for name in d.shown_by)
        more = f" See [{d.decision}](decisions/{d.decision})." if d.decision else ""
        yield f"| RFC {d.section} | {escaped(d.what)} | {escaped(d.instead)}{more} | {shown} |"
    yield ""


def followed():
    yield "## What is followed\n"
    for standard, title in STANDARDS.items():
        of_standard = [case for case in CASES + TESTS if case.section.startswith(standard)]
        yield f"### RFC {standard}, {title}: {len(of_standard)} cases\n"
        for section in sorted({case.section for case in of_standard}, key=section_order):
            yield f"Section {section.split(' ')[1]}\n"
            for case in of_standard:
                if case.section == section:
                    yield f"- `{case.name}`: {case.why}"
            yield ""


def page():
    return "\n".join([OPENING, *deviations(), *followed()]).rstrip("\n") + "\n"


if __name__ == "__main__":
    print(page(), end="")
