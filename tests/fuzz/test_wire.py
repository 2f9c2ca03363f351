"""Five seconds of mutated packets on a live line; `python -m tests.fuzz wire --seconds 300` is the whole of it."""

from pathlib import Path

from penstock.demo.servers import Certificate, write_certificate
from penstock.line.pcap import read_frames
from tests.fuzz.wire import KEPT, SUBSCRIBERS, prepare_line, run_line
from tests.live.line import build_line, live

pytestmark = live("openssl", "unbound", "curl", "dig", "ethtool")

SECONDS = 5.0
SEED = 6


def test_nothing_dies_and_nobody_is_harmed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    pair: Certificate = write_certificate(tmp_path)
    with build_line(tmp_path, pair, subscribers=SUBSCRIBERS) as line:
        prepare_line(line)
        report = run_line(line, SECONDS, SEED, tmp_path / "latest.pcap")
    assert report.find_faults() == [], report.reasons
    assert sum(1 for _ in read_frames(tmp_path / "latest.pcap")) == min(report.frames, KEPT)
    for name in ("blocked", "bad_checksum", "fragment_bad", "malformed", "judged_connection"):
        assert f" {name}" in report.reasons, "the packets do not reach far enough"
