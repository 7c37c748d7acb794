"""The forward pass of every architecture against decoder.py.

Each case is a small random model with one feature more than its neighbour.
Without that feature the figure must be another one: a feature that both sides
leave out would otherwise go unnoticed.
"""

import json
import os
import subprocess

import numpy as np
import pytest
from safetensors.numpy import save_file

from decoder import Decoder

QUANTCTL = os.environ["QUANTCTL"]
VOCABULARY, LENGTH, WINDOWS = 61, 40, 3
# Float32 sums of some dozen terms against float64.
RELATIVE = 2e-6

BASE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 44,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
LONGROPE = {
    "type": "longrope",
    "short_factor": [1.0, 1.1, 1.3, 1.6],
    "long_factor": [1.0, 1.5, 3.0, 6.0],
}
GEMMA = {
    "head_dim": 12,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 20,
    "attn_logit_softcapping": 2.0,
    "final_logit_softcapping": 3.0,
    "sliding_window": 7,
    "tie_word_embeddings": True,
}
MOE = {
    "num_experts": 6,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 20,
    "norm_topk_prob": True,
}
MIXTRAL = {"num_local_experts": 5, "num_experts_per_tok": 2}
QWEN_WINDOW = {
    "use_sliding_window": True,
    "sliding_window": 9,
    "max_window_layers": 1,
}

