"""Visits as a browser makes them: a look-up by dnspython, then a request by curl to where the name led.

    python -m penstock.demo.visits --certificate FILE      visits on standard input, until it ends

A visit is a JSON line `{"source", "resolver", "url", "goes_on"}`. Each comes back with `got`, in the order in which they
end: site, page, warning, court, empty, refused (a TLS alert), reset, silence, or what curl said. With `goes_on` the link of
a warning is followed, and what is behind it counts. Knows what pages look like. Refuses to know whose they are.
"""

import argparse
import json
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from penstock.demo.lookups import ask

AT_ONCE = 6
PATIENCE_S = 4
TLS_FAILED = "35"  # curl's exit status for a handshake that failed
TIMED_OUT = "28"
ALERT = re.compile(r"alert|unrecognized name", re.IGNORECASE)  # OpenSSL's text of one alert lacks the word
LINK = re.compile(r'href="(\?penstock-continue=[0-9a-f]{40})"')
REPORT = "\n%{exitcode} %{http_code} %{errormsg}"
"""What curl is to write behind the body."""


def word_response(said: str) -> str:
    """What curl got, in a word; `said` is the body and REPORT."""
    body, _, told = said.rpartition("\n")
    status, code, message = told.split(" ", 2)
    if status == TLS_FAILED and ALERT.search(message):
        return "refused"
    if status == TIMED_OUT:
        return "silence"
    if "reset by peer" in message:
        return "reset"
    if status != "0":
        return message or f"curl status {status}"
    if body.startswith("This is "):
        return "site"
    if code == "451":
        return "court"
    if code == "403" and body:
        return "warning" if LINK.search(body) else "page"
    return "empty" if code in ("200", "204") and not body else f"HTTP {code}"


def make_visit(visit: dict[str, Any], certificate: Path) -> str:
    """One visit; what came of it."""
    url = urlsplit(visit["url"])
    host = url.hostname or ""
    kind = "AAAA" if ":" in visit["source"] else "A"
    address = ask(host, kind, "UDP", visit["source"], visit["resolver"])["got"]
    if not re.fullmatch(r"[0-9.]+|[0-9a-f:]+:[0-9a-f:]*", address):
        return "silence" if address.startswith("Timeout") else address
    said = _send(visit["url"], visit["source"], host, address, certificate)
    got = word_response(said)
    link = LINK.search(said)
    if got != "warning" or not link or not visit.get("goes_on"):
        return got
    _send(visit["url"] + link[1], visit["source"], host, address, certificate)
    return make_visit({**visit, "goes_on": False}, certificate)


def _try_visit(visit: dict[str, Any], certificate: Path) -> str:
    try:
        return make_visit(visit, certificate)
    except Exception as error:  # whatever it is: who asked waits for an answer
        return f"{type(error).__name__}: {error}"


def _send(url: str, source: str, host: str, address: str, certificate: Path) -> str:
    where = f"[{address}]" if ":" in address else address
    words = ["--interface", source, "--connect-to", f"{host}::{where}:", "--cacert", str(certificate)]
    argv = ["curl", "-q", "-sS", *words, "--write-out", REPORT, "--max-time", str(PATIENCE_S), url]
    return subprocess.run(argv, capture_output=True, text=True, errors="replace").stdout


def main() -> None:
    """Make every visit of standard input."""
    words = argparse.ArgumentParser(description="Visits of sites.")
    words.add_argument("--certificate", type=Path, required=True)
    given = words.parse_args()
    lock = threading.Lock()

    def visit(line: str) -> None:
        asked = json.loads(line)
        told = json.dumps({**asked, "got": _try_visit(asked, given.certificate)})
        with lock:
            print(told, flush=True)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(visit, sys.stdin):
            pass


if __name__ == "__main__":
    main()
