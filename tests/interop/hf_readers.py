"""Reads GPTQ, AWQ, bitsandbytes and fp8 checkpoints, strictly and without
their libraries.

    artifact = open_artifact("out/")
    artifact.weights["model.layers.0.mlp.down_proj"]   [out, in] f32
    artifact.plain                                      everything else

Whatever a loader would refuse or read differently raises FormatError.
"""

import json
import os

import numpy as np

import safetensors_reader as st
from safetensors_reader import FormatError, require

# Nibble i of an AWQ word holds output 8c + AWQ_ORDER[i].
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
NF4 = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
]
BNB_FP4 = [v / 12 for v in (0, 0.0625, 8, 12, 4, 6, 2, 3)]
BNB_FP4 += [-v for v in BNB_FP4]
STATE_KEYS = ["quant_type", "blocksize", "dtype", "shape"]
NESTED_KEYS = ["nested_blocksize", "nested_dtype", "nested_offset"]


def bit_stream(words, bits):
    """[rows, W] int32 -> [rows, W*32/bits] unsigned; dense, low bits first."""
    octets = np.ascontiguousarray(words).astype("<i4").view(np.uint8)
    octets = octets.reshape(words.shape[0], -1)
    stream = np.unpackbits(octets, axis=1, bitorder="little")
    count = stream.shape[1] // bits
    stream = stream[:, : count * bits].reshape(words.shape[0], count, bits)
    return (stream.astype(np.int32) << np.arange(bits, dtype=np.int32)).sum(-1)


