"""What a tc program may do, each with two implementations: an instruction or helper call in the kernel, and the same
effect on a packet in memory for native code (replay, parity tests).

Native code sees a *packet context* of CONTEXT_BYTES: the first 192 bytes are those of `struct __sk_buff`, then the
packet's first and end address and the address of the *bindings*: one 64-bit word per table (its memory) and per
load-time constant (its value).
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import datamodel
from numba.core.imputils import lower_constant
from numba.extending import intrinsic, register_model, typeof_impl

from penstock.compile.memory import I64, INT, POINTER, in_kernel, move, put16, put64, same, shared, u16, u64
from penstock.compile.program import MARK_CONSTANT, MARK_MAP, MARK_MAP_VALUE
from penstock.kernel.declared import Constant, Map

CONTEXT_BYTES = 216
CONTEXT_DATA, CONTEXT_END, CONTEXT_BINDINGS = 192, 200, 208


MAPS_BOUND = 16  # bindings: words 0..15 are tables, the constants follow


class MapType(types.Type):
    def __init__(self, map_: Map) -> None:
        self.map = map_
        super().__init__(f"Map({map_.number})")


class ConstantType(types.Type):
    def __init__(self, constant: Constant) -> None:
        self.constant = constant
        super().__init__(f"Constant({constant.number})")


for _type in (MapType, ConstantType):
    register_model(_type)(datamodel.models.OpaqueModel)
    lower_constant(_type)(lambda context, builder, kind, value: context.get_dummy_value())
typeof_impl.register(Map)(lambda value, context: MapType(value))
typeof_impl.register(Constant)(lambda value, context: ConstantType(value))


def _marked(builder: Any, mark: int, number: int) -> Any:
    """`ld_imm64` with a mark as its source register; `bpf.load` replaces the number."""
    name = "llvm.bpf.pseudo"
    kind = ir.FunctionType(I64, [I64, I64])
    pseudo = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(pseudo, [I64(mark), I64(number)])


def _binding(builder: Any, skb: Any, word: int) -> Any:
    """The word of the packet context's bindings (native code)."""
    slot = builder.inttoptr(builder.add(skb, I64(CONTEXT_BINDINGS)), POINTER)
    bindings = builder.load(slot, typ=I64)
    return builder.load(builder.inttoptr(builder.add(bindings, I64(8 * word)), POINTER), typ=I64)


def _call_helper(builder: Any, number: int, args: list[Any]) -> Any:
    kind = ir.FunctionType(I64, [I64] * len(args))
    return builder.call(builder.inttoptr(I64(number), kind.as_pointer()), args)


# ---- tables and constants ---------------------------------------------------------------------------------------------
@intrinsic
def constant(typing_context, skb, name):  # type: ignore[no-untyped-def]
    """The value of a load-time constant."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = signature.args[1].constant.number
        if in_kernel(context):
            return _marked(builder, MARK_CONSTANT, number)
        return _binding(builder, args[0], MAPS_BOUND + number)

    return INT(INT, name), codegen


@intrinsic
def value_of(typing_context, skb, table):  # type: ignore[no-untyped-def]
    """The address of the only value of a one-entry array."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = signature.args[1].map.number
        if in_kernel(context):
            return _marked(builder, MARK_MAP_VALUE, number)
        return _binding(builder, args[0], number)

    return INT(INT, table), codegen


@intrinsic
def element(typing_context, skb, table, index):  # type: ignore[no-untyped-def]
    """The address of an array's element, or 0 (in the kernel, beyond its end)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        declared = signature.args[1].map
        if in_kernel(context):
            with builder.goto_entry_block():
                key = builder.alloca(ir.IntType(32))
            builder.store(builder.trunc(args[2], ir.IntType(32)), key)
            table = _marked(builder, MARK_MAP, declared.number)
            return _call_helper(builder, 1, [table, builder.ptrtoint(key, I64)])
        stride = (declared.value_bytes + 7) & ~7
        return builder.add(_binding(builder, args[0], declared.number), builder.mul(args[2], I64(stride)))

    return INT(INT, table, INT), codegen


@shared
def _find_native(memory, key, key_bytes, value_bytes):  # type: ignore[no-untyped-def]
    """The native form of a hash table: a count, then keys and values, searched one by one (for tests and replay)."""
    at = memory + 8
    for _ in range(u64(memory)):
        if same(at, key, key_bytes):
            return at + key_bytes
        at += key_bytes + value_bytes
    return 0


@intrinsic
def find(typing_context, skb, table, key):  # type: ignore[no-untyped-def]
    """The address of the value under the key at address `key` in a hash table, or 0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        declared = signature.args[1].map
        if in_kernel(context):
            return _call_helper(builder, 1, [_marked(builder, MARK_MAP, declared.number), args[2]])
        memory = _binding(builder, args[0], declared.number)
        sizes = [I64(declared.key_bytes), I64(declared.value_bytes)]
        return context.compile_internal(builder, _find_native, INT(INT, INT, INT, INT), [memory, args[2], *sizes])

    return INT(INT, table, INT), codegen


