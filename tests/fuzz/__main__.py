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
    found = results.values()
    seconds, processor_s = sum(one.seconds for one in found), sum(one.processor_s for one in found)
    print(f"{len(found)} readers: {word_work(sum(one.inputs for one in found), seconds, processor_s)}")
    return 1 if any(one.finding for one in results.values()) else 0


def word_work(inputs: int, seconds: float, processor_s: float) -> str:
    return f"{inputs:,} inputs, {seconds:.0f} s, {processor_s:.0f} s of a processor"


def tell(name: str, result: Result) -> Result:
    work = word_work(result.inputs, result.seconds, result.processor_s)
    print(f"{name}: {work}, {result.edges} edges", flush=True)
    if result.finding:
        print(f"{name}: a promise is broken by {result.finding}", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
