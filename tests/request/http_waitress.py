"""Waitress as an oracle, if it is installed: what does it hand to an application? It wants no version."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tests.request.http_cpython import bare

WAITRESS: Any = import_module("waitress.parser") if find_spec("waitress") else None


def requests_served(stream: bytes) -> list[tuple[str, str, list[bytes]]]:
    """Method, target and hosts of each request of the stream for which an application would run."""
    settings = import_module("waitress.adjustments").Adjustments()
    seen = []
    while stream:
        parser = WAITRESS.HTTPRequestParser(settings)
        while stream and not parser.completed:
            stream = stream[parser.received(stream) :]
        if not parser.completed or parser.error:
            break
        if parser.empty:
            continue
        hosts = [bare(name) for name in parser.headers.get("HOST", "").split(", ")]
        seen.append((parser.command, parser.request_uri, [host for host in hosts if host]))
        connection = parser.headers.get("CONNECTION", "").lower()
        if connection == "close" or (parser.version != "1.1" and connection != "keep-alive"):
            break
    return seen
