"""ONNX's file format, as far as a graph of nodes needs it: Protocol Buffers by hand, without the ``onnx`` package.

Onnxruntime reads models as bytes and brings nothing that writes them. Field numbers are those of onnx.proto3 (IR
version 11); a test reads what is written here with the ``onnx`` package.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

# The version of the format that opsets 23 and 24 came with.
FORMAT = 11
# TensorProto.DataType by our names.
ELEMENTS = {
    "float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "float64": 11,
    "bfloat16": 16,
}  # fmt: skip
# AttributeProto.AttributeType, and the field that holds a value of it.
FLOAT, INT, STRING, INTS = (1, 2), (2, 3), (3, 4), (7, 8)
VARINT, BYTES, FIXED32 = 0, 2, 5

Attribute = int | float | str | tuple[int, ...]


def model(graph: bytes, opsets: Mapping[str, int]) -> bytes:
    """A ModelProto: one graph and the versions of the operator sets by domain."""
    imports = b"".join(_text(8, _text(1, domain) + _number(2, version)) for domain, version in opsets.items())
    return _number(1, FORMAT) + _text(7, graph) + imports


def graph(nodes: Iterable[bytes], inputs: Iterable[bytes], outputs: Iterable[bytes]) -> bytes:
    """A GraphProto."""
    fields = ((1, nodes), (11, inputs), (12, outputs))
    return _text(2, "attention") + b"".join(_text(number, part) for number, parts in fields for part in parts)


def node(
    kind: str, inputs: Iterable[str], outputs: Iterable[str], domain: str, attributes: Mapping[str, Attribute]
) -> bytes:
    """A NodeProto. An input that is left out has an empty name."""
    names = b"".join(_text(1, name) for name in inputs) + b"".join(_text(2, name) for name in outputs)
    given = b"".join(_text(5, attribute(name, value)) for name, value in attributes.items())
    return names + _text(4, kind) + given + _text(7, domain)


def attribute(name: str, value: Attribute) -> bytes:
    """An AttributeProto."""
    if isinstance(value, tuple):
        (kind, field), encoded = INTS, b"".join(_number(INTS[1], item) for item in value)
    elif isinstance(value, str):
        (kind, field), encoded = STRING, _text(STRING[1], value)
    elif isinstance(value, int):
        (kind, field), encoded = INT, _number(INT[1], value)
    else:
        kind, field = FLOAT
        encoded = _tag(field, FIXED32) + struct.pack("<f", value)
    return _text(1, name) + encoded + _number(20, kind)


def value(name: str, dtype: str, shape: tuple[int, ...]) -> bytes:
    """A ValueInfoProto: an input or output of the graph with its type."""
    sizes = b"".join(_text(1, _number(1, size)) for size in shape)
    tensor = _number(1, ELEMENTS[dtype]) + _text(2, sizes)
    return _text(1, name) + _text(2, _text(1, tensor))


def _text(field: int, content: str | bytes) -> bytes:
    encoded = content.encode() if isinstance(content, str) else content
    return _tag(field, BYTES) + _varint(len(encoded)) + encoded


def _number(field: int, number: int) -> bytes:
    return _tag(field, VARINT) + _varint(number)


def _tag(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative number in 64 bits."""
    number &= 2**64 - 1
    encoded = bytearray()
    while number >= 0x80:  # noqa: PLR2004  (the bit that says that more follow)
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
