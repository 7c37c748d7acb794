"""GGUF files that others wrote, turned into checkpoints by quantctl.

The files are written by the public gguf package from NumPy arrays that are
rearranged here, after the description of the format; nothing is shared with the
program under test. Read back with the safetensors package, the tensors must be
those of the checkpoint, bit for bit.
"""

import json
import os
import pathlib
import subprocess
import sys

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer, decoders, models, normalizers, trainers

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "llama_cpp"))
import checkpoints  # noqa: E402

QUANTCTL = os.environ["QUANTCTL"]
EXAMPLE = HERE.parents[1] / "examples" / "tiny-own-pad768-bf16"
Q8_0 = gguf.GGMLQuantizationType.Q8_0

# HF name inside a block -> GGUF name.
BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.gate": "ffn_gate_inp",
    "block_sparse_moe.gate": "ffn_gate_inp",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
}
OUTER = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
EXPERT = {"w1": "gate", "w3": "up", "w2": "down"}
# Stacked checkpoints come back with one tensor per expert.
NAMES = [n for n in checkpoints.FAMILIES if n != "qwen3moe-stacked"]
# What the file can't say, or says in another way.
CHANGED = {"architectures", "attention_bias", "mlp_bias", "bos_token_id",
           "eos_token_id", "rope_scaling", "rope_parameters", "rope_theta"}


