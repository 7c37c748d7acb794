"""A strict reader of safetensors files, written after the format's rules.

Layout: u64 little-endian N; N bytes of JSON header; data. Every header entry is
{"dtype", "shape", "data_offsets": [begin, end)}, offsets relative to the data.
Shares no code with the program under test nor with the public package, so that
an error in either shows as a disagreement.
"""

import json
import math
import os
import re
from typing import NamedTuple

import numpy as np

MAX_HEADER_BYTES = 100_000_000
BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "F4": 4,
}
# Lowest to highest: files are sorted by dtype descending, then by name.
ORDER = [
    "BOOL",
    "F4",
    "F6_E2M3",
    "F6_E3M2",
    "U8",
    "I8",
    "F8_E5M2",
    "F8_E4M3",
    "F8_E8M0",
    "F8_E4M3FNUZ",
    "F8_E5M2FNUZ",
    "I16",
    "U16",
    "F16",
    "BF16",
    "I32",
    "U32",
    "F32",
    "C64",
    "F64",
    "I64",
    "U64",
]
NUMPY = {
    "U8": "<u1",
    "I8": "<i1",
    "F8_E4M3": "<u1",
    "I32": "<i4",
    "I64": "<i8",
    "F16": "<f2",
    "BF16": "<u2",
    "F32": "<f4",
}


class FormatError(Exception):
    """The file breaks a rule of its format."""


class Stored(NamedTuple):
    """A tensor as it lies in a file."""

    dtype: str
    shape: tuple
    data: bytes
    file: str


def require(condition, message):
    if not condition:
        raise FormatError(message)


def _no_duplicates(pairs):
    keys = [key for key, _ in pairs]
    require(len(keys) == len(set(keys)), f"duplicate keys in {keys}")
    return dict(pairs)


def _is_count(value):
    return type(value) is int and value >= 0


def _check_entry(name, entry, data_bytes):
    require(
        isinstance(entry, dict)
        and set(entry) == {"dtype", "shape", "data_offsets"},
        f"{name}: keys {entry}",
    )
    require(entry["dtype"] in BITS, f"{name}: dtype {entry['dtype']}")
    require(all(map(_is_count, entry["shape"])), f"{name}: shape")
    offsets = entry["data_offsets"]
    require(
        len(offsets) == 2 and all(map(_is_count, offsets)), f"{name}: offsets"
    )
    begin, end = offsets
    require(begin <= end <= data_bytes, f"{name}: offsets {offsets}")
    bits = math.prod(entry["shape"]) * BITS[entry["dtype"]]
    require(bits % 8 == 0 and end - begin == bits // 8, f"{name}: size")


def parse_header(blob, path="<bytes>"):
    """-> (metadata, {name: entry}, offset of the data)."""
    require(len(blob) >= 8, f"{path}: shorter than its length field")
    length = int.from_bytes(blob[:8], "little")
    require(length <= MAX_HEADER_BYTES, f"{path}: header of {length} bytes")
    require(8 + length <= len(blob), f"{path}: header past the end")
    text = blob[8 : 8 + length].decode("utf-8")
    header = json.loads(text, object_pairs_hook=_no_duplicates)
    metadata = header.pop("__metadata__", {})
    require(
        all(isinstance(value, str) for value in metadata.values()),
        f"{path}: metadata must map strings to strings",
    )
    data_bytes = len(blob) - 8 - length
    for name, entry in header.items():
        _check_entry(name, entry, data_bytes)
    at = 0
    for entry in sorted(header.values(), key=lambda e: e["data_offsets"]):
        require(
            entry["data_offsets"][0] == at, f"{path}: hole or overlap at {at}"
        )
        at = entry["data_offsets"][1]
    require(at == data_bytes, f"{path}: {data_bytes - at} bytes left over")
    return metadata, header, 8 + length


def read_file(path):
    """-> (metadata, {name: Stored})."""
    with open(path, "rb") as file:
        blob = file.read()
    metadata, header, start = parse_header(blob, path)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = Stored(
            entry["dtype"],
            tuple(entry["shape"]),
            blob[start + begin : start + end],
            os.path.basename(path),
        )
    return metadata, tensors


def check_written_well(path):
    """What we promise of files we write, beyond what readers insist on."""
    with open(path, "rb") as file:
        blob = file.read()
    metadata, header, start = parse_header(blob, path)
    require(start % 8 == 0, f"{path}: data starts at {start}, not 8-aligned")
    require(metadata.get("format") == "pt", f"{path}: metadata {metadata}")
    by_offset = sorted(
        header,
        key=lambda n: (
            header[n]["data_offsets"],
            -ORDER.index(header[n]["dtype"]),
        ),
    )
    reference = sorted(
        header, key=lambda n: (-ORDER.index(header[n]["dtype"]), n.encode())
    )
    require(by_offset == reference, f"{path}: not in the reference's order")
    text = blob[8:start].decode().rstrip(" ")
    compact = json.dumps(
        json.loads(text), separators=(",", ":"), ensure_ascii=False
    )
    require(text == compact, f"{path}: header is not compact JSON")


def read_directory(directory):
    """All tensors of a model directory, sharded or not -> {name: Stored}."""
    names = sorted(
        n for n in os.listdir(directory) if n.endswith(".safetensors")
    )
    index_path = os.path.join(directory, "model.safetensors.index.json")
    if not os.path.exists(index_path):
        require(names == ["model.safetensors"], f"without an index: {names}")
        return read_file(os.path.join(directory, names[0]))[1]
    with open(index_path, encoding="utf-8") as file:
        index = json.load(file)
    count = len(names)
    shards = [
        f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)
    ]
    require(names == shards, f"shards are called {names}")
    tensors = {}
    for name in names:
        part = read_file(os.path.join(directory, name))[1]
        require(part, f"{name} is empty")
        require(not tensors.keys() & part.keys(), f"{name}: a tensor twice")
        tensors.update(part)
    weight_map = {name: stored.file for name, stored in tensors.items()}
    require(index["weight_map"] == weight_map, "index and shards disagree")
    total = sum(len(stored.data) for stored in tensors.values())
    require(index["metadata"]["total_size"] == total, "total_size is wrong")
    return tensors


