"""A run of one reader from its seeds, told line by line, and the corpus that is kept of it.

Knows directories and libFuzzer's words. Refuses to know what a reader is. A run for the repository begins with our own
seeds alone: what fuzzing makes of a captured packet still holds its bytes.
"""

import hashlib
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import captured, seeds
from tests.fuzz.readers import READERS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORPUS = HERE / "corpus"
WORK = ROOT / "build" / "fuzz"
INPUT_S = 10  # an input that takes longer is a finding
STATE = re.compile(r"^#(\d+)\s.* cov: (\d+) ft: (\d+)", re.MULTILINE)
DONE = re.compile(r"^Done (\d+) runs in (\d+) second", re.MULTILINE)


class Result(NamedTuple):
    """What a run was."""

    inputs: int
    edges: int
    seconds: float
    processor_s: float
    finding: Path | None


def fuzz_reader(name: str, seconds: int, is_kept: bool) -> Result:
    """Fuzz one reader for so long; with `is_kept` the repository's corpus of it is made anew of what was found."""
    work = WORK / name
    own, foreign = work / "seeds", work / "captured"
    found = work / ("found" if is_kept else "found-with-captured")
    for place in (found, own, foreign, CORPUS / name):
        place.mkdir(parents=True, exist_ok=True)
    write_inputs(own, seeds.MAKERS[name]())
    if not is_kept:
        write_inputs(foreign, captured.find_captured(name))
    more = [own, CORPUS / name] if is_kept else [own, CORPUS / name, foreign]
    before = set(work.glob("*-*"))
    begin_s, begin_processor_s = time.monotonic(), read_processor_s()
    words = [f"-max_total_time={seconds}", f"-max_len={READERS[name].longest_bytes}", f"-timeout={INPUT_S}"]
    status, inputs, edges = run_engine(name, [*words, f"-artifact_prefix={work}/", found, *more])
    seconds_taken, processor_s = time.monotonic() - begin_s, read_processor_s() - begin_processor_s
    finding = next(iter(set(work.glob("*-*")) - before), None)
    if status and finding is None:
        raise RuntimeError(f"the engine ended with status {status}: see {work / 'log'}")
    if is_kept and finding is None:
        keep_corpus(name, [found, *more])
    return Result(inputs, edges, seconds_taken, processor_s, finding)


def read_processor_s() -> float:
    """Seconds of a processor that children which ended have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_engine(name: str, words: Iterable[str | Path]) -> tuple[int, int, int]:
    """Run libFuzzer to its end; its status, how many inputs it ran, and the edges that they reached."""
    argv = [sys.executable, "-m", "tests.fuzz.engine", name, *map(str, words)]
    inputs = edges = shown_s = 0
    with (WORK / name / "log").open("w") as log:
        program = subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=subprocess.PIPE, text=True, errors="replace")
        assert program.stderr is not None
        for line in program.stderr:
            log.write(line)
            if state := STATE.match(line):
                inputs, edges = int(state[1]), int(state[2])
            if done := DONE.match(line):
                inputs = int(done[1])
            if time.monotonic() > shown_s + 10:
                shown_s = int(time.monotonic())
                print(f"  {name}: {inputs:,} inputs, {edges} edges", flush=True)
        return program.wait(), inputs, edges


def write_inputs(place: Path, inputs: Iterable[bytes]) -> None:
    """Each input in a file that its hash names."""
    for content in inputs:
        (place / hashlib.sha1(content).hexdigest()).write_bytes(content)


def keep_corpus(name: str, places: list[Path]) -> None:
    """The fewest inputs of these places that reach all that they reach together, into the repository."""
    least = WORK / name / "least"
    shutil.rmtree(least, ignore_errors=True)
    least.mkdir()
    argv = [sys.executable, "-m", "tests.fuzz.engine", name, "-set_cover_merge=1", least, *places]
    done = subprocess.run([str(word) for word in argv], cwd=ROOT, capture_output=True, text=True, errors="replace")
    if done.returncode or not any(least.iterdir()):
        raise RuntimeError(f"the corpus of {name} could not be made smaller: {done.stderr[-500:]}")
    shutil.rmtree(CORPUS / name)
    shutil.copytree(least, CORPUS / name)
