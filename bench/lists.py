"""What lists of names cost: the build, its memory, the database, how soon it is ready, and a look-up.

    python -m bench.lists [--names 10000000] [--small 100000] [--urls 100000] [--asked 200000] [--rounds 15]

The names are made to look like real ones: words, hyphens and digits under few large and many small top-level domains, some
with a label or two in front. The build runs in a process of its own, whose greatest resident size is the memory; another
maps the database, once from a page cache that was emptied of it and once from a warm one. Look-ups of both databases take
turns, so that what else the machine does touches both; half of the hosts asked for are listed, or lie below a listed name.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from penstock.compile.memory import shared, u64
from penstock.compile.native import kernel
from penstock.control.configuration import Configuration
from penstock.control.lists.build import build_names
from penstock.control.lists.settings import ListSource
from penstock.policy.names import find_categories
from penstock.policy.snapshot import open_names
from penstock.policy.urls import SCRATCH_BYTES, find_url_categories

TOPS = ("com", "net", "org", "de", "fr", "co.uk", "ru", "xyz", "top", "info", "online", "shop", "io", "site")
SHARES = (45, 5, 5, 5, 3, 3, 5, 5, 5, 4, 4, 4, 4, 3)
ENDS = ("", "", "", "s", "24", "-online", "app", "-shop", "1", "2024")
FRONTS = ("", "", "", "", "", "", "ads.", "cdn.", "login.", "m.", "tracker.", "static.eu.")
SYLLABLES = [first + second for first in "bcdfghlmnprstvwz" for second in "aeio"]
WORDS = 60_000


@shared
def find_all(names, places, count):  # type: ignore[no-untyped-def]
    """Look each host up. Returns how many have a category."""
    found = 0
    for number in range(count):
        place = places + 16 * number
        if find_categories(names, u64(place), u64(place + 8)) != 0:
            found += 1
    return found


@shared
def find_all_urls(names, places, count, target, target_bytes, scratch):  # type: ignore[no-untyped-def]
    """Look each host up with a path. Returns how many have a category."""
    found = 0
    for number in range(count):
        place = places + 16 * number
        if find_url_categories(names, u64(place), u64(place + 8), target, target_bytes, scratch) != 0:
            found += 1
    return found


def make_names(count: int, seed: int) -> Iterator[str]:
    """Different names; the same for the same seed."""
    chance = random.Random(seed)
    words = ["".join(chance.choices(SYLLABLES, k=chance.choice((2, 3, 3, 4)))) for _ in range(WORDS)]
    seen: set[int] = set()
    while len(seen) < count:
        tops = chance.choices(TOPS, SHARES, k=10_000)
        for top in tops:
            name = f"{chance.choice(FRONTS)}{chance.choice(words)}{chance.choice(words)}{chance.choice(ENDS)}.{top}"
            if len(seen) < count and hash(name) not in seen:
                seen.add(hash(name))
                yield name


def write_list(path: Path, count: int, seed: int, tail: str = "") -> None:
    """A list of `count` names."""
    with path.open("w") as file:
        for name in make_names(count, seed):
            file.write(f"{name}{tail}\n")


def configure(directory: Path, label: str, urls: bool) -> Configuration:
    """The configuration of one database."""
    sources = [ListSource(category="phishing", path=directory / f"{label}.txt")]
    if urls:
        sources.append(ListSource(category="malware", path=directory / "urls.txt"))
    return Configuration(lists=tuple(sources), database=directory / f"{label}.db")


def run_child(*words: str) -> dict[str, Any]:
    """What this module says in a process of its own."""
    said = subprocess.run([sys.executable, "-m", "bench.lists", *words], stdout=subprocess.PIPE, check=True).stdout
    found: dict[str, Any] = json.loads(said)
    return found


def read_peak_mb() -> float:
    """The greatest resident size of this process. The kernel's usage of a child begins with its parent's, and is no use."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def build(directory: Path, label: str, urls: bool) -> dict[str, Any]:
    """Build one database; what the report says."""
    report = build_names(configure(directory, label, urls))
    figures = {"names": report.names, "urls": report.urls, "bytes": report.size_bytes, "s": report.elapsed_s}
    return {**figures, "peak_mb": read_peak_mb()}