@intrinsic
def ring_of(typing_context, skb, table, index):  # type: ignore[no-untyped-def]
    """The ring buffer number `index` of an array of ring buffers, or 0. Native code has one, whatever the index."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        declared = signature.args[1].map
        if in_kernel(context):
            with builder.goto_entry_block():
                key = builder.alloca(ir.IntType(32))
            builder.store(builder.trunc(args[2], ir.IntType(32)), key)
            table = _marked(builder, MARK_MAP, declared.number)
            return _call_helper(builder, 1, [table, builder.ptrtoint(key, I64)])
        return _binding(builder, args[0], declared.number)

    return INT(INT, table, INT), codegen


# ---- the packet context -----------------------------------------------------------------------------------------------
def _field(offset: int, native_offset: int | None = None) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, kind, where = builder.inttoptr(args[0], POINTER), ir.IntType(32), offset
        if in_kernel(context):
            # Else LLVM joins loads of two fields into one from a chosen address, which the verifier refuses.
            name = "llvm.preserve.static.offset"
            function = builder.module.globals.get(name) or ir.Function(
                builder.module, ir.FunctionType(POINTER, [POINTER]), name
            )
            base = builder.call(function, [base])
        elif native_offset is not None:
            kind, where = I64, native_offset
        place = builder.gep(base, [I64(where)], inbounds=True, source_etype=ir.IntType(8))
        value = builder.load(place, align=4, typ=kind)
        return value if kind is I64 else builder.zext(value, I64)

    @intrinsic
    def field(typing_context, skb):  # type: ignore[no-untyped-def]
        return INT(INT), codegen

    return field


# Offsets of struct __sk_buff (include/uapi/linux/bpf.h).
skb_len, skb_vlan_present, skb_vlan_tci, skb_vlan_proto = _field(0), _field(20), _field(24), _field(28)
skb_gso_segs, skb_gso_size = _field(164), _field(176)
skb_data, skb_end = _field(76, CONTEXT_DATA), _field(80, CONTEXT_END)


# ---- helpers ----------------------------------------------------------------------------------------------------------
def _helper(number: int, arity: int, native: Any) -> Any:
    """`call number` in the kernel, the shared function `native` elsewhere. Arguments are int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if in_kernel(context):
            return _call_helper(builder, number, list(args))
        return context.compile_internal(builder, native, INT(*[INT] * arity), list(args))

    if arity == 2:

        @intrinsic
        def helper2(typing_context, a, b):  # type: ignore[no-untyped-def]
            return INT(INT, INT), codegen

        return helper2
    if arity == 4:

        @intrinsic
        def helper4(typing_context, a, b, c, d):  # type: ignore[no-untyped-def]
            return INT(INT, INT, INT, INT), codegen

        return helper4

    @intrinsic
    def helper5(typing_context, a, b, c, d, e):  # type: ignore[no-untyped-def]
        return INT(INT, INT, INT, INT, INT), codegen

    return helper5


def _clock_helper(number: int, word: int) -> Any:
    """A helper without arguments; native code reads its value from the bindings, where the caller put it."""

    @intrinsic
    def read(typing_context, skb):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if in_kernel(context):
                return _call_helper(builder, number, [])
            return _binding(builder, args[0], word)

        return INT(INT), codegen

    return read


@shared
def _load_bytes_native(skb, offset, to, size):  # type: ignore[no-untyped-def]
    if offset + size > u64(skb + CONTEXT_END) - u64(skb + CONTEXT_DATA):
        return -14
    move(to, u64(skb + CONTEXT_DATA) + offset, size)
    return 0


@shared
def _store_bytes_native(skb, offset, start, size, flags):  # type: ignore[no-untyped-def]
    move(u64(skb + CONTEXT_DATA) + offset, start, size)
    return 0


@shared
def _checksum_difference_native(old, old_bytes, new, new_bytes, seed):  # type: ignore[no-untyped-def]
    total = seed
    for at in range(0, old_bytes, 2):
        total += ~u16(old + at) & 0xFFFF
    for at in range(0, new_bytes, 2):
        total += u16(new + at)
    return total


@shared
def _replace_checksum_native(skb, offset, old, new, flags):  # type: ignore[no-untyped-def]
    """RFC 1624 with a difference (old is 0 and the size in flags is 0)."""
    place = u64(skb + CONTEXT_DATA) + offset
    total = (~u16(place) & 0xFFFF) + new
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    put16(place, ~total & 0xFFFF)
    return 0


@shared
def _reserve_native(ring, size, flags):  # type: ignore[no-untyped-def]
    """A ring of one record: word 0 counts the records submitted and not taken, the record starts at 16."""
    if u64(ring):
        return 0
    return ring + 16


@shared
def _submit_native(record, flags):  # type: ignore[no-untyped-def]
    put64(record - 16, 1)
    return 0


@shared
def _nothing_native(a, b):  # type: ignore[no-untyped-def]
    return 0


@shared
def _redirect_native(ifindex, flags):  # type: ignore[no-untyped-def]
    return 7


NO_WAKEUP, FORCE_WAKEUP = 1, 2
BINDING_TIME, BINDING_CPU = 62, 63
BINDING_WORDS = 64

time_ns = _clock_helper(5, BINDING_TIME)  # bpf_ktime_get_ns
coarse_time_ns = _clock_helper(160, BINDING_TIME)  # bpf_ktime_get_coarse_ns
cpu_number = _clock_helper(8, BINDING_CPU)  # bpf_get_smp_processor_id
store_bytes = _helper(9, 5, _store_bytes_native)
replace_checksum = _helper(11, 5, _replace_checksum_native)  # bpf_l4_csum_replace
redirect = _helper(23, 2, _redirect_native)
load_bytes = _helper(26, 4, _load_bytes_native)
checksum_difference = _helper(28, 5, _checksum_difference_native)  # bpf_csum_diff
pull_data = _helper(39, 2, _nothing_native)


@intrinsic
def reserve(typing_context, ring, size, flags):  # type: ignore[no-untyped-def]
    """Room for a record of constant `size` in a ring buffer: its address, or 0 when the ring is full."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if in_kernel(context):
            return _call_helper(builder, 131, list(args))
        return context.compile_internal(builder, _reserve_native, INT(INT, INT, INT), list(args))

    return INT(INT, INT, INT), codegen


submit = _helper(132, 2, _submit_native)
discard = _helper(133, 2, _nothing_native)
