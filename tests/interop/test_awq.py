"""Method awq on whole models: nearer to the source than by rounding to nearest.
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
if (models.DATA / "models" / "stories260K").is_dir():
    MODELS["stories260K"] = (models.DATA / "models" / "stories260K",
                             models.DATA / "text", "stories260K", 512)
CALIBRATION, EVALUATION = 24, 16  # sequences


def run(*arguments):
    done = subprocess.run(
        [QUANTCTL, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def quantize(name, out, *flags, calibrated=True):
    model, folder, text, length = MODELS[name]
    extra = ("--calibration", folder / f"{text}_calib.npy",
             "--sequence-length", length, "--calibration-sequences",
             CALIBRATION) if calibrated else ()
    run("quantize", model, "--output", out, *flags, *extra)


def evaluate(name, artifact, work):
    model, folder, text, length = MODELS[name]
    ids = np.load(folder / f"{text}_eval.npy")[: EVALUATION * length]
    np.save(work / "text.npy", ids)
    out = run("eval", artifact, "--reference", model, "--evaluation",
              work / "text.npy", "--sequence-length", length, "-o", "json")
    found = json.loads(out)
    return found["perplexity"], found["klMean"]


# bits, symmetric -> divergence relative to rounding, at most
CASES = {(4, True): 0.8, (4, False): 0.85, (3, True): 0.75, (3, False): 0.8}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("bits,symmetric", CASES)
def test_it_is_nearer_than_rounding(bits, symmetric, name, tmp_path):
    found = {}
    for how in ("rtn", "awq"):
        quantize(name, tmp_path / how, "--scheme", f"W{bits}A16",
                 "--group-size", 64, "--method", how,
                 "--symmetric" if symmetric else "--asymmetric",
                 "--format", "dequantized", calibrated=how == "awq")
        found[how] = evaluate(name, tmp_path / how, tmp_path)
    print(name, bits, symmetric, found)
    assert found["awq"][1] < CASES[bits, symmetric] * found["rtn"][1]
    # With four bits, what is left of the small model's loss is noise.
    if bits == 3 or name == "stories260K":
        assert found["awq"][0] < found["rtn"][0]


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
