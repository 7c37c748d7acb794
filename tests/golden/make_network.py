"""Makes tests/golden/tiny-own-pad768-bf16.json: figures of the bundled model,
computed by tests/interop/decoder.py in float64.

    python3 tests/golden/make_network.py     (needs numpy)
"""

import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "interop"))
from decoder import Decoder  # noqa: E402

MODEL = ROOT / "examples" / "tiny-own-pad768-bf16"
TOKENS = ROOT / "examples" / "tokens" / "tiny-own_sampled_eval.npy"
LENGTH = 256


def read_bf16(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = np.frombuffer(data[8 + size + begin : 8 + size + end], "<u2")
        values = (raw.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def main():
    config = json.loads((MODEL / "config.json").read_text())
    decoder = Decoder(config, read_bf16(MODEL / "model.safetensors"))
    windows = np.load(TOKENS).reshape(-1, LENGTH)
    losses = []
    for window in windows:
        p = decoder.log_probabilities(window)
        losses.append(-p[np.arange(LENGTH - 1), window[1:]])
    ids = windows[0][:32]
    golden = {
        "made_by": "tests/golden/make_network.py",
        "perplexity": float(np.exp(np.mean(losses))),
        "ids": ids.tolist(),
        "last_logits": decoder.logits(ids)[-1][:32].tolist(),
    }
    path = pathlib.Path(__file__).with_name("tiny-own-pad768-bf16.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
