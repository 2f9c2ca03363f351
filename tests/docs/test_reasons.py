"""docs/reasons.md is what scripts/reasons.py makes of the list, and the list can be told apart."""

import subprocess
import sys
from pathlib import Path

from penstock.kernel.reasons import PATH_FIRST, REASON_COUNT, REASONS, Verdict

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "reasons.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_reason_has_its_own_number_name_and_text() -> None:
    for field in ("number", "name", "text"):
        values = [getattr(reason, field) for reason in REASONS]
        assert len(set(values)) == len(values)
    assert all(0 <= reason.number < REASON_COUNT - 1 for reason in REASONS)  # the last counter is "seen"


def test_the_range_of_a_number_is_its_side() -> None:
    of_kernel = {Verdict.FORWARDED, Verdict.DROPPED, Verdict.UP}
    for reason in REASONS:
        assert (reason.verdict in of_kernel) == (reason.number < PATH_FIRST)
