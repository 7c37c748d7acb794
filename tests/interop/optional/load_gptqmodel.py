"""Loads gptq and gptq_v2 artifacts with the gptqmodel package, on the CPU.

1. The package finds a kernel for every module and dequantizes it; each weight
   must equal our reader's, both rounded to the type of the package's product.
2. The loaded model scores the evaluation tokens; the loss must be near that of
   the unquantized model, which a wrong order of codes would not survive.
"""

import importlib.metadata
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers
from gptqmodel import BACKEND, GPTQModel

import hf_readers

ROOT = pathlib.Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
MODEL = EXAMPLES / "tiny-own-pad768-bf16"
TOKENS = EXAMPLES / "tokens" / "tiny-own_sampled_eval.npy"
CALIBRATION = EXAMPLES / "tokens" / "tiny-own_sampled_calib.npy"
GPTQ = f"--method gptq --calibration {CALIBRATION} --sequence-length 256"
# Format, recipe, how much the loss may grow.
CASES = [
    ("gptq", "W8A16", 0.01),
    ("gptq", "W4A16", 0.1),
    ("gptq", "W4A16 --group-size 32", 0.1),
    ("gptq", "W4A16 --group-size channel", 0.1),
    ("gptq", "W3A16", 0.3),
    ("gptq", "W2A16 --group-size 32", 1.0),
    ("gptq", f"W4A16 {GPTQ}", 0.1),
    ("gptq", f"W4A16 {GPTQ} --act-order", 0.1),
    ("gptq_v2", "W8A16", 0.01),
    ("gptq_v2", "W4A16", 0.1),
    ("gptq_v2", "W4A16_ASYM", 0.1),
]
# The package takes these only from itself (or as gptq_v2), because older writers
# got the zero points of version 1 wrong.
REFUSED = ("gptq", "W4A16_ASYM")
WINDOWS = 8
CONTEXT = 256


def write(form, recipe, directory):
    scheme, *flags = recipe.split()
    command = [os.environ["QUANTCTL"], "quantize", MODEL, "--scheme", scheme]
    command += [*flags, "--format", form, "--output", directory, "--no-fsync"]
    subprocess.run(command, check=True, capture_output=True)


def loss(model):
    tokens = np.load(TOKENS)[: WINDOWS * CONTEXT].reshape(WINDOWS, CONTEXT)
    batch = torch.from_numpy(tokens.astype(np.int64))
    with torch.no_grad():
        logits = model(input_ids=batch).logits.float()
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), batch[:, 1:].reshape(-1)
    ).item()


def differences(model, artifact):
    """-> modules, largest difference of a weight in steps of its rounding."""
    modules, off = 0, 0.0
    for name, module in model.named_modules():
        if not hasattr(module, "qweight"):
            continue
        modules += 1
        theirs = module.dequantize_weight().detach()
        ours = torch.from_numpy(artifact.weights[name].T.copy())
        ours = ours.to(theirs.dtype)
        step = torch.finfo(theirs.dtype).eps * ours.float().abs().max()
        apart = (theirs.float() - ours.float()).abs().max() / step
        off = max(off, apart.item())
    return modules, off


def check(form, recipe, allowed, source_loss, directory):
    write(form, recipe, directory)
    loaded = GPTQModel.load(
        directory, backend=BACKEND.GPTQ_TORCH, device="cpu"
    )
    artifact = hf_readers.open_artifact(directory)
    modules, off = differences(loaded.model, artifact)
    found = loss(loaded.model)
    good = modules == len(artifact.weights) and off <= 1
    good = good and found <= source_loss + allowed
    shown = recipe.replace(GPTQ, "--method gptq")
    print(
        f"{form:8} {shown:40} {modules} modules  off by {off:.2f} steps"
        f"  loss {found:.4f}  {'ok' if good else 'DIFFERS'}",
        flush=True,
    )
    return good


def refused(form, recipe, directory):
    write(form, recipe, directory)
    try:
        GPTQModel.load(directory, backend=BACKEND.GPTQ_TORCH, device="cpu")
    except ValueError as error:
        print(f"{form:8} {recipe:40} refused, as the table says: {error}")
        return True
    print(f"{form:8} {recipe:40} loaded: the table is out of date")
    return False


def main():
    for package in ("torch", "gptqmodel", "transformers", "numpy"):
        print(f"{package} {importlib.metadata.version(package)}")
    source = transformers.AutoModelForCausalLM.from_pretrained(MODEL)
    source_loss = loss(source)
    print(f"loss of the source {source_loss:.4f}", flush=True)
    with tempfile.TemporaryDirectory() as work:
        good = [
            check(*case, source_loss, f"{work}/{i}")
            for i, case in enumerate(CASES)
        ]
        good.append(refused(*REFUSED, f"{work}/refused"))
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
