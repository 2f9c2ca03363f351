"""The constants of SHA-256 and AES, computed from their definitions; and one SHA-256 compression in ordinary Python.

Runs before the start only. Knows FIPS 180-4 4.2.2, 5.3.3 and 6.2.2, FIPS 197 5.1.1 and 5.1.3. Refuses to know memory.
"""

from collections.abc import Sequence

MASK = 0xFFFFFFFF
AES_POLYNOMIAL = 0x11B
ROUND_CONSTANTS = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1B, 0x36)  # of the AES-128 key schedule


def find_primes(count: int) -> list[int]:
    """The first primes."""
    primes: list[int] = []
    number = 2
    while len(primes) < count:
        if all(number % prime for prime in primes):
            primes.append(number)
        number += 1
    return primes


def find_root(value: int, degree: int) -> int:
    """The largest whole number whose power is not above `value`."""
    root = 0
    for bit in reversed(range(value.bit_length() // degree + 1)):
        if (root | 1 << bit) ** degree <= value:
            root |= 1 << bit
    return root


def take_fraction(prime: int, degree: int) -> int:
    """The first 32 bits behind the point of a prime's root."""
    return find_root(prime << 32 * degree, degree) & MASK


SHA_START = [take_fraction(prime, 2) for prime in find_primes(8)]
SHA_CONSTANTS = [take_fraction(prime, 3) for prime in find_primes(64)]


def rotate(word: int, bits: int) -> int:
    """32 bits, to the right."""
    return (word >> bits | word << 32 - bits) & MASK


def compress(state: Sequence[int], block: Sequence[int]) -> list[int]:
    """The state (eight words) after one block (sixteen words)."""
    words = list(block)
    for at in range(16, 64):
        early, late = words[at - 15], words[at - 2]
        low = rotate(early, 7) ^ rotate(early, 18) ^ early >> 3
        high = rotate(late, 17) ^ rotate(late, 19) ^ late >> 10
        words.append((words[at - 16] + low + words[at - 7] + high) & MASK)
    a, b, c, d, e, f, g, h = state
    for word, constant in zip(words, SHA_CONSTANTS, strict=True):
        first = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (e & f ^ ~e & g) + constant + word
        second = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = (first + second) & MASK, a, b, c, (d + first) & MASK, e, f, g
    return [(old + new) & MASK for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)]


def double(byte: int) -> int:
    """A byte times x in the field of AES."""
    return byte << 1 ^ (AES_POLYNOMIAL if byte & 0x80 else 0)


def build_substitution() -> list[int]:
    """The S-box: the inverse in the field, then an affine map."""
    powers = [1]
    for _ in range(254):
        powers.append(powers[-1] ^ double(powers[-1]))  # times x + 1, which generates all bytes but 0
    box = [0] * 256
    for exponent, byte in enumerate(powers):
        inverse = powers[-exponent % 255]
        # Five rotations at once; the second xor brings in again what left the byte.
        spread = inverse ^ inverse << 1 ^ inverse << 2 ^ inverse << 3 ^ inverse << 4
        box[byte] = (spread ^ spread >> 8) & 0xFF ^ 0x63
    box[0] = 0x63
    return box


def build_round_tables() -> list[int]:
    """SubBytes and MixColumns of a byte in row 0, 1, 2, 3: four tables of 256 columns, row 0 in the lowest byte."""
    columns = []
    for byte in build_substitution():
        twice = double(byte)
        columns.append(twice | byte << 8 | byte << 16 | (twice ^ byte) << 24)
    return [rotate(column, 32 - 8 * row) if row else column for row in range(4) for column in columns]
