"""The reader itself, on words worked out by hand from the formats' rules and
on files written by the public safetensors package."""

import json

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import ct_reader
import safetensors_reader as st
from ct_reader import FormatError


def words(*values):
    return np.array([values], "<u4").view("<i4")


def stored(array, dtype=None):
    names = {
        "<i4": "I32",
        "<i8": "I64",
        "<f4": "F32",
        "<f2": "F16",
        "|i1": "I8",
        "|u1": "U8",
    }
    array = np.ascontiguousarray(array)
    return st.Stored(
        dtype or names[array.dtype.str], array.shape, array.tobytes(), "f"
    )


def args(**changes):
    base = {
        "num_bits": 4,
        "type": "int",
        "symmetric": True,
        "strategy": "channel",
        "group_size": None,
        "block_structure": None,
        "dynamic": False,
        "actorder": None,
        "observer": "minmax",
        "observer_kwargs": {},
    }
    return base | changes


def test_four_bits():
    codes = ct_reader.unpack(words(0xFEA98710), 4, 8) - 8
    assert codes.tolist() == [[-8, -7, -1, 0, 1, 2, 6, 7]]


def test_eight_bits():
    codes = ct_reader.unpack(words(0xFF807F00), 8, 4) - 128
    assert codes.tolist() == [[-128, -1, 0, 127]]


def test_three_bits_straddle_words():
    # 11 values of 3 bits: the last one takes the top two bits of word 0 and the
    # lowest of word 1. 7 = 0b111 there, zeros elsewhere.
    codes = ct_reader.unpack(words(0xC0000000, 0x1), 3, 11)
    assert codes.tolist() == [[0] * 10 + [7]]


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_width_against_a_big_integer(bits):
    rng = np.random.default_rng(bits)
    count = 37
    codes = rng.integers(0, 1 << bits, count)
    stream = sum(int(c) << (i * bits) for i, c in enumerate(codes))
    row = np.frombuffer(
        stream.to_bytes(-(-count * bits // 32) * 4, "little"), "<i4"
    )
    assert ct_reader.unpack(row.reshape(1, -1), bits, count).tolist() == [
        codes.tolist()
    ]


def test_padding_must_be_zero():
    with pytest.raises(FormatError, match="padding"):
        ct_reader.unpack(words(0x100), 4, 2)


def test_wrong_number_of_words():
    with pytest.raises(FormatError, match="words"):
        ct_reader.unpack(words(0, 0), 4, 8)


def asymmetric_module():
    parts = {
        "weight_packed": stored(words(*[0xFEA98710]).repeat(8, axis=0)),
        "weight_shape": stored(np.array([8, 8], "<i8")),
        "weight_scale": stored(np.full((8, 1), 0.5, "<f4")),
        "weight_zero_point": stored(words(0x76543210)),
    }
    return parts, args(symmetric=False, strategy="group", group_size=8)


def test_zero_points_run_along_the_outputs():
    parts, arguments = asymmetric_module()
    module = ct_reader.Module("m", parts, arguments, "pack-quantized")
    assert module.zero_points.tolist() == [[z] for z in range(-8, 0)]
    values = module.dequantize()
    assert values[0].tolist() == [0, 0.5, 3.5, 4, 4.5, 5, 7, 7.5]
    assert values[7, 0] == (-8 - -1) * 0.5


@pytest.mark.parametrize(
    "part", ["weight_scale", "weight_zero_point", "weight_shape"]
)
def test_a_missing_part_is_refused(part):
    parts, arguments = asymmetric_module()
    del parts[part]
    with pytest.raises(FormatError, match="tensors"):
        ct_reader.Module("m", parts, arguments, "pack-quantized")


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((8, 2), "<f4"),
        np.zeros((8, 1), "<f4"),
        np.full((8, 1), np.inf, "<f4"),
    ],
)
def test_bad_scales_are_refused(bad):
    parts, arguments = asymmetric_module()
    parts["weight_scale"] = stored(bad)
    with pytest.raises(FormatError, match="scales"):
        ct_reader.Module("m", parts, arguments, "pack-quantized")


