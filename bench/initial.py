"""What a QUIC Initial of 1200 bytes costs one core: keys derived and packet opened, each under keys of its own.

    python -m bench.initial [--packets 2000] [--rounds 15]

One child process for each back end of the cipher that this machine has (it is chosen at import), all on one core,
measured in turns. Minimum and median of the rounds.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import time

import numpy as np

from penstock.cipher import features
from penstock.compile.memory import shared
from penstock.compile.native import Kernel, kernel
from penstock.request import initial

PACKET_BYTES = 1200
HEAD_BYTES = 22
CID_OFF, CID_BYTES = 6, 8
STEPS = ("whole", "derive", "open")
KEYS_STRIDE = 64


@shared
def derive_all(packets, count, keys, cipher):  # type: ignore[no-untyped-def]
    """Derive the keys of each packet. Returns how many."""
    done = 0
    for number in range(count):
        cid = packets + number * PACKET_BYTES + CID_OFF
        done += initial.derive_keys(1, cid, CID_BYTES, 0, keys + number * KEYS_STRIDE, cipher)
    return done


@shared
def open_all(packets, count, keys, out, cipher):  # type: ignore[no-untyped-def]
    """Open each packet with its keys. Returns how many had the right tag."""
    done = 0
    for number in range(count):
        p = packets + number * PACKET_BYTES
        at = p + HEAD_BYTES - 4
        if initial.open_initial(p, at, p + PACKET_BYTES, 0, keys + number * KEYS_STRIDE, out, cipher) > 0:
            done += 1
    return done


@shared
def open_fresh(packets, count, keys, out, cipher):  # type: ignore[no-untyped-def]
    """Derive keys and open, packet after packet. Returns how many had the right tag."""
    done = 0
    for number in range(count):
        p = packets + number * PACKET_BYTES
        initial.derive_keys(1, p + CID_OFF, CID_BYTES, 0, keys, cipher)
        if initial.open_initial(p, p + HEAD_BYTES - 4, p + PACKET_BYTES, 0, keys, out, cipher) > 0:
            done += 1
    return done


class Worker:
    """The cipher's memory and `count` packets, sealed by the cipher itself."""

    def __init__(self, count: int) -> None:
        chance = random.Random(4)
        self.count = count
        self.packets = np.zeros(count * PACKET_BYTES, np.uint8)
        self.keys = np.zeros(count * KEYS_STRIDE, np.uint8)
        self.out = np.zeros(PACKET_BYTES, np.uint8)
        self.cipher = np.zeros(initial.CIPHER_BYTES, np.uint8)
        initial.prepare_cipher(self.cipher.ctypes.data)
        frames = np.frombuffer(chance.randbytes(PACKET_BYTES - HEAD_BYTES - 16), np.uint8).copy()
        derive, seal = kernel(initial.derive_keys), kernel(initial.seal_initial)
        for number in range(count):
            cid = chance.randbytes(CID_BYTES)
            head = b"\xc3\0\0\0\1\x08" + cid + b"\0\0" + (0x4000 + PACKET_BYTES - HEAD_BYTES + 4).to_bytes(2, "big")
            packet = self.packets[number * PACKET_BYTES :]
            packet[:HEAD_BYTES] = np.frombuffer(head + b"\0\0\0\0", np.uint8)
            keys = self.keys.ctypes.data + number * KEYS_STRIDE
            derive(1, packet.ctypes.data + CID_OFF, CID_BYTES, 0, keys, self.cipher.ctypes.data)
            seal(
                packet.ctypes.data, HEAD_BYTES, 4, frames.ctypes.data, len(frames), keys, 0, self.cipher.ctypes.data
            )  # fmt: skip
        packets, keys, out, cipher = (each.ctypes.data for each in (self.packets, self.keys, self.out, self.cipher))
        self.fresh = np.zeros(KEYS_STRIDE, np.uint8)
        self.steps: dict[str, tuple[Kernel, tuple[int, ...]]] = {
            "whole": (kernel(open_fresh), (packets, count, self.fresh.ctypes.data, out, cipher)),
            "derive": (kernel(derive_all), (packets, count, keys, cipher)),
            "open": (kernel(open_all), (packets, count, keys, out, cipher)),
        }

    def measure(self, step: str) -> float:
        """Nanoseconds a packet."""
        run, args = self.steps[step]
        began_ns = time.perf_counter_ns()
        done = run(*args)
        spent_ns = time.perf_counter_ns() - began_ns
        if done != self.count:
            raise RuntimeError(f"{step}: {done} of {self.count} packets")
        return spent_ns / self.count


def serve(count: int) -> None:
    """A child: one step's name a line in, nanoseconds a line out."""
    worker = Worker(count)
    for step in STEPS:
        worker.measure(step)
    print("ready", flush=True)
    for line in sys.stdin:
        print(worker.measure(line.strip()), flush=True)


def find_choices() -> dict[str, str]:
    """The back ends of this machine: name → value of the variable that forces it."""
    choices = {}
    for forced in ("", features.NO_SHA, features.PORTABLE):
        backend = features.find_backend(os.uname().machine, features.object_file.features(), forced)
        choices.setdefault(f"{backend.blocks}, SHA-256 {backend.sha}", forced)
    return choices


def start_child(forced: str, count: int) -> subprocess.Popen[str]:
    """A child with one back end, ready."""
    command = [sys.executable, "-m", "bench.initial", "--child", "--packets", str(count)]
    environment = {**os.environ, features.VARIABLE: forced}
    child = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    if child.stdout.readline() != "ready\n":
        raise RuntimeError(f"{features.VARIABLE}={forced}: the child did not start")
    return child


def ask(child: subprocess.Popen[str], step: str) -> float:
    """One measurement."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"{step}\n")
    child.stdin.flush()
    return float(child.stdout.readline())


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if options.child:
        serve(options.packets)
        return
    children = {name: start_child(forced, options.packets) for name, forced in find_choices().items()}
    times: dict[tuple[str, str], list[float]] = {(name, step): [] for name in children for step in STEPS}
    for _ in range(options.rounds):
        for name, step in times:
            times[name, step].append(ask(children[name], step))
    for child in children.values():
        child.communicate()
    print(f"{'ns an Initial, minimum median':32}" + "".join(f"{step:>15}" for step in STEPS) + "       a second")
    for name in children:
        row = [times[name, step] for step in STEPS]
        figures = "".join(f"{min(values):8.0f}{statistics.median(values):7.0f}" for values in row)
        print(f"{name:32}{figures}{1e9 / statistics.median(row[0]):15,.0f}")


if __name__ == "__main__":
    main()