def gptq_weight(parts, bits, group_size, version, where, act_order=False):
    """[out, in]: scale * (u - zero), zero one less on disk in version 1."""
    require(
        parts.keys() == {"qweight", "qzeros", "scales", "g_idx"},
        f"{where}: {sorted(parts)}",
    )
    require(
        [parts[k].dtype for k in ("qweight", "qzeros", "g_idx")] == ["I32"] * 3,
        f"{where}: types",
    )
    require(parts["scales"].dtype in ("F16", "BF16"), f"{where}: scale type")
    u = bit_stream(st.raw(parts["qweight"]).T, bits)  # [out, in]
    zeros = bit_stream(st.raw(parts["qzeros"]), bits)  # [G, out]
    if version == 1:
        # A loader that adds one and does not mask would read 2^bits.
        require(zeros.max() < (1 << bits) - 1, f"{where}: zero point 0")
        zeros = zeros + 1
    scales, index = st.to_float32(parts["scales"]), st.raw(parts["g_idx"])
    rows, columns = u.shape
    size = columns if group_size == -1 else group_size
    require(zeros.shape == scales.shape, f"{where}: zeros {zeros.shape}")
    require(scales.shape == (-(-columns // size), rows), f"{where}: scales")
    require(columns % 32 == 0 and rows % 32 == 0, f"{where}: {u.shape}")
    # In act-order the columns of a group may lie anywhere.
    groups = np.sort(index) if act_order else index
    require((groups == np.arange(columns) // size).all(), f"{where}: g_idx")
    levels = (u - zeros[index].T).astype(np.float32)
    return levels * scales[index].T


def awq_columns(words):
    """[rows, W] int32 -> [rows, 8 W] unsigned, in the order of outputs."""
    nibbles = bit_stream(words, 4).reshape(words.shape[0], -1, 8)
    out = np.empty_like(nibbles)
    out[:, :, AWQ_ORDER] = nibbles
    return out.reshape(words.shape[0], -1)


def awq_weight(parts, group_size, where):
    require(
        parts.keys() == {"qweight", "qzeros", "scales"},
        f"{where}: {sorted(parts)}",
    )
    types = [parts[k].dtype for k in ("qweight", "qzeros", "scales")]
    require(types == ["I32", "I32", "F16"], f"{where}: {types}")
    u = awq_columns(st.raw(parts["qweight"]))  # [in, out]
    zeros = awq_columns(st.raw(parts["qzeros"]))
    scales = st.to_float32(parts["scales"])
    size = u.shape[0] if group_size == -1 else group_size
    require(u.shape[0] % size == 0, f"{where}: groups")
    require(
        zeros.shape == scales.shape == (u.shape[0] // size, u.shape[1]),
        f"{where}: scales {scales.shape}",
    )
    index = np.arange(u.shape[0]) // size
    return ((u - zeros[index]).astype(np.float32) * scales[index]).T


def dynamic_map():
    """bitsandbytes' signed 8-bit map, after its description."""
    values = [0.0, 1.0]
    for i in range(7):
        edges = np.linspace(0.1, 1, 2**i + 1)
        middles = (edges[:-1] + edges[1:]) / 2 * 10.0 ** (i - 6)
        values += [*middles, *-middles]
    return np.sort(np.array(values, np.float64)).astype(np.float32)


def bnb_state(parts, kind, where):
    """The JSON of a quant_state, its keys checked."""
    text = parts[f"weight.quant_state.bitsandbytes__{kind}"]
    require(text.dtype == "U8" and len(text.shape) == 1, f"{where}: state")
    state = json.loads(bytes(text.data).decode("utf-8"))
    nested = "nested_offset" in state
    require(
        list(state) == STATE_KEYS + (NESTED_KEYS if nested else []),
        f"{where}: keys {list(state)}",
    )
    require(state["quant_type"] == kind, f"{where}: {state}")
    return state, nested


def bnb_absmax(parts, state, nested, blocks, where):
    stored = parts["weight.absmax"]
    require(stored.shape == (blocks,), f"{where}: absmax {stored.shape}")
    if not nested:
        require(stored.dtype == "F32", f"{where}: absmax {stored.dtype}")
        return st.raw(stored)
    require(stored.dtype == "U8", f"{where}: absmax {stored.dtype}")
    require(
        (state["nested_blocksize"], state["nested_dtype"]) == (256, "float32"),
        f"{where}: {state}",
    )
    codes = st.raw(stored)
    code_map = st.raw(parts["weight.nested_quant_map"])
    require(np.abs(code_map - dynamic_map()).max() < 1e-7, f"{where}: map")
    outer = st.raw(parts["weight.nested_absmax"])
    require(outer.shape == (-(-blocks // 256),), f"{where}: nested_absmax")
    scales = code_map[codes] * outer.repeat(256)[:blocks]
    return scales + np.float32(state["nested_offset"])


def bnb4_weight(parts, settings, where):
    kind = settings["bnb_4bit_quant_type"]
    state, nested = bnb_state(parts, kind, where)
    require(
        nested == settings["bnb_4bit_use_double_quant"], f"{where}: nested"
    )
    expected = {
        "weight",
        "weight.absmax",
        "weight.quant_map",
        f"weight.quant_state.bitsandbytes__{kind}",
    }
    if nested:
        expected |= {"weight.nested_absmax", "weight.nested_quant_map"}
    require(parts.keys() == expected, f"{where}: {sorted(parts)}")
    rows, columns = state["shape"]
    size = state["blocksize"]
    octets = parts["weight"]
    require(
        octets.dtype == "U8" and octets.shape == (rows * columns // 2, 1),
        f"{where}: weight {octets.shape}",
    )
    table = st.raw(parts["weight.quant_map"])
    want = np.array(NF4 if kind == "nf4" else BNB_FP4, np.float32)
    require((table == want).all(), f"{where}: quant_map")
    pairs = st.raw(octets)[:, 0]
    codes = np.stack([pairs >> 4, pairs & 15], 1).reshape(-1, size)
    absmax = bnb_absmax(parts, state, nested, len(codes), where)
    require((absmax > 0).all(), f"{where}: absmax")
    return (table[codes] * absmax[:, None]).reshape(rows, columns)


def bnb8_weight(parts, where):
    require(
        parts.keys() == {"weight", "SCB", "weight_format"},
        f"{where}: {sorted(parts)}",
    )
    weight, row_max = parts["weight"], parts["SCB"]
    require(weight.dtype == "I8" and row_max.dtype == "F32", f"{where}: types")
    require(row_max.shape == weight.shape[:1], f"{where}: SCB")
    kind = parts["weight_format"]
    require(
        kind.dtype == "U8" and kind.shape == () and bytes(kind.data) == b"\0",
        f"{where}: weight_format",
    )
    codes = st.raw(weight).astype(np.float32)
    require(np.abs(codes).max() <= 127, f"{where}: -128 is no code")
    return codes * (st.raw(row_max) / np.float32(127))[:, None]


def fp8_weight(parts, settings, where):
    block = settings.get("weight_block_size")
    scale_name = "weight_scale_inv" if block else "weight_scale"
    allowed = {"weight", scale_name}
    if settings["activation_scheme"] == "static":
        require(not block, f"{where}: static activations with blocks")
        allowed |= {"input_scale"}
    require(parts.keys() == allowed, f"{where}: {sorted(parts)}")
    if "input_scale" in parts:
        st.check_input_scale(parts["input_scale"], where, ("F32",))
    weight, stored = parts["weight"], parts[scale_name]
    require(
        weight.dtype == "F8_E4M3" and stored.dtype == "F32", f"{where}: types"
    )
    values = st.E4M3[st.raw(weight)]
    require(np.isfinite(values).all(), f"{where}: NaN codes")
    scales = st.raw(stored)
    rows, columns = weight.shape
    if not block:
        require(stored.shape in ((), (1,)), f"{where}: one scale")
        return values * scales.reshape(1, 1)
    require(columns % block[1] == 0, f"{where}: {weight.shape}")
    require(
        stored.shape == (-(-rows // block[0]), columns // block[1]),
        f"{where}: scales {stored.shape}",
    )
    spread = scales.repeat(block[0], 0).repeat(block[1], 1)
    return values * spread[:rows]


SUFFIXES = {
    "gptq": ["qweight", "qzeros", "scales", "g_idx"],
    "awq": ["qweight", "qzeros", "scales"],
    "fp8": ["weight", "weight_scale_inv", "weight_scale", "input_scale"],
    "bitsandbytes": [
        "weight",
        "SCB",
        "weight_format",
        "weight.absmax",
        "weight.quant_map",
        "weight.nested_absmax",
        "weight.nested_quant_map",
        "weight.quant_state.bitsandbytes__nf4",
        "weight.quant_state.bitsandbytes__fp4",
    ],
}


class Artifact:
    """A model directory: dequantized weights, and the tensors left alone."""

    def __init__(self, directory):
        path = os.path.join(directory, "config.json")
        with open(path, encoding="utf-8") as file:
            self.config = json.load(file)
        self.settings = self.config["quantization_config"]
        self.method = self.settings["quant_method"]
        self.weights, self.plain, self.parts = {}, {}, {}
        for name, stored in st.read_directory(directory).items():
            self._sort(name, stored)
        for module, parts in self.parts.items():
            if parts.keys() == {"weight"}:
                self.plain[module + ".weight"] = parts["weight"]
            else:
                self.weights[module] = self._read(module, parts)
        self._check_kept()

    def _sort(self, name, stored):
        # The longest suffix: "weight.absmax" goes before "absmax".
        for suffix in sorted(SUFFIXES[self.method], key=len, reverse=True):
            if name.endswith("." + suffix):
                module = name[: -len(suffix) - 1]
                self.parts.setdefault(module, {})[suffix] = stored
                return
        self.plain[name] = stored

    def _read(self, module, parts):
        s = self.settings
        if self.method == "gptq":
            version = {"gptq": 1, "gptq_v2": 2}[s["checkpoint_format"]]
            require(type(s["sym"]) is bool, "sym")
            require(type(s["desc_act"]) is bool, "desc_act")
            return gptq_weight(
                parts,
                s["bits"],
                s["group_size"],
                version,
                module,
                s["desc_act"],
            )
        if self.method == "awq":
            require(s["bits"] == 4 and s["zero_point"] is True, "awq")
            require(s["version"] == "gemm", s["version"])
            return awq_weight(parts, s["group_size"], module)
        if self.method == "fp8":
            require(
                s["activation_scheme"] in ("dynamic", "static"),
                "activation_scheme",
            )
            return fp8_weight(parts, s, module)
        require(s["load_in_4bit"] != s["load_in_8bit"], "load_in")
        if s["load_in_8bit"]:
            return bnb8_weight(parts, module)
        require(s["bnb_4bit_quant_storage"] == "uint8", "quant_storage")
        return bnb4_weight(parts, s, module)

    def _kept(self, module):
        """Whether a loader would leave this Linear as it is."""
        s = self.settings
        if self.method == "gptq":
            return "-:^" + module.replace(".", "\\.") + "$" in s.get(
                "dynamic", {}
            ) or (module == "lm_head" and s["lm_head"] is False)
        if self.method == "awq":
            return any(n in module for n in s["modules_to_not_convert"])
        if self.method == "fp8":
            names = s.get("modules_to_not_convert") or s["ignored_layers"]
            return module in names
        return any(
            module == n or module.startswith(n + ".")
            for n in s["llm_int8_skip_modules"]
        )

    def _check_kept(self):
        """Loaders take as quantized exactly what is."""
        for module in self.weights:
            require(not self._kept(module), f"{module}: would be left out")
        for name, stored in self.plain.items():
            module, _, leaf = name.rpartition(".")
            if leaf != "weight" or len(stored.shape) != 2 or "embed" in module:
                continue
            require(self._kept(module), f"{module}: would be taken as codes")


def open_artifact(directory):
    return Artifact(directory)


__all__ = ["Artifact", "FormatError", "open_artifact"]
