"""The BNG of the demonstration: says by RADIUS accounting who has come and where he is, by pyrad's client.

    python -m penstock.demo.accounting --server A --source A --nas NAME --secret FILE      sessions on standard input

A session is a JSON line `{"subscriber", "profile", "ipv4", "ipv6"}`; it comes back with `answered`. Refuses to
know who listens. RFC 2866; RFC 2869 5.14 (Message-Authenticator); RFC 6911 (Framed-IPv6-Address).
"""

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

from pyrad.client import Client, Timeout
from pyrad.dictionary import Dictionary

PORT = 1813
PATIENCE_S, TRIES = 3, 3
DICTIONARY = """\
ATTRIBUTE User-Name 1 string
ATTRIBUTE Framed-IP-Address 8 ipaddr
ATTRIBUTE Filter-Id 11 string
ATTRIBUTE NAS-Identifier 32 string
ATTRIBUTE Acct-Status-Type 40 integer
ATTRIBUTE Acct-Session-Id 44 string
ATTRIBUTE Message-Authenticator 80 octets
ATTRIBUTE Framed-IPv6-Address 168 ipv6addr
VALUE Acct-Status-Type Start 1
"""


def start_session(client: Client, nas: str, session: dict[str, Any]) -> bool:
    """Send the Start of a session; was it answered?"""
    packet = client.CreateAcctPacket()
    said = {
        "User-Name": session["subscriber"],
        "Filter-Id": session["profile"],
        "NAS-Identifier": nas,
        "Acct-Status-Type": "Start",
        "Acct-Session-Id": f"demo-{session['subscriber']}",
        "Framed-IP-Address": session["ipv4"],
        "Framed-IPv6-Address": session["ipv6"],
    }
    for name, value in said.items():
        if value:
            packet.AddAttribute(name, value)
    packet.add_message_authenticator()
    try:
        client.SendPacket(packet)
    except Timeout:
        return False
    return True


def main() -> None:
    """Start every session of standard input."""
    words = argparse.ArgumentParser(description="A BNG that starts sessions.")
    for name, kind in (("server", str), ("source", str), ("nas", str), ("secret", Path)):
        words.add_argument(f"--{name}", type=kind, required=True)
    given = words.parse_args()
    secret = given.secret.read_text().strip().encode()
    client = Client(given.server, acctport=PORT, secret=secret, dict=Dictionary(io.StringIO(DICTIONARY)))
    client.timeout, client.retries = PATIENCE_S, TRIES
    client.bind((given.source, 0))
    for line in sys.stdin:
        session = json.loads(line)
        print(json.dumps({**session, "answered": start_session(client, given.nas, session)}), flush=True)


if __name__ == "__main__":
    main()
