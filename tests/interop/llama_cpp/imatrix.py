"""Importance matrices that quantctl measures, in llama.cpp's own quantizer: it
must read every one of them, use it for every weight, and make a Q4_K_M file of
it that diverges less from the F16 file than the one without. So must ours.

usage: imatrix.py QUANTCTL QUANTIZER WORK_DIRECTORY [--windows N]
"""

import argparse
import pathlib
import re
import subprocess
import sys

import evaluate
from compare import CALIBRATION_WINDOWS, models, read_windows, row

TYPE = "Q4_K_M"


def call(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True,
                          text=True)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


class Quantizers:
    """Both, on one model."""

    def __init__(self, options, model):
        self.quantctl, self.quantizer = options.quantctl, options.quantizer
        self.model = model
        self.work = options.work / f"{model.name}-imatrix"
        self.work.mkdir()
        self.matrix = self.work / "matrix.gguf"
        call(self.quantctl, "calibrate", model.directory, "--data",
             model.calibration, "--sequence-length", model.context,
             "--samples", CALIBRATION_WINDOWS, "--output", self.matrix)
        self.source = self.ours("F32")

    def ours(self, scheme, *flags):
        out = self.work / f"{scheme}-{len(flags)}"
        call(self.quantctl, "quantize", self.model.directory, "--scheme",
             scheme, "--format", "gguf", "--output", out, *flags)
        [file] = out.glob("*.gguf")
        return file

    def theirs(self, *flags):
        out = self.work / f"theirs-{len(flags)}.gguf"
        text = call(self.quantizer, *flags, self.source, out, TYPE, 2)
        if flags:
            self.check_read(text)
        return out

    def check_read(self, text):
        """What it says of the matrix."""
        loaded = re.search(r"loaded (\d+) importance matrix entries", text)
        if loaded is None or int(loaded[1]) == 0:
            raise SystemExit(f"the matrix was not read:\n{text}")
        for weight in re.findall(r"did not find weights for (\S+)", text):
            # Embeddings and the head are looked up, or see no block.
            if weight.startswith("blk."):
                raise SystemExit(f"no importance for {weight}")
        print(f"{self.model.name}: llama-quantize read {loaded[1]} entries")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("quantctl")
    parser.add_argument("quantizer")
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--windows", type=int)
    options = parser.parse_args()
    failures = 0
    for model in models():
        both = Quantizers(options, model)
        windows = read_windows(model.evaluation, model.context,
                               options.windows)
        base = evaluate.predictions(both.ours("F16"), windows)
        files = {
            "ours": (both.ours(TYPE), both.ours(TYPE, "--imatrix",
                                                both.matrix)),
            "llama.cpp": (both.theirs(), both.theirs("--imatrix",
                                                     both.matrix)),
        }
        row(TYPE, "without", "with", "ratio")
        for name, pair in files.items():
            plain, weighted = (evaluate.compare(file, windows, base).divergence
                               for file in pair)
            row(name, f"{plain:.6f}", f"{weighted:.6f}",
                f"{weighted / plain:.3f}")
            if weighted >= plain:
                failures += 1
                print(f"FAILED: {model.name}: {name}: no better with the matrix")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
