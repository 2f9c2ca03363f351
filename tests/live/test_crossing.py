"""Every fault that the soak knows, one at a time, under 1,000 new connections a second and all that `Crossing` has beside.

Nothing breaks, nothing waits for longer than one retransmission, and a blocked request passes only while nobody judges.
What each of them does to the rest of the box is in test_faults.py, test_failure.py and test_upgrade.py.
"""

import random
import time

import pytest

from penstock.demo.servers import Server
from tests.live.crossing import LATE_LIMIT, Crossing, count_reason
from tests.live.line import Line, live
from tests.soak.faults import KINDS, Pace, do_fault

pytestmark = live("openssl", "nginx", "curl", alone=True)

TRANSFER_S = 7.0
CALM_S = 1.0  # before a fault and after it
LATE = "stale_open"  # met by a packet when the workers get no processor for 100 ms: a fault by itself
PACE = Pace(calm_s=(CALM_S, CALM_S), stop_s=5.0, away_s=2.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_under_load(judging: Line, nginx: Server, kind: str) -> None:
    late = [count_reason(judging, LATE)]
    with Crossing(judging, nginx, TRANSFER_S) as crossing:
        time.sleep(CALM_S)
        fault = do_fault(judging, kind, PACE, random.Random(kind))
        late.append(count_reason(judging, LATE))
        over_s = time.monotonic()
        time.sleep(CALM_S)
    crossing.finish()
    late.append(count_reason(judging, LATE))
    passed = crossing.passed()
    stray = [one for one in passed if not fault.is_gap or one.end_s < fault.begin_s or one.start_s > over_s]
    print(
        f"{kind}: {fault.end_s - fault.begin_s:.2f} s; {len(passed)} of {len(crossing.probes)} blocked requests passed"
    )
    print(f"packets that met a late pulse: {late}; blocked requests that passed when somebody judged: {len(stray)}")
    found_late = late[2] - late[1] if fault.is_gap else late[2] - late[0]
    assert len(stray) <= found_late < LATE_LIMIT, "more than found the box too busy"
    assert not fault.is_gap or len(passed) > len(stray), "there was no fault"
