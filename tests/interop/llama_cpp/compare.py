"""What quantctl writes as GGUF, in llama.cpp: every file must load, tokenize as
the model's own tokenizer does, continue a text, and diverge from the F16 file
no more than the file of the same type that llama.cpp's own quantizer makes
(beyond two standard errors of the difference). With an importance matrix, of
which both see the same, that holds for the types together: the geometric mean
of the ratios. Prints a table; exits with 1 when something fails.

usage: compare.py QUANTCTL WORK_DIRECTORY [--windows N]

N windows of each evaluation text are read; without the option all, and a
quarter of them for the files with an importance matrix.
"""

import argparse
import dataclasses
import functools
import importlib.metadata
import multiprocessing
import os
import pathlib
import subprocess
import sys

import numpy as np
import tokenizers

import evaluate
import importance

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Models and texts that lie beside the sources; the project does not ship them.
DATA = pathlib.Path(
    os.environ.get("QUANT_TEST_DATA", ROOT.parent / "shared/data")
)

FILE_TYPES = [
    "Q8_0",
    "Q6_K",
    "Q5_K_M",
    "Q5_K_S",
    "Q5_1",
    "Q5_0",
    "Q4_K_M",
    "Q4_K_S",
    "IQ4_NL",
    "IQ4_XS",
    "Q4_1",
    "Q4_0",
    "Q3_K_L",
    "Q3_K_M",
    "Q3_K_S",
    "Q2_K",
]
TEXTS = [
    "Once upon a time, there was a little girl named Lily.",
    "It's 3 o'clock;  don't\nworry: 12345 + 6.78 = ?",
    "  leading and trailing  ",
    "na\u00efve caf\u00e9 \u2014 \u4f60\u597d \U0001f600",
]
CONTINUED = 16
CALIBRATION_WINDOWS = 16


def read_windows(path, length, most=None):
    tokens = np.load(path)
    count = len(tokens) // length
    return tokens[: count * length].reshape(count, length)[:most]


@dataclasses.dataclass
class Model:
    name: str
    directory: pathlib.Path
    context: int
    evaluation: pathlib.Path
    calibration: pathlib.Path


def models():
    tokens = ROOT / "examples/tokens"
    yield Model(
        "tiny-own-pad768-bf16",
        ROOT / "examples/tiny-own-pad768-bf16",
        256,
        tokens / "tiny-own_sampled_eval.npy",
        tokens / "tiny-own_sampled_calib.npy",
    )
    stories = DATA / "models/stories260K"
    if stories.is_dir():
        yield Model(
            "stories260K",
            stories,
            512,
            DATA / "text/stories260K_eval.npy",
            DATA / "text/stories260K_calib.npy",
        )


class Failures:
    def __init__(self):
        self.count = 0

    def add(self, text):
        self.count += 1
        print("FAILED:", text)


def row(*cells):
    print("  ".join(f"{cell:>10}" for cell in cells), flush=True)


