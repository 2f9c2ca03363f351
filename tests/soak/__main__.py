"""Run a soak by hand and print what came of it.

    python -m tests.soak --seconds 600 --rate 100 --seed 1 [--fresh-ports]
        [--keep FILE] [--capture DIRECTORY]

Exit status 1, with a list, when a connection broke, a listed name slipped through, something was stuck, memory grew, or the
ledger does not close. `--keep` writes every outcome and fault as JSON lines; `--capture` has tcpdump write the heads of all
packets at both ends, in which ports and times of what broke lead to its packets.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console

from penstock.demo.servers import write_certificate
from penstock.demo.topology import CLIENT_INTERFACE, SERVER_INTERFACE, Place
from tests.soak.report import find_wrong, print_report
from tests.soak.soak import Soak, build_soak

HEAD_BYTES = 160  # of each packet that is captured


def keep(soak: Soak, path: Path) -> None:
    """Write everything that was seen."""
    with path.open("w") as file:
        for name, rows in (("outcome", soak.outcomes), ("fault", soak.troubles), ("look", soak.footprints)):
            for row in rows:
                file.write(json.dumps({"row": name} | asdict(row)) + "\n")  # type: ignore[call-overload]
        for note in soak.read_notes():
            file.write(json.dumps({"row": "note"} | asdict(note)) + "\n")


def capture(soak: Soak, directory: Path) -> None:
    """Have tcpdump write what client and server send and receive."""
    directory.mkdir(parents=True, exist_ok=True)
    places: tuple[tuple[Place, str], ...] = (("client", CLIENT_INTERFACE), ("server", SERVER_INTERFACE))
    for place, interface in places:
        words = ["tcpdump", "-i", interface, "-s", str(HEAD_BYTES), "-w", directory / f"{place}.pcap", "-Z", "root"]
        soak.line.topology.spawn(place, words, stderr=subprocess.DEVNULL)


def main() -> int:
    """Run it. Returns the exit status."""
    words = argparse.ArgumentParser(description="Mixed real traffic through a box that is harmed again and again.")
    words.add_argument("--seconds", type=float, default=600)
    words.add_argument("--rate", type=float, default=100, help="exchanges begun in a second")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--fresh-ports", action="store_true", help="use no port twice")
    words.add_argument("--keep", type=Path, help="a file for every outcome")
    words.add_argument("--capture", type=Path, help="a directory for what tcpdump sees")
    given = words.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="penstock-soak-") as name:
        here = Path(name)
        here.chmod(0o755)
        pair, told = write_certificate(here), partial(console.print, markup=False, highlight=False, soft_wrap=True)
        with build_soak(here, pair, given.seconds, given.rate, given.seed, told, given.fresh_ports) as soak:
            if given.capture:
                capture(soak, given.capture)
            soak.run()
            print_report(console, soak)
            wrong = find_wrong(soak)
            if given.keep:
                keep(soak, given.keep)
                given.keep.with_suffix(".output").write_text(soak.line.box.output.read_text())
    for one in wrong:
        console.print(f"WRONG  {one}", markup=False, highlight=False, soft_wrap=True)
    console.print("nothing broke" if not wrong else f"{len(wrong)} things are wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
