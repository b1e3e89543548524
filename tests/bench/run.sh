#!/usr/bin/env bash
# Measures Refrain beside a bare responder, nginx and Varnish, all in one run on the same bodies.
#   tests/bench/run.sh             hits: CPU a request, requests a second, latency; ratios against the limits
#   tests/bench/run.sh --entries   CPU a hit at one thousand and at one million entries
#   tests/bench/run.sh --admin     at a million entries, what operators ask: how long it takes, what hits notice of it
#   tests/bench/run.sh --miss      what a miss adds to asking upstream directly; --against OTHER/refrain: and to another build's
#   tests/bench/run.sh --tls       hits and handshakes over TLS beside nginx
# More options: --help. Needs two cores; installs and builds what is missing. Prints figures, judges nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
deploy/install-packages.sh deploy/packages-build.txt deploy/packages-bench.txt >&2
[ -f build/build.ninja ] || meson setup build >&2
ninja -C build tests/bench/bench_bare tests/bench/bench_load refrain >/dev/null
exec /usr/bin/python3 tests/bench/bench.py "$@"
