"""Half a minute of the soak: every kind of exchange, as many faults as the machine has time for, and nothing breaks."""

from pathlib import Path

import pytest

from penstock.demo.servers import write_certificate
from tests.live.line import live
from tests.soak.faults import KINDS
from tests.soak.report import find_wrong
from tests.soak.soak import build_soak

pytestmark = live("openssl", "curl", "unbound")

SECONDS = 32.0
RATE = 60.0
SEED = 6


@pytest.mark.timeout(400)
def test_nothing_breaks(tmp_path_factory: pytest.TempPathFactory) -> None:
    here = Path(tmp_path_factory.mktemp("soak"))
    with build_soak(here, write_certificate(here), SECONDS, RATE, SEED, print) as soak:
        soak.run()
        wrong = find_wrong(soak)
    assert not wrong, "\n".join(wrong)
    assert len(soak.outcomes) > SECONDS * RATE / 2
    assert len({fault.kind for fault in soak.faults}) > len(KINDS) / 2, "the machine is too slow"
    assert sum(one.is_listed and one.is_protected for one in soak.outcomes) > SECONDS
