"""GPTQ as its paper has it, and a Llama to feed it, in NumPy and float64.

Written after Frantar et al., "GPTQ" (2022), Algorithm 1, with the groups of its
published code, for comparison only. Shares no code with the program under test,
which factors the Hessian another way and computes in float32.
"""

import numpy as np

LINEARS = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
]


class Llama:
    """Blocks over sequences [S, T] of tokens; `seen` collects X^T X."""

    def __init__(self, config, tensors):
        self.config = config
        self.w = {k: v.astype(np.float64) for k, v in tensors.items()}
        self.heads = config["num_attention_heads"]
        self.kv = config["num_key_value_heads"]
        self.d = config["hidden_size"] // self.heads
        self.layers = config["num_hidden_layers"]

    def embed(self, tokens):
        return self.w["model.embed_tokens.weight"][tokens]

    def norm(self, x, name):
        eps = self.config["rms_norm_eps"]
        mean = np.mean(x * x, axis=-1, keepdims=True)
        return x / np.sqrt(mean + eps) * self.w[name + ".weight"]

    def rotate(self, x):  # [T, heads, d]
        half = self.d // 2
        base = self.config["rope_theta"] ** (-np.arange(half) / half)
        angle = np.arange(x.shape[0])[:, None] * base
        c = np.cos(angle)[:, None, :]
        s = np.sin(angle)[:, None, :]
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)

    def attend(self, q, k, v):  # of one sequence
        t = q.shape[0]
        q = self.rotate(q.reshape(t, self.heads, self.d))
        k = self.rotate(k.reshape(t, self.kv, self.d))
        v = v.reshape(t, self.kv, self.d)
        share = self.heads // self.kv
        hidden = np.triu(np.full((t, t), -np.inf), 1)
        out = np.empty((t, self.heads, self.d))
        for h in range(self.heads):
            scores = q[:, h] @ k[:, h // share].T / np.sqrt(self.d) + hidden
            p = np.exp(scores - scores.max(axis=-1, keepdims=True))
            out[:, h] = p / p.sum(axis=-1, keepdims=True) @ v[:, h // share]
        return out.reshape(t, -1)

    def block(self, layer, states, seen=None):
        prefix = f"model.layers.{layer}."

        def linear(name, x):
            if seen is not None:
                name_ = prefix + name
                seen[name_] = seen.get(name_, 0) + x.T @ x
            return x @ self.w[prefix + name + ".weight"].T

        out = []
        for h in states:
            x = self.norm(h, prefix + "input_layernorm")
            q, k, v = (linear(f"self_attn.{n}_proj", x) for n in "qkv")
            h = h + linear("self_attn.o_proj", self.attend(q, k, v))
            x = self.norm(h, prefix + "post_attention_layernorm")
            gate = linear("mlp.gate_proj", x)
            up = linear("mlp.up_proj", x)
            gated = gate / (1 + np.exp(-gate)) * up
            out.append(h + linear("mlp.down_proj", gated))
        return out


def grid(w, bits, symmetric):
    """Scale and zero point per row of one group, least and greatest code."""
    levels = 2**bits - 1
    if symmetric:
        most = np.abs(w).max(axis=1, keepdims=True)
        most[most == 0] = 1
        zero = np.full_like(most, 2 ** (bits - 1))
        scale = 2 * most / w.dtype.type(levels)
        return scale, zero, levels
    lo = np.minimum(w.min(axis=1, keepdims=True), 0)
    hi = np.maximum(w.max(axis=1, keepdims=True), 0)
    flat = (lo == 0) & (hi == 0)
    lo[flat], hi[flat] = -1, 1
    low, high = lo.astype(np.float64), hi.astype(np.float64)
    scale = ((high - low) / levels).astype(w.dtype)
    return scale, np.rint(-low / scale).astype(w.dtype), levels


def snap(w, parameters):
    scale, zero, levels = parameters
    q = np.clip(np.rint(w / scale) + zero, 0, levels)
    return (q - zero) * scale


def rtn(w, bits, group, symmetric):
    out = np.empty_like(w)
    for i in range(0, w.shape[1], group):
        part = w[:, i : i + group]
        out[:, i : i + group] = snap(part, grid(part, bits, symmetric))
    return out


def gptq(w, hessian, bits, group, symmetric, order=False, static=False):
    w = w.astype(np.float64)
    h = hessian.copy()
    n = w.shape[1]
    dead = np.diag(h) == 0
    h[dead, dead] = np.mean(np.diag(h)[~dead])
    fixed = [
        grid(w[:, i : i + group], bits, symmetric) for i in range(0, n, group)
    ]
    columns = np.arange(n)
    if order:
        columns = np.argsort(-np.where(dead, 0, np.diag(h)), kind="stable")
    w, h = w[:, columns], h[np.ix_(columns, columns)]
    h[np.arange(n), np.arange(n)] += 0.01 * np.mean(np.diag(h))
    upper = np.linalg.cholesky(np.linalg.inv(h)).T
    out = np.empty_like(w)
    for first in range(0, n, 128):
        last = min(first + 128, n)
        stale = w.copy()
        errors = np.zeros((w.shape[0], last - first))
        for i in range(first, last):
            if static:
                parameters = fixed[columns[i] // group]
            elif i % group == 0:
                parameters = grid(stale[:, i : i + group], bits, symmetric)
            out[:, i] = snap(w[:, i : i + 1], parameters)[:, 0]
            error = (w[:, i] - out[:, i]) / upper[i, i]
            w[:, i:last] -= np.outer(error, upper[i, i:last])
            errors[:, i - first] = error
        w[:, last:] -= errors @ upper[first:last, last:]
    back = np.empty_like(out)
    back[:, columns] = out
    return back.astype(np.float32)


def quantize(config, tensors, tokens, **how):
    """Every Linear of the blocks, each block seeing what became of the ones
    before."""
    model = Llama(config, tensors)
    out = dict(tensors)
    states = model.embed(tokens)
    for layer in range(model.layers):
        seen = {}
        model.block(layer, states, seen)
        for name in LINEARS:
            module = f"model.layers.{layer}.{name}"
            back = gptq(tensors[module + ".weight"], 2 * seen[module], **how)
            out[module + ".weight"] = back
            model.w[module + ".weight"] = back.astype(np.float64)
        states = model.block(layer, states)
    return out


def grams(config, tensors, tokens):
    """X^T X of every Linear of the blocks, of the model as it is."""
    model = Llama(config, tensors)
    seen = {}
    states = model.embed(tokens)
    for layer in range(model.layers):
        states = model.block(layer, states, seen)
    return seen


def output_nmse(tensors, quantized, seen):
    """Mean over the Linears of the squared error of outputs, relative."""
    ratios = []
    for module, gram in seen.items():
        w = tensors[module + ".weight"].astype(np.float64)
        d = quantized[module + ".weight"].astype(np.float64) - w
        ratios.append(np.sum(d @ gram * d) / np.sum(w @ gram * w))
    return float(np.mean(ratios))
