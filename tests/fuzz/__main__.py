"""Fuzzing: `python -m tests.fuzz READER|all|wire --seconds N`."""

import argparse
import sys

from tests.fuzz.campaign import CORPUS, Result, fuzz_reader
from tests.fuzz.readers import READERS


def main() -> int:
    """Fuzz what was asked for; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the readers, or a live line.")
    parser.add_argument("what", choices=[*READERS, "all", "wire"], metavar="READER|all|wire", help=", ".join(READERS))
    parser.add_argument("--seconds", type=int, default=60, help="for each reader, or for the line (60)")
    parser.add_argument(
        "--keep", action="store_true", help=f"make {CORPUS.name}/ anew of what is found; our own seeds only"
    )
    asked = parser.parse_args()
    if asked.what == "wire":
        from tests.fuzz.wire import fuzz_wire  # needs root and namespaces, which readers do not

        return fuzz_wire(asked.seconds)
    names = list(READERS) if asked.what == "all" else [asked.what]
    results = {name: tell(name, fuzz_reader(name, asked.seconds, asked.keep)) for name in names}
    inputs, seconds = sum(one.inputs for one in results.values()), sum(one.seconds for one in results.values())
    print(f"{len(results)} readers, {inputs:,} inputs, {seconds:.0f} s")
    return 1 if any(one.finding for one in results.values()) else 0


def tell(name: str, result: Result) -> Result:
    print(f"{name}: {result.inputs:,} inputs, {result.edges} edges, {result.seconds:.0f} s", flush=True)
    if result.finding:
        print(f"{name}: a promise is broken by {result.finding}", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
