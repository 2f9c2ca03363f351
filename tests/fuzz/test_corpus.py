"""The corpus on the compiled readers: each promise holds, and the compiled reader says what the plain one says."""

from pathlib import Path

import pytest

from penstock.compile.memory import CHECKED
from tests.fuzz.campaign import CORPUS
from tests.fuzz.machines import Native, Pure
from tests.fuzz.readers import READERS, read_purely

LIMIT_BYTES = 300_000  # of the whole corpus
LEAST = 5  # inputs of a reader


def list_inputs(name: str) -> list[Path]:
    """The kept inputs of a reader."""
    return sorted((CORPUS / name).iterdir())


@pytest.mark.parametrize("name", READERS)
def test_compiled_and_plain_readers_agree(name: str) -> None:
    if CHECKED and name == "initial":
        pytest.skip("tests/cipher/test_backends.py has it on the checked build, which takes seconds to compile")
    inputs, plain, compiled = list_inputs(name), Pure(), Native()
    assert len(inputs) >= LEAST
    for path in inputs:
        content = path.read_bytes()
        said = None if CHECKED else read_purely(name, plain, content)  # once is enough
        if READERS[name].is_compiled:
            try:
                found = READERS[name].read(compiled, content)
                assert said is None or found == said, path
            finally:
                compiled.close()


def test_the_corpus_is_small_and_whole() -> None:
    sizes = [path.stat().st_size for name in READERS for path in list_inputs(name)]
    assert sum(sizes) <= LIMIT_BYTES
    assert {path.name for path in CORPUS.iterdir()} == set(READERS)
