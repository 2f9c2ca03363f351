"""A Numba target for native code that is linked, optimised and emitted once.

Numba's own CPU target optimises every function together with all that it calls, wraps each for Python, emits it and then
links it into its callers, so the work grows with the depth of the calls. Here each function is typed and lowered
once, and its LLVM text is kept; `emit` hands the texts of a function and of its callees to `object_file`.

It rests on three things that hold for all compiled code of the package: values are int64 (or booleans), nothing raises, no
Python object is in sight. So a function returns its value, not a status; a `raise` that survives optimisation, or a
float or uint64, is an error; there is no run-time library, no environment and no wrapper.

Built on `numba.core.target_extension` like `ebpf`: nothing of Numba is patched.
"""

from functools import cached_property
from types import FunctionType
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import callconv, cgutils, codegen, errors, sigutils, typing
from numba.core.base import BaseContext
from numba.core.compiler import CompilerBase, PassManager
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
from numba.core.typed_passes import NativeLowering, NoPythonBackend, NopythonTypeInference, PreLowerStripPhis
from numba.core.untyped_passes import DeadBranchPrune, FixupArgs, IRProcessing, ReconstructSSA, TranslateByteCode

from penstock.compile import object_file
from penstock.compile.memory import INT

TARGET = "penstock"
BIT = ir.IntType(1)


class Machine(Generic):
    """The target's place in Numba's hierarchy: it sees generic implementations and its own, never those of the CPU."""


target_registry[TARGET] = Machine


class Library(codegen.CodeLibrary):
    """The LLVM text of one function, and the libraries of the functions that it calls."""

    def __init__(self, owner: Any, name: str) -> None:
        super().__init__(owner, name)
        self.texts: list[str] = []
        self.callees: dict[Any, None] = {}

    def add_ir_module(self, ir_module: Any) -> None:
        self.texts.append(cgutils.normalize_ir_text(str(ir_module)))

    def add_linking_library(self, library: Any) -> None:
        self.callees[library] = None

    def finalize(self) -> None: ...

    def get_function(self, name: str) -> Any:
        raise NotImplementedError("functions exist in the emitted object only")

    def get_llvm_str(self) -> str:
        return "\n".join(self.texts)

    def get_asm_str(self) -> str:
        raise NotImplementedError("functions exist in the emitted object only")


class Codegen(codegen.Codegen):
    """The machine that we run on, as Numba wants to see a code generator."""

    _library_class = Library

    def __init__(self) -> None:
        self.machine = object_file.create_machine()
        self._target_data = self.machine.target_data
        self._triple, self._data_layout = llvm.get_process_triple(), str(self._target_data)

    def _create_empty_module(self, name: str) -> Any:
        module = ir.Module(cgutils.normalize_ir_text(name))
        module.triple, module.data_layout = self._triple, self._data_layout
        return module

    def _add_module(self, module: Any) -> None: ...


class TypingContext(typing.BaseContext):
    def __init__(self) -> None:
        super().__init__()
        self._resolved: dict[Any, Any] = {}

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        """The signature of a call, looked for once: operators have dozens of implementations, tried one by one."""
        key = func, tuple(args)
        if kws or key not in self._resolved:
            signature = super().resolve_function_type(func, args, kws)
            if kws or signature is None:
                return signature
            self._resolved[key] = signature
        return self._resolved[key]

    def resolve_value_type(self, value: Any) -> Any:
        """A plain function in compiled code is a `@shared` one: its dispatcher, without the search for an overload."""
        return super().resolve_value_type(dispatcher(value) if isinstance(value, FunctionType) else value)


class CallConv(callconv.BaseCallConv):
    """A function returns its value. A raise is a call to an unknown function: most are proved away by LLVM (`range` with
    step 0), and one that is left is an error of `emit_object`."""

    STATUS = callconv.Status(
        code=ir.IntType(32)(0),
        is_ok=BIT(1),
        is_none=BIT(0),
        is_error=BIT(0),
        is_stop_iteration=BIT(0),
        is_python_exc=BIT(0),
        is_user_exc=BIT(0),
        excinfoptr=None,
    )

    def _make_call_helper(self, builder: Any) -> None:
        return None

    def get_return_type(self, ty: Any) -> Any:
        return self.context.data_model_manager[ty].get_return_type()

    def get_function_type(self, restype: Any, argtypes: Any) -> Any:
        return ir.FunctionType(self.get_return_type(restype), list(self._get_arg_packer(argtypes).argument_types))

    def decorate_function(self, fn: Any, args: Any, fe_argtypes: Any, noalias: bool = False) -> None:
        self._get_arg_packer(fe_argtypes).assign_names(self.get_arguments(fn), [f"arg.{name}" for name in args])

    def get_arguments(self, func: Any) -> Any:
        return func.args

    def return_value(self, builder: Any, retval: Any) -> None:
        builder.ret(retval)

    def return_native_none(self, builder: Any) -> None:
        raise errors.UnsupportedError("a compiled function returns a number on every path or on none")

    def return_user_exc(
        self, builder: Any, exc: Any, exc_args: Any = None, loc: Any = None, func_name: Any = None
    ) -> None:
        where = f"{func_name} at line {loc.line}" if loc else builder.function.name
        name = f"{object_file.RAISE}{exc and exc.__name__} in {where}"
        unknown = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), []), name)
        builder.call(unknown, [])
        builder.unreachable()

    def return_dynamic_user_exc(
        self, builder: Any, exc: Any, exc_args: Any, nb_types: Any, loc: Any = None, func_name: Any = None
    ) -> None:
        self.return_user_exc(builder, exc, loc=loc, func_name=func_name)

    def return_status_propagate(self, builder: Any, status: Any) -> None:
        builder.unreachable()

    def call_function(self, builder: Any, callee: Any, resty: Any, argtys: Any, args: Any) -> Any:
        value = builder.call(callee, list(self._get_arg_packer(argtys).as_arguments(builder, args)))
        return self.STATUS, self.context.get_returned_value(builder, resty, value)


