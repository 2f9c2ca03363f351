"""A Numba target whose functions become kernel programs.

    @shared                                  a plain function that both targets compile
    def parse(data, end): ...

    def steer(skb): ...                      `build(steer)` is the kernel program, `kernel(steer)` the native one

Built on `numba.core.target_extension` alone; nothing of Numba or of its CPU target is patched. What a program calls may
be an intrinsic, a `@shared` function or a native kernel: each is compiled again for this target and inlined, so that one
BPF function is left. There are no exceptions, no floats and no run-time library in it.

The bytes of a `Program` still hold *numbers* where the kernel wants file descriptors, addresses and constants that are
known only when it is loaded (`kernel.bpf.load` puts them in), so it is plain data that can be kept on disk.
"""

import io
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any

import llvmlite.binding as llvm
from elftools.elf.elffile import ELFFile
from llvmlite import ir
from numba import types
from numba.core import callconv, codegen, debuginfo, errors, sigutils, typing
from numba.core.base import BaseContext
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import AnalysisPass, register_pass
from numba.core.cpu import CPUTargetOptions
from numba.core.descriptors import TargetDescriptor
from numba.core.dispatcher import Dispatcher
from numba.core.target_extension import (
    Generic,
    JitDecorator,
    dispatcher_registry,
    jit_registry,
    target_override,
    target_registry,
)
from numba.core.typed_passes import NopythonTypeInference

from penstock.compile.native import cache_directory, keep
from penstock.compile.program import Program
from penstock.errors import PenstockError

TRIPLE = "bpfel"
LAYOUT = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"
CPU = "v3"  # 32-bit subregisters and atomics with results: Linux 5.12
SECTION = "penstock.program"
CHILD = """
import sys
from importlib import import_module
from penstock.compile.ebpf import _build
print(_build(getattr(import_module(sys.argv[1]), sys.argv[2])).to_json())
"""


class CompileError(PenstockError):
    """A function that cannot become a kernel program; the text says which and why."""


class EBPF(Generic):
    """The target's place in Numba's hierarchy: it sees generic and ebpf implementations, never those of the CPU."""


target_registry["ebpf"] = EBPF


class Library(codegen.CPUCodeLibrary):
    """Collects modules; optimisation waits for the whole program (see `_build`)."""

    def _optimize_functions(self, module: Any) -> None: ...
    def _optimize_final_module(self) -> None: ...
    def _finalize_specific(self) -> None: ...


class Codegen(codegen.Codegen):
    """LLVM's BPF back end as Numba wants to see a code generator."""

    _library_class = Library
    _data_layout = LAYOUT

    def __init__(self) -> None:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        # Without this feature every unaligned load becomes single bytes and shifts.
        self.machine = llvm.Target.from_triple(TRIPLE).create_target_machine(
            cpu=CPU, features="+allows-misaligned-mem-access", opt=2
        )
        self._target_data = llvm.create_target_data(LAYOUT)

    def _create_empty_module(self, name: str) -> Any:
        module = ir.Module(name)
        module.triple, module.data_layout = TRIPLE, LAYOUT
        return module

    def _add_module(self, module: Any) -> None: ...
    def _check_llvm_bugs(self) -> None: ...

    def optimise(self, module: Any) -> None:
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
        passes = llvm.create_pass_builder(self.machine, options)
        passes.getModulePassManager().run(module, passes)


class TypingContext(typing.Context):
    def resolve_value_type(self, value: Any) -> Any:
        """A native kernel met in a program's code is compiled again, for the program."""
        if isinstance(value, Dispatcher) and not isinstance(value, ProgramDispatcher):
            value = dispatcher(value.py_func)
        return super().resolve_value_type(value)


class CallConv(callconv.MinimalCallConv):
    """Numba emits raises that can never happen (`range` with step 0): a raise becomes a call to an unknown function, and
    only one that survives optimisation is an error."""

    def return_user_exc(
        self, builder: Any, exc: Any, exc_args: Any = None, loc: Any = None, func_name: Any = None
    ) -> None:
        name = f"raise {exc and exc.__name__} at line {loc and loc.line}"
        kind = ir.FunctionType(ir.VoidType(), [])
        unknown = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.call(unknown, [])
        self._return_errcode_raw(builder, callconv.RETCODE_EXC)

    def return_dynamic_user_exc(
        self, builder: Any, exc: Any, exc_args: Any, nb_types: Any, loc: Any = None, func_name: Any = None
    ) -> None:
        self.return_user_exc(builder, exc, loc=loc)


class TargetContext(BaseContext):
    enable_debuginfo = True
    enable_boundscheck = False
    DIBuilder = debuginfo.DIBuilder

    def init(self) -> None:
        self._codegen = Codegen()

    def load_additional_registries(self) -> None:
        from numba.cpython import builtins, iterators, numbers, rangeobj, tupleobj  # noqa: F401 (they register)

    def create_module(self, name: str) -> Any:
        return self._codegen._create_empty_module(name)

    def codegen(self) -> Any:
        return self._codegen

    @property
    def target_data(self) -> Any:
        return self._codegen.target_data

    @cached_property
    def call_conv(self) -> Any:
        return CallConv(self)

    def get_executable(self, library: Any, descriptor: Any, environment: Any) -> Any:
        library.finalize()  # links the callees in
        return descriptor.llvm_func_name  # no more than a unique key


class Options(CPUTargetOptions):
    def finalize(self, flags: Any, options: Any) -> None:
        flags.enable_pyobject = flags.enable_looplift = flags.nrt = flags.boundscheck = False
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        flags.debuginfo = flags.dbg_directives_only = True  # line numbers, so that the verifier can name them
        flags.error_model, flags.fastmath = "numpy", False


