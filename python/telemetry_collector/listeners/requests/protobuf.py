"""The few small messages that receivers answer with, as protobuf."""


def varint(number: int) -> bytes:
    """An unsigned varint."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A field of a whole number that is not negative; 0 is left out."""
    return varint(field << 3) + varint(value) if value else b""


def message(field: int, contents: bytes | str) -> bytes:
    """A field of a message, a text or bytes."""
    data = contents.encode() if isinstance(contents, str) else contents
    return varint(field << 3 | 2) + varint(len(data)) + data