def test_fp8_codes():
    named = {
        0x00: 0.0,
        0x01: 2.0**-9,
        0x07: 7 * 2.0**-9,
        0x08: 2.0**-6,
        0x38: 1.0,
        0x3C: 1.5,
        0x40: 2.0,
        0x7E: 448.0,
        0xB8: -1.0,
        0xFE: -448.0,
    }
    for code, value in named.items():
        assert st.E4M3[code] == value
    assert np.isnan(st.E4M3[[0x7F, 0xFF]]).all()
    assert np.signbit(st.E4M3[0x80]) and st.E4M3[0x80] == 0
    finite = st.E4M3[:0x7F]
    assert (np.diff(finite) > 0).all()


def test_blocks_may_be_ragged():
    parts = {
        "weight": stored(np.full((3, 4), 0x38, "|u1"), "F8_E4M3"),
        "weight_scale": stored(np.array([[1, 2], [3, 4]], "<f4")),
    }
    arguments = args(
        num_bits=8, type="float", strategy="block", block_structure=[2, 2]
    )
    values = ct_reader.Module(
        "m", parts, arguments, "float-quantized"
    ).dequantize()
    assert values.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4]]


def test_int8_per_tensor():
    parts = {
        "weight": stored(np.array([[-128, 127]], "|i1")),
        "weight_scale": stored(np.array([0.25], "<f4")),
    }
    module = ct_reader.Module(
        "m", parts, args(num_bits=8, strategy="tensor"), "int-quantized"
    )
    assert module.dequantize().tolist() == [[-32, 31.75]]


def quantization_config():
    group = {
        "targets": ["Linear"],
        "weights": args(strategy="group", group_size=128),
        "input_activations": None,
        "output_activations": None,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "version": "0.18.0",
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
        "global_compression_ratio": None,
        "config_groups": {"group_0": group},
    }


def test_config_accepted():
    ct_reader.check_config(quantization_config())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda q: q["config_groups"]["group_0"].update(extra=1),
        lambda q: q["config_groups"]["group_0"]["weights"].update(extra=1),
        lambda q: q["config_groups"]["group_0"]["weights"].update(
            group_size=None
        ),
        lambda q: q["config_groups"]["group_0"]["weights"].update(
            strategy="channel"
        ),
        lambda q: q["config_groups"]["group_0"]["weights"].update(dynamic=True),
        lambda q: q["config_groups"]["group_0"].update(format="int-quantized"),
        lambda q: q.update(quant_method="gptq"),
        lambda q: q.update(quantization_status="frozen"),
        lambda q: q.pop("ignore"),
        lambda q: q.update(config_groups={}),
    ],
)
def test_config_refused(spoil):
    config = quantization_config()
    spoil(config)
    with pytest.raises(FormatError):
        ct_reader.check_config(config)


def test_target_matching():
    assert ct_reader.matches("lm_head", "lm_head", "Linear") == 3
    assert (
        ct_reader.matches(
            "re:model.*q_proj$", "model.layers.0.q_proj", "Linear"
        )
        == 2
    )
    assert ct_reader.matches("re:layers", "model.layers.0", "Linear") == 0
    assert ct_reader.matches("Linear", "x", "Linear") == 1
    assert ct_reader.matches("Linear", "x", "Embedding") == 0


def write_artifact(directory, leaves):
    """A tiny FP8 artifact; leaves: name -> quantized?"""
    tensors = {}
    for name, quantized in leaves.items():
        module = f"model.layers.0.self_attn.{name}"
        if quantized:
            tensors[module + ".weight"] = np.full((2, 2), 1, np.int8)
            tensors[module + ".weight_scale"] = np.ones((2, 1), np.float32)
        else:
            tensors[module + ".weight"] = np.ones((2, 2), np.float32)
    safetensors.numpy.save_file(tensors, directory / "model.safetensors")
    config = quantization_config()
    config["format"] = "int-quantized"
    config["config_groups"]["group_0"]["weights"] = args(num_bits=8)
    config["ignore"] = [
        f"model.layers.0.self_attn.{n}" for n, q in leaves.items() if not q
    ]
    (directory / "config.json").write_text(
        json.dumps({"quantization_config": config})
    )
    return config


