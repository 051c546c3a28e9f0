"""As much of protobuf as it takes to measure others: written and read without a schema."""

from __future__ import annotations


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def serial_and_kind(payload: bytes) -> tuple[int, int, int]:
    """``cmd``, ``op`` and ``i``: all a responder needs to know of a command."""
    found = {1: 0, 2: 0, 5: 0}
    at, end = 0, len(payload)
    while at < end:
        tag = payload[at]
        at += 1
        if tag > 127:  # field numbers above 15 are contents
            break
        value = shift = 0
        while True:
            byte = payload[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
        if tag & 7 == 2:
            at += value
        else:
            found[tag >> 3] = value
    return found[1], found[2], found[5]
