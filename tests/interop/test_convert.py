"""quantctl convert, read before and after by readers that share no code with it:
the weights are the same bit for bit, and so is everything that is not quantized.
"""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest

import ct_reader as ct
import hf_readers as hf
import safetensors_reader as st
from test_artifacts import (
    BUNDLED,
    check_manifest,
    check_public_reader_agrees,
    quantize,
    split,
)

QUANTCTL = os.environ["QUANTCTL"]

# scheme and flags, format -> formats that it goes through.
ROUTES = {
    ("W4A16", "gptq"): ("awq", "compressed-tensors", "gptq"),
    ("W4A16_ASYM", "awq"): ("gptq_v2", "compressed-tensors", "awq"),
    ("W4A16_ASYM --method hqq", "gptq"): ("awq", "compressed-tensors", "gptq"),
    ("W4A16_ASYM --group-size channel", "compressed-tensors"): (
        "awq",
        "gptq_v2",
        "compressed-tensors",
    ),
    ("W8A16", "compressed-tensors"): ("gptq", "gptq_v2", "compressed-tensors"),
    ("W3A16 --asymmetric --group-size 32", "gptq_v2"): (
        "compressed-tensors",
        "gptq_v2",
    ),
    ("W2A16", "compressed-tensors"): ("gptq", "compressed-tensors"),
}


def convert(source, name, output, *flags):
    command = [QUANTCTL, "convert", source, "--to", name, "--output", output]
    command = [*map(str, command), "--no-fsync", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return output


def read(directory):
    """-> weights by module, everything else."""
    config = json.loads((directory / "config.json").read_text())
    if config["quantization_config"]["quant_method"] != "compressed-tensors":
        artifact = hf.open_artifact(directory)
        return artifact.weights, artifact.plain
    artifact = ct.Artifact(directory)
    weights = {n: m.dequantize() for n, m in artifact.modules.items()}
    return weights, artifact.plain


def expect_same(a, b):
    (left, plain), (right, other) = read(a), read(b)
    assert len(left) == 28 and left.keys() == right.keys()
    for name, weights in left.items():
        assert weights.dtype == np.float32
        assert weights.tobytes() == right[name].tobytes(), name
    assert plain.keys() == other.keys()
    for name, stored in plain.items():
        assert stored == other[name]._replace(file=stored.file), name


@pytest.mark.parametrize("case", ROUTES, ids=lambda c: " ".join(c))
def test_weights_stay_what_they_are(case, tmp_path):
    flags, name = case
    first = quantize(BUNDLED, tmp_path / "0", *split(flags), "--format", name)
    last = first
    for step, to in enumerate(ROUTES[case]):
        last = convert(last, to, tmp_path / f"{step + 1}")
        check_manifest(last)
        check_public_reader_agrees(last)
        expect_same(first, last)
        names = {p.name for p in last.iterdir()}
        assert ("quantize_config.json" in names) == to.startswith("gptq")
        assert "tokenizer.json" in names


def reorder(directory):
    """Makes act-order of a GPTQ model in order: groups of columns change
    places, each weight in its own way."""
    random = np.random.default_rng(3)
    path = directory / "model.safetensors"
    blob = bytearray(path.read_bytes())
    length = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + length])
    for name, entry in header.items():
        if not name.endswith(".g_idx"):
            continue
        begin, end = (8 + length + at for at in entry["data_offsets"])
        index = np.frombuffer(blob[begin:end], "<i4")
        blob[begin:end] = random.permutation(index).astype("<i4").tobytes()
    path.write_bytes(blob)
    for file in ("config.json", "quantize_config.json"):
        text = (directory / file).read_text()
        assert '"desc_act": false' in text
        (directory / file).write_text(
            text.replace('"desc_act": false', '"desc_act": true')
        )


@pytest.mark.parametrize("scheme", ["W4A16", "W3A16 --asymmetric"])
def test_act_order(scheme, tmp_path):
    plain = quantize(
        BUNDLED, tmp_path / "q", *split(scheme), "--format", "gptq"
    )
    first = tmp_path / "first"
    shutil.copytree(plain, first)
    reorder(first)
    before, after = read(plain)[0], read(first)[0]
    assert all((before[n] != after[n]).any() for n in before)
    packed = convert(first, "compressed-tensors", tmp_path / "ct")
    expect_same(first, packed)
    back = convert(packed, "gptq", tmp_path / "back")
    expect_same(first, back)
    for file in ("model.safetensors", "config.json", "quantize_config.json"):
        assert (back / file).read_bytes() == (first / file).read_bytes(), file
    # quantctl reads the groups as this reader does.
    values = tmp_path / "values"
    subprocess.run(
        [QUANTCTL, "dequantize", packed, "--output", values, "--no-fsync"],
        check=True,
        capture_output=True,
        timeout=300,
    )
    stored = st.read_directory(values)
    for name, weights in after.items():
        assert (st.to_float32(stored[name + ".weight"]) == weights).all(), name
