"""A DNS client for the demo, by dnspython: asks many questions at once, each from an address of its own.

    python -m penstock.demo.lookups           questions on standard input

A question is a JSON line `{"name", "kind", "transport", "source", "server"}`; each comes back with `got`: the addresses
that an alias or the name itself led to, `NXDOMAIN`, or what happened instead; `alias`, and `error`, the Extended DNS Error.

Refuses to know Penstock. RFC 1035, RFC 7766 (TCP), RFC 8914 (errors).
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dns.edns
import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

PATIENCE_S = 5.0
AT_ONCE = 16


def ask(name: str, kind: str, transport: str, source: str, server: str) -> dict[str, str]:
    """Ask once, with EDNS; what was told."""
    send: Any = dns.query.tcp if transport == "TCP" else dns.query.udp
    try:
        return read_answer(
            send(dns.message.make_query(name, kind, use_edns=0), server, timeout=PATIENCE_S, source=source)
        )
    except (dns.exception.DNSException, OSError, EOFError) as error:
        return {"got": f"{type(error).__name__}: {error}", "alias": "", "error": ""}


def read_answer(message: dns.message.Message) -> dict[str, str]:
    """An answer in words."""
    records = [(record.rdtype, record) for found in message.answer for record in found]
    addresses = [record.to_text() for kind, record in records if kind in (dns.rdatatype.A, dns.rdatatype.AAAA)]
    aliases = [record.target.to_text(True) for kind, record in records if kind == dns.rdatatype.CNAME]
    errors = [word_error(option) for option in message.options if isinstance(option, dns.edns.EDEOption)]
    code = dns.rcode.to_text(message.rcode())
    got = " ".join(addresses) or ("nothing" if code == "NOERROR" else code)
    return {"got": got, "alias": " ".join(aliases), "error": ", ".join(errors)}


def word_error(option: dns.edns.EDEOption) -> str:
    """An Extended DNS Error: name, number, text."""
    name = option.code.name.replace("_", " ").capitalize() if isinstance(option.code, dns.edns.EDECode) else "error"
    return f"{name} ({int(option.code)}): {option.text}" if option.text else f"{name} ({int(option.code)})"


def main() -> None:
    """Ask everything at the same time."""
    questions = [json.loads(line) for line in sys.stdin]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for question, told in zip(questions, pool.map(lambda one: ask(**one), questions), strict=True):
            print(json.dumps({**question, **told}))


if __name__ == "__main__":
    main()
