"""The readers as plain Python, beside the compiled ones: executed anew with `arena` in the place of `compile/memory`.

What compiled code does and Python does not is put in by a change of the syntax tree of every @shared function: sums,
differences and products wrap at 64 bits, and shifts by a number that the compiler leaves undefined are faults. So the
two must agree in every value, which the tests ask for, and a coverage-guided fuzzer sees every branch.

Knows which modules are readers. The rest of the package is imported as it is and shared with the compiled ones. The
cipher's operations, which compiled code has from the processor, come from `cryptography` and Python's own numbers.
"""

import ast
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, FunctionType, ModuleType
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

import penstock.cipher.tables
import penstock.compile.memory
import penstock.kernel.tables
from tests.fuzz import arena

READERS = (
    "penstock.request.http", "penstock.request.chunked", "penstock.request.response", "penstock.request.tls",
    "penstock.request.hello", "penstock.request.dns", "penstock.request.dns_answer", "penstock.request.quic",
    "penstock.request.initial", "penstock.wire.headers", "penstock.wire.quic", "penstock.kernel.options",
    "penstock.flow.crypto", "penstock.policy.names", "penstock.policy.urls",
)  # fmt: skip
SHARED = ("penstock.compile", "penstock.errors", "penstock.kernel.tables", "penstock.kernel.declared")
MEMORY, PRIMITIVES, CIPHER = "penstock.compile.memory", "penstock.kernel.primitives", "penstock.cipher.primitives"


class Int64(ast.NodeTransformer):
    """Arithmetic of int64 in the functions that are compiled."""

    def __init__(self) -> None:
        self.is_shared = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        before, self.is_shared = self.is_shared, any(getattr(one, "id", "") == "shared" for one in node.decorator_list)
        if self.is_shared:
            self.generic_visit(node)
        self.is_shared = before
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if not self.is_shared or not isinstance(node.target, ast.Name):
            return node
        operation = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
        return ast.Assign([node.target], self.visit_BinOp(operation))

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        self.generic_visit(node)
        if not self.is_shared:
            return node
        if isinstance(node.op, ast.LShift | ast.RShift):
            name = "_shift_left" if isinstance(node.op, ast.LShift) else "_shift_right"
            return ast.Call(ast.Name(name, ast.Load()), [node.left, node.right], [])
        if isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
            lifted = ast.BinOp(node, ast.Add(), ast.Constant(arena.SIGN))
            return ast.BinOp(
                ast.BinOp(lifted, ast.BitAnd(), ast.Constant(arena.WORD)), ast.Sub(), ast.Constant(arena.SIGN)
            )
        return node


class PureLoader(SourceFileLoader):
    """Compiles a reader's source with int64's arithmetic in it."""

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        tree = ast.fix_missing_locations(Int64().visit(ast.parse(data)))
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)  # never from or into __pycache__

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(_shift_left=arena.shift_left, _shift_right=arena.shift_right)
        super().exec_module(module)
        if module.__name__ == PRIMITIVES:
            module.__dict__.update(_build_helpers(module))


class PureFinder(MetaPathFinder):
    """Finds the package's modules for PureLoader."""

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname.startswith("penstock") else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = PureLoader(spec.loader.name, spec.loader.path)
        return spec


@cache
def load_readers() -> dict[str, ModuleType]:
    """The pure modules by name: READERS and what they import; the compiled ones stay what they were."""
    kept = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "penstock"}
    for name in kept:
        if not name.startswith(SHARED):
            del sys.modules[name]
    memory = ModuleType(MEMORY)
    memory.__dict__.update(vars(kept[MEMORY]) | arena.MEMORY)
    cipher = ModuleType(CIPHER)
    cipher.__dict__.update(build_cipher())
    sys.modules[MEMORY], sys.modules[CIPHER] = memory, cipher
    finder = PureFinder()
    sys.meta_path.insert(0, finder)
    try:
        for name in READERS:
            import_module(name)
        return {name: module for name, module in sys.modules.items() if name.startswith("penstock.")}
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "penstock"]:
            del sys.modules[name]
        sys.modules.update(kept)