def run(*arguments, code=0):
    done = subprocess.run(
        [QUANTCTL, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def permuted(values, heads):
    """Row 2i + p of a head is row p * d/2 + i of the checkpoint."""
    rows = values.reshape(heads, 2, -1, *values.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(1, 2)).reshape(values.shape)


def rearranged(c, weights):
    name = c["architectures"][0]
    gemma, llama = name.startswith("Gemma"), name[:3] in ("Lla", "Mis", "Mix")
    sandwich = name.startswith(("Gemma2", "Gemma3"))
    out, experts = {}, {}
    for key, values in weights.items():
        module, kind = key.rsplit(".", 1)
        if module in OUTER:
            place = OUTER[module]
        else:
            _, _, layer, inner = module.split(".", 3)
            if ".experts." in inner:
                _, _, expert, part = inner.split(".")
                part = EXPERT.get(part, part.removesuffix("_proj"))
                stack = f"blk.{layer}.ffn_{part}_exps.weight"
                experts.setdefault(stack, {})[int(expert)] = values
                continue
            if inner == "post_attention_layernorm":
                place = "post_attention_norm" if sandwich else "ffn_norm"
            else:
                place = BLOCK[inner]
            place = f"blk.{layer}.{place}"
        if llama and place.endswith("attn_q"):
            values = permuted(values, c["num_attention_heads"])
        if llama and place.endswith("attn_k"):
            values = permuted(values, c["num_key_value_heads"])
        if gemma and key.endswith("norm.weight"):
            values = values + np.float32(1)
        out[f"{place}.{kind}"] = values
    for stack, parts in experts.items():
        out[stack] = np.stack([parts[i] for i in range(len(parts))])
    return out


def add_rope(writer, arch, c, out):
    scaling = c.get("rope_scaling") or c.get("rope_parameters") or {}
    theta = c.get("rope_theta") or scaling.get("rope_theta", 10000.0)
    writer.add_rope_freq_base(theta)
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    half = checkpoints.head_dim(c) // 2
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(scaling["factor"])
        writer.add_rope_scaling_orig_ctx_len(
            scaling["original_max_position_embeddings"]
        )
    elif kind == "llama3":
        context = scaling["original_max_position_embeddings"]
        length = 2 * np.pi * theta ** (np.arange(half) / half)
        s = (context / length - 1) / 3
        blend = 1 / ((1 - s) / scaling["factor"] + s)
        factors = np.where(length < context / 4, 1, blend)
        factors = np.where(length > context, scaling["factor"], factors)
        out["rope_freqs.weight"] = factors.astype(np.float32)
    elif kind == "longrope":
        context = c["original_max_position_embeddings"]
        writer.add_rope_scaling_orig_ctx_len(context)
        stretch = c["max_position_embeddings"] / context
        writer.add_rope_scaling_attn_factors(
            np.sqrt(1 + np.log(stretch) / np.log(context))
        )
        for which in ("long", "short"):
            out[f"rope_factors_{which}.weight"] = np.array(
                scaling[f"{which}_factor"], np.float32
            )
        assert arch == "phi3"


def add_keys(writer, arch, c):
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(c["hidden_size"])
    writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_head_count(c["num_attention_heads"])
    writer.add_head_count_kv(c["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    if c.get("head_dim"):
        writer.add_key_length(c["head_dim"])
        writer.add_value_length(c["head_dim"])
    if "partial_rotary_factor" in c:
        writer.add_rope_dimension_count(
            int(checkpoints.head_dim(c) * c["partial_rotary_factor"])
        )
    if c.get("sliding_window") and arch in ("gemma2", "gemma3", "phi3"):
        writer.add_sliding_window(c["sliding_window"])
    if "attn_logit_softcapping" in c:
        writer.add_attn_logit_softcapping(c["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(c["final_logit_softcapping"])
    experts = c.get("num_local_experts") or c.get("num_experts")
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(c["num_experts_per_tok"])
    if "moe_intermediate_size" in c:
        writer.add_expert_feed_forward_length(c["moe_intermediate_size"])
    if "shared_expert_intermediate_size" in c:
        writer.add_expert_shared_feed_forward_length(
            c["shared_expert_intermediate_size"]
        )


ARCHITECTURES = {
    "Mistral": "llama", "Mixtral": "llama", "Qwen2Moe": "qwen2moe",
    "Qwen3Moe": "qwen3moe",
}


def write(path, name, quantize=False, **options):
    """A file for a checkpoint; returns the config, and what comes back."""
    c, _, stacked = checkpoints.FAMILIES[name]
    weights = checkpoints.weights(c, stacked, sum(name.encode()))
    family = c["architectures"][0].removesuffix("ForCausalLM")
    arch = ARCHITECTURES.get(family, family.lower())
    writer = gguf.GGUFWriter(path, arch, **options)
    add_keys(writer, arch, c)
    tensors = rearranged(c, weights)
    add_rope(writer, arch, c, tensors)
    expected = dict(weights)
    for key, values in expected.items():
        if arch.startswith("gemma") and key.endswith("norm.weight"):
            expected[key] = (values + np.float32(1)) - np.float32(1)
    for key, values in tensors.items():
        if quantize and values.ndim > 1 and "gate_inp" not in key:
            codes = gguf.quants.quantize(values, Q8_0)
            writer.add_tensor(key, codes, raw_dtype=Q8_0)
        else:
            writer.add_tensor(key, values.squeeze())
    if quantize:
        for key, values in expected.items():
            if values.ndim > 1 and ".gate.weight" not in key and (
                "expert_gate" not in key
            ):
                codes = gguf.quants.quantize(values, Q8_0)
                expected[key] = gguf.quants.dequantize(codes, Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return c, expected


def check(directory, expected):
    found = load_file(directory / "model.safetensors")
    assert set(found) == set(expected)
    for key, values in expected.items():
        assert found[key].shape == values.shape, key
        assert np.array_equal(found[key], values.astype(np.float32)), key


@pytest.mark.parametrize("name", NAMES)
def test_a_file_becomes_its_checkpoint(name, tmp_path):
    c, expected = write(tmp_path / "m.gguf", name)
    _, notes = run("dequantize", tmp_path / "m.gguf", "--output", tmp_path / "o")
    assert "no tokenizer" in notes
    check(tmp_path / "o", expected)
    config = json.loads((tmp_path / "o" / "config.json").read_text())
    # The first Gemma has neither, and its files say neither.
    extra = {"query_pre_attn_scalar", "sliding_window"} if name == "gemma" else {}
    for key in set(c) - CHANGED - set(extra):
        assert config[key] == c[key], key
    if not name.startswith("mistral"):
        assert config["architectures"] == c["architectures"]
    old = dict(c.get("rope_scaling") or {})
    if not old and "rope_parameters" in c:
        old = dict(c["rope_parameters"])
        assert config["rope_theta"] == old.pop("rope_theta")
    # "type" is the older name of "rope_type".
    for scaling in (old, new := config["rope_scaling"] or {}):
        if "type" in scaling:
            scaling["rope_type"] = scaling.pop("type")
    assert new == old


@pytest.mark.parametrize("name", ["llama", "mixtral", "gemma2", "phi3"])
def test_codes_become_what_the_package_decodes(name, tmp_path):
    _, expected = write(tmp_path / "m.gguf", name, quantize=True)
    run("dequantize", tmp_path / "m.gguf", "--output", tmp_path / "o")
    check(tmp_path / "o", expected)


def test_a_split_file_is_one_checkpoint(tmp_path):
    _, expected = write(tmp_path / "m.gguf", "llama", split_max_tensors=7)
    first = sorted(tmp_path.glob("m-*.gguf"))[0]
    run("dequantize", first, "--output", tmp_path / "o")
    check(tmp_path / "o", expected)


TEXTS = [
    "Once upon a time, there was a little girl; she didn't know 12345 things.",
    "  two spaces,\ttabs\n\n\nand lines ",
    "ΑΒΓ \u00e9t\u00e9 \U0001f600 漢字 \u0000 end",
    "",
    "<s>special</s> text<s>",
]


def ids(path):
    tokenizer = Tokenizer.from_file(str(path))
    return [tokenizer.encode(text).ids for text in TEXTS]


def through_gguf(source, work):
    run("quantize", source, "--scheme", "F16", "--format", "gguf", "--output",
        work / "g", "--no-fsync")
    (file,) = (work / "g").glob("*.gguf")
    run("dequantize", file, "--output", work / "o", "--no-fsync")
    return work / "o" / "tokenizer.json"


def test_a_byte_level_tokenizer_cuts_text_as_before(tmp_path):
    back = through_gguf(EXAMPLE, tmp_path)
    assert ids(back) == ids(EXAMPLE / "tokenizer.json")
    tokenizer = Tokenizer.from_file(str(back))
    for text in TEXTS[:2]:
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_a_sentencepiece_tokenizer_cuts_text_as_before(tmp_path):
    """Merges become scores, and scores merges."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True,
                                     byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(),
         decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=special,
                                  show_progress=False)
    words = " ".join(TEXTS) + (HERE.parents[1] / "README.md").read_text()
    tokenizer.train_from_iterator(words.splitlines() * 2, trainer)
    name = "llama"
    c, weights = checkpoints.write(tmp_path / "source", name)
    (tmp_path / "source" / "tokenizer.model").unlink()
    described = json.loads(tokenizer.to_str())
    # Bytes are pieces, not tokens that text may spell.
    described["added_tokens"] = described["added_tokens"][:3]
    count = len(described["model"]["vocab"])
    for key in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[key] = np.zeros((count, c["hidden_size"]), np.float32)
    (tmp_path / "source" / "config.json").write_text(
        json.dumps({**c, "vocab_size": count})
    )
    checkpoints.write_safetensors(
        tmp_path / "source" / "model.safetensors", weights
    )
    path = tmp_path / "source" / "tokenizer.json"
    path.write_text(json.dumps(described))
    back = through_gguf(tmp_path / "source", tmp_path)
    # SentencePiece models begin with <s>, which this tokenizer.json left to
    # tokenizer_config.json.
    assert [x[1:] for x in ids(back)] == ids(path)
    assert {x[0] for x in ids(back)} == {1}
    found = Tokenizer.from_file(str(back))
    for text in TEXTS[:3]:
        assert found.decode(found.encode(text).ids) == text
