"""Messages with texts as bytes, and fields made by hand: what no well-behaved encoder writes."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tests.support.protobuf import pb

VARINT, FIXED64, LENGTH, GROUP_START, GROUP_END, FIXED32 = range(6)


def _untexted() -> Any:
    """The product's own descriptor with every `string` made `bytes`: the same on the wire, without the check."""
    file = descriptor_pb2.FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)
    types = descriptor_pb2.FieldDescriptorProto
    for message in file.message_type:
        for nested in (message, *message.nested_type):
            for one in nested.field:
                if one.type == types.TYPE_STRING:
                    one.type = types.TYPE_BYTES
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_POOL = _untexted()


def message(name: str) -> Any:
    """The class of a message whose texts are bytes."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"telemetry.v1.{name}"))


MetricBatch: Any = message("MetricBatch")
Metric: Any = message("Metric")
Tag: Any = message("Tag")
SeriesDefinition: Any = message("SeriesDefinition")
Heartbeat: Any = message("Heartbeat")


def varint(number: int) -> bytes:
    """As few bytes as it takes."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def key(number: int, wire_type: int) -> bytes:
    """What a field begins with."""
    return varint(number << 3 | wire_type)


def field(number: int, content: int | bytes) -> bytes:
    """A varint field, or a length-delimited one."""
    if isinstance(content, int):
        return key(number, VARINT) + varint(content)
    return key(number, LENGTH) + varint(len(content)) + content


def fixed64(number: int, content: int) -> bytes:
    """A field of eight bytes."""
    return key(number, FIXED64) + content.to_bytes(8, "little")


def groups(number: int, depth: int) -> bytes:
    """Empty groups within each other."""
    return key(number, GROUP_START) * depth + key(number, GROUP_END) * depth
