"""Method awq on whole models: perplexity is better than by rounding to nearest.
Norms and weights are written scaled, so in every format NumPy runs what other
readers find there, and compares it with the source.

Where a directory of real models is at hand (QUANT_TEST_DATA, by default beside
the repository), they are quantized, too.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import gptq_reference as ref

QUANTCTL = os.environ["QUANTCTL"]
ROOT = pathlib.Path(__file__).resolve().parents[2]
BUNDLED = ROOT / "examples" / "tiny-own-pad768-bf16"
TOKENS = ROOT / "examples" / "tokens"
sys.path.insert(0, str(ROOT / "tests" / "evidence"))
import decode  # noqa: E402
import models  # noqa: E402

MODELS = {"tiny-own-pad768-bf16": (BUNDLED, TOKENS, "tiny-own_sampled", 256)}
for name, length in (("stories260K", 512), ("tiny-own", 256)):
    if (models.DATA / "models" / name).is_dir():
        MODELS[name] = (models.DATA / "models" / name, models.DATA / "text",
                        name, length)


def run(*arguments):
    done = subprocess.run(
        [QUANTCTL, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def quantize(name, out, *flags, calibrated=True):
    model, folder, text, length = MODELS[name]
    extra = ("--calibration", folder / f"{text}_calib.npy",
             "--sequence-length", length) if calibrated else ()
    run("quantize", model, "--output", out, *flags, *extra)


def perplexity(name, artifact):
    _, folder, text, length = MODELS[name]
    out = run("eval", artifact, "--evaluation", folder / f"{text}_eval.npy",
              "--sequence-length", length, "-o", "json")
    return json.loads(out)["perplexity"]


# bits, symmetric -> how much of what rounding costs may be left, at most
CASES = {(4, True): 0.9, (4, False): 0.9, (3, True): 0.8, (3, False): 0.8}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("bits,symmetric", CASES)
def test_perplexity_is_better_than_by_rounding(bits, symmetric, name, tmp_path):
    found = {"source": perplexity(name, MODELS[name][0])}
    scheme = ("--scheme", f"W{bits}A16", "--group-size", 64,
              "--symmetric" if symmetric else "--asymmetric",
              "--format", "dequantized")
    for how, flags in {
        "rtn": (), "mse": ("--scale", "mse"), "awq": ("--method", "awq"),
    }.items():
        quantize(name, tmp_path / how, *scheme, *flags,
                 calibrated=how == "awq")
        found[how] = perplexity(name, tmp_path / how)
    print(name, bits, symmetric, found)
    left = ((found["awq"] - found["source"])
            / (found["rtn"] - found["source"]))
    assert left < CASES[bits, symmetric]


def hidden(config, tensors, tokens):
    network = ref.Llama(config, tensors)
    states = [network.embed(window) for window in tokens]
    for layer in range(network.layers):
        states = network.block(layer, states)
    return np.stack(states)


@pytest.fixture(scope="module")
def source():
    config = json.loads((BUNDLED / "config.json").read_text())
    tokens = np.load(TOKENS / "tiny-own_sampled_eval.npy").reshape(-1, 256)[:2]
    tensors = {n: w.values for n, w in decode.weights(BUNDLED, config).items()}
    return config, tokens, hidden(config, tensors, tokens)


@pytest.mark.parametrize("form", ["compressed-tensors", "awq", "gptq",
                                  "gptq_v2", "dequantized"])
def test_other_readers_find_a_network_that_does_the_same(form, source, tmp_path):
    config, tokens, expected = source
    error = {}
    for method in ("rtn", "awq"):
        quantize("tiny-own-pad768-bf16", tmp_path / method, "--scheme",
                 "W4A16_ASYM", "--group-size", 64, "--format", form,
                 "--method", method, calibrated=method == "awq")
        found = decode.weights(tmp_path / method, config)
        tensors = {name: weight.values for name, weight in found.items()}
        delta = hidden(config, tensors, tokens) - expected
        error[method] = float((delta**2).sum() / (expected**2).sum())
    print(form, error)
    # A factor that was not undone would be an error of its own size.
    assert error["awq"] < error["rtn"] < 0.1
