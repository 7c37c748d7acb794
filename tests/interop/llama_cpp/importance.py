"""An importance matrix of a small Llama: per weight and input column the mean
square of what the column is multiplied with, over some text. The forward pass
is plain numpy over an F32 GGUF file.

Shapes: T tokens of a window, D width of the model, H heads (K of them for keys
and values) of C channels.
"""

import gguf
import numpy as np


class Llama:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.weights = {t.name: np.asarray(t.data) for t in reader.tensors}

        def key(name, default=None):
            field = reader.get_field("llama." + name)
            return field.contents() if field else default

        self.layers = key("block_count")
        self.heads = key("attention.head_count")
        self.kv_heads = key("attention.head_count_kv", self.heads)
        self.epsilon = key("attention.layer_norm_rms_epsilon")
        self.theta = key("rope.freq_base", 10000.0)
        self.sums = {}  # by the weight's name: sums of squares, and tokens
        self.count = 0

    def multiply(self, name, x):
        if name.startswith("blk."):
            squares = np.square(x).sum(axis=0, dtype=np.float64)
            self.sums[name] = self.sums.get(name, 0) + squares
        return x @ self.weights[name].T

    def norm(self, name, x):
        scale = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.epsilon)
        return x / scale * self.weights[name]

    def rotate(self, x):
        """x [T, heads, C]: channels 2i and 2i+1 turn by T theta^(-2i/C)."""
        tokens, _, channels = x.shape
        rates = self.theta ** (-np.arange(0, channels, 2) / channels)
        angles = np.arange(tokens)[:, None, None] * rates
        angles = angles.astype(np.float32)
        even, odd = x[..., 0::2], x[..., 1::2]
        out = np.empty_like(x)
        out[..., 0::2] = even * np.cos(angles) - odd * np.sin(angles)
        out[..., 1::2] = even * np.sin(angles) + odd * np.cos(angles)
        return out

    def attention(self, block, x):
        tokens = len(x)
        query = self.multiply(block + "attn_q.weight", x)
        key = self.multiply(block + "attn_k.weight", x)
        value = self.multiply(block + "attn_v.weight", x)
        query = self.rotate(query.reshape(tokens, self.heads, -1))
        key = self.rotate(key.reshape(tokens, self.kv_heads, -1))
        value = value.reshape(tokens, self.kv_heads, -1)
        shared = self.heads // self.kv_heads
        key, value = (np.repeat(a, shared, axis=1) for a in (key, value))
        scores = np.einsum("thc,shc->hts", query, key)
        scores /= np.float32(np.sqrt(query.shape[-1]))
        scores[:, np.triu(np.ones((tokens, tokens), bool), 1)] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = np.einsum("hts,shc->thc", scores, value).reshape(tokens, -1)
        return self.multiply(block + "attn_output.weight", mixed)

    def feed_forward(self, block, x):
        gate = self.multiply(block + "ffn_gate.weight", x)
        up = self.multiply(block + "ffn_up.weight", x)
        return self.multiply(
            block + "ffn_down.weight", gate / (1 + np.exp(-gate)) * up
        )

    def logits(self, window):
        self.count += len(window)
        x = self.weights["token_embd.weight"][window]
        for layer in range(self.layers):
            block = f"blk.{layer}."
            normed = self.norm(block + "attn_norm.weight", x)
            x = x + self.attention(block, normed)
            normed = self.norm(block + "ffn_norm.weight", x)
            x = x + self.feed_forward(block, normed)
        x = self.norm("output_norm.weight", x)
        head = "output.weight"
        if head not in self.weights:
            head = "token_embd.weight"
        return self.multiply(head, x)

    def means(self):
        return {
            name: (sums / self.count).astype(np.float32)
            for name, sums in self.sums.items()
        }

    def write(self, path, tokens_per_chunk):
        """The file that llama.cpp's imatrix program would write."""
        writer = gguf.GGUFWriter(path, "")
        writer.kv_data[0].clear()  # such files have no architecture
        writer.add_string("general.type", "imatrix")
        writer.add_array("imatrix.datasets", ["calibration tokens"])
        writer.add_uint32("imatrix.chunk_count", self.count // tokens_per_chunk)
        writer.add_uint32("imatrix.chunk_size", tokens_per_chunk)
        count = np.array([[self.count]], np.float32)
        for name, sums in sorted(self.sums.items()):
            row = sums.astype(np.float32)[None]
            writer.add_tensor(name + ".in_sum2", row)
            writer.add_tensor(name + ".counts", count)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
