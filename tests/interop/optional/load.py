"""Loads artifacts with the public packages, and compares with our reader.

1. compressed-tensors parses the configuration (it refuses unknown keys) and
   decompresses every module; each weight must equal our reader's, rounded to
   BF16 (the package multiplies in the scales' type).
   Compressing that weight again must give our bytes (not tried with FP8 and
   power-of-two scales, which its compressors take in another form).
2. transformers loads the directory as a model and scores the evaluation tokens;
   the loss must equal that of a model whose weights our reader dequantized.

Asymmetric packed artifacts stop after step 1: these releases expect unpacked
zero points when transformers loads a model, and packed ones everywhere else,
so that transformers can't load what the package itself writes either.
"""

import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationConfig
from loguru import logger

import ct_reader
import safetensors_reader as st

ROOT = pathlib.Path(__file__).resolve().parents[3]
MODEL = ROOT / "examples" / "tiny-own-pad768-bf16"
TOKENS = ROOT / "examples" / "tokens" / "tiny-own_sampled_eval.npy"
CASES = [
    "W8A16",
    "W7A16",
    "W6A16",
    "W5A16",
    "W4A16",
    "W3A16",
    "W2A16",
    "W4A16_ASYM",
    "W8A8",
    "FP8_DYNAMIC",
    "FP8_BLOCK",
    "NVFP4A16",
    "MXFP4A16",
    "MXFP8A16",
    "W4A16 --group-size 32",
    "W4A16 --group-size channel",
    "W4A16 --group-size tensor",
    "W4A16_ASYM --group-size tensor",
    "W3A16 --asymmetric --group-size channel",
    "W8A8 --group-size tensor",
    "FP8_DYNAMIC --group-size tensor",
    "FP8A16",
    "W4A16 --rule mlp.down=W8A16",
]
WINDOWS = 8
CONTEXT = 256
DTYPES = {
    "I8": torch.int8,
    "U8": torch.uint8,
    "F32": torch.float32,
    "I32": torch.int32,
    "I64": torch.int64,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
}


def tensor(stored):
    data = torch.frombuffer(bytearray(stored.data), dtype=DTYPES[stored.dtype])
    return data.reshape(stored.shape)


def octets(values):
    return values.flatten().clone().view(torch.uint8)


def compare(module, scheme):
    """The package reads our bytes as we do, and would write the same."""
    compressor = BaseCompressor.get_value_from_registry(module.format)
    state = {key: tensor(part) for key, part in module.parts.items()}
    weight = compressor.decompress(state, scheme)["weight"]
    ours = torch.from_numpy(module.dequantize())
    if not torch.equal(weight, ours.to(weight.dtype)):
        raise SystemExit(f"{module.name}: the package reads other weights")
    if module.format in ct_reader.SMALL_SCALES:
        return  # the package takes these scales in no form that is stored
    zeros = None
    if not module.args["symmetric"]:
        zeros = torch.from_numpy(module.zero_points.astype(np.int8))
    again = compressor.compress(
        {
            # In F32: the package divides in the weights' type.
            "weight": ours,
            "weight_scale": state["weight_scale"].float(),
            "weight_zero_point": zeros,
        },
        scheme,
    )
    del state["weight_scale"]
    for key, value in state.items():
        same = again[key].shape == value.shape
        same &= torch.equal(octets(again[key]), octets(value))
        if not same:
            raise SystemExit(f"{module.name}: the package writes other {key}")


def decompress_all(artifact):
    """-> modules compared; ends the program at the first difference."""
    config = QuantizationConfig.model_validate(artifact.quant)
    schemes = {
        json.dumps(raw, sort_keys=True): config.config_groups[name]
        for name, raw in artifact.quant["config_groups"].items()
    }
    for name, module in artifact.modules.items():
        raw = artifact.group_of(name)
        compare(module, schemes[json.dumps(raw, sort_keys=True)])
    return len(artifact.modules)


def losses(model):
    tokens = np.load(TOKENS)[: WINDOWS * CONTEXT].reshape(WINDOWS, CONTEXT)
    batch = torch.from_numpy(tokens.astype(np.int64))
    with torch.no_grad():
        logits = model(batch).logits.float()
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), batch[:, 1:].reshape(-1)
    ).item()


def load(directory):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.bfloat16
    )
    return model.eval()


def reference_loss(artifact):
    """The source model with the weights that our reader dequantized."""
    model = load(MODEL)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, module in artifact.modules.items():
            weights = torch.from_numpy(module.dequantize())
            parameters[name + ".weight"].copy_(weights.to(torch.bfloat16))
    return losses(model)


def quantize(case, output):
    scheme, *flags = case.split()
    command = [os.environ["QUANTCTL"], "quantize", MODEL, "--scheme", scheme]
    command += [*flags, "--output", output, "--no-fsync"]
    subprocess.run(command, check=True, capture_output=True)


def check(case, directory):
    quantize(case, directory)
    artifact = ct_reader.Artifact(directory)
    modules = decompress_all(artifact)
    groups = artifact.quant["config_groups"].values()
    line = f"{case:40} {artifact.quant['format']:16} {modules:3} modules equal"
    if not all(group["weights"]["symmetric"] for group in groups):
        print(f"{line}  (not loaded: see above)", flush=True)
        return True
    theirs, ours = losses(load(directory)), reference_loss(artifact)
    # Quantized activations change the loss; otherwise both run the same BF16
    # weights through the same code.
    activations = any(group["input_activations"] for group in groups)
    good = abs(theirs - ours) <= (0.02 if activations else 1e-3)
    print(
        f"{line}  loss {theirs:.4f}, by our reader {ours:.4f}"
        f"  {'ok' if good else 'DIFFERS'}",
        flush=True,
    )
    return good


def main():
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logger.disable("compressed_tensors")
    torch.manual_seed(0)
    print(f"python {platform.python_version()}")
    for package in (
        "torch",
        "compressed-tensors",
        "transformers",
        "safetensors",
        "numpy",
    ):
        print(f"{package} {importlib.metadata.version(package)}")
    print(
        "asymmetric packed artifacts are not loaded by transformers: it expects"
        " unpacked zero points, unlike the package that writes them"
    )
    print(f"source model in BF16: loss {losses(load(MODEL)):.4f}", flush=True)
    with tempfile.TemporaryDirectory() as work:
        good = [
            check(case, pathlib.Path(work) / str(i))
            for i, case in enumerate(CASES)
        ]
    print(f"{sum(good)} passed, {len(good) - sum(good)} failed")
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
