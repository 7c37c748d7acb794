"""Tiny random checkpoints of every decoder family, as Hugging Face writes them."""

import json
import struct

import numpy as np

VOCABULARY = 320
LLAMA3_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_REGEX = LLAMA3_REGEX.replace(r"\p{N}{1,3}|", r"\p{N}|")


def config(class_name, **changes):
    base = {
        "architectures": [class_name],
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return {**base, **changes}


GEMMA = {
    "head_dim": 32,
    "tie_word_embeddings": True,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 32,
    "sliding_window": 8,
    "num_hidden_layers": 7,
}
QWEN_MOE = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

# name -> (config, tokenizer, experts stacked in the checkpoint)
FAMILIES = {
    "llama": (config("LlamaForCausalLM"), "spm", False),
    "llama-bias": (
        config("LlamaForCausalLM", attention_bias=True, mlp_bias=True),
        "spm",
        False,
    ),
    "llama3": (
        config("LlamaForCausalLM", head_dim=32, rope_scaling=LLAMA3_ROPE),
        "llama3",
        False,
    ),
    "llama3-v5": (
        config(
            "LlamaForCausalLM",
            rope_theta=None,
            rope_parameters={**LLAMA3_ROPE, "rope_theta": 5000.0},
            tie_word_embeddings=True,
        ),
        "llama3",
        False,
    ),
    "llama-linear": (
        config("LlamaForCausalLM", rope_scaling={"type": "linear", "factor": 2.0}),
        "spm",
        False,
    ),
    "mistral": (config("MistralForCausalLM", head_dim=32), "spm", False),
    "mixtral": (
        config("MixtralForCausalLM", num_local_experts=4, num_experts_per_tok=2),
        "spm",
        False,
    ),
    "qwen2": (config("Qwen2ForCausalLM"), "qwen2", False),
    "qwen2-yarn": (
        config(
            "Qwen2ForCausalLM",
            rope_scaling={
                "type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        ),
        "qwen2",
        False,
    ),
    "qwen3": (config("Qwen3ForCausalLM", head_dim=32), "qwen2", False),
    "qwen2moe": (
        config(
            "Qwen2MoeForCausalLM",
            shared_expert_intermediate_size=48,
            norm_topk_prob=False,
            **QWEN_MOE,
        ),
        "qwen2",
        False,
    ),
    "qwen3moe": (
        config("Qwen3MoeForCausalLM", head_dim=32, norm_topk_prob=True, **QWEN_MOE),
        "qwen2",
        False,
    ),
    "qwen3moe-stacked": (
        config("Qwen3MoeForCausalLM", head_dim=32, norm_topk_prob=True, **QWEN_MOE),
        "qwen2",
        True,
    ),
    "gemma": (config("GemmaForCausalLM", **GEMMA), "spm", False),
    "gemma2": (
        config(
            "Gemma2ForCausalLM",
            attn_logit_softcapping=50.0,
            final_logit_softcapping=30.0,
            **GEMMA,
        ),
        "spm",
        False,
    ),
    "gemma3": (
        config(
            "Gemma3ForCausalLM",
            **{**GEMMA, "rope_theta": 1000000.0},
            rope_local_base_freq=10000.0,
            rope_scaling={"rope_type": "linear", "factor": 2.0},
        ),
        "spm",
        False,
    ),
    "phi3": (config("Phi3ForCausalLM"), "spm", False),
    "phi4": (config("Phi3ForCausalLM", sliding_window=None), "llama3", False),
    "phi3-longrope": (
        config(
            "Phi3ForCausalLM",
            partial_rotary_factor=0.5,
            original_max_position_embeddings=32,
            rope_scaling={
                "type": "longrope",
                "long_factor": [1.0, 1.5, 2.5, 4.0],
                "short_factor": [1.0, 1.1, 1.2, 1.3],
            },
        ),
        "spm",
        False,
    ),
}


def head_dim(c):
    return c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]


def attention_shapes(c):
    name = c["architectures"][0]
    h, d = c["hidden_size"], head_dim(c)
    q, k = d * c["num_attention_heads"], d * c["num_key_value_heads"]
    out = {
        "input_layernorm.weight": (h,),
        "post_attention_layernorm.weight": (h,),
        "self_attn.o_proj.weight": (h, q),
    }
    if name.startswith(("Gemma2", "Gemma3")):
        out["pre_feedforward_layernorm.weight"] = (h,)
        out["post_feedforward_layernorm.weight"] = (h,)
    if name.startswith("Phi3"):
        return {**out, "self_attn.qkv_proj.weight": (q + 2 * k, h)}
    for part, rows in (("q", q), ("k", k), ("v", k)):
        out[f"self_attn.{part}_proj.weight"] = (rows, h)
        if name.startswith("Qwen2") or c.get("attention_bias"):
            out[f"self_attn.{part}_proj.bias"] = (rows,)
    if c.get("attention_bias"):
        out["self_attn.o_proj.bias"] = (h,)
    if name.startswith(("Qwen3", "Gemma3")):
        out["self_attn.q_norm.weight"] = out["self_attn.k_norm.weight"] = (d,)
    return out


def network_shapes(c, stacked):
    name = c["architectures"][0]
    h, f = c["hidden_size"], c["intermediate_size"]
    mixtral = name.startswith("Mixtral")
    if name.startswith("Phi3"):
        return {"mlp.gate_up_proj.weight": (2 * f, h), "mlp.down_proj.weight": (h, f)}
    if not mixtral and "Moe" not in name:
        out = {"gate_proj": (f, h), "up_proj": (f, h), "down_proj": (h, f)}
        shapes = {f"mlp.{part}.weight": shape for part, shape in out.items()}
        if c.get("mlp_bias"):
            shapes |= {f"mlp.{part}.bias": shape[:1] for part, shape in out.items()}
        return shapes
    x = f if mixtral else c["moe_intermediate_size"]
    e = c["num_local_experts"] if mixtral else c["num_experts"]
    block = "block_sparse_moe" if mixtral else "mlp"
    parts = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
    out = {f"{block}.gate.weight": (e, h)}
    if stacked:
        out["mlp.experts.gate_up_proj"] = (e, 2 * x, h)
        out["mlp.experts.down_proj"] = (e, h, x)
    for i in range(0 if stacked else e):
        for part, shape in zip(parts, ((x, h), (x, h), (h, x))):
            out[f"{block}.experts.{i}.{part}.weight"] = shape
    if name.startswith("Qwen2"):
        s = c["shared_expert_intermediate_size"]
        out["mlp.shared_expert_gate.weight"] = (1, h)
        out["mlp.shared_expert.gate_proj.weight"] = (s, h)
        out["mlp.shared_expert.up_proj.weight"] = (s, h)
        out["mlp.shared_expert.down_proj.weight"] = (h, s)
    return out


def weights(c, stacked, seed):
    shapes = {
        "model.embed_tokens.weight": (c["vocab_size"], c["hidden_size"]),
        "model.norm.weight": (c["hidden_size"],),
    }
    if not c["tie_word_embeddings"]:
        shapes["lm_head.weight"] = shapes["model.embed_tokens.weight"]
    for layer in range(c["num_hidden_layers"]):
        inner = {**attention_shapes(c), **network_shapes(c, stacked)}
        shapes |= {f"model.layers.{layer}.{k}": v for k, v in inner.items()}
    random = np.random.default_rng(seed)
    gemma = c["architectures"][0].startswith("Gemma")
    out = {}
    for name, shape in sorted(shapes.items()):
        values = random.normal(size=shape) / np.sqrt(shape[-1])
        if name.endswith("norm.weight"):
            values = random.normal(size=shape) * 0.2 + (0 if gemma else 1)
        elif "embed" in name or "router" in name or ".gate.weight" in name:
            values = random.normal(size=shape)
        out[name] = values.astype(np.float32)
    return out


def write_safetensors(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, values in tensors.items():
        end = at + values.nbytes
        header[name] = {
            "dtype": "F32",
            "shape": list(values.shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values in tensors.values():
            file.write(values.tobytes())


def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def message(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def piece(text, score, kind):
    data = message(1, text.encode()) + b"\x15" + struct.pack("<f", score)
    return message(1, data + b"\x18" + varint(kind))


def sentencepiece():
    pieces = [piece("<unk>", 0, 2), piece("<s>", 0, 3), piece("</s>", 0, 3)]
    pieces += [piece(f"<0x{i:02X}>", 0, 6) for i in range(256)]
    pieces += [piece("<|endoftext|>", 0, 3)]
    left = VOCABULARY - len(pieces)
    pieces += [piece(chr(0x4E00 + i), -float(i), 1) for i in range(left)]
    return b"".join(pieces) + message(2, b"\x18\x02") + message(3, b"\x18\x01")


def byte_level(regex, ignore_merges):
    tokens = ["<s0>", "<s1>", "<s2>"] + [chr(0x100 + i) for i in range(VOCABULARY - 3)]
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated"}
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    return json.dumps(
        {
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [{**split, "invert": False}, bytes_],
            },
            "model": {
                "type": "BPE",
                "ignore_merges": ignore_merges,
                "vocab": {token: i for i, token in enumerate(tokens)},
                "merges": ["\u0100 \u0101"],
            },
        }
    ).encode()


TOKENIZERS = {
    "spm": ("tokenizer.model", sentencepiece()),
    "llama3": ("tokenizer.json", byte_level(LLAMA3_REGEX, True)),
    "qwen2": ("tokenizer.json", byte_level(QWEN2_REGEX, False)),
}


def write(directory, name):
    """Writes a checkpoint; returns its config and weights."""
    c, tokenizer, stacked = FAMILIES[name]
    tensors = weights(c, stacked, sum(name.encode()))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(c))
    write_safetensors(directory / "model.safetensors", tensors)
    file, data = TOKENIZERS[tokenizer]
    (directory / file).write_bytes(data)
    return c, tensors
