"""Loads bitsandbytes artifacts with the bitsandbytes package.

1. The package reads our quant_state, and decodes every module; each weight must
   equal our reader's, bit for bit in F32.
2. Quantizing the original weights with the package must give our codes and our
   scales; how many bytes differ is printed (double quantization: the offset is a
   mean, summed in another order).
"""

import importlib.metadata
import os
import pathlib
import subprocess
import sys
import tempfile

import bitsandbytes.functional as bnb
import numpy as np
import torch

import hf_readers
import safetensors_reader as st

ROOT = pathlib.Path(__file__).resolve().parents[3]
MODEL = ROOT / "examples" / "tiny-own-pad768-bf16"
CASES = ["NF4", "NF4_DOUBLE", "FP4", "FP4_DOUBLE", "NF4 --group-size 128"]


def tensor(stored):
    return torch.from_numpy(np.ascontiguousarray(st.raw(stored)).copy())


def decode(parts):
    state = {
        name.removeprefix("weight."): tensor(stored)
        for name, stored in parts.items()
        if name != "weight"
    }
    quant_state = bnb.QuantState.from_dict(state, device=torch.device("cpu"))
    # Decoded in F32: nothing is rounded afterwards.
    quant_state.dtype = torch.float32
    weight = bnb.dequantize_4bit(tensor(parts["weight"]), quant_state)
    return weight.numpy(), quant_state


def differing_codes(parts, original, state):
    packed, _ = bnb.quantize_4bit(
        torch.from_numpy(original),
        blocksize=state.blocksize,
        quant_type=state.quant_type,
    )
    ours = np.frombuffer(parts["weight"].data, np.uint8)
    differ = values(packed.numpy().ravel(), state) != values(ours, state)
    return int(differ.any(-1).sum()), len(ours)


def values(octets, state):
    """What two codes stand for: FP4 has 0 and -0, which backends choose as
    they like."""
    return state.code.numpy()[np.stack([octets >> 4, octets & 15], -1)]


def check(case, directory):
    scheme, *flags = case.split()
    command = [os.environ["QUANTCTL"], "quantize", MODEL, "--scheme", scheme]
    command += [*flags, "--format", "bitsandbytes", "--output", directory]
    subprocess.run([*command, "--no-fsync"], check=True, capture_output=True)
    artifact = hf_readers.open_artifact(directory)
    originals = st.read_directory(MODEL)
    different, total, off = 0, 0, 0.0
    for name, ours in artifact.weights.items():
        parts = artifact.parts[name]
        theirs, state = decode(parts)
        off = max(off, float(np.abs(theirs - ours).max()))
        original = st.to_float32(originals[name + ".weight"])
        d, n = differing_codes(parts, original, state)
        different, total = different + d, total + n
    # Where FP4's numbers are equally near, the package's backends disagree.
    exact = case.startswith("NF4") and "DOUBLE" not in case
    good = off == 0 and (different == 0 or not exact)
    print(
        f"{case:24} {len(artifact.weights)} modules  largest difference {off}"
        f"  {different} of {total} code bytes differ"
        f"  {'ok' if good else 'DIFFERS'}",
        flush=True,
    )
    return good


def main():
    for package in ("torch", "bitsandbytes", "numpy"):
        print(f"{package} {importlib.metadata.version(package)}")
    with tempfile.TemporaryDirectory() as work:
        good = [check(c, f"{work}/{i}") for i, c in enumerate(CASES)]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
