"""Which back end is chosen from which list of features."""

import platform

import pytest

from penstock.cipher.features import ARMV8, BACKEND, NO_SHA, PORTABLE, VARIABLE, X86, Backend, find_backend
from penstock.compile import native, object_file
from penstock.errors import PenstockError

FULL = "+64bit,+aes,+pclmul,+sha,-sha512"


@pytest.mark.parametrize(
    ("machine", "features", "forced", "expected"),
    [
        ("x86_64", FULL, "", Backend(X86, X86)),
        ("x86_64", FULL, NO_SHA, Backend(X86, PORTABLE)),
        ("x86_64", FULL, PORTABLE, Backend(PORTABLE, PORTABLE)),
        ("x86_64", "+aes,+pclmul,-sha", "", Backend(X86, PORTABLE)),
        ("x86_64", "+aes,-pclmul,+sha", "", Backend(PORTABLE, PORTABLE)),
        ("x86_64", "-aes,+vaes,+pclmul,+sha", "", Backend(PORTABLE, PORTABLE)),
        ("x86_64", "", "", Backend(PORTABLE, PORTABLE)),
        ("aarch64", "+neon,+aes,+sha2", "", Backend(ARMV8, ARMV8)),
        ("arm64", "+neon,+aes,-sha2", "", Backend(ARMV8, PORTABLE)),
        ("aarch64", "+neon", "", Backend(PORTABLE, PORTABLE)),
        ("riscv64", FULL, "", Backend(PORTABLE, PORTABLE)),
    ],
)
def test_the_best_back_end_that_the_target_machine_has(
    machine: str, features: str, forced: str, expected: Backend
) -> None:
    assert find_backend(machine, features, forced) == expected


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(PenstockError, match="PENSTOCK_CIPHER=fast"):
        find_backend("x86_64", FULL, "fast")


def test_the_choice_of_this_process_is_among_what_the_machine_has() -> None:
    whole = find_backend(platform.machine(), object_file.features(), "")
    assert BACKEND.blocks in (whole.blocks, PORTABLE)
    assert BACKEND.sha in (whole.sha, PORTABLE)


def test_code_of_another_back_end_is_kept_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = set()
    for forced in ("", NO_SHA, PORTABLE):
        monkeypatch.setenv(VARIABLE, forced)
        hashes.add(native.source_hash.__wrapped__())
    assert len(hashes) == 3
