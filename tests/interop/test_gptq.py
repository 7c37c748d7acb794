"""Method gptq on a whole model against gptq_reference.py, which shares no code
with it; round to nearest against the same, bit by bit; and importance matrices.

Where a directory of real models with recorded figures is at hand
(QUANT_TEST_DATA, by default beside the repository), its tables are held, too.
"""

import functools
import json
import os
import pathlib
import subprocess

import numpy as np
import pytest

import gptq_reference as ref

QUANTCTL = os.environ["QUANTCTL"]
ROOT = pathlib.Path(__file__).resolve().parents[2]
BUNDLED = ROOT / "examples" / "tiny-own-pad768-bf16"
TOKENS = ROOT / "examples" / "tokens" / "tiny-own_sampled_calib.npy"
LENGTH, SEQUENCES = 256, 24
DATA = pathlib.Path(
    os.environ.get("QUANT_TEST_DATA", ROOT.parent / "shared" / "data")
)

# Two implementations differ once a weight falls on the other side of a tie;
# measured: 0.4 % at most.
NMSE_SLACK = 0.02
# Recorded figures: the data's own protocol.
TABLE_NMSE, TABLE_GAP = 1.03, 0.15


def run(*arguments):
    done = subprocess.run(
        [QUANTCTL, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_floats(path):
    """Of a safetensors file of BF16 and F32; numpy has no type for BF16."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "BF16":
            raw = np.frombuffer(data[begin:end], "<u2").astype(np.uint32) << 16
        else:
            assert entry["dtype"] == "F32", name
            raw = np.frombuffer(data[begin:end], "<u4")
        tensors[name] = raw.view(np.float32).reshape(entry["shape"])
    return tensors


@pytest.fixture(scope="module")
def bundled():
    config = json.loads((BUNDLED / "config.json").read_text())
    tensors = read_floats(BUNDLED / "model.safetensors")
    tokens = np.load(TOKENS).reshape(-1, LENGTH)[:SEQUENCES]
    return config, tensors, tokens, ref.grams(config, tensors, tokens)


def quantize(out, model, bits, group, symmetric, *flags):
    run(
        "quantize",
        model,
        "--scheme",
        f"W{bits}A16",
        "--group-size",
        group,
        "--symmetric" if symmetric else "--asymmetric",
        "--format",
        "dequantized",
        "--output",
        out,
        *flags,
    )
    return read_floats(out / "model.safetensors")


CASES = {
    "int4 sym": (4, True, []),
    "int4 asym": (4, False, []),
    "int3 sym, act order": (3, True, ["--act-order"]),
    "int3 asym, act order, static": (
        3,
        False,
        ["--act-order", "--static-groups"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_output_error_is_the_references(name, bundled, tmp_path):
    bits, symmetric, flags = CASES[name]
    config, tensors, tokens, grams = bundled
    ours = quantize(
        tmp_path / "out",
        BUNDLED,
        bits,
        64,
        symmetric,
        "--method",
        "gptq",
        "--calibration",
        TOKENS,
        "--calibration-sequences",
        SEQUENCES,
        "--sequence-length",
        LENGTH,
        *flags,
    )
    reference = ref.quantize(
        config,
        tensors,
        tokens,
        bits=bits,
        group=64,
        symmetric=symmetric,
        order="--act-order" in flags,
        static="--static-groups" in flags,
    )
    nearest = quantize(tmp_path / "rtn", BUNDLED, bits, 64, symmetric)
    mine = ref.output_nmse(tensors, ours, grams)
    theirs = ref.output_nmse(tensors, reference, grams)
    print(name, mine, theirs)
    assert abs(mine / theirs - 1) < NMSE_SLACK
    assert mine < 0.6 * ref.output_nmse(tensors, nearest, grams)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_rounding_to_nearest_is_the_references(
    bits, symmetric, bundled, tmp_path
):
    _, tensors, _, grams = bundled
    ours = quantize(tmp_path / "out", BUNDLED, bits, 64, symmetric)
    for module in grams:
        name = module + ".weight"
        expected = ref.rtn(tensors[name], bits, 64, symmetric)
        differ = np.count_nonzero(ours[name] != expected)
        # Ranges of zero points are subtracted in float32 there, exactly here.
        assert differ <= (0 if symmetric else 1e-4 * expected.size), name


def test_importance_is_the_mean_square_of_inputs(bundled, tmp_path):
    import gguf

    config, tensors, tokens, grams = bundled
    path = tmp_path / "own.imatrix"
    run(
        "calibrate",
        BUNDLED,
        "--calibration",
        TOKENS,
        "--calibration-sequences",
        SEQUENCES,
        "--sequence-length",
        LENGTH,
        "--output",
        path,
    )
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    found = {t.name: t.data for t in gguf.GGUFReader(path).tensors}
    assert len(found) == 2 * len(grams)
    for module, gram in grams.items():
        layer, name = module.removeprefix("model.layers.").split(".", 1)
        entry = f"blk.{layer}.{names[name]}.weight"
        assert found[entry + ".counts"].item() == tokens.size
        np.testing.assert_allclose(
            found[entry + ".in_sum2"].reshape(-1), np.diag(gram), rtol=1e-4,
            atol=1e-6,
        )
    run(
        "quantize",
        BUNDLED,
        "--scheme",
        "Q4_K_M",
        "--imatrix",
        path,
        "--output",
        tmp_path / "gguf",
    )


# Recorded rows; those of "fresh scales" choose scales as nobody else does.
SIZES = {
    "int4 g64": ("sym", "asym"),
    "int3 g64": ("sym", "asym"),
    "int4 g128": ("sym", "asym"),
    "int3 g128": ("sym", "asym"),
    "int4 per-channel": ("sym",),
}
ORDERS = {
    "": [],
    " actorder": ["--act-order"],
    " actorder static": ["--act-order", "--static-groups"],
}
TABLE = [
    (size, kind, order)
    for size, kinds in SIZES.items()
    for kind in kinds
    for order in (ORDERS if size.endswith("g64") else [""])
]
# Rows of rounding to nearest.
ROUNDED = ["int4 per-channel sym"] + [
    f"{size} {kind}"
    for size in ("int4 g128", "int4 g64", "int4 g32", "int3 g128", "int3 g64")
    for kind in ("sym", "asym")
]
REAL = [
    (model, length)
    for model, length in (("stories260K", 512), ("tiny-own", 256))
    if (DATA / "golden" / f"golden_{model}.json").exists()
]


def width(size):
    """Of a group: "g64" -> 64, "per-channel" -> "channel"."""
    return "channel" if size == "per-channel" else int(size.removeprefix("g"))


def recorded(model, name):
    golden = json.loads((DATA / "golden" / f"golden_{model}.json").read_text())
    return next(r for r in golden["results"] if r["name"] == name)


@functools.cache
def calibrated(model, length):
    """Weights, and the reference's Hessians over the calibration text."""
    source = DATA / "models" / model
    config = json.loads((source / "config.json").read_text())
    tensors = read_floats(source / "model.safetensors")
    tokens = np.load(DATA / "text" / f"{model}_calib.npy")
    return tensors, ref.grams(config, tensors, tokens.reshape(-1, length))


def perplexity(artifact, model, length):
    out = run(
        "eval",
        artifact,
        "--evaluation",
        DATA / "text" / f"{model}_eval.npy",
        "--sequence-length",
        length,
        "-o",
        "json",
    )
    return json.loads(out)["perplexity"]


@pytest.mark.parametrize("model,length", REAL)
@pytest.mark.parametrize("name", ROUNDED)
def test_recorded_rounding_to_nearest_is_held(name, model, length, tmp_path):
    integer, size, kind = name.split()
    quantize(
        tmp_path / "rtn",
        DATA / "models" / model,
        int(integer.removeprefix("int")),
        width(size),
        kind == "sym",
    )
    name = "RTN " + name
    found = perplexity(tmp_path / "rtn", model, length)
    print(model, name, found, recorded(model, name)["ppl"])
    assert abs(found - recorded(model, name)["ppl"]) < 1e-3


@pytest.mark.parametrize("model,length", REAL)
@pytest.mark.parametrize("size,kind,order", TABLE)
def test_recorded_figures_are_held(size, kind, order, model, length, tmp_path):
    integer, group = size.split()
    name = f"{size} {kind}{order}"
    source = DATA / "models" / model
    text = DATA / "text" / f"{model}_calib.npy"
    tensors, grams = calibrated(model, length)
    ours = quantize(
        tmp_path / "gptq",
        source,
        int(integer.removeprefix("int")),
        width(group),
        kind == "sym",
        "--method",
        "gptq",
        "--calibration",
        text,
        "--sequence-length",
        length,
        *ORDERS[order],
    )
    row = recorded(model, f"GPTQ {name}")
    nmse = ref.output_nmse(tensors, ours, grams)
    print(model, name, nmse, row["mean_output_nmse"])
    assert nmse < TABLE_NMSE * row["mean_output_nmse"]
    if model != "stories260K":
        return
    found = perplexity(tmp_path / "gptq", model, length)
    plain = recorded(model, "fp32")["ppl"]
    print(found, row["ppl"])
    rtn = recorded(model, f"RTN {size} {kind}")["ppl"]
    assert found < row["ppl"] + TABLE_GAP * (rtn - plain)


@pytest.mark.parametrize("model,length", REAL)
def test_eight_bits_are_almost_the_source(model, length, tmp_path):
    quantize(
        tmp_path / "out",
        DATA / "models" / model,
        8,
        "channel",
        True,
        "--method",
        "gptq",
        "--scale",
        "mse",
        "--calibration",
        DATA / "text" / f"{model}_calib.npy",
        "--sequence-length",
        length,
    )
    found = perplexity(tmp_path / "out", model, length)
    plain = recorded(model, "fp32")["ppl"]
    print(model, found / plain)
    assert abs(found / plain - 1) < 0.0005
