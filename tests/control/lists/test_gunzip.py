"""gzip in pieces, against Python's own; and bombs."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.control.lists.gunzip import Gunzip, GunzipError


def unpack(packed: bytes, cuts: list[int], limit_bytes: int = 1 << 20) -> bytes:
    unpacking, out, at = Gunzip(limit_bytes), b"", 0
    for end in [*sorted(cut % (len(packed) + 1) for cut in cuts), len(packed)]:
        out += b"".join(unpacking.feed(packed[at:end]))
        at = end
    unpacking.finish()
    return out


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=3), st.lists(st.integers(0, 1 << 16), max_size=5))
def test_it_unpacks_what_gzip_packs_however_it_is_cut(members: list[bytes], cuts: list[int]) -> None:
    packed = b"".join(map(gzip.compress, members))
    assert unpack(packed, cuts) == gzip.decompress(packed)
    assert unpack(packed + bytes(100), cuts) == gzip.decompress(packed)


@given(st.binary(min_size=1, max_size=500), st.integers(1, 1 << 16))
def test_one_that_ends_in_the_middle_is_damaged(content: bytes, cut: int) -> None:
    packed = gzip.compress(content, mtime=0)
    with pytest.raises(GunzipError, match="middle"):
        unpack(packed[: max(cut % len(packed), 1)], [])


def test_a_bomb_is_told_before_it_is_held() -> None:
    packed = gzip.compress(bytes(1 << 20), mtime=0)
    assert len(unpack(packed, [])) == 1 << 20
    with pytest.raises(GunzipError, match="more than 65,536 bytes"):
        unpack(packed, [], 1 << 16)


@pytest.mark.parametrize("packed", [b"\x1f\x8b\x08\0nonsense" * 20, gzip.compress(b"a" * 100, mtime=0)[:-8] + bytes(8)])
def test_what_is_damaged_is_said_to_be(packed: bytes) -> None:
    with pytest.raises(GunzipError, match="damaged"):
        unpack(packed, [])
