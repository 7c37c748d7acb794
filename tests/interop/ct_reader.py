"""Reads compressed-tensors checkpoints, strictly and without the library.

    artifact = Artifact("out/")
    module = artifact.modules["model.layers.0.mlp.down_proj"]
    module.codes, module.scales, module.zero_points, module.dequantize()

Formats: pack-, int-, naive- and float-quantized; integers of 2..8 bits and FP8
E4M3; symmetric and asymmetric; one scale per tensor, channel, group or block.
Whatever a loader would refuse or read differently raises FormatError.
"""

import json
import os
import re

import numpy as np

import safetensors_reader as st
from safetensors_reader import FormatError, require

TOP_KEYS = {
    "quant_method",
    "version",
    "format",
    "quantization_status",
    "config_groups",
    "ignore",
    "kv_cache_scheme",
    "global_compression_ratio",
    "sparsity_config",
    "transform_config",
}
TOP_REQUIRED = {
    "quant_method",
    "format",
    "quantization_status",
    "config_groups",
    "ignore",
}
# Loaders refuse any other key in these two objects.
SCHEME_KEYS = {
    "targets",
    "weights",
    "input_activations",
    "output_activations",
    "format",
}
ARGS_KEYS = {
    "num_bits",
    "type",
    "symmetric",
    "strategy",
    "group_size",
    "block_structure",
    "dynamic",
    "actorder",
    "observer",
    "observer_kwargs",
    "scale_dtype",
    "zp_dtype",
}
FORMATS = {
    "pack-quantized",
    "int-quantized",
    "naive-quantized",
    "float-quantized",
    "nvfp4-pack-quantized",
    "mxfp4-pack-quantized",
    "mxfp8-quantized",
}
# What goes with small scales: their stored type, and what they are named.
SMALL_SCALES = {
    "nvfp4-pack-quantized": ("F8_E4M3", "torch.float8_e4m3fn"),
    "mxfp4-pack-quantized": ("U8", "torch.uint8"),
    "mxfp8-quantized": ("U8", "torch.uint8"),
}
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
E2M1 = np.concatenate([E2M1, -E2M1])
SUFFIXES = {
    "weight",
    "weight_packed",
    "weight_scale",
    "weight_zero_point",
    "weight_shape",
    "weight_global_scale",
    "weight_g_idx",
    "input_scale",
}
FUSED = [
    ("self_attn", ("q_proj", "k_proj", "v_proj")),
    ("mlp", ("gate_proj", "up_proj")),
]


