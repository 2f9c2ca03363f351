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
processes=$(($(nproc) < 4 ? $(nproc) + 1 : 4)) # one more than processors: live tests wait a lot
python -m pytest -m "not alone" --numprocesses "$processes" --dist loadfile --durations 10 || status=1
python -m pytest -m alone --durations 10 || status=1
exit $status
