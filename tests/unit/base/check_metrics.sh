#!/usr/bin/env bash
# Prometheus' own linter finds nothing in an exposition with every kind of series in it.
set -euo pipefail
"$1" print | "$2" check metrics
