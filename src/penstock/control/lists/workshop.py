"""The process that reads lists for a `run`: it builds the names database, looks at new versions, finds lines.

    {"do": "build" | "examine" | "find", ...}, pickled by our parent ──► one JSON frame

It parses what others wrote, partly by compiled code. So before it reads a list it has given up every capability, and can
write nowhere but to one empty directory, where a database is put (Landlock); `builder.py` starts it and takes that over.
It is a program (`python -m`). It needs no network and has no secrets.
"""

import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

from penstock.control.child import FAILED, SAID, confine, send_frame
from penstock.errors import PenstockError

MEMORY_BYTES = 6 << 30  # of addresses; 10 million names take 2 GB of memory
NAME = "names.db"


def main() -> None:
    """Do what standard input says."""
    try:
        confine(MEMORY_BYTES, is_nobody=False)  # before NumPy is imported, which makes threads
        order = pickle.load(sys.stdin.buffer)  # our parent's, which could do all of this itself
        from penstock.control.lists import work
        from penstock.line.landlock import confine_writing

        work.load_code()  # compiled code may be written to its cache: not by what has read a list
        confine_writing([order["directory"]] if "directory" in order else [])
        send_frame(SAID, json.dumps(_do(order, work)).encode())
    except PenstockError as error:
        send_frame(FAILED, str(error).encode())
    except MemoryError:
        send_frame(FAILED, b"no more memory for it")


def _do(order: dict[str, Any], work: Any) -> Any:
    if order["do"] == "build":
        return work.build(order["configuration"], Path(order["directory"]) / NAME, order["on_trial"])
    if order["do"] == "examine":
        return [work.examine(source, old, new, order["max_bytes"]) for source, old, new in order["sources"]]
    return work.find(order["configuration"], order["asked"])


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
