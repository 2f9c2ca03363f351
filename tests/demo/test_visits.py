"""What curl got, in a word; a visit from a name to an answer, on loopback."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from penstock.demo import visits
from penstock.demo.visits import make_visit, word_response

LINK = '<a href="?penstock-continue=0123456789012345678901234567890123456789">go on</a>'


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("This is good.example.test.\n\n0 200 ", "site"),
        ("<html>blocked\n0 403 ", "page"),
        (f"<html>{LINK}\n0 403 ", "warning"),
        ("<html>by order\n0 451 ", "court"),
        ("\n0 200 ", "empty"),
        ("\n0 204 ", "empty"),
        ("\n35 000 OpenSSL/3.0: error:0A000458:SSL routines::tlsv1 unrecognized name", "refused"),
        ("\n35 000 Recv failure: Connection reset by peer", "reset"),
        ("\n56 000 Recv failure: Connection reset by peer", "reset"),
        ("\n28 000 Operation timed out", "silence"),
        ("\n7 000 Failed to connect", "Failed to connect"),
        ("\n7 000 ", "curl status 7"),
        ("a page of somebody else\n0 500 ", "HTTP 500"),
    ],
)
def test_what_curl_got_in_a_word(said: str, word: str) -> None:
    assert word_response(said) == word


class Warning(BaseHTTPRequestHandler):
    """Warns until the link was followed."""

    went_on = False

    def do_GET(self) -> None:
        if "penstock-continue" in self.path:
            type(self).went_on = True
        body = (b"This is it." if self.went_on else f"<html>{LINK}".encode()) + b"\n"
        self.send_response(200 if self.went_on else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    Warning.went_on = False
    with ThreadingHTTPServer(("127.0.0.1", 0), Warning) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def ask_loopback(*words: Any) -> dict[str, str]:
    return {"got": "127.0.0.1", "alias": "", "error": ""}


def test_only_who_goes_on_follows_the_link(port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(visits, "ask", ask_loopback)
    certificate = tmp_path / "certificate.pem"
    certificate.write_text("")
    visit = {"source": "127.0.0.1", "resolver": "127.0.0.1", "url": f"http://shop.test:{port}/"}
    assert make_visit(visit, certificate) == "warning"
    assert make_visit(visit, certificate) == "warning"
    assert make_visit({**visit, "goes_on": True}, certificate) == "site"


def test_whatever_goes_wrong_has_an_answer() -> None:
    asked = {"number": 3, "source": "::1", "resolver": "127.0.0.1", "url": "http://shop.test/"}  # of different families
    argv = [sys.executable, "-m", "penstock.demo.visits", "--certificate", "/dev/null"]
    done = subprocess.run(argv, input=json.dumps(asked) + "\n", capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["number"] == 3
    assert answer["got"].startswith("ValueError")
