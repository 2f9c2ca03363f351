"""One reader under atheris, in a process of its own: libFuzzer ends the process that it runs in.

    python -m tests.fuzz.engine READER [libFuzzer's words ...] CORPUS [MORE ...]

Every function of the pure readers and of what reads files is instrumented. A broken promise is an exception, which
libFuzzer takes for a crash: it writes the input beside `-artifact_prefix` and ends.
"""

import sys

import atheris

CONTROL = [
    "penstock.control.configuration", "penstock.control.marks", "penstock.control.problems", "penstock.control.values",
    "penstock.control.lists.entries", "penstock.control.lists.plain", "penstock.control.lists.adguard",
    "penstock.control.lists.squidguard", "penstock.line.pcap",
]  # fmt: skip

with atheris.instrument_imports(include=CONTROL):
    from tests.fuzz import pure
    from tests.fuzz.machines import Pure
    from tests.fuzz.readers import READERS, read_purely


def main() -> None:
    name, words = sys.argv[1], sys.argv[2:]
    machine = Pure()
    if READERS[name].is_compiled:
        for _, _, function in pure.find_functions():
            atheris.instrument_func(function)
    command = f"{sys.executable} -m tests.fuzz.engine {name}"  # libFuzzer starts itself again to merge
    atheris.Setup([command, *words], lambda content: read_purely(name, machine, content) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