class Target(TargetDescriptor):
    options = Options

    @cached_property
    def typing_context(self) -> Any:
        return TypingContext()

    @cached_property
    def target_context(self) -> Any:
        return TargetContext(self.typing_context, "ebpf")


@register_pass(mutates_CFG=False, analysis_only=True)
class RefuseFloats(AnalysisPass):
    """int64 mixed with uint64 silently becomes float64: name the variable and its line instead."""

    _name = "ebpf_refuse_floats"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        for block in state.func_ir.blocks.values():
            for statement in block.body:
                name = getattr(getattr(statement, "target", None), "name", None)
                if isinstance(state.typemap.get(name), types.Float):
                    raise errors.TypingError(f"'{name}' became a float: mixed signs, or '/'?", statement.loc)
        return False


class Compiler(CompilerBase):
    def define_pipelines(self) -> Any:
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.add_pass_after(RefuseFloats, NopythonTypeInference)
        pipeline.finalize()
        return [pipeline]


class ProgramDispatcher(Dispatcher):
    targetdescr = Target("ebpf")
    _compiler: Any

    @global_compiler_lock
    def compile(self, signature: Any) -> Any:
        args, result = sigutils.normalize_signature(signature)
        if tuple(args) not in self.overloads:
            with target_override("ebpf"):
                self.overloads[tuple(args)] = self._compiler.compile(tuple(args), result)
        return self.overloads[tuple(args)].entry_point


_dispatchers: dict[Any, ProgramDispatcher] = {}


def dispatcher(function: Any) -> ProgramDispatcher:
    """The dispatcher of a plain function for this target: one per function."""
    if function not in _dispatchers:
        _dispatchers[function] = ProgramDispatcher(function, targetoptions={"nopython": True}, pipeline_class=Compiler)
    return _dispatchers[function]


class ProgramJit(JitDecorator):
    """What `@shared` looks up to compile its body for this target."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._args = args

    def __call__(self, *args: Any) -> Any:
        return dispatcher(*(args or self._args))


dispatcher_registry[EBPF] = ProgramDispatcher
jit_registry[EBPF] = ProgramJit


def _to_program(name: str, object_file: bytes, assembly: str) -> Program:
    elf = ELFFile(io.BytesIO(object_file))
    if elf.get_section_by_name(f".rel{SECTION}"):
        calls = [line.strip() for line in assembly.splitlines() if re.search(r"call \D| ll$", line)]
        raise CompileError(f"{name}: calls or constants in memory are left: {calls}")
    code, btf, extension = (elf.get_section_by_name(s).data() for s in (SECTION, ".BTF", ".BTF.ext"))
    # LLVM writes BTF with strings and no type, and the kernel wants a type: add `void *`.
    btf = btf[:8] + struct.pack("<IIII", 0, 12, 12, len(btf) - 24) + struct.pack("<III", 0, 2 << 24, 0) + btf[24:]
    header, start, size = (struct.unpack_from("<I", extension, at)[0] for at in (4, 16, 20))
    records = struct.iter_unpack("<IIII", extension[header + start + 12 : header + start + size])
    # Byte offsets become instruction numbers, and the first record has to stand at instruction 0.
    lines = b"".join(struct.pack("<IIII", n and at // 8, *rest) for n, (at, *rest) in enumerate(records))
    return Program(name, code, btf, lines)


def _build(function: Any) -> Program:
    """Compile `function(context) -> int` in this process, which LLVM ends on what it cannot generate."""
    compiled = dispatcher(function)
    compiled.compile((types.int64,))
    result = compiled.overloads[(types.int64,)]
    text = (
        re.sub(r'"frame-pointer"="all"', "", str(result.library._final_module))
        + f"""
define i32 @program(ptr %context) section "{SECTION}" {{
  %result = alloca i64
  %address = ptrtoint ptr %context to i64
  %status = call i32 @"{result.fndesc.llvm_func_name}"(ptr %result, i64 %address)
  %value = load i64, ptr %result
  %low = trunc i64 %value to i32
  ret i32 %low
}}"""
    )
    module = llvm.parse_assembly(text)
    for entry in module.functions:
        if not entry.is_declaration and entry.name != "program":
            entry.linkage = "internal"
            entry.add_function_attribute("alwaysinline")
    for variable in module.global_variables:
        variable.linkage = "internal"
    module.verify()
    generator = result.library.codegen
    generator.optimise(module)
    return _to_program(
        function.__name__, generator.machine.emit_object(module), generator.machine.emit_assembly(module)
    )


def build(function: Callable[[int], int]) -> Program:
    """The kernel program of a module-level function `f(skb) -> verdict`, from the cache or compiled in a child.

    Raises CompileError with the compiler's words when the function cannot become a program (a raise that can happen, a
    float, more stack than 512 bytes, signed division, ...).
    """
    directory = cache_directory()
    kept = directory / f"{function.__module__}.{function.__name__}.ebpf.json" if directory else None
    if kept and kept.exists():
        return Program.from_json(kept.read_text())
    child = subprocess.run(
        [sys.executable, "-c", CHILD, function.__module__, function.__name__],
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        reason = [line for line in child.stderr.strip().splitlines() if line.strip()]
        raise CompileError(f"{function.__module__}.{function.__name__}: " + "\n".join(reason[-12:]))
    program = Program.from_json(child.stdout.splitlines()[-1])
    if kept:
        keep(kept, child.stdout.splitlines()[-1].encode())
    return program