# name: (architecture, keys, keys of the same weights without the feature).
CASES = {
    "llama": ("Llama", {}, {"rope_theta": 500.0}),
    "llama one kv head per head": (
        "Llama",
        {"num_key_value_heads": 4},
        {"rms_norm_eps": 0.3},
    ),
    "llama head_dim": ("Llama", {"head_dim": 10}, {"rope_theta": 500.0}),
    "llama tied": (
        "Llama",
        {"tie_word_embeddings": True},
        {"rope_theta": 500.0},
    ),
    "llama gelu": ("Llama", {"hidden_act": "gelu"}, {"hidden_act": "silu"}),
    "llama linear": (
        "Llama",
        {"rope_scaling": {"type": "linear", "factor": 4.0}},
        {"rope_scaling": None},
    ),
    "llama dynamic": (
        "Llama",
        {
            "rope_scaling": {"rope_type": "dynamic", "factor": 3.0},
            "max_position_embeddings": 16,
        },
        {"rope_scaling": None},
    ),
    "llama dynamic, short": (
        "Llama",
        {"rope_scaling": {"rope_type": "dynamic", "factor": 3.0}},
        {"max_position_embeddings": 16},
    ),
    "llama 3": ("Llama", {"rope_scaling": LLAMA3}, {"rope_scaling": None}),
    "llama 3, new spelling": (
        "Llama",
        {
            "rope_theta": None,
            "rope_parameters": {**LLAMA3, "rope_theta": 5000.0},
        },
        {"rope_parameters": LLAMA3},
    ),
    "llama yarn": ("Llama", {"rope_scaling": YARN}, {"rope_scaling": None}),
    "llama yarn, mscale": (
        "Llama",
        {"rope_scaling": {**YARN, "mscale": 2.0, "mscale_all_dim": 0.5}},
        {"rope_scaling": YARN},
    ),
    "llama yarn, betas": (
        "Llama",
        {
            "rope_scaling": {
                **YARN,
                "beta_fast": 0.2,
                "beta_slow": 0.02,
                "attention_factor": 1.3,
            }
        },
        {"rope_scaling": {**YARN, "attention_factor": 1.3}},
    ),
    "mistral": ("Mistral", {"sliding_window": None}, {"rope_theta": 500.0}),
    "mistral window": (
        "Mistral",
        {"sliding_window": 5},
        {"sliding_window": None},
    ),
    "qwen 2": ("Qwen2", {"biases": "qkv"}, {"rope_theta": 500.0}),
    "qwen 2 window": (
        "Qwen2",
        {"biases": "qkv", **QWEN_WINDOW},
        {"use_sliding_window": False},
    ),
    "qwen 2 layer types": (
        "Qwen2",
        {
            "biases": "qkv",
            **QWEN_WINDOW,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        {"layer_types": None},
    ),
    "llama biases": (
        "Llama",
        {"biases": "qkvom", "attention_bias": True, "mlp_bias": True},
        {"rope_theta": 500.0},
    ),
    "qwen 3": ("Qwen3", {"head_dim": 12}, {"rope_theta": 500.0}),
    "gemma 2": ("Gemma2", GEMMA, {"sliding_window": 64}),
    "gemma 2 cap": ("Gemma2", GEMMA, {"attn_logit_softcapping": None}),
    "gemma 2 final cap": ("Gemma2", GEMMA, {"final_logit_softcapping": None}),
    "gemma 2 scalar": ("Gemma2", GEMMA, {"query_pre_attn_scalar": 12}),
    "phi 3": ("Phi3", {}, {"rope_theta": 500.0}),
    "phi 3 long": (
        "Phi3",
        {"rope_scaling": LONGROPE, "original_max_position_embeddings": 16},
        {"original_max_position_embeddings": 50},
    ),
    "phi 3 short": (
        "Phi3",
        {"rope_scaling": LONGROPE, "original_max_position_embeddings": 50},
        {"rope_scaling": None},
    ),
    "phi 3 partial": (
        "Phi3",
        {"partial_rotary_factor": 0.75},
        {"partial_rotary_factor": 1.0},
    ),
    "mixtral": ("Mixtral", MIXTRAL, {"num_experts_per_tok": 1}),
    "qwen 3 experts": (
        "Qwen3Moe",
        {"head_dim": 8, **MOE},
        {"norm_topk_prob": False},
    ),
    "qwen 3 experts, dense layer": (
        "Qwen3Moe",
        {"head_dim": 8, **MOE, "mlp_only_layers": [0]},
        {"num_experts_per_tok": 2},
    ),
    "qwen 3 experts, step": (
        "Qwen3Moe",
        {
            "head_dim": 8,
            **MOE,
            "norm_topk_prob": False,
            "decoder_sparse_step": 2,
        },
        {"norm_topk_prob": True},
    ),
}


class Weights:
    """Random tensors of one model, by name."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.tensors = {}

    def matrix(self, name, out, in_, bias=False):
        # Large enough for sharp attention and for caps to matter.
        w = self.random.normal(size=(out, in_)) * 1.6 / np.sqrt(in_)
        self.tensors[name + ".weight"] = w.astype(np.float32)
        if bias:
            b = self.random.normal(size=out) * 0.3
            self.tensors[name + ".bias"] = b.astype(np.float32)

    def norm(self, name, n, mean):
        w = mean + self.random.normal(size=n) * 0.2
        self.tensors[name + ".weight"] = w.astype(np.float32)

    def mlp(self, names, hidden, width, bias=False):
        gate, up, down = names
        self.matrix(gate, width, hidden, bias)
        self.matrix(up, width, hidden, bias)
        self.matrix(down, hidden, width, bias)


def add_attention(w, family, config, prefix, biases):
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    kv, d = (
        config["num_key_value_heads"],
        config.get("head_dim") or hidden // heads,
    )
    p = prefix + "self_attn."
    if family == "Phi3":
        w.matrix(p + "qkv_proj", (heads + 2 * kv) * d, hidden)
    else:
        w.matrix(p + "q_proj", heads * d, hidden, "q" in biases)
        w.matrix(p + "k_proj", kv * d, hidden, "k" in biases)
        w.matrix(p + "v_proj", kv * d, hidden, "v" in biases)
    w.matrix(p + "o_proj", hidden, heads * d, "o" in biases)
    if family.startswith("Qwen3"):
        w.norm(p + "q_norm", d, 1)
        w.norm(p + "k_norm", d, 1)


def add_mlp(w, decoder, layer, prefix, biases):
    config, family = decoder.config, decoder.family
    hidden, width = config["hidden_size"], config["intermediate_size"]
    if decoder.is_sparse(layer):
        mixtral = family == "Mixtral"
        p = prefix + ("block_sparse_moe." if mixtral else "mlp.")
        count = config["num_local_experts" if mixtral else "num_experts"]
        width = width if mixtral else config["moe_intermediate_size"]
        names = (
            ("w1", "w3", "w2")
            if mixtral
            else ("gate_proj", "up_proj", "down_proj")
        )
        w.matrix(p + "gate", count, hidden)
        for e in range(count):
            w.mlp([f"{p}experts.{e}.{n}" for n in names], hidden, width)
        return
    p = prefix + "mlp."
    if family == "Phi3":
        w.matrix(p + "gate_up_proj", 2 * width, hidden)
        w.matrix(p + "down_proj", hidden, width)
        return
    names = [p + n for n in ("gate_proj", "up_proj", "down_proj")]
    w.mlp(names, hidden, width, "m" in biases)


def random_weights(config, biases):
    decoder = Decoder(config, {})
    family, hidden = decoder.family, config["hidden_size"]
    mean = 0 if decoder.gemma else 1
    w = Weights(seed=7)
    w.matrix("model.embed_tokens", VOCABULARY, hidden)
    norms = ["input_layernorm", "post_attention_layernorm"]
    if decoder.gemma:
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        add_attention(w, family, config, prefix, biases)
        add_mlp(w, decoder, layer, prefix, biases)
        for name in norms:
            w.norm(prefix + name, hidden, mean)
    w.norm("model.norm", hidden, mean)
    if not config["tie_word_embeddings"]:
        w.matrix("lm_head", VOCABULARY, hidden)
    return w.tensors


def nll_of(config, weights, tokens):
    """Mean over windows and positions, the log-probabilities, and the decoder
    that found them."""
    decoder = Decoder(config, weights)
    rows = [decoder.log_probabilities(t)[:-1] for t in tokens]
    losses = [-r[np.arange(LENGTH - 1), t[1:]] for r, t in zip(rows, tokens)]
    return np.mean(losses), np.concatenate(rows), decoder


def check_layers(found, reference, model):
    """What is told of every block."""
    experts = model.config.get("num_local_experts") or model.config.get(
        "num_experts", 0
    )
    assert len(found) == len(model.states)
    for layer, figures in enumerate(found):
        h = np.concatenate(reference.states[layer])
        noise = np.sum((np.concatenate(model.states[layer]) - h) ** 2)
        if noise > 1e-9 * np.sum(h**2):
            sqnr = 10 * np.log10(np.sum(h**2) / noise)
            assert figures["outputSqnrDb"] == pytest.approx(sqnr, abs=1e-3)
        tokens = [model.expert_tokens[layer, e] for e in range(experts)]
        if not model.is_sparse(layer):
            tokens = []
        assert list(map(int, figures.get("expertTokens", []))) == tokens


def write_model(directory, config, weights):
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    save_file(weights, directory / "model.safetensors", {"format": "pt"})


def evaluate(*arguments):
    out = subprocess.run(
        [QUANTCTL, "eval", *map(str, arguments), "-o", "json"],
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(out.stdout)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "tokens.npy"
    ids = np.random.default_rng(1).integers(0, VOCABULARY, WINDOWS * LENGTH)
    np.save(path, ids.astype(np.int64))
    return path, ids.reshape(WINDOWS, LENGTH)


@pytest.mark.parametrize("name", CASES)
def test_architecture(name, tokens, tmp_path):
    path, ids = tokens
    architecture, keys, without = CASES[name]
    config = {**BASE, "architectures": [architecture + "ForCausalLM"], **keys}
    biases = config.pop("biases", "")
    config = {k: v for k, v in config.items() if v is not None}
    weights = random_weights(config, biases)
    write_model(tmp_path / "model", config, weights)
    expected, p, plain = nll_of(config, weights, ids)

    other = {k: v for k, v in {**config, **without}.items() if v is not None}
    control, q, without_it = nll_of(other, weights, ids)
    assert abs(control - expected) > 50 * RELATIVE * expected, "no difference"

    found = evaluate(
        tmp_path / "model", "--evaluation", path, "--sequence-length", LENGTH
    )
    assert int(found["windows"]) == WINDOWS
    assert found["nll"] == pytest.approx(expected, rel=RELATIVE)
    assert found["perplexity"] == pytest.approx(np.exp(expected), rel=1e-5)

    # The model without the feature, compared with the one that has it.
    write_model(tmp_path / "other", other, weights)
    found = evaluate(
        tmp_path / "other",
        "--evaluation",
        path,
        "--sequence-length",
        LENGTH,
        "--reference",
        tmp_path / "model",
    )
    kl = np.sort(np.sum(np.exp(p) * (p - q), axis=-1))
    assert found["nll"] == pytest.approx(control, rel=RELATIVE)
    assert found["referenceNll"] == pytest.approx(expected, rel=RELATIVE)
    assert found["klMean"] == pytest.approx(kl.mean(), rel=1e-3, abs=1e-9)
    assert found["klMax"] == pytest.approx(kl[-1], rel=1e-3, abs=1e-9)
    middle = kl[int(np.ceil(0.5 * len(kl))) - 1]
    assert found["klMedian"] == pytest.approx(middle, rel=1e-3, abs=1e-9)
    agreement = np.mean(p.argmax(-1) == q.argmax(-1))
    assert found["top1Agreement"] == pytest.approx(agreement, abs=1 / len(kl))
    check_layers(found["layers"], plain, without_it)
