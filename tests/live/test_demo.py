"""`penstock demo` as a user starts it."""

import signal
import subprocess
import time

from penstock.demo.box import BLOCKED, GOOD, PENSTOCK
from penstock.demo.names import SAFE, SEARCH, TRANSPORTS
from penstock.demo.namespaces import NAMESPACES
from tests.live.line import live
from tests.live.processes import hear_ctrl_c

pytestmark = live("curl", "openssl", "ip", "unbound")


def left_over(pid: int) -> list[str]:
    return [path.name for path in NAMESPACES.glob(f"penstock-{pid}-*")]


def test_demo_shows_everything_and_leaves_nothing() -> None:
    program = subprocess.Popen([*PENSTOCK, "demo"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    told = program.communicate(timeout=200)[0]
    assert program.returncode == 0, told
    for host in (GOOD, *BLOCKED.values()):
        for scheme in ("http", "https", "quic"):
            assert f"{scheme}://{host}" in told
    for name in (GOOD, BLOCKED["phishing"], SEARCH):
        for transport in TRANSPORTS:
            assert f"{name}, {transport}" in told
    assert "NXDOMAIN, with the error Blocked (15)" in told
    assert f"leads to {SAFE}" in told
    assert "Gbit/s" in told
    assert left_over(program.pid) == []


def test_demo_cleans_up_after_ctrl_c() -> None:
    program = subprocess.Popen(
        [*PENSTOCK, "demo"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=hear_ctrl_c
    )
    end_s = time.monotonic() + 60
    while len(left_over(program.pid)) < 6:  # both lines stand
        assert program.poll() is None, "it ended by itself"
        assert time.monotonic() < end_s
        time.sleep(0.02)
    time.sleep(0.2)
    program.send_signal(signal.SIGINT)
    assert program.wait(30) == 130
    assert left_over(program.pid) == []
