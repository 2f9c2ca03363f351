"""Servers in the server namespace: a certificate, a program, its ports, its log.

Knows how to start one, to wait until it listens and to read which hosts its log names. Refuses to know what it serves.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from penstock.demo.topology import Place, Topology
from penstock.errors import PenstockError

START_S = 20.0  # an interpreter on a busy machine; nginx needs 20 ms
CERTIFICATE_NAMES = "DNS:example.test,DNS:*.example.test,DNS:*.good.example.test"


class ServerError(PenstockError):
    """A server did not start: one line, what it said."""


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for every name of the demo, and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Server:
    """One running server. Its log holds a JSON object a line, with `host` at least."""

    name: str
    http_port: int
    https_port: int
    log: Path
    program: subprocess.Popen[Any] | None = None


def write_certificate(directory: Path) -> Certificate:
    """Make a certificate with openssl. Raises ServerError."""
    pair = Certificate(directory / "certificate.pem", directory / "key.pem")
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]
    name = ["-subj", "/CN=example.test", "-addext", f"subjectAltName={CERTIFICATE_NAMES}"]
    files = ["-keyout", str(pair.key), "-out", str(pair.certificate)]
    try:
        done = subprocess.run(["openssl", "req", "-x509", *kind, *name, *files], capture_output=True, text=True)
    except FileNotFoundError:
        raise ServerError("the program `openssl` is missing: apt-get install openssl") from None
    if done.returncode:
        raise ServerError(f"openssl: {done.stderr.strip()}")
    return pair


def start_site(
    topology: Topology, directory: Path, pair: Certificate, *, http_port: int = 80, https_port: int = 443
) -> Server:
    """Start `penstock.demo.site`, CPython's own server. Raises ServerError."""
    log = directory / f"site-{http_port}.log"
    words: Mapping[str, object] = {
        "http": http_port,
        "https": https_port,
        "certificate": pair.certificate,
        "key": pair.key,
        "log": log,
    }
    argv = [sys.executable, "-m", "penstock.demo.site", *(f"--{name}={value}" for name, value in words.items())]
    return start_program(topology, Server("CPython", http_port, https_port, log), argv)


def start_quic(topology: Topology, site: Server, pair: Certificate) -> None:
    """Start the QUIC side of `site` (`penstock.demo.quic`), which shares its log. Raises ServerError."""
    argv: list[str | Path] = [sys.executable, "-m", "penstock.demo.quic", "serve", "--port", str(site.https_port)]
    argv += ["--certificate", pair.certificate, "--key", pair.key, "--log", site.log]
    complaints = site.log.with_suffix(".quic-errors")
    with complaints.open("w") as errors:
        program = topology.spawn("server", argv, stdout=subprocess.PIPE, stderr=errors, text=True)
    if program.stdout is None or program.stdout.readline() != "ready\n":
        raise ServerError(f"the QUIC server did not start: {complaints.read_text(errors='replace').strip()[-400:]}")


def start_program(
    topology: Topology, server: Server, argv: Sequence[str | Path], place: Place = "server", **options: Any
) -> Server:
    """Start the program that is `server`, complaints beside its log, and wait until it listens. Raises ServerError."""
    complaints = server.log.with_suffix(".errors")
    server.log.touch()
    with complaints.open("w") as errors:
        program = topology.spawn(place, argv, stdout=errors, stderr=errors, **options)
    try:
        _wait_until_listening(topology, server, program, place)
    except ServerError as error:
        raise ServerError(f"{error} {complaints.read_text(errors='replace').strip()[-400:]}") from None
    return replace(server, program=program)


def read_log(server: Server) -> list[dict[str, Any]]:
    """Every whole line of the server's log."""
    lines = server.log.read_text(errors="replace").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def hosts_seen(server: Server) -> set[str]:
    """Every host that the server's log names, as plain lower-case names: from Host, an absolute URI, or SNI."""
    return {plain_host(entry["host"]) for entry in read_log(server) if entry.get("host")}


def plain_host(text: str) -> str:
    """`Host` as written by a client, without port, trailing dot and upper case."""
    name = text.strip().lower()
    if not name.startswith("["):
        name = name.partition(":")[0]
    return name.rstrip(".")


def _accepts(topology: Topology, place: Place, port: int) -> bool:
    with topology.inside(place), socket.socket(socket.AF_INET) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until_listening(topology: Topology, server: Server, program: subprocess.Popen[Any], place: Place) -> None:
    end_s = time.monotonic() + START_S
    for port in (server.http_port, server.https_port):
        while not _accepts(topology, place, port):
            if program.poll() is not None:
                raise ServerError(f"{server.name} ended with status {program.returncode}:")
            if time.monotonic() > end_s:
                raise ServerError(f"{server.name} does not listen on port {port} after {START_S:.0f} s:")
            time.sleep(0.02)
