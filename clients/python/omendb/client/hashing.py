"""The hash of an id, which says what shard it belongs to: XXH3-64 of a byte for its kind and the id (docs/PROTOCOL.md).

In Python, for the few ids of a request that is about one shard; so only as far as ids usually are long. A test compares
it with the reference implementation.
"""

from __future__ import annotations

from typing import Final

TEXT_BYTES_MAX: Final = 127  # of an id whose hash is known here: 128 bytes with its kind

_MASK: Final = 2**64 - 1
_PRIME_1: Final = 0x9E3779B185EBCA87
_PRIME_2: Final = 0xC2B2AE3D27D4EB4F
_PRIME_3: Final = 0x165667B19E3779F9
_SECRET: Final = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
)


def _word(data: bytes, at: int, count: int = 8) -> int:
    return int.from_bytes(data[at : at + count], "little")


def _secret(at: int) -> int:
    return _word(_SECRET, at) ^ _word(_SECRET, at + 8)


_FLIP_LOW, _FLIP_HIGH, _FLIP_4 = _secret(24), _secret(40), _secret(8)
_FLIP_1 = _word(_SECRET, 0, 4) ^ _word(_SECRET, 4, 4)


def _fold(one: int, other: int) -> int:
    product = one * other
    return (product ^ product >> 64) & _MASK


def _avalanche(h: int) -> int:
    h = (h ^ h >> 37) * 0x165667919E3779F9 & _MASK
    return h ^ h >> 32


def _rotated(h: int, by: int) -> int:
    return (h << by | h >> 64 - by) & _MASK


def _to_3(data: bytes) -> int:
    count = len(data)
    h = data[0] << 16 | data[count >> 1] << 24 | data[-1] | count << 8
    h = (h ^ _FLIP_1) & _MASK
    h = (h ^ h >> 33) * _PRIME_2 & _MASK
    h = (h ^ h >> 29) * _PRIME_3 & _MASK
    return h ^ h >> 32


def _to_8(data: bytes) -> int:
    h = (_word(data, len(data) - 4, 4) + (_word(data, 0, 4) << 32)) ^ _FLIP_4
    h = (h ^ _rotated(h, 49) ^ _rotated(h, 24)) * 0x9FB21C651E98DF25 & _MASK
    h = (h ^ (h >> 35) + len(data)) * 0x9FB21C651E98DF25 & _MASK
    return h ^ h >> 28


def _to_16(data: bytes) -> int:
    low, high = _word(data, 0) ^ _FLIP_LOW, _word(data, len(data) - 8) ^ _FLIP_HIGH
    swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
    return _avalanche((len(data) + swapped + high + _fold(low, high)) & _MASK)


def _to_128(data: bytes) -> int:
    h = len(data) * _PRIME_1
    for pair in range((len(data) - 1) // 32 + 1):
        for at, secret in ((16 * pair, 32 * pair), (len(data) - 16 * (pair + 1), 32 * pair + 16)):
            h += _fold(_word(data, at) ^ _word(_SECRET, secret), _word(data, at + 8) ^ _word(_SECRET, secret + 8))
    return _avalanche(h & _MASK)


def xxh3(data: bytes) -> int:
    """XXH3-64 with the seed 0, of 1..128 bytes."""
    for most, of in ((3, _to_3), (8, _to_8), (16, _to_16)):
        if len(data) <= most:
            return of(data)
    return _to_128(data)


def hash_of(id: int | str) -> int | None:
    """None: it is a text that is too long for this."""
    if isinstance(id, int):
        return _to_16(b"\0" + id.to_bytes(8, "little"))
    text = id.encode()
    return xxh3(b"\1" + text) if len(text) <= TEXT_BYTES_MAX else None
