"""Decoder-only language models in NumPy, float64, one position at a time.

Written after the descriptions of the model families, for comparison only: no
batching, no tiles, heads one by one. Shares no code with the program under
test. Tensor names and config keys are those of Hugging Face checkpoints.
"""

import collections
import math

import numpy as np


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def softmax(x):
    e = np.exp(x - np.max(x))
    return e / np.sum(e)


ACTIVATIONS = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_pytorch_tanh": lambda x: 0.5
    * x
    * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
}


def rope_settings(config, sliding):
    """The scaling dictionary, theta and rotated share of a kind of layer."""
    settings = (
        config.get("rope_parameters") or config.get("rope_scaling") or {}
    )
    kind = "sliding_attention" if sliding else "full_attention"
    settings = settings.get(kind, settings)
    theta = settings.get("rope_theta", config.get("rope_theta", 10000.0))
    share = settings.get(
        "partial_rotary_factor", config.get("partial_rotary_factor", 1.0)
    )
    return settings, theta, share


def yarn(settings, theta, dim, base, limit):
    """Frequencies blended over a ramp, and the factor of the cosines."""
    factor = settings["factor"]

    def dimension(turns):
        ratio = limit / (turns * 2 * math.pi)
        return dim * math.log(ratio) / (2 * math.log(theta))

    low = max(math.floor(dimension(settings.get("beta_fast", 32))), 0)
    high = min(math.ceil(dimension(settings.get("beta_slow", 1))), dim - 1)
    width = high - low if high != low else 0.001
    out = []
    for j, f in enumerate(base):
        ramp = min(max((j - low) / width, 0), 1)
        out.append(f * (1 - ramp) + f / factor * ramp)

    def scale(m):
        return 0.1 * m * math.log(factor) + 1 if factor > 1 else 1.0

    if "attention_factor" in settings:
        return out, settings["attention_factor"]
    if settings.get("mscale") and settings.get("mscale_all_dim"):
        return out, scale(settings["mscale"]) / scale(
            settings["mscale_all_dim"]
        )
    return out, scale(1)


