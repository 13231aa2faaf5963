"""OpenTelemetry's metrics messages as this agent reads them: only the fields it uses, what is nested left as bytes.

Protobuf gives nested messages, packed numbers and text alike as bytes with a length, so a message that says "bytes"
reads what one that names the type has written. Points are then taken apart a block at a time, bucket counts by NumPy:
no object per attribute and no integer per bucket, and a body of a million empty points is a million lengths.
Needs the extra `otlp`; imported only where the source is configured.
"""

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

__all__ = ["DecodeError"]

DELTA: Final = 1
CUMULATIVE: Final = 2
NO_RECORDED_VALUE: Final = 1

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_PACKAGE: Final = "tailwatch.otlp"
# Numbers and types of the protocol's own definitions, opentelemetry/proto/**/*.proto, release 1.x.
_TIMES: Final = "start:2:fixed64 time:3:fixed64"
_MESSAGES: Final = {
    "Request": "resource_metrics:1:*bytes",
    "ResourceMetrics": "resource:1:bytes scope_metrics:2:*bytes",
    "Attributes": "attributes:1:*bytes",
    "ScopeMetrics": "scope:1:bytes metrics:2:*bytes",
    "Metric": "name:1:bytes unit:3:bytes gauge:5:Points sum:7:Points histogram:9:Points "
    "exponential_histogram:10:Points summary:11:Points",
    "Points": "data_points:1:*bytes temporality:2:int32 monotonic:3:bool",
    "Number": f"attributes:7:*bytes {_TIMES} as_double:4:double as_int:6:sfixed64 flags:8:uint32",
    "Explicit": f"attributes:9:*bytes {_TIMES} count:4:fixed64 sum:5:double counts:6:*bytes bounds:7:*bytes "
    "flags:10:uint32 min:11:double max:12:double",
    "Exponential": f"attributes:1:*bytes {_TIMES} count:4:fixed64 sum:5:double scale:6:sint32 zero_count:7:fixed64 "
    "positive:8:Buckets negative:9:Buckets flags:10:uint32 min:12:double max:13:double zero_threshold:14:double",
    "Buckets": "offset:1:sint32 counts:2:*bytes",
    "KeyValue": "key:1:bytes value:2:AnyValue",
    "AnyValue": "string:1:bytes bool:2:bool int:3:int64 double:4:double array:5:bytes map:6:bytes bytes:7:bytes",
    "Status": "code:1:int32 message:2:bytes",
}


def _classes() -> dict[str, Any]:
    """A class of each message; proto2, whose fields know whether they are there and whose text is not checked."""
    file = descriptor_pb2.FileDescriptorProto(name="tailwatch/otlp.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split():
            field_name, number, kind = text.split(":")
            label = _FIELD.LABEL_REPEATED if kind.startswith("*") else _FIELD.LABEL_OPTIONAL
            field = message.field.add(name=field_name, number=int(number), label=label)
            kind = kind.lstrip("*")
            if kind in _MESSAGES:
                field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = getattr(_FIELD, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


CLASSES: Final = _classes()


def fields_of(kind: str, data: bytes) -> Any:
    """The message of that kind; DecodeError where there is none."""
    return CLASSES[kind].FromString(data)


def joined(chunks: Sequence[bytes]) -> bytes:
    """A packed field, which may come in several pieces."""
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def from_json(body: bytes) -> bytes:
    """A request in JSON, as protobuf.

    Raises:
        ValueError: it is none.
    """
    if not body.lstrip().startswith(b"{"):
        raise ValueError("no JSON object")
    request = metrics_service_pb2.ExportMetricsServiceRequest()
    try:
        json_format.Parse(body, request, ignore_unknown_fields=True, max_recursion_depth=50)
        return bytes(request.SerializeToString())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except (json_format.ParseError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise ValueError(str(error)) from error


def success(rejected: int, message: str, *, json: bool) -> bytes:
    """The answer to a request that was taken, but for so many of its points."""
    answer = metrics_service_pb2.ExportMetricsServiceResponse()
    if rejected or message:
        answer.partial_success.rejected_data_points = rejected
        answer.partial_success.error_message = message
    return json_format.MessageToJson(answer, indent=None).encode() if json else bytes(answer.SerializeToString())


def status(code: int, message: str) -> bytes:
    """google.rpc.Status, which says why a request was not taken."""
    return bytes(CLASSES["Status"](code=code, message=message.encode()).SerializeToString())
