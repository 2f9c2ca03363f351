"""What the histogram cannot hold is not given as a figure."""

from bench.report import build_time_rows
from bench.verdict import LAST_US, VerdictTime


def test_a_time_beyond_the_histogram_is_said_to_be_beyond_it() -> None:
    rows = build_time_rows({"http": VerdictTime(1200, 14.5, LAST_US + 0.5)})
    assert rows == [["http", "1,200", "14.5", "over 127.5"]]
