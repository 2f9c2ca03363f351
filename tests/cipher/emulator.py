"""Code of emitters for ARMv8, compiled by LLVM and run by an emulator: memory in, memory out.

Knows how a small object file is put into memory: sections one behind the other, and the relocations that constants need.
"""

import inspect
import io
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from elftools.elf.elffile import ELFFile
from llvmlite import ir

from penstock.cipher.vectors import Code
from penstock.compile.memory import I64

TRIPLE = "aarch64-unknown-linux-gnu"
FEATURES = "+neon,+aes,+sha2"
CODE_BASE, DATA_BASE, STACK_BASE, STOP = 0x100000, 0x200000, 0x300000, 0x400000
REGION_BYTES = 0x40000
QUARTER_SHIFTS = {264: 0, 266: 16, 268: 32, 269: 48}  # R_AARCH64_MOVW_UABS_G0_NC, ...: 16 bits of an address


@cache
def compile_emitter(emit: Callable[..., None]) -> bytes:
    """The object file of a function of addresses that has the emitter's code."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = ir.Module("emitter")
    module.triple = TRIPLE
    arity = len(inspect.signature(emit).parameters) - 1
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * arity), "run")
    builder = ir.IRBuilder(function.append_basic_block())
    emit(Code(None, builder), *function.args)
    builder.ret_void()
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(features=FEATURES, opt=2, reloc="static")
    return bytes(machine.emit_object(llvm.parse_assembly(str(module))))


def link(content: bytes) -> tuple[bytes, int]:
    """The image at CODE_BASE and the address of `run`."""
    elf = ELFFile(io.BytesIO(content))
    image, starts = bytearray(), {}
    for number, section in enumerate(elf.iter_sections()):
        if section["sh_flags"] & 2:  # allocated
            image += bytes(-len(image) % 16)
            starts[number] = len(image)
            image += section.data()
    symbols = list(elf.get_section_by_name(".symtab").iter_symbols())
    places = [CODE_BASE + starts.get(symbol["st_shndx"], 0) + symbol["st_value"] for symbol in symbols]
    for section in elf.iter_sections():
        if section["sh_type"] == "SHT_RELA" and elf.get_section(section["sh_info"])["sh_flags"] & 4:  # of code
            for entry in section.iter_relocations():
                at = starts[section["sh_info"]] + entry["r_offset"]
                relocate(image, at, entry["r_info_type"], places[entry["r_info_sym"]] + entry["r_addend"])
    [run] = [place for symbol, place in zip(symbols, places, strict=True) if symbol.name == "run"]
    return bytes(image), run


def relocate(image: bytearray, at: int, kind: int, target: int) -> None:
    """Put a quarter of an address into the instruction at `at`. Just-in-time code has no other kind of relocation."""
    word = int.from_bytes(image[at : at + 4], "little")
    word |= (target >> QUARTER_SHIFTS[kind] & 0xFFFF) << 5
    image[at : at + 4] = word.to_bytes(4, "little")


def emulate(unicorn: Any, emit: Callable[..., None], room: bytes, *offsets: int) -> bytes:
    """What `room` holds after the code has run with the addresses of these offsets (negative: that number itself)."""
    from unicorn import arm64_const as arm

    image, run = link(compile_emitter(emit))
    machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    machine.ctl_set_cpu_model(arm.UC_CPU_ARM64_MAX)
    for base in (CODE_BASE, DATA_BASE, STACK_BASE, STOP):
        machine.mem_map(base, REGION_BYTES)
    machine.mem_write(CODE_BASE, image)
    machine.mem_write(DATA_BASE, room)
    machine.reg_write(arm.UC_ARM64_REG_CPACR_EL1, 3 << 20)  # vector registers may be used
    machine.reg_write(arm.UC_ARM64_REG_SP, STACK_BASE + REGION_BYTES // 2)
    machine.reg_write(arm.UC_ARM64_REG_LR, STOP)
    for number, offset in enumerate(offsets):
        machine.reg_write(arm.UC_ARM64_REG_X0 + number, DATA_BASE + offset if offset >= 0 else -offset)
    machine.emu_start(run, STOP)
    return bytes(machine.mem_read(DATA_BASE, len(room)))