class Comparison:
    """Everything that is asked of the files of one model."""

    def __init__(self, quantctl, model, work, failures, windows):
        self.quantctl = quantctl
        self.model = model
        self.work = work
        self.failures = failures
        self.asked = windows  # None: all, and fewer with a matrix
        self.windows = read_windows(model.evaluation, model.context, windows)

    def fail(self, text):
        self.failures.add(f"{self.model.name}: {text}")

    def convert(self, scheme, *options):
        """Our file of the model, or None when there is none."""
        directory = self.work / f"{self.model.name}-{scheme}-{len(options)}"
        command = [self.quantctl, "quantize", self.model.directory]
        command += ["--scheme", scheme, "--format", "gguf"]
        command += ["--output", directory, *options]
        done = subprocess.run(command, capture_output=True, text=True)
        files = sorted(directory.glob("*.gguf"))
        if done.returncode == 0 and len(files) == 1:
            return files[0]
        self.fail(f"{scheme}: not written: {done.stderr.strip()}")
        return None

    def check_tokenizer(self, path):
        """Text becomes the tokens that the model's own tokenizer makes."""
        llama = evaluate.load(path, self.model.context)
        reference = tokenizers.Tokenizer.from_file(
            str(self.model.directory / "tokenizer.json")
        )
        for text in TEXTS:
            expected = reference.encode(text, add_special_tokens=False).ids
            found = llama.tokenize(text.encode(), add_bos=False, special=False)
            if found != expected:
                self.fail(f"{text!r} is {found}, not {expected}")
        llama.close()

    def check_generation(self, path):
        llama = evaluate.load(path, self.model.context)
        prompt = self.windows[0][:CONTINUED]
        tokens = evaluate.continuation(llama, prompt, CONTINUED)
        if not all(0 <= token < llama.n_vocab() for token in tokens):
            self.fail(f"{path.name}: generated {tokens}")
        text = llama.detokenize(tokens).decode(errors="replace")
        llama.close()
        return text

    def prepare(self):
        """The files that others are compared with; whether there are."""
        self.source, half = self.convert("F32"), self.convert("F16")
        if self.source is None or half is None:
            return False
        self.check_tokenizer(half)
        self.base = evaluate.predictions(half, self.windows)
        calibration = read_windows(self.model.calibration, self.model.context)
        llama = importance.Llama(self.source)
        for window in calibration[:CALIBRATION_WINDOWS]:
            llama.logits(window)
        self.means = llama.means()
        self.matrix = self.work / f"{self.model.name}.imatrix"
        llama.write(self.matrix, self.model.context)
        print(f"\n{self.model.name}: {len(self.windows)} windows of",
              f"{self.model.context} tokens")
        print(f"F16 continues with {self.check_generation(half)!r}")
        return True

    def run(self):
        if not self.prepare():
            return
        row("plain", "divergence", "+-", "perplexity", "bytes")
        for name in ("F32", "BF16"):
            path = self.source if name == "F32" else self.convert(name)
            if path is not None:
                found = evaluate.compare(path, self.windows, self.base)
                row(name, f"{found.divergence:.6f}", f"{found.error:.6f}",
                    f"{found.perplexity:.4f}", path.stat().st_size)
        for pair in self.pairs("no imatrix", (), None, len(self.windows)):
            if pair.ours.divergence > pair.theirs.divergence + 2 * pair.error:
                self.fail(f"{pair.file_type}: diverges more than llama.cpp's")
        some = self.asked or len(self.windows) // 4
        ratios = [pair.ratio for pair in self.pairs(
            "imatrix", ("--imatrix", self.matrix), self.means, some)]
        together = float(np.exp(np.mean(np.log(ratios))))
        print(f"with an importance matrix, {some} windows: {together:.3f} of",
              "llama.cpp's divergence (geometric mean)")
        if together > 1:
            self.fail("diverges more than llama.cpp's with an imatrix")

    def pairs(self, title, options, means, windows):
        """Every type's two files, compared on some windows and printed."""
        row(title, "ours", "llama.cpp", "+-", "ratio", "our ppl", "their ppl",
            "our bytes", "their bytes")
        compare = functools.partial(self.compare_type, options=options,
                                    means=means, windows=windows)
        pairs = []
        for pair in in_processes(compare, FILE_TYPES):
            if isinstance(pair, str):
                self.fail(pair)
                continue
            row(*pair.cells())
            pairs.append(pair)
        return pairs

    def compare_type(self, file_type, options, means, windows):
        """A Pair, or what kept it from being one."""
        path = self.convert(file_type, *options)
        if path is None:
            return f"{file_type}: not written"
        self.check_generation(path)
        reference = self.work / f"{self.model.name}-{file_type}-reference.gguf"
        if not evaluate.quantize(self.source, reference, file_type, means):
            return f"{file_type}: llama.cpp's quantizer refuses it"
        return Pair(file_type, *(
            evaluate.compare(file, self.windows[:windows], self.base)
            for file in (path, reference)),
            path.stat().st_size, reference.stat().st_size)


@dataclasses.dataclass
class Pair:
    """Our file of a type and llama.cpp's own."""

    file_type: str
    ours: evaluate.Figures
    theirs: evaluate.Figures
    our_bytes: int
    their_bytes: int

    @property
    def ratio(self):
        return self.ours.divergence / self.theirs.divergence

    @property
    def error(self):
        return evaluate.standard_error(self.ours.means - self.theirs.means)

    def cells(self):
        return (self.file_type, f"{self.ours.divergence:.6f}",
                f"{self.theirs.divergence:.6f}", f"{self.error:.6f}",
                f"{self.ratio:.3f}", f"{self.ours.perplexity:.4f}",
                f"{self.theirs.perplexity:.4f}", self.our_bytes,
                self.their_bytes)


_work = None


def _call(argument):
    return _work(argument)


def in_processes(work, arguments):
    """Results in order, of a process per core: models this small gain nothing
    from threads. Processes are forked, so that `work` and the predictions in it
    are not sent to them."""
    global _work
    _work = work
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        yield from pool.imap(_call, arguments)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("quantctl")
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--windows", type=int)
    options = parser.parse_args()
    for package in ("llama-cpp-python", "gguf", "numpy", "tokenizers"):
        print(package, importlib.metadata.version(package))
    failures = Failures()
    for model in models():
        Comparison(options.quantctl, model, options.work, failures,
                   options.windows).run()
    print(f"\n{failures.count} failures")
    return 1 if failures.count else 0


if __name__ == "__main__":
    sys.exit(main())
