"""What quantctl writes, read by a reader that shares no code with it.

With scale rule minmax every weight must be within half a step of its stored
scale (FP8: half the distance to the neighbouring code), for every preset and
granularity, and everything a loader looks at must be as the format says.
"""

import hashlib
import json
import os
import pathlib
import subprocess

import numpy as np
import pytest
import safetensors

import safetensors_reader as st
from ct_reader import E2M1, SMALL_SCALES, Artifact

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUANTCTL = os.environ["QUANTCTL"]
BUNDLED = ROOT / "examples" / "tiny-own-pad768-bf16"
# Further models are used where they lie beside the sources; the project does
# not ship them.
MODELS = pathlib.Path(
    os.environ.get("QUANT_TEST_MODELS", ROOT.parent / "shared/data/models")
)

INT8_TOKEN = {"num_bits": 8, "type": "int", "strategy": "token"}
FP8_TOKEN = {"num_bits": 8, "type": "float", "strategy": "token"}
FP8_GROUP = {
    "num_bits": 8,
    "type": "float",
    "strategy": "group",
    "group_size": 128,
}


def group(bits, size=128, symmetric=True):
    return {
        "num_bits": bits,
        "type": "int",
        "symmetric": symmetric,
        "strategy": "group",
        "group_size": size,
        "block_structure": None,
    }


def small(bits, size):
    """Floats with small scales."""
    return group(bits, size) | {"type": "float"}


def whole(bits, strategy, symmetric=True, type_="int"):
    return {
        "num_bits": bits,
        "type": type_,
        "symmetric": symmetric,
        "strategy": strategy,
        "group_size": None,
        "block_structure": None,
    }


BLOCK = whole(8, "block", type_="float") | {"block_structure": [128, 128]}

# flags -> weights, input activations, format.
PRESETS = {
    "W8A16": (group(8), None, "pack-quantized"),
    "W7A16": (group(7), None, "pack-quantized"),
    "W6A16": (group(6), None, "pack-quantized"),
    "W5A16": (group(5), None, "pack-quantized"),
    "W4A16": (group(4), None, "pack-quantized"),
    "W3A16": (group(3), None, "pack-quantized"),
    "W2A16": (group(2), None, "pack-quantized"),
    "W4A16_ASYM": (group(4, symmetric=False), None, "pack-quantized"),
    "W8A8": (whole(8, "channel"), INT8_TOKEN, "int-quantized"),
    "FP8_DYNAMIC": (
        whole(8, "channel", type_="float"),
        FP8_TOKEN,
        "float-quantized",
    ),
    "FP8_BLOCK": (BLOCK, FP8_GROUP, "float-quantized"),
    "NVFP4A16": (
        small(4, 16) | {"strategy": "tensor_group"},
        None,
        "nvfp4-pack-quantized",
    ),
    "MXFP4A16": (small(4, 32), None, "mxfp4-pack-quantized"),
    "MXFP8A16": (small(8, 32), None, "mxfp8-quantized"),
}
VARIANTS = {
    "W4A16 --group-size 32": (group(4, 32), None, "pack-quantized"),
    "W4A16 --group-size channel": (whole(4, "channel"), None, "pack-quantized"),
    "W4A16 --group-size tensor": (whole(4, "tensor"), None, "pack-quantized"),
    "W8A16 --asymmetric": (group(8, symmetric=False), None, "pack-quantized"),
    "W3A16 --asymmetric --group-size 64": (
        group(3, 64, False),
        None,
        "pack-quantized",
    ),
    "W5A16 --asymmetric --group-size channel": (
        whole(5, "channel", False),
        None,
        "pack-quantized",
    ),
    "W4A16_ASYM --group-size tensor": (
        whole(4, "tensor", False),
        None,
        "pack-quantized",
    ),
    "W4A16_ASYM --symmetric": (group(4), None, "pack-quantized"),
    "W8A8 --group-size tensor": (
        whole(8, "tensor"),
        INT8_TOKEN,
        "int-quantized",
    ),
    "FP8_DYNAMIC --group-size tensor": (
        whole(8, "tensor", type_="float"),
        FP8_TOKEN,
        "float-quantized",
    ),
    "FP8A16": (whole(8, "channel", type_="float"), None, "naive-quantized"),
}


