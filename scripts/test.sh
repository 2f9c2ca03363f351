#!/bin/bash
# The tests: those that compute side by side, then those on live interfaces one after the other, for they measure times.
#   scripts/test.sh             all of them
#   scripts/test.sh WORDS...    these words of pytest's, in one process
set -uo pipefail
cd "$(dirname "$0")/.."
if [ $# -gt 0 ]; then
    exec python -m pytest "$@"
fi
status=0
python -m pytest -m "not live" --numprocesses auto --maxprocesses 4 --dist loadfile || status=1
python -m pytest -m live --durations 15 || status=1
exit $status