def find_functions() -> list[tuple[ModuleType, str, FunctionType]]:
    """Every function that was changed, for whoever instruments them."""
    found = []
    for module in load_readers().values():
        if isinstance(module.__loader__, PureLoader):
            functions = [(name, value) for name, value in vars(module).items() if isinstance(value, FunctionType)]
            found += [(module, name, value) for name, value in functions]
    return found


def _build_helpers(primitives: ModuleType) -> dict[str, Any]:
    """What a kernel program calls, as native code has it."""
    u64, native = arena.MEMORY["u64"], vars(primitives)
    names = ("load_bytes", "store_bytes", "checksum_difference", "replace_checksum")

    def value_of(skb: int, table: Any) -> int:
        return int(u64(u64(skb + native["CONTEXT_BINDINGS"]) + 8 * table.number))

    def cpu_number(skb: int) -> int:
        return int(u64(u64(skb + native["CONTEXT_BINDINGS"]) + 8 * native["BINDING_CPU"]))

    return {name: native[f"_{name}_native"] for name in names} | {"value_of": value_of, "cpu_number": cpu_number}


# ---- the cipher's operations -----------------------------------------------------------------------------------------
def build_cipher() -> dict[str, Callable[..., int]]:
    """The functions of `cipher/primitives`: a schedule and factors are the key itself at their places."""
    load, store = arena.view_checked, _store_bytes

    def expand_key(key: int, schedule: int, cipher: int) -> int:
        return store(schedule, load(key, 16))

    def encrypt_block(schedule: int, source: int, to: int, cipher: int) -> int:
        return store(to, _encrypt(load(schedule, 16), load(source, 16)))

    def stream(count: int) -> Callable[..., int]:
        def add_stream(schedule: int, counter: int, number: int, source: int, to: int, cipher: int) -> int:
            nonce = load(counter, 12)
            counters = b"".join(nonce + (number + block & 0xFFFFFFFF).to_bytes(4) for block in range(count))
            key_stream = _encrypt(load(schedule, 16), counters)
            return store(to, bytes(a ^ b for a, b in zip(load(source, 16 * count), key_stream, strict=True)))

        return add_stream

    def prepare_factors(key: int, factors: int, cipher: int) -> int:
        return store(factors, load(key, 16))

    def hashes(count: int) -> Callable[..., int]:
        def add_hash(factors: int, total: int, source: int) -> int:
            key, value = int.from_bytes(load(factors, 16)), int.from_bytes(load(total, 16))
            for block in range(count):
                value = _multiply(value ^ int.from_bytes(load(source + 16 * block, 16)), key)
            return store(total, value.to_bytes(16))

        return add_hash

    def compress(count: int) -> Callable[..., int]:
        def compress_blocks(state: int, blocks: int, to: int, cipher: int) -> int:
            start = load(state, 32)
            for number in range(count):
                store(to + 64 * number, _compress(start, load(blocks + 64 * number, 64)))
            return 0

        return compress_blocks

    stride = 8
    return {
        "expand_key": expand_key, "encrypt_block": encrypt_block, "stream_one": stream(1),
        "stream_stride": stream(stride), "prepare_factors": prepare_factors, "hash_one": hashes(1),
        "hash_stride": hashes(stride), "compress_one": compress(1), "compress_two": compress(2),
        "compress_three": compress(3),
    }  # fmt: skip


def _store_bytes(address: int, content: bytes) -> int:
    for offset in range(0, len(content), 8):
        arena.MEMORY["put64"](address + offset, int.from_bytes(content[offset : offset + 8], "little"))
    return 0


def _encrypt(key: bytes, blocks: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(blocks)


def _multiply(a: int, b: int) -> int:
    """The product in the field of GCM (NIST SP 800-38D 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (0xE1 << 120 if b & 1 else 0)
    return product


def _compress(state: bytes, block: bytes) -> bytes:
    """One block of SHA-256; words in the machine's order."""
    words = [int.from_bytes(part[at : at + 4], "little") for part in (state, block) for at in range(0, len(part), 4)]
    after = penstock.cipher.tables.compress(words[:8], words[8:])
    return b"".join(word.to_bytes(4, "little") for word in after)
