"""The models that evidence is made on, the texts it is measured on, and how
much each input column of their weights matters.

Every width must be a multiple of 256, or most schemes would not fit a tensor.
The bundled model is like that; stories260K (when it lies beside the sources; the
project does not ship it) is filled up with zeros in a way that leaves what it
computes as it is.
"""

import dataclasses
import functools
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys

import numpy as np

import decode
import safetensors_reader as st

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(os.environ.get("QUANT_TEST_DATA",
                                   ROOT.parent / "shared/data"))
sys.path.insert(0, str(ROOT / "tests/interop/llama_cpp"))
import importance

CALIBRATION_WINDOWS = 16
WIDTH = 256


@dataclasses.dataclass
class Model:
    name: str
    directory: pathlib.Path
    context: int
    evaluation: pathlib.Path  # token ids
    calibration: pathlib.Path
    matrix: pathlib.Path  # importance of inputs, as llama.cpp's program writes
    importance: dict = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def config(self):
        return json.loads((self.directory / "config.json").read_text())

    @functools.cached_property
    def weights(self):
        plain = decode.plain_weights(st.read_directory(self.directory))
        return {name: w.values for name, w in plain.items()}


def write_safetensors(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, values in tensors.items():
        header[name] = {
            "dtype": "F32",
            "shape": list(values.shape),
            "data_offsets": [at, at + values.nbytes],
        }
        at += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values in tensors.values():
            file.write(np.ascontiguousarray(values, np.float32).tobytes())


def widened(source, target, width=WIDTH):
    """The same function with every width a multiple of `width`.

    Hidden size H becomes H' with zeros: the mean square shrinks by H / H', so
    that norms take epsilon H / H' and weights sqrt(H / H'). New heads have only
    zeros, and so do new channels of the feed-forward network.
    """

    def up(count):
        return -(-count // width) * width

    config = json.loads((source / "config.json").read_text())
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    share = hidden / up(hidden)
    more = up(hidden) // hidden
    config |= {
        "hidden_size": up(hidden),
        "intermediate_size": up(config["intermediate_size"]),
        "num_attention_heads": heads * more,
        "num_key_value_heads": config["num_key_value_heads"] * more,
        "rms_norm_eps": config["rms_norm_eps"] * share,
    }
    tensors = {}
    for name, stored in st.read_directory(source).items():
        values = st.to_float32(stored)
        vocabulary = "embed_tokens" in name or "lm_head" in name
        shape = [up(n) for n in values.shape]
        if vocabulary:
            shape[0] = values.shape[0]
        elif "k_proj" in name or "v_proj" in name:
            shape[0] = values.shape[0] * more
        filled = np.zeros(shape, np.float32)
        if values.ndim == 1:
            values = values * np.float32(np.sqrt(share))
        filled[tuple(slice(n) for n in values.shape)] = values
        tensors[name] = filled
    target.mkdir()
    (target / "config.json").write_text(json.dumps(config, indent=1))
    for file in source.glob("tokenizer*"):
        shutil.copy(file, target)
    write_safetensors(target / "model.safetensors", tensors)


def measure_importance(control, model, work):
    """Mean squares of the inputs of each weight, over calibration text."""
    directory = work / f"{model.name}-f32"
    command = [control, "quantize", model.directory, "--scheme", "F32"]
    command += ["--format", "gguf", "--output", directory, "--no-fsync"]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = directory.glob("*.gguf")
    llama = importance.Llama(path)
    tokens = np.load(model.calibration)
    for i in range(min(CALIBRATION_WINDOWS, len(tokens) // model.context)):
        llama.logits(tokens[i * model.context : (i + 1) * model.context])
    llama.write(model.matrix, model.context)
    model.importance = {
        decode.hugging_face_name(name): values
        for name, values in llama.means().items()
    }
    shutil.rmtree(directory)


def first_windows(source, target, count):
    np.save(target, np.load(source)[:count])
    return target


def models(control, work, windows, bundled_only=False):
    """The models at hand, ready to be measured."""
    tokens = ROOT / "examples/tokens"
    found = [("tiny-own-pad768-bf16", ROOT / "examples/tiny-own-pad768-bf16",
              256, tokens / "tiny-own_sampled_eval.npy",
              tokens / "tiny-own_sampled_calib.npy")]
    stories = DATA / "models/stories260K"
    if stories.is_dir() and not bundled_only:
        widened(stories, work / "stories260K-w256")
        found.append(("stories260K-w256", work / "stories260K-w256", 512,
                      DATA / "text/stories260K_eval.npy",
                      DATA / "text/stories260K_calib.npy"))
    for name, directory, context, evaluation, calibration in found:
        text = first_windows(evaluation, work / f"{name}.npy",
                             windows * context)
        model = Model(name, directory, context, text, calibration,
                      work / f"{name}.imatrix")
        measure_importance(control, model, work)
        yield model