class TargetContext(BaseContext):
    enable_boundscheck = False

    def init(self) -> None:
        self._codegen = Codegen()

    def load_additional_registries(self) -> None:
        from numba.cpython import builtins, iterators, numbers, rangeobj, tupleobj  # noqa: F401 (they register)
        from numba.np import arrayobj  # noqa: F401 (constant bytes)

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

    def get_constant_generic(self, builder: Any, ty: Any, val: Any) -> Any:
        """A function's name in the code is no value: calls go by its type."""
        if isinstance(ty, types.Dispatcher):
            return self.get_dummy_value()
        return super().get_constant_generic(builder, ty, val)

    def get_executable(self, library: Any, descriptor: Any, environment: Any) -> Any:
        return descriptor.llvm_func_name  # no more than a unique key


class Options(CPUTargetOptions):
    def finalize(self, flags: Any, options: Any) -> None:
        flags.enable_pyobject = flags.enable_looplift = flags.nrt = flags.boundscheck = flags.debuginfo = False
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        flags.error_model, flags.fastmath = "numpy", False


class Target(TargetDescriptor):
    options = Options

    @cached_property
    def typing_context(self) -> Any:
        return TypingContext()

    @cached_property
    def target_context(self) -> Any:
        return TargetContext(self.typing_context, TARGET)


@register_pass(mutates_CFG=False, analysis_only=True)
class RefuseNumbers(AnalysisPass):
    """int64 mixed with uint64 is a float for one typing and unsigned for the other, and a constant beyond int64 is a
    uint64: name the line instead."""

    _name = f"{TARGET}_refuse_numbers"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        for block in state.func_ir.blocks.values():
            for statement in block.body:
                name = getattr(getattr(statement, "target", None), "name", None)
                kind = types.unliteral(state.typemap.get(name))
                if isinstance(kind, types.Float) or kind == types.uint64:
                    raise errors.TypingError(f"'{name}' became {kind}: mixed signs, '/', or too large?", statement.loc)
        return False


def _keep_analysis(parent: Any) -> Any:
    """A pass that leaves the statements alone, declared as such: else the lifetimes of all variables are found again."""
    kept = type(parent.__name__, (parent,), {"_name": f"{TARGET}_{parent._name}"})
    return register_pass(mutates_CFG=False, analysis_only=False)(kept)


class Compiler(CompilerBase):
    """The passes that code on integers needs: of Numba's 25, those for closures, arrays, literals, `with`, reference
    counts, object mode and annotations are left out."""

    PASSES = (
        TranslateByteCode, FixupArgs, IRProcessing, DeadBranchPrune, ReconstructSSA,
        _keep_analysis(NopythonTypeInference), RefuseNumbers,
        PreLowerStripPhis, _keep_analysis(NativeLowering), _keep_analysis(NoPythonBackend),
    )  # fmt: skip

    def define_pipelines(self) -> Any:
        pipeline = PassManager(TARGET)
        for each in self.PASSES:
            pipeline.add_pass(each, each._name)
        pipeline.finalize()
        return [pipeline]


class MachineDispatcher(Dispatcher):
    targetdescr = Target(TARGET)
    _compiler: Any  # set by Numba

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """One version per type: a literal is an int64 like any other (LLVM inlines where a constant helps)."""
        named = {name: types.unliteral(kind) for name, kind in dict(kws).items()}
        return super().get_call_template([types.unliteral(kind) for kind in args], named)

    @global_compiler_lock
    def compile(self, signature: Any) -> Any:
        args, result = sigutils.normalize_signature(signature)
        if tuple(args) not in self.overloads:
            with target_override(TARGET):
                self.overloads[tuple(args)] = self._compiler.compile(tuple(args), result)
        return self.overloads[tuple(args)].entry_point


_dispatchers: dict[Any, MachineDispatcher] = {}


def dispatcher(function: Any) -> MachineDispatcher:
    """The dispatcher of a plain function for this target: one per function."""
    if function not in _dispatchers:
        _dispatchers[function] = MachineDispatcher(function, targetoptions={"nopython": True}, pipeline_class=Compiler)
    return _dispatchers[function]


class MachineJit(JitDecorator):
    """What Numba looks up to compile an implementation for this target."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._args = args

    def __call__(self, *args: Any) -> Any:
        return dispatcher(*(args or self._args))


dispatcher_registry[Machine] = MachineDispatcher
jit_registry[Machine] = MachineJit


def emit(function: FunctionType, arity: int) -> tuple[bytes, str]:
    """Compile a plain function of `arity` int64 arguments: its object file, and the name of its result's type.

    Raises Numba's errors for what cannot be typed, and CompileError.
    """
    name = f"{function.__module__}.{function.__qualname__}"
    top = dispatcher(function)
    top.compile((INT,) * arity)
    compiled = top.overloads[(INT,) * arity]
    result = types.unliteral(compiled.signature.return_type).name
    if result not in object_file.RETURNS:
        raise object_file.CompileError(f"{name}: returns {result}, where only {', '.join(object_file.RETURNS)} can be")
    libraries, found = [compiled.library], {compiled.library}
    for library in libraries:
        libraries += [callee for callee in library.callees if callee not in found]
        found.update(library.callees)
    texts = (text for library in libraries for text in library.texts)
    symbol, machine = compiled.fndesc.llvm_func_name, compiled.library.codegen.machine
    return object_file.emit_object(texts, symbol, arity, result, machine, name), result
