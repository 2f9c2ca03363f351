"""Which instructions the cipher is built from, decided once at import.

    x86     AES-NI and PCLMULQDQ, with SHA-NI or without it
    armv8   the AES and SHA2 extensions, with SHA2 or without it
    portable   table look-ups and 32-bit arithmetic, on any little-endian machine

LLVM ends the process on an instruction that its target lacks. So what counts is the list of features that our target
machine is made with (`object_file.features`), not what the processor says of itself. Refuses to know what is computed.
"""

import os
import platform
from typing import NamedTuple

from penstock.compile import object_file
from penstock.errors import PenstockError

VARIABLE = "PENSTOCK_CIPHER"  # forces a lesser back end; part of the compile cache's key
PORTABLE = "portable"
NO_SHA = "no-sha"
X86 = "x86"
ARMV8 = "armv8"

MACHINES = {"x86_64": X86, "AMD64": X86, "aarch64": ARMV8, "arm64": ARMV8}
BLOCK_FEATURES = {X86: {"+aes", "+pclmul"}, ARMV8: {"+neon", "+aes"}}  # "+aes" of ARM has the product of polynomials
HASH_FEATURES = {X86: {"+sha"}, ARMV8: {"+sha2"}}


class Backend(NamedTuple):
    """What computes AES and GHASH (X86, ARMV8 or PORTABLE), and what computes SHA-256."""

    blocks: str
    sha: str


def find_backend(machine: str, features: str, forced: str) -> Backend:
    """The back end for a machine (as `platform.machine` names it) with LLVM's list of features.

    Raises PenstockError when `forced` is neither empty, NO_SHA nor PORTABLE.
    """
    if forced not in ("", NO_SHA, PORTABLE):
        raise PenstockError(f"{VARIABLE}={forced}: not '{NO_SHA}' or '{PORTABLE}'")
    kind = MACHINES.get(machine)
    have = set(features.split(","))
    if forced == PORTABLE or kind is None or not have >= BLOCK_FEATURES[kind]:
        return Backend(PORTABLE, PORTABLE)
    return Backend(kind, kind if have >= HASH_FEATURES[kind] and forced != NO_SHA else PORTABLE)


BACKEND = find_backend(platform.machine(), object_file.features(), os.environ.get(VARIABLE, ""))
