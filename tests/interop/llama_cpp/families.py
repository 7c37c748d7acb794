"""Every decoder family: a tiny random checkpoint is converted by quantctl and
loaded by llama.cpp, whose logits must be those that the model's description
gives (forward.py).

    families.py QUANTCTL WORK_DIR [NAME...]
"""

import pathlib
import subprocess
import sys

import numpy as np

import checkpoints
import forward
import llama_cpp

CONTEXT = 64
TOKENS = 24
# Largest difference of a logit, in standard deviations of all logits. llama.cpp
# computes in float32, and looks GELU up in a table of half precision.
LIMIT = 1e-5
LIMIT_WITH_GELU = 2e-3


def convert(quantctl, source, target):
    command = [quantctl, "quantize", source, "--format", "gguf", "--scheme", "F32"]
    subprocess.run([*command, "--output", target], check=True, capture_output=True)
    (file,) = target.glob("*.gguf")
    return file


def difference(file, config, weights):
    tokens = np.random.default_rng(5).integers(3, checkpoints.VOCABULARY, TOKENS)
    expected = forward.Decoder(config, weights).logits(tokens)
    model = llama_cpp.Llama(
        str(file),
        n_ctx=CONTEXT,
        n_batch=CONTEXT,
        n_threads=1,
        logits_all=True,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        verbose=False,
    )
    model.eval([int(token) for token in tokens])
    found = model.scores[:TOKENS].astype(np.float64)
    return np.abs(found - expected).max() / expected.std()


def main():
    quantctl, work, *names = sys.argv[1:]
    for name in names or checkpoints.FAMILIES:
        directory = pathlib.Path(work) / name
        config, weights = checkpoints.write(directory / "source", name)
        file = convert(quantctl, directory / "source", directory / "out")
        found = difference(file, config, weights)
        gelu = config["architectures"][0].startswith("Gemma")
        limit = LIMIT_WITH_GELU if gelu else LIMIT
        print(f"{name:18} largest difference {found:.1e}, allowed {limit:.0e}")
        assert found <= limit, name


if __name__ == "__main__":
    main()
