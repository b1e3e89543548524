#!/usr/bin/env python3
"""Checks the direction of includes: an include never points up, and a library stays in the few files that hide it.

  layers.py [ROOT]      judges the tree; prints one line a fault; exit 1 when there is one
  layers.py --self-test judges invented lines whose verdict is known

The table below is the house style's; a change of it is a change of the architecture.
"""
import pathlib
import re
import sys
from typing import NamedTuple

# Which layers each may include. policy decides and store remembers: neither knows the other.
MAY_USE = {
    "base": {"base"},
    "wire": {"base", "wire"},
    "policy": {"base", "wire", "policy"},
    "store": {"base", "wire", "store"},
    "http": {"base", "wire", "policy", "store", "http"},
    "ops": {"base", "wire", "policy", "store", "http", "ops"},
    "app": {"base", "wire", "policy", "store", "http", "ops", "app"},
}


class Library(NamedTuple):
    name: str
    header: str  # a pattern that its headers match
    layers: set  # where it may be included at all
    files: int  # by how many files in each such layer


LIBRARIES = [
    Library("openssl", r"openssl/", {"base", "store"}, 2),
    Library("gnutls", r"gnutls/", {"base"}, 1),
    Library("libuv", r"uv\.h|uv/", {"base"}, 1),
    Library("jansson", r"jansson\.h", {"wire", "app", "ops"}, 2),
    Library("zlib", r"zlib\.h", {"wire"}, 2),
    Library("hiredis", r"hiredis/", {"store"}, 2),
    Library("sqlite", r"sqlite3\.h", {"store"}, 1),
    Library("libmicrohttpd", r"microhttpd\.h", {"http", "ops"}, 2),
    Library("libcurl", r"curl/", {"http", "app"}, 2),
    Library("libyaml", r"yaml\.h", {"app"}, 2),
    Library("ncurses", r"(ncurses|termcap)\.h", {"app"}, 1),
    Library("pcre2", r"pcre2\.h", {"wire"}, 1),
    Library("systemd", r"systemd/", {"app"}, 1),
    Library("cmocka", r"cmocka\.h", set(), 0),  # the tests' own
]

# Headers of the C library, the compiler and the kernel; anything else must be a library above.
SYSTEM = re.compile(r"(sys|netinet|arpa|linux|net)/[a-z0-9_/]+\.h|[a-z]+intrin\.h|(%s)\.h" % "|".join(
    "assert cpuid ctype dirent dlfcn endian errno fcntl fnmatch getopt glob grp ifaddrs inttypes langinfo limits locale malloc "
    "math netdb poll pthread pwd sched search semaphore signal spawn stdalign stdarg stdatomic stdbool stddef stdint "
    "stdio stdlib stdnoreturn string strings syslog termios threads time unistd wchar".split()))

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def layer_of(path):
    """The layer that a file belongs to: src/<layer>/… or include/refrain/<layer>/…, else None."""
    parts = pathlib.PurePosixPath(path).parts
    if parts[:1] == ("src",) and len(parts) > 2:
        return parts[1]
    if parts[:2] == ("include", "refrain") and len(parts) > 3:
        return parts[2]
    return None


def judge_file(path, text, is_private):
    """Yields the faults of one file. is_private(layer, name): is there such a header in src/<layer>/?"""
    layer = layer_of(path)
    if layer not in MAY_USE:
        yield f"{path}: no such layer as {layer}"
        return
    public = path.startswith("include/")
    for kind, name in INCLUDE.findall(text):
        if name.startswith("refrain/"):
            target = name.split("/")[1]
            if target not in MAY_USE[layer]:
                yield f"{path}: {layer} may not include {name} ({target} is not below it)"
        elif kind == '"':
            if public:
                yield f"{path}: a public header may not include the private {name}"
            elif "/" in name or not is_private(layer, name):
                yield f"{path}: {name} is not a private header of src/{layer}/; what others may use is refrain/…"
        else:
            yield from judge_system(path, layer, public, name)


def library_of(name):
    return next((lib for lib in LIBRARIES if re.match(lib.header, name)), None)