def rope_angles(config, head_dim, length, sliding):
    """(frequencies, factor on cosines and sines)."""
    settings, theta, share = rope_settings(config, sliding)
    dim = int(head_dim * share)
    longest = config["max_position_embeddings"]
    limit = settings.get(
        "original_max_position_embeddings",
        config.get("original_max_position_embeddings", longest),
    )
    kind = settings.get("rope_type", settings.get("type", "default"))
    if kind == "dynamic" and length > limit:
        stretch = settings["factor"] * length / limit - (
            settings["factor"] - 1
        )
        theta = theta * stretch ** (dim / (dim - 2))
    base = [theta ** (-2 * j / dim) for j in range(dim // 2)]
    if kind in ("default", "dynamic"):
        return base, 1.0
    if kind == "linear":
        return [f / settings["factor"] for f in base], 1.0
    if kind == "yarn":
        return yarn(settings, theta, dim, base, limit)
    if kind == "longrope":
        name = "long_factor" if length > limit else "short_factor"
        stretch = settings.get("factor", longest / limit)
        factor = 1.0
        if stretch > 1:
            factor = math.sqrt(1 + math.log(stretch) / math.log(limit))
        factor = settings.get("attention_factor", factor)
        return [f / s for f, s in zip(base, settings[name])], factor
    assert kind == "llama3", kind
    low, high = settings["low_freq_factor"], settings["high_freq_factor"]
    out = []
    for f in base:
        turns = limit * f / (2 * math.pi)
        if turns > high:
            out.append(f)
        elif turns < low:
            out.append(f / settings["factor"])
        else:
            smooth = (turns - low) / (high - low)
            out.append((1 - smooth) * f / settings["factor"] + smooth * f)
    return out, 1.0


def rotate(x, frequencies, factor):
    """Rows of x are positions 0, 1, ...; pairs are (j, j + half)."""
    out = x.copy()
    half = len(frequencies)
    positions = np.arange(len(x))
    for j, f in enumerate(frequencies):
        c, s = np.cos(positions * f) * factor, np.sin(positions * f) * factor
        out[:, j] = x[:, j] * c - x[:, j + half] * s
        out[:, j + half] = x[:, j + half] * c + x[:, j] * s
    return out


class Decoder:
    def __init__(self, config, weights):
        self.config = config
        self.weights = {k: v.astype(np.float64) for k, v in weights.items()}
        self.family = config["architectures"][0].removesuffix("ForCausalLM")
        # Of all texts so far: hidden states after each layer, and the positions
        # that each expert of a layer got.
        self.states = collections.defaultdict(list)
        self.expert_tokens = collections.Counter()
        self.heads = config["num_attention_heads"]
        self.kv_heads = config["num_key_value_heads"]
        self.hidden = config["hidden_size"]
        self.head_dim = config.get("head_dim") or self.hidden // self.heads
        self.gemma = self.family == "Gemma2"
        name = config.get("hidden_activation") or config.get("hidden_act")
        self.act = ACTIVATIONS[name]

    def linear(self, name, x):
        y = x @ self.weights[name + ".weight"].T
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias

    def norm(self, name, x):
        w = self.weights[name + ".weight"] + (1 if self.gemma else 0)
        return rms_norm(x, w, self.config["rms_norm_eps"])

    def window(self, layer):
        """How many positions a query of this layer sees."""
        size = self.config.get("sliding_window")
        kinds = self.config.get("layer_types")
        if kinds:
            return size if kinds[layer] == "sliding_attention" else None
        if self.family.startswith("Qwen"):
            if not self.config.get("use_sliding_window"):
                return None
            return size if layer >= self.config["max_window_layers"] else None
        if self.gemma:
            return size if layer % 2 == 0 else None
        return size

    def projections(self, prefix, x):
        q, k = self.heads * self.head_dim, self.kv_heads * self.head_dim
        if self.family == "Phi3":
            y = self.linear(prefix + "qkv_proj", x)
            return y[:, :q], y[:, q : q + k], y[:, q + k :]
        return tuple(self.linear(prefix + n + "_proj", x) for n in "qkv")

    def attention(self, layer, x):
        prefix = f"model.layers.{layer}.self_attn."
        length, d = len(x), self.head_dim
        window = self.window(layer)
        q, k, v = self.projections(prefix, x)
        frequencies, factor = rope_angles(
            self.config, d, length, window is not None
        )
        scale = self.config.get("query_pre_attn_scalar", d) ** -0.5
        cap = self.config.get("attn_logit_softcapping")
        out = np.zeros((length, self.heads * d))
        for head in range(self.heads):
            part = slice(head * d, (head + 1) * d)
            source = head // (self.heads // self.kv_heads)
            kv = slice(source * d, (source + 1) * d)
            qh, kh = q[:, part], k[:, kv]
            if prefix + "q_norm.weight" in self.weights:
                qh, kh = self.norm(prefix + "q_norm", qh), self.norm(
                    prefix + "k_norm", kh
                )
            qh = rotate(qh, frequencies, factor)
            kh = rotate(kh, frequencies, factor)
            for t in range(length):
                first = max(0, t - window + 1) if window else 0
                scores = kh[first : t + 1] @ qh[t] * scale
                if cap:
                    scores = cap * np.tanh(scores / cap)
                out[t, part] = softmax(scores) @ v[first : t + 1, kv]
        return self.linear(prefix + "o_proj", out)

    def gated(self, gate, up, down, x):
        return self.linear(
            down, self.act(self.linear(gate, x)) * self.linear(up, x)
        )

    def is_sparse(self, layer):
        if self.family == "Mixtral":
            return True
        if self.family != "Qwen3Moe":
            return False
        step = self.config.get("decoder_sparse_step", 1)
        only = self.config.get("mlp_only_layers") or []
        return layer not in only and (layer + 1) % step == 0

    def experts(self, layer, x):
        mixtral = self.family == "Mixtral"
        prefix = f"model.layers.{layer}." + (
            "block_sparse_moe." if mixtral else "mlp."
        )
        names = (
            ("w1", "w3", "w2")
            if mixtral
            else ("gate_proj", "up_proj", "down_proj")
        )
        out = np.zeros_like(x)
        for t, row in enumerate(x):
            p = softmax(self.linear(prefix + "gate", row))
            best = np.argsort(-p, kind="stable")[
                : self.config["num_experts_per_tok"]
            ]
            total = 1.0
            if mixtral or self.config.get("norm_topk_prob"):
                total = sum(p[best])
            for e in best:
                self.expert_tokens[layer, int(e)] += 1
                parts = [f"{prefix}experts.{e}.{n}" for n in names]
                out[t] += p[e] / total * self.gated(*parts, row)
        return out

    def mlp(self, layer, x):
        if self.is_sparse(layer):
            return self.experts(layer, x)
        prefix = f"model.layers.{layer}.mlp."
        if self.family == "Phi3":
            both = self.linear(prefix + "gate_up_proj", x)
            half = both.shape[-1] // 2
            gated = self.act(both[:, :half]) * both[:, half:]
            return self.linear(prefix + "down_proj", gated)
        return self.gated(
            *(prefix + n + "_proj" for n in ("gate", "up", "down")), x
        )

    def logits(self, tokens):
        embedding = self.weights["model.embed_tokens.weight"]
        x = embedding[tokens]
        if self.gemma:
            x = x * np.float64(np.float32(math.sqrt(self.hidden)))
        for layer in range(self.config["num_hidden_layers"]):
            p = f"model.layers.{layer}."
            y = self.attention(layer, self.norm(p + "input_layernorm", x))
            if self.gemma:
                y = self.norm(p + "post_attention_layernorm", y)
            x = x + y
            before = "pre_feedforward" if self.gemma else "post_attention"
            y = self.mlp(layer, self.norm(f"{p}{before}_layernorm", x))
            if self.gemma:
                y = self.norm(p + "post_feedforward_layernorm", y)
            x = x + y
            self.states[layer].append(x)
        x = self.norm("model.norm", x)
        y = x @ self.weights.get("lm_head.weight", embedding).T
        cap = self.config.get("final_logit_softcapping")
        return cap * np.tanh(y / cap) if cap else y

    def log_probabilities(self, tokens):
        y = self.logits(tokens)
        most = y.max(-1, keepdims=True)
        return y - most - np.log(np.exp(y - most).sum(-1, keepdims=True))
