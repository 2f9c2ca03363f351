"""LLVM's half of the native compiler: texts of functions in, one object file out, and an object file into memory.

    texts ──► link ──► entry point ──► optimise ──► no raise, no unknown symbol left? ──► object file ──► address

It knows nothing of Numba, nor where object files are kept (`native`). An object exports one symbol, ENTRY: a C function
of int64 arguments that returns an int64. What it calls outside itself is the C library's.
"""

from collections.abc import Iterable
from typing import Any

import llvmlite.binding as llvm

from penstock.errors import PenstockError

ENTRY = "penstock_entry"
RAISE = "raise "  # starts the name of the unknown function that stands for a raise (see `machine.CallConv`)
OPTIMISATION = 3  # as in Numba's own code
RETURNS = {  # Numba's type of the result → what the entry point makes of the function's LLVM value
    "int64": "ret i64 %value",
    "bool": "%wide = zext i8 %value to i64\n  ret i64 %wide",
    "none": "ret i64 0",
}
VALUES = {"int64": "i64", "bool": "i8", "none": "ptr"}

_engines: list[Any] = []  # the owners of loaded code: a thread may be in it until the process ends


class CompileError(PenstockError):
    """A function that cannot become native code; the text says which and why."""


def features() -> str:
    """The processor's instruction sets, as LLVM names them."""
    return str(llvm.get_host_cpu_features().flatten())


def create_machine() -> Any:
    """LLVM's back end for this processor, set up as Numba does for its own just-in-time code."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple = llvm.get_process_triple()
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=features(),
        opt=OPTIMISATION,
        reloc="static" if triple.startswith("x86") else "default",
        codemodel="jitdefault",
        jit=True,
    )


def _link(texts: Iterable[str], function: str, arity: int, result: str) -> Any:
    """One module of all texts, of which only the entry point can be seen from outside."""
    parameters = ", ".join(f"i64 %a{number}" for number in range(arity))
    kinds = ", ".join(["i64"] * arity)
    module = llvm.parse_assembly(f"""
define i64 @{ENTRY}({parameters}) {{
  %value = call {VALUES[result]} @"{function}"({parameters})
  {RETURNS[result]}
}}
declare {VALUES[result]} @"{function}"({kinds})""")
    for text in texts:
        part = llvm.parse_assembly(text)
        module.triple, module.data_layout = part.triple, part.data_layout
        module.link_in(part)
    for defined in [*module.functions, *module.global_variables]:
        if not defined.is_declaration and defined.name != ENTRY:
            defined.linkage = "internal"
    for defined in module.functions:
        if not defined.is_declaration:
            defined.add_function_attribute("nounwind")
    module.verify()
    return module


def _optimise(module: Any, machine: Any) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=OPTIMISATION)
    options.loop_vectorization, options.slp_vectorization = True, False
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)


def _check_symbols(module: Any, name: str) -> None:
    """LLVM ends the process when it loads an object with an unknown symbol, so it is looked for here."""
    outside = [each.name for each in module.functions if each.is_declaration and not each.name.startswith("llvm.")]
    raises = [each.removeprefix(RAISE) for each in outside if each.startswith(RAISE)]
    if raises:
        raise CompileError(f"{name}: can raise {', '.join(raises)}")
    outside += [each.name for each in module.global_variables if each.is_declaration]
    unknown = [each for each in outside if not llvm.address_of_symbol(each)]
    if unknown:
        raise CompileError(f"{name}: needs what is not in this process: {', '.join(unknown)}")


def emit_object(texts: Iterable[str], function: str, arity: int, result: str, machine: Any, name: str) -> bytes:
    """The object file of an LLVM function and of those that it calls. `result` is a key of RETURNS.

    Raises CompileError, naming `name`, when a raise survived or when a function is called that does not exist.
    """
    module = _link(texts, function, arity, result)
    _optimise(module, machine)
    _check_symbols(module, name)
    return bytes(machine.emit_object(module))


def load_object(content: bytes) -> int:
    """Map an object file into this process for good; the address of its entry point."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), create_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(content))
    engine.finalize_object()
    _engines.append(engine)
    return int(engine.get_function_address(ENTRY))