def judge_system(path, layer, public, name):
    lib = library_of(name)
    if lib is None:
        if not SYSTEM.fullmatch(name):
            yield f"{path}: <{name}> belongs to a library that the table in tests/lint/layers.py does not name"
    elif public:
        yield f"{path}: the types of {lib.name} stop at a module's header; <{name}> may not be in a public one"
    elif layer not in lib.layers:
        yield f"{path}: {lib.name} may not be included in {layer} (<{name}>)"


def judge_spread(files):
    """Yields a fault where more files of a layer include a library than the table has them."""
    users = {}
    for path, text in files:
        for kind, name in INCLUDE.findall(text):
            lib = library_of(name) if kind == "<" else None
            if lib:
                users.setdefault((lib.name, layer_of(path)), set()).add(path)
    limits = {lib.name: lib.files for lib in LIBRARIES}
    for (name, layer), paths in users.items():
        if len(paths) > limits[name]:
            yield f"{name} is included by {len(paths)} files of {layer}, {limits[name]} at most: {' '.join(sorted(paths))}"


def judge_tree(root):
    found = sorted(p for top in ("src", "include/refrain") for p in (root / top).rglob("*.[ch]"))
    files = [(p.relative_to(root).as_posix(), p.read_text(encoding="utf-8")) for p in found]
    for path, text in files:
        yield from judge_file(path, text, lambda layer, name: (root / "src" / layer / name).is_file())
    yield from judge_spread(files)
    if not files:
        yield f"{root}: no source found"


# why, path, text, part of the fault expected ("" for none)
CASES = [
    ("down is fine", "src/wire/a.c", '#include "refrain/base/buf.h"\n', ""),
    ("own layer is fine", "include/refrain/wire/a.h", '#include "refrain/wire/b.h"\n', ""),
    ("up is not", "src/base/a.c", '#include "refrain/wire/sse.h"\n', "may not include refrain/wire/sse.h"),
    ("policy does not know store", "src/policy/a.c", '#include "refrain/store/entry.h"\n', "may not include"),
    ("store does not know policy", "src/store/a.c", '#include "refrain/policy/gate.h"\n', "may not include"),
    ("spaces do not hide it", "src/base/a.c", '  #  include   <refrain/app/x.h>\n', "may not include"),
    ("a comment is no include", "src/base/a.c", '/* #include "refrain/app/x.h" */\n', ""),
    ("private header of the same layer", "src/http/a.c", '#include "a_priv.h"\n', ""),
    ("private header of another layer", "src/http/a.c", '#include "../store/mem_priv.h"\n', "not a private header"),
    ("public header with private", "include/refrain/http/a.h", '#include "a_priv.h"\n', "public header"),
    ("library in its layer", "src/base/loop.c", "#include <uv.h>\n", ""),
    ("library elsewhere", "src/http/front.c", "#include <uv.h>\n", "libuv may not be included in http"),
    ("library in a public header", "include/refrain/http/front.h", "#include <microhttpd.h>\n", "stop at a module"),
    ("unknown library", "src/base/a.c", "#include <glib/gslice.h>\n", "does not name"),
    ("unknown library in one file", "src/base/a.c", "#include <lz4.h>\n", "does not name"),
    ("libc", "src/base/a.c", "#include <sys/socket.h>\n#include <string.h>\n", ""),
    ("unknown layer", "src/misc/a.c", "", "no such layer"),
]


def self_test():
    failed = 0
    for why, path, text, want in CASES:
        got = list(judge_file(path, text, lambda layer, name: name == "a_priv.h"))
        good = (not got) if want == "" else len(got) == 1 and want in got[0]
        if not good:
            failed += 1
            print(f"self-test: {why}: {got}")
    two = [("src/base/a.c", "#include <uv.h>\n"), ("src/base/b.c", "#include <uv.h>\n")]
    if len(list(judge_spread(two))) != 1 or list(judge_spread(two[:1])):
        failed += 1
        print("self-test: a library spread over more files than the table allows is not found")
    return failed


def main():
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(1 if self_test() else 0)
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
    faults = list(judge_tree(root))
    print("\n".join(faults), end="\n" if faults else "")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
