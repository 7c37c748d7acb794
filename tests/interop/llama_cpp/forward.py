"""What each decoder family computes, in float64, from its Hugging Face weights.

Written from the public descriptions of the models, and short rather than fast.
Legend: t tokens, h hidden, n heads, d dimensions of a head.
"""

import math

import numpy as np

from checkpoints import head_dim


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Decoder:
    def __init__(self, config, weights):
        self.c = config
        self.w = {name: value.astype(np.float64) for name, value in weights.items()}
        self.name = config["architectures"][0]
        self.gemma = self.name.startswith("Gemma")
        self.activate = gelu if self.gemma else silu

    def norm(self, x, name):
        w = self.w[name + ".weight"] + (1 if self.gemma else 0)
        mean = (x * x).mean(-1, keepdims=True)
        return x / np.sqrt(mean + self.c["rms_norm_eps"]) * w

    def linear(self, x, name):
        return x @ self.w[name + ".weight"].T + self.w.get(name + ".bias", 0)

    def frequencies(self, layer):
        """Angles per position, and what cosines and sines are multiplied by."""
        c = self.c
        rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
        dims = int(head_dim(c) * c.get("partial_rotary_factor", 1))
        theta = c.get("rope_theta") or rope["rope_theta"]
        if self.is_local(layer) and "rope_local_base_freq" in c:
            theta, rope = c["rope_local_base_freq"], {}
        f = theta ** (-np.arange(0, dims, 2) / dims)
        kind = rope.get("rope_type", rope.get("type"))
        if kind == "linear":
            return f / rope["factor"], 1
        if kind == "llama3":
            return self.llama3(f, rope), 1
        if kind == "yarn":
            return self.yarn(f, rope, theta, dims)
        if kind == "longrope":
            original = c["original_max_position_embeddings"]
            s = c["max_position_embeddings"] / original
            return f / rope["long_factor"], math.sqrt(1 + math.log(s) / math.log(original))
        return f, 1

    def llama3(self, f, rope):
        length = 2 * math.pi / f
        original = rope["original_max_position_embeddings"]
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        s = (original / length - low) / (high - low)
        blend = ((1 - s) / rope["factor"] + s) * f
        out = np.where(length > original / low, f / rope["factor"], blend)
        return np.where(length < original / high, f, out)

    def yarn(self, f, rope, theta, dims):
        original = rope["original_max_position_embeddings"]

        def turn(rotations):
            return dims * math.log(original / (rotations * 2 * math.pi)) / (
                2 * math.log(theta)
            )

        low = max(math.floor(turn(32)), 0)
        high = min(math.ceil(turn(1)), dims - 1)
        ramp = np.clip((np.arange(dims // 2) - low) / max(high - low, 0.001), 0, 1)
        scaled = f / rope["factor"] * ramp + f * (1 - ramp)
        return scaled, 0.1 * math.log(rope["factor"]) + 1

    def rotate(self, x, layer):
        """x [t, n, d]; the halves of the rotated part are pairs."""
        f, scale = self.frequencies(layer)
        angles = np.arange(len(x))[:, None, None] * f
        cos, sin = np.cos(angles) * scale, np.sin(angles) * scale
        half = len(f)
        a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin, rest], -1)

    def is_local(self, layer):
        if self.name.startswith("Gemma2"):
            return layer % 2 == 0
        return self.name.startswith("Gemma3") and (layer + 1) % 6 != 0

    def attention(self, x, layer):
        c, at, d = self.c, f"model.layers.{layer}.self_attn.", head_dim(self.c)
        n, k = c["num_attention_heads"], c["num_key_value_heads"]
        if self.name.startswith("Phi3"):
            fused = self.linear(x, at + "qkv_proj")
            q, key, v = np.split(fused, [n * d, (n + k) * d], -1)
        else:
            q, key, v = (self.linear(x, f"{at}{p}_proj") for p in "qkv")
        t = len(x)
        q, key, v = q.reshape(t, n, d), key.reshape(t, k, d), v.reshape(t, k, d)
        if at + "q_norm.weight" in self.w:
            q, key = self.norm(q, at + "q_norm"), self.norm(key, at + "k_norm")
        q, key = self.rotate(q, layer), self.rotate(key, layer)
        key, v = np.repeat(key, n // k, 1), np.repeat(v, n // k, 1)
        scale = (c["query_pre_attn_scalar"] if self.gemma else d) ** -0.5
        scores = np.einsum("ind,jnd->nij", q, key) * scale
        if cap := c.get("attn_logit_softcapping"):
            scores = np.tanh(scores / cap) * cap
        i, j = np.arange(t)[:, None], np.arange(t)[None, :]
        hidden = j > i
        if self.is_local(layer):
            hidden |= i - j >= c["sliding_window"]
        scores = softmax(np.where(hidden, -np.inf, scores))
        out = np.einsum("nij,jnd->ind", scores, v).reshape(t, n * d)
        return self.linear(out, at + "o_proj")

    def gated(self, x, name, parts=("gate_proj", "up_proj", "down_proj")):
        gate, up, down = (f"{name}.{part}" for part in parts)
        inner = self.activate(self.linear(x, gate)) * self.linear(x, up)
        return self.linear(inner, down)

    def expert(self, x, at, index):
        stacked = at + "mlp.experts.gate_up_proj"
        if stacked in self.w:
            gate, up = np.split(self.w[stacked][index], 2)
            inner = silu(x @ gate.T) * (x @ up.T)
            return inner @ self.w[at + "mlp.experts.down_proj"][index].T
        if self.name.startswith("Mixtral"):
            name = f"{at}block_sparse_moe.experts.{index}"
            return self.gated(x, name, ("w1", "w3", "w2"))
        return self.gated(x, f"{at}mlp.experts.{index}")

    def experts(self, x, at):
        c, mixtral = self.c, self.name.startswith("Mixtral")
        router = at + ("block_sparse_moe.gate" if mixtral else "mlp.gate")
        p = softmax(self.linear(x, router))
        best = np.argsort(-p, -1)[:, : c["num_experts_per_tok"]]
        chosen = np.zeros_like(p)
        np.put_along_axis(chosen, best, np.take_along_axis(p, best, -1), -1)
        if mixtral or c["norm_topk_prob"]:
            chosen /= chosen.sum(-1, keepdims=True)
        out = sum(
            chosen[:, i : i + 1] * self.expert(x, at, i) for i in range(p.shape[-1])
        )
        if at + "mlp.shared_expert_gate.weight" in self.w:
            gate = self.linear(x, at + "mlp.shared_expert_gate")
            out += self.gated(x, at + "mlp.shared_expert") / (1 + np.exp(-gate))
        return out

    def network(self, x, layer):
        at = f"model.layers.{layer}."
        if self.name.startswith("Mixtral") or "Moe" in self.name:
            return self.experts(x, at)
        if self.name.startswith("Phi3"):
            gate, up = np.split(self.linear(x, at + "mlp.gate_up_proj"), 2, -1)
            return self.linear(silu(gate) * up, at + "mlp.down_proj")
        return self.gated(x, at + "mlp")

    def logits(self, tokens):
        x = self.w["model.embed_tokens.weight"][tokens]
        if self.gemma:
            x = x * math.sqrt(self.c["hidden_size"])
        for layer in range(self.c["num_hidden_layers"]):
            at = f"model.layers.{layer}."
            y = self.attention(self.norm(x, at + "input_layernorm"), layer)
            if self.name.startswith(("Gemma2", "Gemma3")):
                x = x + self.norm(y, at + "post_attention_layernorm")
                y = self.network(self.norm(x, at + "pre_feedforward_layernorm"), layer)
                x = x + self.norm(y, at + "post_feedforward_layernorm")
                continue
            x = x + y
            x = x + self.network(self.norm(x, at + "post_attention_layernorm"), layer)
        x = self.norm(x, "model.norm")
        head = self.w.get("lm_head.weight", self.w["model.embed_tokens.weight"])
        out = x @ head.T
        if cap := self.c.get("final_logit_softcapping"):
            out = np.tanh(out / cap) * cap
        return out
