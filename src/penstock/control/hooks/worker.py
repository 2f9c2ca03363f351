"""The process in which an operator's hooks run: it gives up what it can, loads the project, and answers job after job.

    limits ─► sources ─► installed modules ─► rights and calls given up ─► the project's code ─► jobs, until the socket ends

The first line of an operator's code runs behind all of that. Whatever a hook raises becomes part of an answer; what it
prints too, up to a bound. Knows one job. Refuses to know the time: who takes too long is ended from outside.

    python -m penstock.control.hooks.worker '{"socket": 3, "sources": 4, "place": 5, "memory_mb": 256, "network": false}'
"""

import contextlib
import ctypes
import faulthandler
import io
import json
import marshal
import mmap
import os
import signal
import socket
import sys
import traceback
from typing import Any

from penstock.control.hooks.confinement import give_up_rights, refuse_calls, set_limits
from penstock.control.hooks.importing import SourceFinder, import_others, import_project
from penstock.control.hooks.messages import (
    MESSAGE_LIMIT_BYTES,
    TEXT_LIMIT,
    MessageError,
    Value,
    decode_profile,
    decode_value,
    encode,
)
from penstock.hooks.project import REQUEST, SUBSCRIBER, Hook, project
from penstock.hooks.verdict import Verdict

PLACE_BYTES = 2
PARENT_DEATH_SIGNAL = 1  # of prctl
FRAMES = 12  # of a traceback, the innermost
TOLD_FAILURES = 8  # with their tracebacks, of one job


class Printed(io.TextIOBase):
    """Standard output and error of hooks: the beginning is kept, the rest thrown away."""

    def __init__(self) -> None:
        self._text = ""

    def write(self, text: str) -> int:
        if len(self._text) < TEXT_LIMIT:
            self._text += text[: TEXT_LIMIT - len(self._text)]
        return len(text)

    def take(self) -> str:
        """What was printed since the last call."""
        text, self._text = self._text, ""
        return text


class Worker:
    """One process with a loaded project."""

    def __init__(self, connection: socket.socket, place: mmap.mmap, printed: Printed) -> None:
        self.connection, self.place, self.printed = connection, place, printed

    def serve(self) -> None:
        """Answer jobs until the socket ends, or until memory was short once."""
        while content := self.connection.recv(MESSAGE_LIMIT_BYTES):
            reply = self.answer(json.loads(content))
            self.connection.send(reply.pop("content"))
            if reply["is_last"]:
                return

    def answer(self, job: dict[str, Any]) -> dict[str, Any]:
        """Ask the job's hooks in turn until one has an opinion."""
        value = decode_value(job["kind"], job["value"])
        reply: dict[str, Any] = {"n": job["n"], "hook": None, "answer": None, "failures": [], "is_last": False}
        for number in job["hooks"]:
            self.place[:PLACE_BYTES] = number.to_bytes(PLACE_BYTES, "little")  # who ends us asks whose fault it was
            answer, failure = call_hook(project.hooks[number], value)
            if failure is not None:
                short = {"hook": number, "error": failure[0], "text": ""}
                reply["failures"].append(
                    short | ({"text": failure[1]} if len(reply["failures"]) < TOLD_FAILURES else {})
                )
                reply["is_last"] = reply["is_last"] or failure[2]
            if answer is not None:
                reply |= {"hook": number, "answer": answer}
                break
        reply["printed"] = self.printed.take()
        return reply | {"content": encode(reply)}


def call_hook(hook: Hook, value: Value) -> tuple[Any, tuple[str, str, bool] | None]:
    """A hook's answer as plain values, or its failure: in one line, with its traceback, and whether memory was short."""
    try:
        return _plain_answer(hook, hook.function(value)), None
    except BaseException as error:  # SystemExit as well: nothing that a hook raises ends anything
        try:
            return None, (*describe_error(error), isinstance(error, MemoryError))
        finally:
            traceback.clear_frames(error.__traceback__)


def _plain_answer(hook: Hook, answer: Any) -> Any:
    if answer is None:
        return None
    if hook.kind == REQUEST and isinstance(answer, Verdict):
        return {"action": answer.action, "category": answer.category, "text": answer.text, "url": answer.url}
    if hook.kind == SUBSCRIBER:
        return decode_profile(answer)
    wanted = {REQUEST: "a Verdict or None", SUBSCRIBER: "a profile's name or None"}.get(hook.kind, "None")
    raise TypeError(f"{hook.place}: {hook.name} returned {type(answer).__name__}, expected {wanted}")


def describe_error(error: BaseException) -> tuple[str, str]:
    """An exception in one line, and its traceback from the first line of the project on."""
    try:
        line = f"{type(error).__name__}: {error}"[:200]
        trace = error.__traceback__
        while trace and trace.tb_next and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        return line, "".join(traceback.format_exception(type(error), error, trace, -FRAMES))[-TEXT_LIMIT:]
    except BaseException:
        return type(error).__name__, ""


def find_place(error: BaseException, files: dict[str, bytes]) -> str | None:
    """The line of the project at which it failed."""
    if isinstance(error, SyntaxError) and error.filename in files:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    found = [f"{frame.filename}:{frame.lineno}" for frame in frames if frame.filename in files]
    return found[-1] if found else None


def load_project(finder: SourceFinder) -> dict[str, Any]:
    """Import the project. Returns what to say of it: its hooks, or why it could not be loaded."""
    try:
        import_project(finder)
    except BaseException as error:
        line, text = describe_error(error)
        return {"error": line, "place": find_place(error, finder.files), "text": text}
    if not project.hooks:
        return {"error": "expected a hook at least: a function with @on_request, @on_subscriber or @on_verdict"}
    rows = [
        {"kind": hook.kind, "name": hook.name, "file": hook.file, "line": hook.line, "filter": hook.filter.to_data()}
        for hook in project.hooks
    ]
    return {"hooks": rows}


def main() -> int:
    """Everything in its order."""
    standing = json.loads(sys.argv[1])
    set_limits(standing["memory_mb"])
    connection = socket.socket(fileno=standing["socket"])
    with open(standing["sources"], "rb") as file:
        path, name, files = marshal.load(file)
    import_others(files, name)
    place = mmap.mmap(standing["place"], mmap.PAGESIZE)
    os.close(standing["place"])
    give_up_rights()
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    faulthandler.enable(2)
    printed = Printed()
    sys.stdout = sys.stderr = printed
    refuse_calls(standing["network"])
    told = load_project(SourceFinder(path, name, files))
    try:
        content = encode(told | {"printed": printed.take()})
    except MessageError as error:
        content = encode({"error": f"too much is declared: {error}; a long list of names belongs into `lists`"})
    connection.send(content)
    if "error" not in told:
        with contextlib.suppress(ConnectionError):
            Worker(connection, place, printed).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
