"""GGUF files, written and read against the public gguf package, whose readers
and decoders are written in Python and share no code with ours.

gguf_tool is the core alone: `random` writes a file of every tensor type,
`floats` decodes any file to F32.
"""

import os
import struct
import subprocess

import gguf
import numpy as np
import pytest

TOOL = os.environ["GGUF_TOOL"]

# Where the f16 scales of a block lie. MXFP4 has an exponent byte instead.
SCALES = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
    "TQ1_0": [52],
    "TQ2_0": [64],
    "MXFP4": [],
}
# Relative errors (root of squares) that weights with outliers may have: bits
# of the code, with room. A layout that is wrong anywhere is near or above 1.
ERRORS = {
    "F32": 0,
    "F16": 5e-4,
    "BF16": 4e-3,
    "Q8_0": 0.012,
    "Q6_K": 0.03,
    "Q5_K": 0.06,
    "Q5_0": 0.08,
    "Q5_1": 0.06,
    "Q4_K": 0.11,
    "Q4_0": 0.16,
    "Q4_1": 0.12,
    "IQ4_NL": 0.13,
    "IQ4_XS": 0.13,
    "MXFP4": 0.2,
    "Q3_K": 0.25,
    "Q2_K": 0.45,
    "TQ1_0": 0.95,
    "TQ2_0": 0.95,
}


def tool(*arguments):
    subprocess.run([TOOL, *map(str, arguments)], check=True)


def qtype(name):
    return gguf.GGMLQuantizationType[name]


def decoded(tensor):
    """A tensor of GGUFReader as float32, by the package's own decoder."""
    data = np.asarray(tensor.data)
    if tensor.tensor_type in (qtype("F32"), qtype("F16")):
        return data.astype(np.float32)
    return gguf.quants.dequantize(data, tensor.tensor_type)


def tensors_of(path):
    return {t.name: t for t in gguf.GGUFReader(path).tensors}


def keys_of(path):
    """Keys of the model with their types, without those of the file."""
    return {
        name: (field.types, field.contents())
        for name, field in gguf.GGUFReader(path).fields.items()
        if not name.startswith(("GGUF.", "split.", "general.alignment"))
    }


def same(a, b):
    return np.array_equal(a, b, equal_nan=True)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "random.gguf"
    tool("random", path)
    return path


@pytest.fixture(scope="module")
def floats(ours):
    path = ours.with_name("floats.gguf")
    tool("floats", ours, path)
    return tensors_of(path)


def test_every_type_is_there(ours):
    names = {n for n in tensors_of(ours) if not n.endswith(".source")}
    assert names == set(SCALES) | {"F32", "F16", "BF16"}


@pytest.mark.parametrize("name", ERRORS)
def test_what_we_write_decodes_alike(ours, floats, name):
    tensors = tensors_of(ours)
    tensor = tensors[name]
    assert tensor.tensor_type == qtype(name)
    assert list(tensor.shape) == [1024, 64]  # the package shows dims
    values = decoded(tensor)
    assert same(values, decoded(floats[name]))
    source = decoded(tensors[name + ".source"])
    error = np.sqrt(np.sum((values - source) ** 2) / np.sum(source**2))
    assert error <= ERRORS[name]


def test_our_keys_have_their_types_and_values(ours):
    t = gguf.GGUFValueType
    keys = keys_of(ours)
    assert keys["u8"] == ([t.UINT8], 255)
    assert keys["i8"] == ([t.INT8], -128)
    assert keys["u16"] == ([t.UINT16], 65535)
    assert keys["i16"] == ([t.INT16], -32768)
    assert keys["u32"] == ([t.UINT32], 2**32 - 1)
    assert keys["i32"] == ([t.INT32], -(2**31))
    assert keys["f32"] == ([t.FLOAT32], np.float32(0.1))
    assert keys["bool"] == ([t.BOOL], True)
    assert keys["u64"] == ([t.UINT64], 2**64 - 1)
    assert keys["i64"] == ([t.INT64], -(2**63))
    assert keys["f64"] == ([t.FLOAT64], 0.1)
    assert keys["array.u8"] == ([t.ARRAY, t.UINT8], [0, 255])
    assert keys["array.i16"] == ([t.ARRAY, t.INT16], [-1, 1])
    assert keys["array.i32"] == ([t.ARRAY, t.INT32], [-7, 7])
    assert keys["array.f32"] == ([t.ARRAY, t.FLOAT32], [0.5, -0.0])
    assert keys["array.bool"] == ([t.ARRAY, t.BOOL], [True, False])
    assert keys["array.string"] == ([t.ARRAY, t.STRING], ["", "\u2581the", "x"])
    assert keys["array.f64"] == ([t.ARRAY, t.FLOAT64], [1e300])


