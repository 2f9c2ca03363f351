"""The alert, byte by byte and as OpenSSL's client reads it."""

import ssl

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.answer.tls import ACCESS_DENIED, ALERT_BYTES, UNRECOGNIZED_NAME, write_alert
from penstock.compile.native import kernel
from tests.answer.buffers import compiled, lend_arrays

run_alert = kernel(write_alert)


def write(description: int, record_version: int) -> bytes:
    out = np.zeros(ALERT_BYTES, np.uint8)
    with lend_arrays(out) as (at,):
        assert run_alert(at, description, record_version) == ALERT_BYTES
    return out.tobytes()


@compiled
@given(st.integers(0, 255), st.integers(0, 0xFFFF))
def test_alert_is_fatal_and_of_a_known_version(description: int, record_version: int) -> None:
    version = record_version if 0x0301 <= record_version <= 0x0303 else 0x0303
    assert write(description, record_version) == bytes([21, 3, version & 255, 0, 2, 2, description])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("record_version", [0x0301, 0x0302, 0x0303, 0x0300, 0x03FF])
@pytest.mark.parametrize(
    ("description", "reason"),
    [(UNRECOGNIZED_NAME, "TLSV1_UNRECOGNIZED_NAME"), (ACCESS_DENIED, "TLSV1_ALERT_ACCESS_DENIED")],
)
def test_openssl_names_the_alert(version: ssl.TLSVersion, record_version: int, description: int, reason: str) -> None:
    context = ssl.create_default_context()
    context.minimum_version = context.maximum_version = version
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="bad.example.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    assert outgoing.read()[:2] == b"\x16\x03"
    incoming.write(write(description, record_version))
    with pytest.raises(ssl.SSLError) as refused:
        client.do_handshake()
    assert refused.value.reason == reason
