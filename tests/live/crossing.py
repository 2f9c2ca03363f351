"""Traffic of every kind that crosses the box while something is done to it, and what came of it.

1,000 new connections a second, kept connections that are silent or ask now and then, a download and an upload, a request of
which half was said, and the same blocked request again and again. Knows both ends, and what an operator is promised of
them: nothing breaks, and nothing waits for longer than one retransmission. Refuses to know what is done to the box.
"""

import hashlib
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from penstock.demo.box import GOOD, PENSTOCK
from penstock.demo.servers import Server
from penstock.demo.topology import HOME, SERVER_IPV4
from tests.live.clients import CLOSED, RESET, Conversation, Response, ask
from tests.live.line import BAD, Line
from tests.live.processes import Asked, Loaded, broken

RATE = 1000
KEPT = 200  # connections, half of them silent until the end
SLOWEST_RATE = 0.97 * RATE  # that was reached: a client without processor time proves nothing
PROBE_S = 0.03
LONGEST_S = 0.45  # one retransmission (200 ms at least) and what a busy machine adds
LATE_LIMIT = 300  # packets that the kernel let pass for a late pulse: a busy machine; about a tenth of a second of them
LONGEST_HANDSHAKE_S = 1.25  # the same of a SYN, which is repeated after a second
TRANSFER_BYTES_S = 3_000_000
LONGEST_LOAD_S = 120.0


def count_reason(line: Line, name: str, penstock: Sequence[str | Path] = PENSTOCK) -> int:
    """How often a reason was counted, as `penstock status` of the version that runs shows it."""
    text = re.sub(r"\s*│\n│\s*│ ", " ", line.topology.run("box", [*penstock, "status"]).stdout)
    assert "difference" in text, text
    found = re.search(rf"([\d,]+)\s{name}\b", text)
    return int(found[1].replace(",", "")) if found else 0


@dataclass
class Probe:
    """One blocked request: when, how long it took, and what came."""

    start_s: float
    delay_s: float
    answer: Response | str

    @property
    def end_s(self) -> float:
        return self.start_s + self.delay_s

    @property
    def is_refused(self) -> bool:
        return self.answer in (RESET, CLOSED) or (isinstance(self.answer, Response) and self.answer.is_page)


@dataclass
class Crossing:
    """A context: the traffic runs inside the block and is judged by `finish`."""

    line: Line
    server: Server
    transfer_s: float = 13.0  # about as long as an upgrade takes
    probes: list[Probe] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    kept: list[Asked] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._open_ones = ExitStack()
        self.idle, self.half = self._open(), self._open()
        whole = ask(GOOD)
        self.half.send(whole[:20])
        time.sleep(0.1)  # the server has acknowledged it: what is asked for after this is a matter of the second half
        self.rest = whole[20:]
        content = self.line.here / "upload"
        self.transfer_bytes = int(self.transfer_s * TRANSFER_BYTES_S) // 256 * 256
        content.write_bytes(bytes(range(256)) * (self.transfer_bytes // 256))
        self.digest = hashlib.sha256(content.read_bytes()).hexdigest()
        told = ("-w", "%{http_code} %{size_download}")
        self.download = self._curl("-o", "/dev/null", *told, f"/big?n={self.transfer_bytes}")
        self.upload = self._curl("--data-binary", f"@{content}", "/")
        self.load = Loaded(self.line, self.server, RATE, LONGEST_LOAD_S, KEPT)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._probe)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._thread.join()
        self.load.program.terminate()
        lasted_s = time.monotonic() - self.load.begin_s
        self.asked, self.kept = self.load.collect(), self.load.kept
        self.rate = len(self.asked) / lasted_s
        if kind is not None:
            self._open_ones.close()
            self.line.topology.end(self.download)
            self.line.topology.end(self.upload)

    def finish(self) -> None:
        """No connection broke, none changed its bytes, and none waited for longer than one retransmission."""
        self._tell()
        with self._open_ones:
            assert self.rate > SLOWEST_RATE
            assert broken(self.asked) + broken(self.kept) == []
            for conversation, words in ((self.half, self.rest), (self.idle, ask(GOOD))):
                conversation.send(words)
                answer = conversation.read()
                assert isinstance(answer, Response), answer
                assert answer.status == 200
            self.idle.send(ask(BAD))
            assert Probe(0, 0, self.idle.read()).is_refused
        told = self.download.communicate(timeout=60)
        assert (self.download.returncode, told[0]) == (0, f"200 {self.transfer_bytes}"), told
        told = self.upload.communicate(timeout=60)
        assert self.upload.returncode == 0, told
        assert self.digest in told[0], told
        for one in self.asked + self.kept:
            assert one.connect_s < LONGEST_HANDSHAKE_S, one
            assert one.delay_s - one.connect_s < LONGEST_S, one
        assert max(probe.delay_s for probe in self.probes) < LONGEST_S

    def _tell(self) -> None:
        longest = {
            "handshake": max(one.connect_s for one in self.asked),
            "request behind it": max(one.delay_s - one.connect_s for one in self.asked),
            "request on a kept connection": max(one.delay_s for one in self.kept),
            "blocked request": max(probe.delay_s for probe in self.probes),
        }
        print(
            f"{len(self.asked):,} new connections, {self.rate:,.0f}/s; {len(self.kept):,} requests on {KEPT} kept ones"
        )
        print("longest " + ", ".join(f"{word} {seconds * 1000:.0f} ms" for word, seconds in longest.items()))

    def passed(self) -> list[Probe]:
        """The blocked requests that were not refused."""
        return [probe for probe in self.probes if not probe.is_refused]

    def _open(self) -> Conversation:
        """A connection on which one request was answered."""
        conversation = self._open_ones.enter_context(self.line.connect(HOME))  # to CPython's server, which is patient
        conversation.send(ask(GOOD))
        assert isinstance(conversation.read(), Response)
        return conversation

    def _curl(self, *words: str) -> "subprocess.Popen[Any]":
        argv = ["curl", "-q", "-sS", "--interface", HOME.ipv4, "--connect-to", f"::{SERVER_IPV4}:"]
        argv += ["--limit-rate", str(TRANSFER_BYTES_S), *words[:-1], f"http://{GOOD}{words[-1]}"]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return self.line.topology.spawn("client", argv, **pipes)

    def _probe(self) -> None:
        while not self._ends.wait(PROBE_S):
            start_s = time.monotonic()
            try:
                with self.line.connect(HOME, self.server.http_port) as conversation:
                    conversation.send(ask(BAD))
                    answer = conversation.read()
            except OSError as error:
                answer = f"broken: {error}"
            self.probes.append(Probe(start_s, time.monotonic() - start_s, answer))