def blocks(name, rows, random):
    """Blocks of any codes at all, with finite scales of all sizes."""
    elements, size = gguf.GGML_QUANT_SIZES[qtype(name)]
    data = random.integers(0, 256, (rows, 1024 // elements, size), np.uint8)
    for at in SCALES[name]:
        data[:, :, at + 1] &= 0xBF  # below 2: neither infinite nor NaN
    if name == "MXFP4":
        data[:, :, 0] = random.integers(0, 250, data.shape[:2])
    return data.reshape(rows, -1)


def write(path, tensors, **options):
    writer = gguf.GGUFWriter(path, "none", **options)
    writer.add_string("text", "a\u2581b")
    writer.add_uint16("u16", 7)
    writer.add_float64("f64", 0.1)
    writer.add_array("strings", ["x", "", "yy"])
    writer.add_array("floats", [0.5, -1.0])
    for name, data in tensors.items():
        raw = None if data.dtype in (np.float32, np.float16) else qtype(name)
        writer.add_tensor(name, data, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def theirs():
    random = np.random.default_rng(1)
    tensors = {name: blocks(name, 16, random) for name in SCALES}
    tensors["F32"] = random.normal(size=(3, 5)).astype(np.float32)
    tensors["F16"] = random.normal(size=(2, 3, 7)).astype(np.float16)
    return tensors


def check_floats(path, out, tensors):
    tool("floats", path, out)
    found = tensors_of(out)
    assert set(found) == set(tensors)
    for name, data in tensors.items():
        expected = data
        if data.dtype == np.uint8:
            expected = gguf.quants.dequantize(data, qtype(name))
        assert same(found[name].data, expected.astype(np.float32)), name


def test_what_they_write_decodes_alike(theirs, tmp_path):
    path, out = tmp_path / "theirs.gguf", tmp_path / "out.gguf"
    write(path, theirs)
    check_floats(path, out, theirs)
    assert keys_of(out) == keys_of(path)


def test_what_they_quantize_decodes_alike(tmp_path):
    weights = np.random.default_rng(2).normal(size=(8, 512)).astype(np.float32)
    names = ["BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0"]
    tensors = {n: gguf.quants.quantize(weights, qtype(n)) for n in names}
    path = tmp_path / "theirs.gguf"
    write(path, tensors)
    check_floats(path, tmp_path / "out.gguf", tensors)


def test_their_split_models_are_read(theirs, tmp_path):
    write(tmp_path / "m.gguf", theirs, split_max_tensors=5)
    files = sorted(p.name for p in tmp_path.iterdir())
    assert files == [f"m-0000{i}-of-00004.gguf" for i in (1, 2, 3, 4)]
    check_floats(tmp_path / files[0], tmp_path / "out.gguf", theirs)
    refused = subprocess.run(
        [TOOL, "floats", tmp_path / files[1], tmp_path / "no.gguf"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert refused.returncode == 1
    assert "name the first" in refused.stderr


def test_importance_matrices_are_read(tmp_path):
    random = np.random.default_rng(3)
    sums = np.square(random.normal(size=(3, 8))).astype(np.float32)
    counts = np.array([[5], [0], [700]], np.float32)
    path, out = tmp_path / "imatrix.gguf", tmp_path / "out.gguf"
    writer = gguf.GGUFWriter(path, "")
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", ["wiki.txt", "code.txt"])
    writer.add_uint32("imatrix.chunk_count", 4)
    writer.add_uint32("imatrix.chunk_size", 512)
    experts = {"blk.0.ffn_up_exps.weight": 3, "output.weight": 1}
    for name, rows in experts.items():
        writer.add_tensor(name + ".in_sum2", sums[:rows])
        writer.add_tensor(name + ".counts", counts[:rows])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    tool("imatrix", path, out)
    found, keys = tensors_of(out), keys_of(out)
    means = np.where(counts == 0, 1, sums / np.maximum(counts, 1))
    stack = found["blk.0.ffn_up_exps.weight"].data
    assert np.allclose(stack, means, rtol=1e-6)
    assert np.allclose(found["output.weight"].data, means[:1], rtol=1e-6)
    assert list(found["output.weight.counts"].data) == [5]
    assert keys["datasets"][1] == ["wiki.txt", "code.txt"]
    assert (keys["chunks"][1], keys["chunk_tokens"][1]) == (4, 512)


def test_older_importance_matrices_are_read(tmp_path):
    means = np.square(np.random.default_rng(4).normal(size=6))
    path, out = tmp_path / "imatrix.dat", tmp_path / "out.gguf"
    name, data = b"blk.0.attn_q.weight", b"wiki.txt"
    entry = struct.pack("<i", len(name)) + name + struct.pack("<ii", 7, 6)
    values = (means * 7).astype("<f4").tobytes()
    trailer = struct.pack("<ii", 9, len(data)) + data
    path.write_bytes(struct.pack("<i", 1) + entry + values + trailer)
    tool("imatrix", path, out)
    found = tensors_of(out)[name.decode()].data
    assert np.allclose(found, means, rtol=1e-6)
    assert keys_of(out)["datasets"][1] == ["wiki.txt"]
