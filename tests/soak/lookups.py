"""What the soak's clients ask of DNS: over UDP like a stub that repeats its query, and over TCP.

Knows which answers are right: addresses of the server, texts that follow from a number. Refuses to know what Penstock does
to a query; a name that does not exist is Refused.
"""

import time
from contextlib import suppress

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype

from tests.soak.payload import TXT_NAMES, txt_name, txt_text
from tests.soak.session import PATIENCE_S, Broken, Refused, Session

TRIES_S = (1.0, 2.0, 4.0, 8.0)  # how long a stub waits before it asks again


def _check(session: Session, answer: dns.message.Message, expected: str) -> None:
    session.received_bytes += len(answer.to_wire())
    if answer.rcode() == dns.rcode.NXDOMAIN:
        raise Refused("no such name")
    found = [str(record).strip('"') for records in answer.answer for record in records]
    texts = ["".join(part.strip('"') for part in one.split('" "')) for one in found]
    if expected not in texts:
        raise Broken(f"DNS: {answer.rcode()!r} {texts} where {expected} was expected")


def _make(session: Session) -> tuple[dns.message.Message, str]:
    """A query, and what must be in its answer."""
    if session.host.startswith("text"):
        number = session.chance.randrange(TXT_NAMES)
        return dns.message.make_query(txt_name(number), "TXT", use_edns=0, payload=1232), txt_text(number)
    kind = dns.rdatatype.AAAA if ":" in session.server else dns.rdatatype.A
    return dns.message.make_query(session.host, kind), session.server


async def ask_udp(session: Session) -> None:
    """One name over UDP."""
    query, expected = _make(session)
    begin_s = time.monotonic()
    for wait_s in TRIES_S:
        session.sent_bytes += len(query.to_wire())
        with suppress(dns.exception.Timeout):
            answer = await dns.asyncquery.udp(
                query,
                session.server,
                wait_s,
                source=session.source,
                source_port=session.draw_port(),
                ignore_unexpected=True,
                ignore_errors=True,
            )
            session.note_wait(begin_s)
            return _check(session, answer, expected)
    raise TimeoutError


async def ask_tcp(session: Session) -> None:
    """One name over TCP."""
    query, expected = _make(session)
    begin_s = time.monotonic()
    session.sent_bytes += len(query.to_wire())
    answer = await dns.asyncquery.tcp(
        query, session.server, PATIENCE_S, source=session.source, source_port=session.draw_port()
    )
    session.note_wait(begin_s)
    _check(session, answer, expected)
