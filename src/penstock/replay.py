"""`penstock replay`: a capture through the same path as live traffic, without a kernel. One JSON line per request.

Time is the capture's own. Everybody is protected here, so that each request is seen: an address without a subscriber is
judged by nobody's policy, which forwards. A connection whose beginning the capture never showed is judged on sight.
"""

import json
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from penstock.compile.native import kernel
from penstock.control.configuration import Configuration, load_configuration
from penstock.control.events import EventReader, decode_event
from penstock.control.lists.build import build_names
from penstock.control.snapshot import build_snapshot
from penstock.control.subscribers.fixed import FixedOwners
from penstock.kernel import tables
from penstock.kernel.reasons import NAMES
from penstock.line.directory import Directory, Held, make_places, pack_place
from penstock.line.native import NativePath
from penstock.line.pcap import UDP_FLAGS, CaptureError, Directions, Frame, read_frames, to_ethernet
from penstock.path.layout import ALL_REQUESTS, HELD, TRUST_CHECKSUMS
from penstock.policy.snapshot import Snapshot
from penstock.wire import headers

CAPACITY, SUBSCRIBERS = 65536, 65536
PREFIX_BYTES = 64  # of a payload, enough to say whether a request begins in it

_parse = kernel(headers.parse_packet)


class Replay:
    """One capture on its way through the path."""

    def __init__(self, snapshot: Snapshot, owners: FixedOwners, verify_checksums: bool) -> None:
        options = ALL_REQUESTS | (0 if verify_checksums else TRUST_CHECKSUMS)
        self.path = NativePath(CAPACITY, options, stream_count=4096, large_count=64, subscribers=SUBSCRIBERS)
        self.path.set_epoch(3)  # what began before the capture is no evasion
        self.path.set_snapshot(snapshot.address, snapshot.names_address)
        protect_everybody(self.path.directory, owners)
        self.snapshot, self.owners = snapshot, owners
        self.reader = EventReader(self.path.shared)
        self.directions = Directions()
        self.reasons: Counter[str] = Counter()
        self._view = np.zeros(headers.VIEW_BYTES // 8, np.int64)
        self._key = np.zeros(tables.KEY_BYTES, np.uint8)

    def take(self, frame: Frame) -> list[dict[str, Any]]:
        """One frame; the events that it caused."""
        packet = to_ethernet(frame)
        if packet is None:
            self.reasons["link_type"] += 1
            return []
        outcome = self.path.take(packet, self._is_from_client(packet), frame.time_ns)
        self.reasons[NAMES[outcome.reason]] += 1
        if outcome.path_reason is not None and outcome.path_reason != HELD:
            self.reasons[NAMES[outcome.path_reason]] += 1
        return [decode_event(raw, self.snapshot, self.owners, 0) for raw in self.reader.read()]

    def _is_from_client(self, packet: bytes) -> bool:
        """Which side a segment or datagram came from; for everything else the side does not matter."""
        room = np.frombuffer(packet, np.uint8)
        start = int(room.ctypes.data)
        status = _parse(start, start + len(packet), 1, 0, int(self._view.ctypes.data), int(self._key.ctypes.data))
        if status != headers.IS_TCP and status != headers.IS_UDP:
            return True
        ports = int(self._key[tables.FLOW_PORTS : tables.FLOW_PORTS + 4].view(np.uint32)[0])
        payload = int(self._view[headers.VIEW_PAYLOAD // 8])
        source, destination = self._key[:16].tobytes(), self._key[16:32].tobytes()
        flags = int(self._view[headers.VIEW_FLAGS // 8]) if status == headers.IS_TCP else UDP_FLAGS
        return self.directions.is_from_client(
            source, ports >> 16, destination, ports & 0xFFFF, flags, packet[payload : payload + PREFIX_BYTES]
        )


def protect_everybody(directory: Directory, owners: FixedOwners) -> None:
    """Have everything read: what subscribers ask for, by their profiles, and what others do, by none."""
    lines = owners.lines()
    lines["flags"] |= tables.SUBSCRIBER_PROTECTED
    directory.set_lines(lines)
    nobody = directory.capacity
    directory.set_line(nobody, None, Held(is_read=True))
    places, numbers = owners.places()
    anywhere = make_places([pack_place(0, bytes(16), 0)])
    directory.replace_all(np.concatenate([places, anywhere]), [*numbers, nobody])


def _load(configuration_path: Path | None, directory: Path) -> tuple[Snapshot, FixedOwners]:
    if configuration_path is None:
        configuration = Configuration(database=directory / "names.db")
    else:
        configuration = load_configuration(configuration_path)
    if not configuration.database.exists():
        build_names(configuration)
    snapshot = Snapshot.open(build_snapshot(configuration, configuration.database, 1, directory))
    return snapshot, FixedOwners(configuration)


def replay_capture(path: Path, configuration_path: Path | None, verify_checksums: bool, prints_ledger: bool) -> int:
    """Replay a capture onto standard output. Returns 0; 1 after a damaged capture, whose readable part was replayed."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-replay-")))
        snapshot, owners = _load(configuration_path, directory)
        stack.callback(snapshot.close)
        replay, status = Replay(snapshot, owners, verify_checksums), 0
        try:
            for frame in read_frames(path):
                for event in replay.take(frame):
                    sys.stdout.write(json.dumps(event) + "\n")
        except CaptureError as error:
            sys.stdout.flush()
            print(f"penstock: {error}", file=sys.stderr)
            status = 1
        sys.stdout.flush()
        if prints_ledger:
            for name, count in sorted(replay.reasons.items(), key=lambda item: -item[1]):
                print(f"{count:10,} {name}", file=sys.stderr)
        return status