def unpack(words, bits, count):
    """[rows, W] int32 -> [rows, count] unsigned codes.

    Element i of a row is bits i*b .. i*b+b-1 of a little-endian bit stream.
    """
    rows = words.shape[0]
    require(words.shape[1] == -(-count * bits // 32), f"{words.shape} words")
    octets = np.ascontiguousarray(words).astype("<i4").view(np.uint8)
    stream = np.unpackbits(octets.reshape(rows, -1), axis=1, bitorder="little")
    require(not stream[:, count * bits :].any(), "padding bits are not zero")
    stream = stream[:, : count * bits].reshape(rows, count, bits)
    return (stream.astype(np.int32) << np.arange(bits, dtype=np.int32)).sum(-1)


def check_args(args, where):
    require(
        not args.keys() - ARGS_KEYS, f"{where}: keys {args.keys() - ARGS_KEYS}"
    )
    require(args["type"] in ("int", "float"), f"{where}: type {args['type']}")
    require(type(args["num_bits"]) is int, f"{where}: num_bits")
    require(type(args["symmetric"]) is bool, f"{where}: symmetric")
    grouped = args["strategy"] in ("group", "tensor_group")
    size = args.get("group_size")
    require(
        (type(size) is int and size > 0) if grouped else size is None,
        f"{where}: group_size {size} with {args['strategy']}",
    )
    block = args.get("block_structure")
    require(
        (block is not None) == (args["strategy"] == "block"), f"{where}: block"
    )
    require(
        args.get("actorder") in ((None, "group") if grouped else (None,)),
        f"{where}: actorder",
    )


def check_config(quant):
    require(
        not quant.keys() - TOP_KEYS, f"unknown keys {quant.keys() - TOP_KEYS}"
    )
    require(
        not TOP_REQUIRED - quant.keys(),
        f"missing {TOP_REQUIRED - quant.keys()}",
    )
    require(quant["quant_method"] == "compressed-tensors", "quant_method")
    require(quant["quantization_status"] == "compressed", "quantization_status")
    require(quant["config_groups"], "no config groups")
    formats = set()
    for name, group in quant["config_groups"].items():
        require(not group.keys() - SCHEME_KEYS, f"{name}: keys {group.keys()}")
        require(group["targets"], f"{name}: no targets")
        check_args(group["weights"], f"{name}.weights")
        require(not group["weights"].get("dynamic"), f"{name}: dynamic weights")
        require(
            group["weights"]["strategy"]
            in ("tensor", "channel", "group", "block", "tensor_group"),
            f"{name}: strategy {group['weights']['strategy']}",
        )
        if group.get("input_activations"):
            check_args(group["input_activations"], f"{name}.input_activations")
        require(
            group.get("output_activations") is None,
            f"{name}: output activations",
        )
        formats.add(group.get("format") or quant["format"])
    require(formats <= FORMATS, f"formats {formats}")
    expected = formats.pop() if len(formats) == 1 else "mixed-precision"
    require(
        quant["format"] == expected, f"format {quant['format']}, not {expected}"
    )


def matches(pattern, module, class_name):
    """-> how specifically: 3 exact, 2 regex, 1 class, 0 not at all."""
    if pattern == module:
        return 3
    if pattern.startswith("re:"):
        return 2 if re.match(pattern[3:], module) else 0
    return 1 if pattern == class_name else 0


class Module:
    """One quantized Linear: its stored parts, checked against its arguments."""

    def __init__(self, name, parts, args, format_name, inputs=None):
        self.name, self.args, self.format = name, args, format_name
        self.parts = parts
        self.bits = args["num_bits"]
        packed = format_name == "pack-quantized"
        allowed = {"weight_packed", "weight_shape"} if packed else {"weight"}
        if "fp4" in format_name:
            allowed = {"weight_packed"}
        if format_name.startswith("nvfp4"):
            allowed |= {"weight_global_scale"}
        allowed |= {"weight_scale"} | (
            set() if args["symmetric"] else {"weight_zero_point"}
        )
        if args.get("actorder"):
            allowed |= {"weight_g_idx"}
        if inputs and not inputs["dynamic"]:
            allowed |= {"input_scale"}
        require(parts.keys() == allowed, f"{name}: tensors {sorted(parts)}")
        if "input_scale" in parts:
            st.check_input_scale(
                parts["input_scale"], name, ("F16", "BF16", "F32")
            )
        stored, named = SMALL_SCALES.get(format_name, (None, None))
        require(args.get("scale_dtype") == named, f"{name}: scale_dtype")
        require(
            stored in (None, parts["weight_scale"].dtype),
            f"{name}: scales {parts['weight_scale'].dtype}",
        )
        self.shape, self.codes = (
            self._read_packed()
            if packed
            else self._read_pairs()
            if "fp4" in format_name
            else self._read_plain()
        )
        self.scales = self._read_scales()
        self.zero_points = self._read_zero_points(packed)

    def _read_packed(self):
        shape, words = self.parts["weight_shape"], self.parts["weight_packed"]
        require(
            shape.dtype == "I64" and shape.shape == (2,),
            f"{self.name}: weight_shape",
        )
        rows, columns = (int(v) for v in st.raw(shape))
        require(
            words.dtype == "I32" and words.shape[0] == rows,
            f"{self.name}: weight_packed",
        )
        require(self.args["type"] == "int", f"{self.name}: packed floats")
        codes = unpack(st.raw(words), self.bits, columns)
        return (rows, columns), codes - (1 << (self.bits - 1))

    def _read_pairs(self):
        """Two FP4 codes to a byte, the first in the low nibble."""
        stored = self.parts["weight_packed"]
        require(stored.dtype == "U8", f"{self.name}: {stored.dtype}")
        require(
            (self.args["type"], self.bits) == ("float", 4), f"{self.name}: type"
        )
        pairs = st.raw(stored)
        codes = np.stack([pairs & 15, pairs >> 4], -1)
        shape = (pairs.shape[0], 2 * pairs.shape[1])
        return shape, codes.reshape(shape)

    def _read_plain(self):
        weight = self.parts["weight"]
        want = "I8" if self.args["type"] == "int" else "F8_E4M3"
        require(weight.dtype == want, f"{self.name}: weight is {weight.dtype}")
        require(
            self.args["type"] == "int" or self.bits == 8, f"{self.name}: bits"
        )
        codes = st.raw(weight).astype(np.int32)
        if want == "I8":
            low = -(1 << (self.bits - 1))
            require(
                codes.min() >= low and codes.max() < -low, f"{self.name}: codes"
            )
        else:
            require(
                not np.isnan(st.E4M3[codes]).any(), f"{self.name}: NaN codes"
            )
        return weight.shape, codes

    def scale_shape(self):
        rows, columns = self.shape
        strategy = self.args["strategy"]
        if strategy in ("group", "tensor_group"):
            size = self.args["group_size"]
            require(columns % size == 0, f"{self.name}: ragged groups")
            return (rows, columns // size)
        if strategy == "block":
            height, width = self.args["block_structure"]
            return (-(-rows // height), -(-columns // width))
        return {"tensor": (1,), "channel": (rows, 1)}[strategy]

    def _read_scales(self):
        stored = self.parts["weight_scale"]
        require(
            stored.shape == self.scale_shape(),
            f"{self.name}: scales {stored.shape}",
        )
        if self.format.startswith("mx"):
            scales = np.exp2(st.raw(stored).astype(np.float32) - 127)
        elif self.format.startswith("nvfp4"):
            # The tensor's scale is a divisor.
            divisor = self.parts["weight_global_scale"]
            require(
                divisor.dtype == "F32" and divisor.shape == (1,),
                f"{self.name}: weight_global_scale",
            )
            scales = st.E4M3[st.raw(stored)] / st.raw(divisor)
        else:
            scales = st.to_float32(stored)
        require(
            np.isfinite(scales).all() and (scales > 0).all(),
            f"{self.name}: scales",
        )
        return scales

    def _read_zero_points(self, packed):
        if self.args["symmetric"]:
            return np.zeros(self.scale_shape(), np.int32)
        stored, shape = self.parts["weight_zero_point"], self.scale_shape()
        # One zero point is stored as it is.
        if not packed or self.args["strategy"] == "tensor":
            require(
                stored.dtype == "I8" and stored.shape == shape,
                f"{self.name}: zeros",
            )
            return st.raw(stored).astype(np.int32)
        require(
            stored.dtype == "I32" and len(shape) == 2, f"{self.name}: zeros"
        )
        # Packed along the outputs: each column is a bit stream of its own.
        codes = unpack(st.raw(stored).T, self.bits, shape[0]).T
        require(codes.shape == shape, f"{self.name}: zeros {codes.shape}")
        return codes - (1 << (self.bits - 1))

    def spread(self, values):
        """One value per scale -> one value per weight [out, in]."""
        rows, columns = self.shape
        strategy = self.args["strategy"]
        if strategy == "tensor":
            return np.broadcast_to(values.reshape(1, 1), self.shape)
        if strategy == "channel":
            return np.broadcast_to(values, self.shape)
        if self.args.get("actorder"):
            return values[:, self.column_groups()]
        if strategy in ("group", "tensor_group"):
            return values.repeat(self.args["group_size"], axis=1)
        height, width = self.args["block_structure"]
        return values.repeat(height, 0).repeat(width, 1)[:rows, :columns]

    def column_groups(self):
        """The group of each column: the library sorts the columns by group and
        cuts them into groups of one size."""
        stored = self.parts["weight_g_idx"]
        columns, size = self.shape[1], self.args["group_size"]
        require(
            stored.dtype == "I32" and stored.shape == (columns,),
            f"{self.name}: weight_g_idx",
        )
        index = st.raw(stored)
        require(
            (np.sort(index) == np.arange(columns) // size).all(),
            f"{self.name}: groups are not of one size",
        )
        return index

    def dequantize(self):
        """[out, in] f32: one F32 product per weight."""
        if self.args["type"] == "float":
            table = E2M1 if self.bits == 4 else st.E4M3
            levels = table[self.codes]
        else:
            levels = (self.codes - self.spread(self.zero_points)).astype(
                np.float32
            )
        return levels * self.spread(self.scales)


class Artifact:
    """A compressed-tensors model directory."""

    def __init__(self, directory):
        with open(
            os.path.join(directory, "config.json"), encoding="utf-8"
        ) as file:
            self.config = json.load(file)
        self.quant = self.config["quantization_config"]
        check_config(self.quant)
        self.tensors = st.read_directory(directory)
        self.modules, self.plain = {}, {}
        self._sort_tensors()
        self._check_ignored()
        self._check_fused()

    def _sort_tensors(self):
        parts = {}
        for name, stored in self.tensors.items():
            module, suffix = st.module_of(name, SUFFIXES)
            if module:
                parts.setdefault(module, {})[suffix] = stored
            else:
                self.plain[name] = stored
        for name, stored in parts.items():
            if stored.keys() == {"weight"}:
                self.plain[name + ".weight"] = stored["weight"]
                continue
            group = self.group_of(name)
            require(
                group is not None,
                f"{name}: quantized, but no target matches it",
            )
            format_name = group.get("format") or self.quant["format"]
            self.modules[name] = Module(
                name,
                stored,
                group["weights"],
                format_name,
                group.get("input_activations"),
            )

    def group_of(self, module):
        """The scheme that a loader would apply to a Linear, or None."""
        if any(matches(p, module, "Linear") for p in self.quant["ignore"]):
            return None
        best = (0, None)
        for name in sorted(self.quant["config_groups"]):
            group = self.quant["config_groups"][name]
            rank = max(matches(t, module, "Linear") for t in group["targets"])
            if rank > best[0]:
                best = (rank, group)
        return best[1]

    def _check_ignored(self):
        """A Linear left as it was must be named, or loaders look for codes."""
        for name, stored in self.plain.items():
            module, suffix = st.module_of(name, {"weight"})
            if suffix and len(stored.shape) == 2 and "embed" not in module:
                require(
                    self.group_of(module) is None,
                    f"{module}: neither quantized nor ignored",
                )

    def _check_fused(self):
        linears = {
            n[: -len(".weight")] for n in self.plain if n.endswith(".weight")
        }
        for module in sorted(linears | self.modules.keys()):
            parent, _, leaf = module.rpartition(".")
            for owner, leaves in FUSED:
                if leaf in leaves and parent.endswith(owner):
                    groups = [
                        self.group_of(f"{parent}.{other}") for other in leaves
                    ]
                    require(
                        all(g == groups[0] for g in groups),
                        f"{parent}: {leaves} differ",
                    )


__all__ = ["Artifact", "FormatError", "Module", "check_config", "unpack"]
