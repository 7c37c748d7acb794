"""Every registered name has its evidence, and the script that makes it works:
one small case is measured, and a weight that fell back fails.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import cases
import decode
import evidence
import measure
import models

CONTROL = pathlib.Path(os.environ["QUANTCTL"])


@pytest.mark.parametrize("kind", cases.REGISTRIES)
def test_every_name_has_its_evidence(kind):
    names = cases.registered(kind)
    assert len(names) >= 2
    for name in names:
        path = evidence.TARGET / f"{name}.md"
        assert path.exists(), f"{kind} {name}: run {evidence.__file__}"
        assert f"\n## As a {kind}\n" in path.read_text(), path


def test_the_registries_are_read_as_the_program_reads_them():
    done = subprocess.run([CONTROL, "methods", "-o", "json"], check=True,
                          capture_output=True)
    known = json.loads(done.stdout)
    schemes = [s["name"] for s in known["schemes"] if s.get("formats")]
    assert sorted(cases.registered("scheme")) == sorted(schemes)
    for kind in ("method", "format"):
        names = [entry["name"] for entry in known[kind + "s"]]
        assert sorted(cases.registered(kind)) == sorted(names)


@pytest.fixture(name="small", scope="module")
def fixture_small(tmp_path_factory):
    work = tmp_path_factory.mktemp("evidence")
    (model,) = models.models(CONTROL, work, 1, bundled_only=True)
    return measure.Bench(CONTROL, work, 1), model


def test_figures_are_those_of_the_artifact(small, tmp_path):
    bench, model = small
    case = cases.Case("Q4_K_M", "gguf", "small")
    found = bench.measure(case, model)
    subprocess.run([CONTROL, "quantize", model.directory, "--scheme", "Q4_K_M",
                    "--output", tmp_path / "out", "--no-fsync"], check=True,
                   capture_output=True)
    name = "model.layers.0.mlp.up_proj.weight"
    weight = decode.weights(tmp_path / "out", model.config)[name]
    assert weight.stored == "Q4_K"
    assert found.roles["up_proj"].bits == pytest.approx(4.5)
    assert found.roles["up_proj"].tensors == 4
    # 4 bits: an error of some percent; q and k are only right if unpermuted.
    for errors in found.roles.values():
        assert 0.03 < errors.relative < 0.09
        assert errors.weighted != errors.relative
    assert 0 < found.divergence < 0.05
    assert found.perplexity == pytest.approx(bench.perplexity(model), rel=0.03)
    assert found.size > 2_000_000 and found.seconds > 0
    assert found.peak > 5_000_000


def test_a_weight_that_fell_back_fails(small):
    bench, model = small
    flags = ("--on-mismatch", "skip", "--group-size", "384")
    case = cases.Case("W4A16", "compressed-tensors", "wide groups", flags)
    with pytest.raises(measure.Fallback, match="_proj.weight is BF16"):
        bench.measure(case, model)


def test_the_script_writes_a_page(small, tmp_path):
    bench, _ = small
    build = CONTROL.resolve().parents[1]
    script = pathlib.Path(evidence.__file__)
    subprocess.run([sys.executable, "-B", script, build, "Q8_0",
                    "--bundled-only", "--windows", "1", "--output", tmp_path],
                   check=True)
    text = (tmp_path / "Q8_0.md").read_text()
    assert "| gguf | 8.500 |" in text
    assert "| down_proj | 4 | Q8_0 | 8.500 |" in text


def test_widening_keeps_the_function(small, tmp_path):
    _, model = small
    models.widened(model.directory, tmp_path / "wide", 512)
    command = [CONTROL, "eval", tmp_path / "wide", "-o", "json"]
    command += ["--reference", model.directory]
    command += ["--evaluation", model.evaluation, "--sequence-length", "128"]
    done = subprocess.run(command, check=True, capture_output=True)
    assert json.loads(done.stdout)["klMax"] < 1e-8
