"""GPTQ, AWQ, bitsandbytes and fp8 artifacts, read by readers that share no code
with the writer: every weight is as near to its original as its numbers allow,
everything that is not quantized is the source's, and the configuration makes
loaders take exactly the quantized modules as such.
"""

import json

import numpy as np
import pytest

import hf_readers as hf
import safetensors_reader as st
from test_artifacts import (
    BUNDLED,
    MODELS,
    check_manifest,
    check_public_reader_agrees,
    quantize,
    source_weights,
    split,
)

TINY = MODELS / "tiny-own"

# scheme and flags, format -> bits, group (0: the row), symmetric.
INTEGERS = {
    ("W4A16", "gptq"): (4, 128, True),
    ("W8A16", "gptq"): (8, 128, True),
    ("W3A16", "gptq"): (3, 128, True),
    ("W2A16 --group-size 64", "gptq"): (2, 64, True),
    ("W4A16 --group-size channel", "gptq"): (4, 0, True),
    ("W4A16_ASYM", "gptq"): (4, 128, False),
    ("W2A16 --asymmetric --group-size 32", "gptq"): (2, 32, False),
    ("W4A16", "gptq_v2"): (4, 128, True),
    ("W4A16_ASYM", "gptq_v2"): (4, 128, False),
    ("W3A16 --asymmetric --group-size 32", "gptq_v2"): (3, 32, False),
    ("W8A16 --asymmetric", "gptq_v2"): (8, 128, False),
    ("W2A16 --asymmetric --group-size channel", "gptq_v2"): (2, 0, False),
    ("W4A16_ASYM", "awq"): (4, 128, False),
    ("W4A16 --group-size 32", "awq"): (4, 32, True),
    ("W4A16_ASYM --group-size channel", "awq"): (4, 0, False),
}
# Scales in F32: the values are those of format "dequantized", bit for bit.
EXACT = [
    ("NF4", "bitsandbytes"),
    ("NF4 --group-size 128", "bitsandbytes"),
    ("NF4_DOUBLE", "bitsandbytes"),
    ("FP4", "bitsandbytes"),
    ("FP4_DOUBLE", "bitsandbytes"),
    ("LLM_INT8", "bitsandbytes"),
    ("FP8_BLOCK", "fp8"),
]


def check_plain(artifact, source):
    before = st.read_directory(source)
    for name, stored in artifact.plain.items():
        assert stored == before[name]._replace(file=stored.file), name
    quantized = {name + ".weight" for name in artifact.weights}
    assert quantized | artifact.plain.keys() == before.keys()
    assert quantized.isdisjoint(artifact.plain)


def check_all(directory, source):
    artifact = hf.open_artifact(directory)
    check_plain(artifact, source)
    check_manifest(directory)
    check_public_reader_agrees(directory)
    config = json.loads((directory / "config.json").read_text())
    config.pop("quantization_config")
    assert config == json.loads((source / "config.json").read_text())
    return artifact


def half_steps(weights, bits, size, symmetric):
    """Half a step of each weight's group, its scale rounded up to 8 bits."""
    rows, columns = weights.shape
    groups = weights.reshape(rows, -1, size or columns).astype(np.float64)
    high = np.maximum(groups.max(-1), 0)
    low = np.minimum(groups.min(-1), 0)
    width = 2 * np.maximum(high, -low) if symmetric else high - low
    step = width / (2**bits - 1) * (1 + 2.0**-7)
    return (step / 2).repeat(size or columns, axis=1)


@pytest.mark.parametrize("case", INTEGERS, ids=lambda c: " ".join(c))
def test_integers(case, tmp_path):
    flags, name = case
    bits, size, symmetric = INTEGERS[case]
    out = quantize(BUNDLED, tmp_path / "o", *split(flags), "--format", name)
    artifact = check_all(out, BUNDLED)
    assert len(artifact.weights) == 4 * 7
    assert artifact.settings["bits"] == bits
    assert artifact.settings["group_size"] == (size or -1)
    before = source_weights(BUNDLED)
    for module, weights in artifact.weights.items():
        original = before[module + ".weight"]
        error = np.abs(weights.astype(np.float64) - original)
        limit = half_steps(original, bits, size, symmetric)
        # An asymmetric range ends up to half a step beside its zero point.
        limit = limit * (1 if symmetric else 2) + 1e-6 * np.abs(original)
        assert (error <= limit).all(), f"{module}: {(error - limit).max()}"
    if name.startswith("gptq"):
        side = json.loads((out / "quantize_config.json").read_text())
        assert side == artifact.settings
        assert artifact.settings["sym"] is symmetric


@pytest.mark.parametrize("case", EXACT, ids=lambda c: " ".join(c))
@pytest.mark.parametrize("source", [BUNDLED, TINY], ids=lambda p: p.name)
def test_values_are_those_of_the_scheme(case, source, tmp_path):
    if not source.is_dir():
        # The project does not ship it.
        assert source != BUNDLED
        return
    flags, name = case
    skip = () if source == BUNDLED else ("--on-mismatch", "skip")
    out = quantize(
        source, tmp_path / "o", *split(flags), "--format", name, *skip
    )
    artifact = check_all(out, source)
    plain = quantize(
        source, tmp_path / "d", *split(flags), "--format", "dequantized"
    )
    values = source_weights(plain)
    before = source_weights(source)
    assert artifact.weights
    for module, weights in artifact.weights.items():
        assert (weights == values[module + ".weight"]).all(), module
        # And they are near: 4 bits keep a tenth of the signal's deviation.
        original = before[module + ".weight"]
        rmse = np.sqrt(np.mean((weights - original) ** 2.0))
        assert 0 < rmse < 0.13 * original.std(), module


def test_fp8_per_tensor_shares_the_scale_of_merged_modules(tmp_path):
    flags = ("--group-size", "tensor", "--format", "fp8")
    out = quantize(BUNDLED, tmp_path / "o", "--scheme", "FP8_DYNAMIC", *flags)
    artifact = check_all(out, BUNDLED)
    before = source_weights(BUNDLED)
    layer = "model.layers.0."
    for parts in (
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        ["mlp.gate_proj", "mlp.up_proj"],
        ["mlp.down_proj"],
    ):
        scales = {
            st.raw(artifact.parts[layer + p]["weight_scale"]).item()
            for p in parts
        }
        largest = max(np.abs(before[f"{layer}{p}.weight"]).max() for p in parts)
        assert len(scales) == 1
        np.testing.assert_allclose(scales.pop(), largest / 448, rtol=1e-6)


@pytest.mark.parametrize("case", [*INTEGERS][:8], ids=lambda c: " ".join(c))
def test_ragged_models_keep_what_does_not_fit(case, tmp_path):
    if not TINY.is_dir():
        return  # the project does not ship it
    flags, name = case
    out = quantize(
        TINY, tmp_path / "o", *split(flags), "--format", name,
        "--on-mismatch", "skip",
    )
    artifact = check_all(out, TINY)
    down = [m for m in artifact.weights if m.endswith("down_proj")]
    assert not down and artifact.weights  # 688 inputs are no multiple of 32
