#!/bin/bash
# The tests: most of them side by side, then those that measure times one after the other.
#   scripts/test.sh             all of them
#   scripts/test.sh WORDS...    these words of pytest's, in one process
set -uo pipefail
cd "$(dirname "$0")/.."
if [ $# -gt 0 ]; then
    exec python -m pytest "$@"
fi
status=0
python -m pytest -m "not alone" --numprocesses auto --maxprocesses 4 --dist loadfile --durations 10 || status=1
python -m pytest -m alone --durations 10 || status=1
exit $status
