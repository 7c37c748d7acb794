"""Weights of an artifact as a third party reads them: by the public gguf
package, or by the numpy readers of tests/interop, which share no code with the
program under test.
"""

import json
import math
import pathlib
import sys
from typing import NamedTuple

import gguf
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "interop"))
import ct_reader
import hf_readers
import safetensors_reader as st

# The part of a GGUF name between "blk.N." and ".weight".
GGUF_LAYER_PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
GGUF_PARTS = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
PLAIN_TYPES = {"F32", "F16", "BF16"}


class Weight(NamedTuple):
    values: np.ndarray  # float32
    stored: str  # the type on disk
    bytes: int  # on disk, with scales and zero points


def hugging_face_name(name):
    """blk.3.attn_q.weight -> model.layers.3.self_attn.q_proj.weight"""
    stem = name.removesuffix(".weight")
    if not stem.startswith("blk."):
        return GGUF_PARTS[stem] + ".weight"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{GGUF_LAYER_PARTS[part]}.weight"


def unpermuted(values, heads):
    """Rows of q and k: GGUF has pairs side by side, Hugging Face apart."""
    rows, columns = values.shape
    pairs = values.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def gguf_weights(path, config):
    heads = {
        "q_proj": config["num_attention_heads"],
        "k_proj": config["num_key_value_heads"],
    }
    out = {}
    for tensor in gguf.GGUFReader(path).tensors:
        name = hugging_face_name(tensor.name)
        shape = [int(n) for n in reversed(tensor.shape)]
        data = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        values = data.astype(np.float32).reshape(shape)
        part = name.split(".")[-2]
        if part in heads:
            values = unpermuted(values, heads[part])
        kind = tensor.tensor_type.name
        out[name] = Weight(values, kind, int(tensor.n_bytes))
    return out


def plain_weights(tensors):
    return {
        name: Weight(st.to_float32(t), t.dtype, len(t.data))
        for name, t in tensors.items()
    }


def packed_weights(modules, parts):
    """Quantized modules; the tensors of a module may be empty or scalars."""
    out = {}
    for name, values in modules.items():
        size = sum(len(stored.data) for stored in parts[name].values())
        out[name + ".weight"] = Weight(values, "codes", size)
    return out


def weights(directory, config):
    """-> {Hugging Face name: Weight} of an artifact of any format."""
    directory = pathlib.Path(directory)
    files = sorted(directory.glob("*.gguf"))
    if files:
        assert len(files) == 1, files
        return gguf_weights(files[0], config)
    own = json.loads((directory / "config.json").read_text())
    method = own.get("quantization_config", {}).get("quant_method")
    if method is None:
        return plain_weights(st.read_directory(directory))
    if method == "compressed-tensors":
        artifact = ct_reader.Artifact(directory)
        modules = {n: m.dequantize() for n, m in artifact.modules.items()}
        parts = {n: m.parts for n, m in artifact.modules.items()}
    else:
        artifact = hf_readers.open_artifact(directory)
        modules, parts = artifact.weights, artifact.parts
    return plain_weights(artifact.plain) | packed_weights(modules, parts)


def bits_per_weight(found):
    count = sum(math.prod(w.values.shape) for w in found)
    return 8 * sum(w.bytes for w in found) / count
