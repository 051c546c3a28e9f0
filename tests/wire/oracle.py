"""Google's protobuf as the judge, with the schema as it is and as it was in proto2."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from trio_realtime.wire._plan import REQUIRED

DESCRIPTOR = Path(__file__).with_name("realtime.binpb")


def _files() -> descriptor_pb2.FileDescriptorSet:
    return descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR.read_bytes())


def _pool(files: descriptor_pb2.FileDescriptorSet) -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool


def _as_proto2(files: descriptor_pb2.FileDescriptorSet) -> descriptor_pb2.FileDescriptorSet:
    for file in files.file:
        file.syntax = "proto2"
        for message in file.message_type:
            del message.oneof_decl[:]
            for field in message.field:
                field.ClearField("proto3_optional")
                field.ClearField("oneof_index")
                if field.name in REQUIRED.get(message.name, ()):
                    field.label = field.LABEL_REQUIRED
    return files


_PROTO3 = _pool(_files())
_PROTO2 = _pool(_as_proto2(_files()))


def google(name):
    """Google's class for a message of the schema."""
    return message_factory.GetMessageClass(_PROTO3.FindMessageTypeByName(f"realtime.{name}"))


def google_proto2(name):
    """Likewise, with the required fields of the proto2 original."""
    return message_factory.GetMessageClass(_PROTO2.FindMessageTypeByName(f"realtime.{name}"))
