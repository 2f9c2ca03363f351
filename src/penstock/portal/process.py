"""The portal process: binds the address, gives up rights, then serves API and pages and writes the journal.

    standard input    orders of the control process, and its answers; its end is ours
    a second socket   lines of events, in batches

As the register: root, for root's files, without any capability; by Landlock it writes below the directories of its own
files alone. It gives way to all others: nice +5, and SCHED_BATCH, whose tasks take no processor from one that runs when
they wake (sched(7)). Nobody waits for it.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog
import uvicorn

from penstock.control.explain import compile_explain
from penstock.control.portal.settings import ApiSettings
from penstock.control.subscribers.calls import find_register_door
from penstock.errors import PenstockError
from penstock.line.landlock import confine_writing
from penstock.line.pins import Pins
from penstock.line.privileges import keep_file_rights
from penstock.portal.app import build_app
from penstock.portal.box import Box
from penstock.portal.connections import BoundedProtocol, Listener
from penstock.portal.control_link import ControlLink
from penstock.portal.journal import Journal
from penstock.portal.portal import Portal

NICE = 5
BACKLOG = 128
MESSAGE_BYTES = 1 << 17
BATCH_LINES = 2000
FORGET_S = 60.0  # between looks for what is too old
FOLLOW_S = 30.0
END_S = 2  # for answers that are under way

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
log = structlog.get_logger()


class Server(uvicorn.Server):
    """uvicorn, whom no signal ends: the control process decides."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals as they are."""
        yield


class PortalError(PenstockError):
    """The portal cannot serve; the text names the cure."""


def bind_address(listen: str) -> Listener:
    """A socket that listens there. Raises PortalError."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        listener = Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # by which asyncio knows to send at once
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise PortalError(f"api.listen: {listen}: {error.strerror}: choose another, or null") from None
    listener.setblocking(False)
    return listener


def write_journal(events: socket.socket, journal: Journal) -> None:
    """Write down what comes, until nothing comes any more."""
    while True:
        try:
            content = events.recv(MESSAGE_BYTES)
        except OSError:
            return
        if not content:
            return
        lines = content.split(b"\n")
        with suppress(BlockingIOError):  # one transaction for what is there
            while len(lines) < BATCH_LINES and (content := events.recv(MESSAGE_BYTES, socket.MSG_DONTWAIT)):
                lines += content.split(b"\n")
        journal.write_lines(lines)


def forget_old(portal: Portal) -> None:
    """Delete what is too old, at once and then every minute."""
    while True:
        try:
            portal.forget()
        except (PenstockError, OSError) as error:
            log.error("what is too old is not deleted", error=str(error))
        time.sleep(FORGET_S)


def serve_orders(link: ControlLink, box: Box, server: Server) -> None:
    """Follow the control process; its end is the server's, and so is whatever keeps this from hearing it."""
    try:
        with suppress(OSError):  # it is gone
            while link.hear(box.follow):
                pass
    except Exception as error:
        log.error("the portal hears no orders any more: it ends, to be started again", error=repr(error))
    finally:
        server.should_exit = True
        time.sleep(END_S)
        os._exit(0)  # a call that hangs holds nobody up


def configure_server(portal: Portal, settings: ApiSettings) -> Server:
    """uvicorn, bounded, with the app of a portal."""
    tls = settings.tls
    return Server(
        uvicorn.Config(
            build_app(portal),
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="error",  # what it warns of, anybody can make it warn of
            http=BoundedProtocol,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_keep_alive=10,
            timeout_graceful_shutdown=END_S,
            ssl_certfile=str(tls.certificate) if tls else None,
            ssl_keyfile=str(tls.key) if tls else None,
        )
    )


def run_portal(standing: dict[str, Any], link: ControlLink, events: socket.socket) -> None:
    """Serve until standard input ends. Raises PenstockError, OSError."""
    pins = Pins(standing["ingress"], standing["egress"], Path(standing["root"]))
    box = Box(link, find_register_door(pins))
    if not link.hear(box.follow):
        return
    settings = box.configuration.api
    assert settings.listen is not None
    listener = bind_address(settings.listen)
    compile_explain()  # while its cache can be written
    keep_file_rights()
    portal = Portal.open(box, settings)
    places = {settings.database.parent, settings.journal.parent}
    os.environ["SQLITE_TMPDIR"] = str(settings.journal.parent)
    confine_writing(places)
    server = configure_server(portal, settings)
    threads = (
        threading.Thread(target=serve_orders, args=(link, box, server), daemon=True),
        threading.Thread(target=write_journal, args=(events, portal.journal), daemon=True),
        threading.Thread(target=forget_old, args=(portal,), daemon=True),
    )
    for thread in threads:
        thread.start()
    log.info("the portal serves", address=settings.listen, tls=settings.tls is not None)
    if settings.tls is None and not _is_loopback(listener):
        log.warning("the API is served without TLS: tokens can be read on the way", address=settings.listen)
    server.run([listener])
    portal.close()


def _is_loopback(listener: socket.socket) -> bool:
    address = str(listener.getsockname()[0])
    return address.startswith("127.") or address == "::1"


def main() -> int:
    """Run until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the control process decides; its end closes our input
    os.nice(NICE)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    link = ControlLink(socket.socket(fileno=sys.stdin.fileno()))
    try:
        run_portal(json.loads(sys.argv[1]), link, socket.socket(fileno=int(sys.argv[2])))
    except (PenstockError, OSError) as error:
        link.say_last(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