def quantize(source, output, *flags):
    command = [QUANTCTL, "quantize", str(source), "--output", str(output)]
    command += ["--no-fsync", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return output


def split(case):
    scheme, *flags = case.split()
    return "--scheme", scheme, *flags


def source_weights(directory):
    return {
        name: st.to_float32(stored)
        for name, stored in st.read_directory(directory).items()
    }


def check_int_errors(module, weights):
    steps = module.spread(module.scales).astype(np.float64)
    exact = (module.codes - module.spread(module.zero_points)) * steps
    error = np.abs(weights.astype(np.float64) - exact)
    # A quotient rounded to F32 may fall on the other side of a tie, and an F32
    # scale is rounded to nearest: by at most such a rounding's error.
    slack = np.abs(weights) * 2.0**-23
    worst = (error - steps / 2 - slack).max()
    assert worst <= 0, f"{module.name}: {worst} beyond half a step"


def check_fp8_errors(module, weights):
    table = E2M1 if module.bits == 4 else st.E4M3
    values = np.unique(table[np.isfinite(table)].astype(np.float64))
    at = np.searchsorted(values, table[module.codes])
    steps = module.spread(module.scales).astype(np.float64)
    ratio = weights.astype(np.float64) / steps
    off = ratio - values[at]
    toward = np.clip(at + np.sign(off).astype(int), 0, len(values) - 1)
    half = np.abs(values[toward] - values[at]) / 2
    # FP4's scales are rounded to the nearest: up to 7 is clipped to 6.
    half = np.where((toward == at) & (module.bits == 4), 1, half)
    worst = (np.abs(off) - half - np.abs(ratio) * 2.0**-23).max()
    assert worst <= 0, f"{module.name}: {worst} beyond half a code"


def check_errors(artifact, originals):
    for module in artifact.modules.values():
        weights = originals[module.name + ".weight"]
        assert module.shape == weights.shape
        integer = module.args["type"] == "int"
        (check_int_errors if integer else check_fp8_errors)(module, weights)


def check_plain(artifact, source):
    """Tensors that are not quantized are the source's, bit for bit."""
    before = st.read_directory(source)
    for name, stored in artifact.plain.items():
        same = before[name]._replace(file=stored.file)
        assert stored == same, name
    quantized = {name + ".weight" for name in artifact.modules}
    assert quantized | artifact.plain.keys() == before.keys()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_manifest(directory):
    manifest = json.loads((directory / "manifest.json").read_text())
    listed = {f["path"]: f for f in manifest["files"]}
    present = {p.name for p in directory.iterdir()} - {"manifest.json"}
    assert listed.keys() == present
    for name, entry in listed.items():
        assert entry["size_bytes"] == (directory / name).stat().st_size
        assert entry["sha256"] == sha256(directory / name)
    assert manifest["engine_version"] and manifest["sources"]


def check_side_files(directory, source):
    skipped = {"config.json", "model.safetensors.index.json"}
    expected = {
        p.name
        for p in source.iterdir()
        if p.suffix != ".safetensors" and p.name not in skipped
    }
    for name in expected:
        assert sha256(directory / name) == sha256(source / name), name
    config = json.loads((directory / "config.json").read_text())
    before = json.loads((source / "config.json").read_text())
    config.pop("quantization_config", None)
    for key in ("torch_dtype", "dtype"):
        config.pop(key, None), before.pop(key, None)
    assert config == before
    others = {p.name for p in directory.iterdir()} - expected - skipped
    others -= {"manifest.json"}
    assert all(name.endswith(".safetensors") for name in others), others


def check_public_reader_agrees(directory):
    for path in sorted(directory.glob("*.safetensors")):
        st.check_written_well(path)
        ours = st.read_file(path)[1]
        theirs = dict(safetensors.deserialize(path.read_bytes()))
        assert ours.keys() == theirs.keys()
        for name, tensor in theirs.items():
            assert bytes(tensor["data"]) == ours[name].data, name
            assert tuple(tensor["shape"]) == ours[name].shape, name
            assert tensor["dtype"] == ours[name].dtype, name


def check_everything(directory, source):
    artifact = Artifact(directory)
    check_errors(artifact, source_weights(source))
    check_plain(artifact, source)
    check_manifest(directory)
    check_side_files(directory, source)
    check_public_reader_agrees(directory)
    return artifact


def check_group(scheme, weights, activations, model_dtype, artifact):
    """One config group says exactly what was asked for."""
    stored = {k: v for k, v in scheme["weights"].items() if k in weights}
    assert stored == weights
    acts = scheme["input_activations"]
    if activations is None:
        assert acts is None
    else:
        expected = {"symmetric": True, "dynamic": True} | activations
        assert {k: acts[k] for k in expected} == expected
        assert acts["observer"] is None
    for module in artifact.modules.values():
        scale = module.parts["weight_scale"]
        small_type, _ = SMALL_SCALES.get(module.format, (None, None))
        assert scale.dtype == (small_type or model_dtype), module.name


@pytest.mark.parametrize("case", [*PRESETS, *VARIANTS])
def test_preset_on_the_bundled_model(case, tmp_path):
    weights, activations, format_name = (PRESETS | VARIANTS)[case]
    out = quantize(BUNDLED, tmp_path / "out", *split(case))
    artifact = check_everything(out, BUNDLED)
    assert len(artifact.modules) == 4 * 7
    assert artifact.quant["ignore"] == ["lm_head"]
    assert artifact.quant["format"] == format_name
    (scheme,) = artifact.quant["config_groups"].values()
    assert scheme["targets"] == ["Linear"]
    check_group(scheme, weights, activations, "BF16", artifact)


def test_merged_modules_share_their_global_scale(tmp_path):
    out = quantize(BUNDLED, tmp_path / "out", "--scheme", "NVFP4A16")
    artifact = Artifact(out)
    before = source_weights(BUNDLED)
    for layer in range(4):
        for parts in (
            ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
            ["mlp.gate_proj", "mlp.up_proj"],
            ["mlp.down_proj"],
        ):
            names = [f"model.layers.{layer}.{p}" for p in parts]
            stored = {
                st.raw(artifact.modules[n].parts["weight_global_scale"]).item()
                for n in names
            }
            largest = max(np.abs(before[n + ".weight"]).max() for n in names)
            assert stored == {np.float32(2688) / largest}, names


def extra_models():
    return [
        (name, mode)
        for name in ("tiny-own", "stories260K")
        if (MODELS / name).is_dir()
        for mode in ("channel", "skip")
    ]


# Widths that the group size does not divide: tiny-own has 688 in down_proj;
# stories260K has 64 nearly everywhere and 172.
@pytest.mark.parametrize("case", [*PRESETS, "W4A16 --group-size 32"])
@pytest.mark.parametrize("name,mode", extra_models())
def test_preset_on_ragged_models(name, mode, case, tmp_path):
    source = MODELS / name
    flags = (*split(case), "--on-mismatch", mode)
    before = source_weights(source)
    takes = [
        n for n in before if fits(n, before[n].shape, case) or mode == "channel"
    ]
    linears = [n for n in takes if ".self_attn." in n or ".mlp." in n]
    # Small scales have no scheme per channel to fall back to.
    fixed = (PRESETS | VARIANTS)[case][2] in SMALL_SCALES
    stuck = not all(fits(n, before[n].shape, case) for n in linears)
    if not linears or (fixed and stuck):
        command = [QUANTCTL, "quantize", source, "--output", tmp_path / "o"]
        done = subprocess.run([*command, *flags], capture_output=True)
        assert done.returncode == 3, "nothing to quantize, yet accepted"
        return
    out = quantize(source, tmp_path / "out", *flags)
    artifact = check_everything(out, source)
    assert sorted(n + ".weight" for n in artifact.modules) == sorted(linears)


def fits(name, shape, case):
    """Whether loaders take a weight of this shape without a fallback."""
    if len(shape) != 2:
        return False
    weights = (PRESETS | VARIANTS)[case][0]
    if weights["strategy"] in ("group", "tensor_group"):
        return shape[1] % weights["group_size"] == 0
    if weights["strategy"] != "block":
        return True
    # Blocks may end ragged in the last part of a merged module only; here all
    # parts but q_proj have the same shape, and parts fall back together.
    alone = "o_proj" in name or "down_proj" in name
    return shape[1] % 128 == 0 and (shape[0] % 128 == 0 or alone)


@pytest.mark.parametrize("scheme,dtype", [("F16", "F16"), ("BF16", "BF16")])
def test_casts(scheme, dtype, tmp_path):
    flags = ("--scheme", scheme, "--format", "safetensors")
    out = quantize(BUNDLED, tmp_path / "out", *flags)
    check_manifest(out)
    check_side_files(out, BUNDLED)
    check_public_reader_agrees(out)
    numpy_type = {"F16": np.float16, "BF16": None}[dtype]
    stored = st.read_directory(out)
    for name, before in source_weights(BUNDLED).items():
        assert stored[name].dtype == dtype
        if numpy_type:
            before = before.astype(numpy_type).astype(np.float32)
        assert (st.to_float32(stored[name]) == before).all(), name
    config = json.loads((out / "config.json").read_text())
    assert config["torch_dtype"] == {"F16": "float16"}.get(dtype, "bfloat16")
    assert "quantization_config" not in config


@pytest.fixture(scope="module")
def f32_model(tmp_path_factory):
    """The bundled model in F32, so that compressed-tensors keeps F32 scales
    as format dequantized does."""
    out = tmp_path_factory.mktemp("f32") / "model"
    return quantize(BUNDLED, out, "--scheme", "F32", "--format", "safetensors")


@pytest.mark.parametrize("case", [*PRESETS, *VARIANTS])
def test_dequantized_is_what_the_reader_makes_of_codes(
    case, f32_model, tmp_path
):
    coded = quantize(f32_model, tmp_path / "coded", *split(case))
    flags = (*split(case), "--format", "dequantized")
    plain = st.read_directory(quantize(f32_model, tmp_path / "plain", *flags))
    artifact = Artifact(coded)
    assert len(artifact.modules) == 4 * 7
    for module in artifact.modules.values():
        stored = plain[module.name + ".weight"]
        assert stored.dtype == "F32"
        assert stored.data == module.dequantize().tobytes(), module.name


@pytest.mark.parametrize("case", ["W4A16", "W4A16_ASYM", "FP8_BLOCK"])
def test_shards(case, tmp_path):
    whole_out = quantize(BUNDLED, tmp_path / "whole", *split(case))
    flags = (*split(case), "--max-shard-size", "1MB")
    out = quantize(BUNDLED, tmp_path / "out", *flags)
    assert len(list(out.glob("*.safetensors"))) >= 3
    artifact = check_everything(out, BUNDLED)
    for path in out.glob("*.safetensors"):
        tensors = st.read_file(path)[1]
        data = sum(len(t.data) for t in tensors.values())
        assert data <= 1_000_000 or len(tensors) == 1, path
    one = Artifact(whole_out)
    for name, module in artifact.modules.items():
        assert (module.codes == one.modules[name].codes).all()
        # Loaders read file by file: parts of a module stay together.
        assert len({part.file for part in module.parts.values()}) == 1, name


@pytest.mark.parametrize("case", ["W4A16", "W3A16", "W4A16_ASYM", "FP8_BLOCK"])
def test_same_bytes_at_any_thread_count(case, tmp_path):
    digests = set()
    for threads in (1, 2, 3, 7):
        flags = (*split(case), "--threads", str(threads))
        out = quantize(BUNDLED, tmp_path / str(threads), *flags)
        files = sorted(p.name for p in out.iterdir())
        digests.add(tuple((name, sha256(out / name)) for name in files))
    assert len(digests) == 1


def test_mse_never_worse_than_minmax(tmp_path):
    errors = {}
    weights = source_weights(BUNDLED)
    for rule in ("minmax", "mse"):
        flags = ("--scheme", "W4A16", "--scale", rule)
        artifact = Artifact(quantize(BUNDLED, tmp_path / rule, *flags))
        errors[rule] = {
            n: ((weights[n + ".weight"] - m.dequantize()) ** 2).sum()
            for n, m in artifact.modules.items()
        }
    for name, error in errors["mse"].items():
        assert error <= errors["minmax"][name], name
    total = {rule: sum(e.values()) for rule, e in errors.items()}
    assert total["mse"] < 0.99 * total["minmax"]


def test_rules_give_each_module_its_own_scheme(tmp_path):
    flags = ["--scheme", "W4A16"]
    flags += ["--rule", "mlp.down=W8A16"]
    flags += ["--rule", r"re:model\.layers\.0\.self_attn=skip"]
    out = quantize(BUNDLED, tmp_path / "out", *flags)
    artifact = check_everything(out, BUNDLED)
    bits = {name: module.bits for name, module in artifact.modules.items()}
    assert not any(".0.self_attn" in name for name in bits)
    for name, width in bits.items():
        assert width == (8 if "down_proj" in name else 4), name
    assert len(bits) == 4 * 7 - 4