def raw(stored):
    """The stored elements, codes and floats of 8 and 16 bits as integers."""
    return np.frombuffer(stored.data, NUMPY[stored.dtype]).reshape(stored.shape)


def _e4m3_values():
    """Value of each E4M3 code: 1.4.3, bias 7, no infinities, 0x7F is NaN."""
    values = np.empty(256, np.float32)
    for code in range(256):
        exponent, mantissa = code >> 3 & 15, code & 7
        if exponent == 15 and mantissa == 7:
            magnitude = math.nan
        elif exponent == 0:
            magnitude = mantissa * 2.0**-9
        else:
            magnitude = (8 + mantissa) * 2.0 ** (exponent - 10)
        values[code] = math.copysign(magnitude, -1 if code >> 7 else 1)
    return values


E4M3 = _e4m3_values()


def to_float32(stored):
    """Exact: every supported float type is a subset of F32."""
    bits = raw(stored)
    if stored.dtype == "BF16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    if stored.dtype == "F8_E4M3":
        return E4M3[bits]
    require(stored.dtype in ("F16", "F32"), f"not a float: {stored.dtype}")
    return bits.astype(np.float32)


def check_input_scale(stored, where, types):
    """The scale of static activations: one, of a float type, positive."""
    require(stored.dtype in types, f"{where}: input_scale {stored.dtype}")
    require(stored.shape in ((), (1,)), f"{where}: input_scale")
    scale = to_float32(stored).reshape(-1)[0]
    require(0 < scale < math.inf, f"{where}: input_scale {scale}")


def module_of(name, suffixes):
    """ "a.b.weight_scale" -> ("a.b", "weight_scale") for a known suffix."""
    match = re.fullmatch(r"(.+)\.([a-z_]+)", name)
    if match and match.group(2) in suffixes:
        return match.group(1), match.group(2)
    return None, None
