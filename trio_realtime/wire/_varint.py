"""Variable-length integers, the atoms of the encoding.

The callers handle the one-byte case themselves, where a function call would cost more
than the work.
"""

from __future__ import annotations

from ._errors import WireError

SMALL = tuple(bytes((n,)) for n in range(0x80))
"""The encoding of every integer that fits one byte."""


def dump_varint(n: int) -> bytes:
    """Encode an unsigned integer of at most 64 bits."""
    if n < 0x80:
        return SMALL[n]
    if n < 0x4000:
        return bytes((n & 0x7F | 0x80, n >> 7))
    if 0x8_0000_0000 <= n < 0x400_0000_0000:
        # Six bytes: every time in milliseconds of our age.
        return bytes(
            (
                n & 0x7F | 0x80,
                n >> 7 & 0x7F | 0x80,
                n >> 14 & 0x7F | 0x80,
                n >> 21 & 0x7F | 0x80,
                n >> 28 & 0x7F | 0x80,
                n >> 35,
            )
        )
    encoded = bytearray()
    while n >= 0x80:
        encoded.append(n & 0x7F | 0x80)
        n >>= 7
    encoded.append(n)
    return bytes(encoded)


def dump_int32(n: int) -> bytes:
    """Encode a signed 32-bit integer; a negative one takes ten bytes."""
    if not -0x8000_0000 <= n < 0x8000_0000:
        raise WireError(f"{n} does not fit 32 bits")
    return dump_varint(n & 0xFFFF_FFFF_FFFF_FFFF)


def dump_int64(n: int) -> bytes:
    """Encode a signed 64-bit integer; a negative one takes ten bytes."""
    if not -0x8000_0000_0000_0000 <= n < 0x8000_0000_0000_0000:
        raise WireError(f"{n} does not fit 64 bits")
    return dump_varint(n & 0xFFFF_FFFF_FFFF_FFFF)


def load_varint(data: bytes, position: int) -> tuple[int, int]:
    """Decode an unsigned integer; its value and the position behind it.

    Raises IndexError when the data ends first, WireError beyond 64 bits.
    """
    value = data[position]
    if value < 0x80:
        return value, position + 1
    byte = data[position + 1]
    value = value & 0x7F | (byte & 0x7F) << 7
    position += 2
    shift = 14
    while byte >= 0x80 and shift < 70:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        shift += 7
        position += 1
    if byte >= 0x80 or value >= 0x1_0000_0000_0000_0000:
        raise WireError("a varint of more than 64 bits")
    return value, position


def to_int32(value: int) -> int:
    """Read an unsigned varint as the signed 32-bit integer it stands for.

    Excess high bits are dropped, as every protobuf implementation does.
    """
    value &= 0xFFFF_FFFF
    return value - 0x1_0000_0000 if value >= 0x8000_0000 else value


def to_int64(value: int) -> int:
    """Read an unsigned varint as the signed 64-bit integer it stands for."""
    return value - 0x1_0000_0000_0000_0000 if value >= 0x8000_0000_0000_0000 else value