def test_a_whole_directory(tmp_path):
    write_artifact(
        tmp_path,
        {"q_proj": True, "k_proj": True, "v_proj": True, "o_proj": False},
    )
    artifact = ct_reader.Artifact(tmp_path)
    assert len(artifact.modules) == 3 and len(artifact.plain) == 1


def test_fused_parts_must_agree(tmp_path):
    write_artifact(tmp_path, {"q_proj": True, "k_proj": False, "v_proj": True})
    with pytest.raises(FormatError, match="differ"):
        ct_reader.Artifact(tmp_path)


def test_a_plain_linear_must_be_ignored(tmp_path):
    config = write_artifact(
        tmp_path,
        {"o_proj": False, "q_proj": True, "k_proj": True, "v_proj": True},
    )
    config["ignore"] = []
    (tmp_path / "config.json").write_text(
        json.dumps({"quantization_config": config})
    )
    with pytest.raises(FormatError, match="neither"):
        ct_reader.Artifact(tmp_path)


DTYPES = [
    np.uint8,
    np.int8,
    np.int32,
    np.int64,
    np.float16,
    np.float32,
    np.float64,
]


def test_reads_what_the_public_package_writes(tmp_path):
    rng = np.random.default_rng(7)
    arrays = {
        f"t{i}": (rng.standard_normal((3, i + 1)) * 50).astype(d)
        for i, d in enumerate(DTYPES)
    }
    arrays["empty"] = np.zeros((0, 4), np.float32)
    arrays["scalar"] = np.array(3, np.float32)
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(arrays, path, metadata={"format": "pt"})
    metadata, tensors = st.read_file(path)
    assert metadata == {"format": "pt"}
    assert {n: t.data for n, t in tensors.items()} == {
        n: a.tobytes() for n, a in arrays.items()
    }
    assert {n: t.shape for n, t in tensors.items()} == {
        n: a.shape for n, a in arrays.items()
    }
    st.check_written_well(path)


def test_bf16_by_the_public_package():
    values = np.array([0x3F80, 0xC049, 0x7F80, 1], "<u2")
    spec = safetensors.TensorSpec(
        dtype="bfloat16",
        shape=(4,),
        data_ptr=values.ctypes.data,
        data_len=values.nbytes,
    )
    blob = safetensors.serialize({"x": spec})
    metadata, header, start = st.parse_header(blob)
    begin, end = header["x"]["data_offsets"]
    values = st.to_float32(
        st.Stored("BF16", (4,), blob[start + begin : start + end], "f")
    )
    assert values.tolist() == [1.0, -3.140625, float("inf"), 2.0**-133]


def blob(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(begin, end, shape=None, dtype="U8"):
    return {
        "dtype": dtype,
        "shape": [end - begin] if shape is None else shape,
        "data_offsets": [begin, end],
    }


@pytest.mark.parametrize(
    "bad",
    [
        b"\0" * 7,
        (1 << 63).to_bytes(8, "little") + b"{}",
        (100_000_001).to_bytes(8, "little"),
        blob({"a": entry(0, 2)}, b"x"),
        blob({"a": entry(0, 1)}, b"xy"),
        blob({"a": entry(1, 2)}, b"xy"),
        blob({"a": entry(0, 2), "b": entry(1, 3)}, b"xyz"),
        blob({"a": entry(0, 2, [3])}, b"xy"),
        blob({"a": entry(0, 2, [-2])}, b"xy"),
        blob({"a": entry(0, 2, dtype="U9")}, b"xy"),
        blob({"a": {**entry(0, 2), "more": 1}}, b"xy"),
        blob({"__metadata__": {"format": 1}}),
        blob(
            b'{"a":'
            + json.dumps(entry(0, 1)).encode()
            + b',"a":'
            + json.dumps(entry(0, 1)).encode()
            + b"}",
            b"x",
        ),
    ],
)
def test_hostile_headers_are_refused(bad):
    with pytest.raises(FormatError):
        st.parse_header(bad)
