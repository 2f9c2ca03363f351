"""The benchmark of hooks measures hooks that answer, and requests that reach them, or do not."""

import pytest
from bench.hooks import CASES, make_requests, measure, start_pool


@pytest.mark.parametrize("name", CASES)
def test_each_case_reaches_its_hook(name: str) -> None:
    with start_pool(name, 1) as pool:
        cost = measure(pool, make_requests("example", 20))
        assert pool.counts.ends["answered" if name == "verdict" else "silent"] == 40
        assert cost.rate > 0
        assert 0 < cost.p50_us <= cost.p99_us
        measure(pool, make_requests("elsewhere.test", 20))
        assert pool.counts.ends["unasked"] == (0 if name == "score" else 40)
        assert pool.counts.failed.total() == pool.counts.replaced.total() == 0