def get_ready(path: Path) -> dict[str, Any]:
    """Map a database; seconds."""
    began_s = time.perf_counter()
    open_names(path).close()
    return {"s": time.perf_counter() - began_s}


def drop_pages(path: Path) -> None:
    """Have the page cache forget a file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Asked:
    """Hosts as compiled code reads them, in random order."""

    def __init__(self, path: Path, count: int, seed: int) -> None:
        chance = random.Random(seed)
        listed = path.read_text().split()
        hosts = [chance.choice(("", "www.", "a.b.")) + name for name in chance.choices(listed, k=count // 2)]
        hosts += [
            f"{chance.choice(('', 'www.', 'a.b.'))}{name}.other" for name in make_names(count - len(hosts), seed + 1)
        ]
        chance.shuffle(hosts)
        lengths = [len(host) for host in hosts]
        self.content = np.frombuffer("".join(hosts).encode(), np.uint8).copy()
        self.count = count
        self.places = np.zeros((count, 2), np.int64)
        self.places[:, 0] = np.cumsum([0, *lengths[:-1]]) + self.content.ctypes.data
        self.places[:, 1] = lengths


def measure(directory: Path, labels: list[str], asked_count: int, rounds: int) -> None:
    """Look-ups in both databases in turns, and with a path in the first."""
    find, find_urls = kernel(find_all), kernel(find_all_urls)
    target, scratch = np.frombuffer(b"/index.php?id=12345", np.uint8), np.zeros(SCRATCH_BYTES, np.uint8)
    databases = {label: open_names(directory / f"{label}.db") for label in labels}
    asked = {label: Asked(directory / f"{label}.txt", asked_count, 7) for label in labels}
    times: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for label in labels:
            places = int(asked[label].places.ctypes.data)
            began_ns = time.perf_counter_ns()
            found = find(databases[label].address, places, asked_count)
            between_ns = time.perf_counter_ns()
            target_at, scratch_at = int(target.ctypes.data), int(scratch.ctypes.data)
            find_urls(databases[label].address, places, asked_count, target_at, len(target), scratch_at)
            ended_ns = time.perf_counter_ns()
            if found != asked_count // 2:
                raise RuntimeError(f"{found} of {asked_count // 2} hosts are listed")
            if number > 0:
                times.setdefault(f"{label}, a host", []).append((between_ns - began_ns) / asked_count)
                times.setdefault(f"{label}, a host and a path", []).append((ended_ns - between_ns) / asked_count)
    print(f"{'ns a look-up':34}{'minimum':>8}{'median':>8}")
    for what, values in times.items():
        print(f"{what:34}{min(values):8.0f}{statistics.median(values):8.0f}")
    first, second = (times[f"{label}, a host"] for label in labels)
    ratios = [one / other for one, other in zip(first, second, strict=True)]
    print(f"large against small, round by round: {statistics.median(ratios):.2f}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=10_000_000)
    parser.add_argument("--small", type=int, default=100_000)
    parser.add_argument("--urls", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, directory, label = options.child
        path = Path(directory)
        print(json.dumps(get_ready(path / f"{label}.db") if what == "ready" else build(path, label, urls=True)))
        return
    with tempfile.TemporaryDirectory(prefix="penstock-lists-") as name:
        directory = Path(name)
        write_list(directory / "large.txt", options.names, 1)
        write_list(directory / "small.txt", options.small, 1)
        write_list(directory / "urls.txt", options.urls, 3, "/a/path")
        text_bytes = (directory / "large.txt").stat().st_size
        for label in ("small", "large"):
            run_child("--child", "build", name, label)  # compiles, and warms the cache of pages
            built = run_child("--child", "build", name, label)
            drop_pages(directory / f"{label}.db")
            cold, warm = (run_child("--child", "ready", name, label) for _ in range(2))
            print(
                f"{label}: {built['names']:,} names, {built['urls']:,} web addresses, built in {built['s']:.1f} s, "
                f"{built['peak_mb']:,.0f} MB; database {built['bytes'] / 1e6:.1f} MB; "
                f"ready in {cold['s']:.3f} s from the disk, {warm['s']:.3f} s from memory"
            )
        print(f"list of {text_bytes / 1e6:,.0f} MB; load {' '.join(f'{value:.1f}' for value in os.getloadavg())}")
        measure(directory, ["large", "small"], options.asked, options.rounds)


if __name__ == "__main__":
    main()
