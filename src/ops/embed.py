#!/usr/bin/env python3
"""Makes C out of the dashboard's files: embed.py OUTPUT FILE…

Each file becomes a row of `dashboard_files` (dashboard_files.h), as it is and gzip-coded, each form with the tag that
its bytes have. The same files always make the same bytes.
"""

import gzip
import hashlib
import pathlib
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PER_LINE = 96
# What C would read as something else, or an editor could not show.
ESCAPED = {byte: f"\\{byte:03o}" for byte in range(256) if not 32 <= byte < 127 or chr(byte) in '"\\?'}


def path_of(file):
    """Where it is served; the page itself has no name of its own."""
    if file.suffix == ".html":
        return "/dashboard"
    name = "chart.js" if file.name.lower().startswith("chart.") else file.name
    return f"/dashboard/{name}"


def literal(data):
    lines = (data[at:at + PER_LINE] for at in range(0, len(data), PER_LINE))
    return "\n".join('        "' + "".join(ESCAPED.get(b) or chr(b) for b in line) + '"' for line in lines)


def form(data):
    tag = hashlib.sha256(data).hexdigest()[:32]
    return f'{{{{\n{literal(data)},\n        {len(data)}}}, "\\"{tag}\\""}}'


def row(file):
    data = file.read_bytes()
    packed = gzip.compress(data, 9, mtime=0)
    return f'    {{"{path_of(file)}", "{TYPES[file.suffix]}",\n     {form(data)},\n     {form(packed)}}},\n'


def main(output, *names):
    rows = "".join(row(pathlib.Path(name)) for name in names)
    pathlib.Path(output).write_text(
        '#include "dashboard_files.h"\n\n'
        f"const struct dashboard_file dashboard_files[] = {{\n{rows}}};\n"
        f"const size_t dashboard_files_n = {len(names)};\n", encoding="ascii")


main(*sys.argv[1:])
