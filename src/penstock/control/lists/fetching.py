"""The process that fetches one list: it alone speaks with the server, as nobody, and all that it can do is write to a pipe.

    {"url", "max_bytes", ...} ──► head (JSON), pieces of the list, end (JSON: the checksum, if one was asked for)

It is a program (`python -m`), which `fetch.py` starts. What it imports after it gave up its rights it may not be able to
read: so everything that urllib imports late is imported before.
"""

import encodings.idna
import json
import os
import resource
import signal
import ssl
import stringprep
import sys
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from penstock.control.child import DATA, FAILED, SAID, confine, send_frame
from penstock.control.lists.transfer import Fetching, Local, Order, TransferError, word_error
from penstock.errors import PenstockError

MEMORY_BYTES = 512 << 20
AUTH_LIMIT_BYTES = 8192
EARLY = (encodings.idna, stringprep)


def read_header(path: Path) -> tuple[str, str]:
    """The header that `auth_file` has: `Name: value`, or the value of Authorization. Raises TransferError."""
    try:
        text = path.read_bytes()[: AUTH_LIMIT_BYTES + 1].decode("ascii").strip()
    except (OSError, ValueError) as error:
        raise TransferError(f"auth_file: {path}: {getattr(error, 'strerror', None) or 'not ASCII'}") from None
    name, colon, value = text.partition(":")
    if not colon or not name.replace("-", "").isalnum():
        name, value = "Authorization", text
    if not value.strip() or len(text) > AUTH_LIMIT_BYTES or not all(" " <= letter <= "~" for letter in text):
        raise TransferError(f"auth_file: {path}: expected one line, a header such as `Authorization: Bearer ...`")
    return name, value.strip()


def main() -> None:
    """Fetch what standard input says."""
    said = json.load(sys.stdin)
    auth_file, timeout_s = said.pop("auth_file"), said.pop("timeout_s")
    order = Order(**said)
    signal.alarm(timeout_s + 5)  # should our parent not be there to do it
    try:
        header = read_header(Path(auth_file)) if auth_file else None
        local = Local(order) if urlsplit(order.url).scheme == "file" else None
        context = None if local else ssl.create_default_context()
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        confine(MEMORY_BYTES, is_nobody=True)
        send(local or Fetching(order, header, context))
    except (TransferError, PenstockError) as error:
        send_frame(FAILED, str(error).encode())
    except MemoryError:
        send_frame(FAILED, b"no more memory for it")
    except Exception as error:  # whatever a server made urllib raise
        send_frame(FAILED, f"{type(error).__name__}: {word_error(error)}".encode())


def send(source: Local | Fetching) -> None:
    """Answer with head, pieces and end."""
    send_frame(SAID, json.dumps(asdict(source.head)).encode())
    if source.head.is_new:
        for piece in source.pieces():
            send_frame(DATA, piece)
        send_frame(SAID, json.dumps({"checksum": source.read_checksum()}).encode())


if __name__ == "__main__":
    main()
    os._exit(0)
