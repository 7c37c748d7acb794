"""One measurement: a model quantized by a case, read back by someone else, and
compared with what it was.

Legend: x a weight, y what it became, w the mean square of what its column is
multiplied with (1 where that was not measured).
    relative RMSE           sqrt(sum (x - y)^2 / sum x^2)
    weighted relative RMSE  sqrt(sum w (x - y)^2 / sum w x^2)
    SQNR                    -20 log10(relative RMSE), in dB
Sums in double, over all weights of a role.
"""

import dataclasses
import json
import math
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

import decode
import models

ROLES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
         "down_proj"]


class Fallback(Exception):
    """A weight that was to be quantized has another type."""


@dataclasses.dataclass
class Errors:
    """Sums over the weights of a role."""

    count: int = 0
    tensors: int = 0
    bytes: int = 0
    noise: float = 0
    signal: float = 0
    weighted_noise: float = 0
    weighted_signal: float = 0
    types: set = dataclasses.field(default_factory=set)

    def add(self, original, found, importance):
        x = original.astype(np.float64)
        d = x - found.values
        w = 1.0 if importance is None else importance.astype(np.float64)
        self.count += x.size
        self.tensors += 1
        self.bytes += found.bytes
        self.noise += float((d * d).sum())
        self.signal += float((x * x).sum())
        self.weighted_noise += float((w * d * d).sum())
        self.weighted_signal += float((w * x * x).sum())
        self.types.add(found.stored)

    def merge(self, other):
        for field in dataclasses.fields(self):
            mine, more = getattr(self, field.name), getattr(other, field.name)
            joined = mine | more if field.name == "types" else mine + more
            setattr(self, field.name, joined)

    @property
    def bits(self):
        return 8 * self.bytes / self.count

    @property
    def relative(self):
        return math.sqrt(self.noise / self.signal)

    @property
    def weighted(self):
        return math.sqrt(self.weighted_noise / self.weighted_signal)

    @property
    def sqnr(self):
        return math.inf if self.noise == 0 else -20 * math.log10(self.relative)


def unscaled(original, values, rounds=30):
    """A weight whose rows and columns were multiplied by factors that others
    undo, without them: those that fit best, in turns."""
    x, y = original.astype(np.float64), values.astype(np.float64)
    for step in range(2 * rounds):
        axis = step % 2
        fits = (x * y).sum(axis, keepdims=True)
        squares = (y * y).sum(axis, keepdims=True)
        y = y * np.divide(fits, squares, out=np.ones_like(fits),
                          where=squares > 0)
    return y


@dataclasses.dataclass
class Result:
    roles: dict
    size: int  # of the artifact's files
    seconds: float
    peak: int  # bytes resident
    perplexity: float
    divergence: float
    nominal_bits: int  # of a code; 0 where bits on disk tell

    @property
    def all(self):
        total = Errors()
        for errors in self.roles.values():
            total.merge(errors)
        return total


# A process inherits the peak memory of whoever starts it, so that a small one
# starts what is measured.
LAUNCHER = """
import os, subprocess, sys, time
begin = time.monotonic()
process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, usage = os.wait4(process.pid, 0)
print(time.monotonic() - begin, usage.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def timed(command):
    """Runs a program; its seconds and peak resident bytes."""
    arguments = list(map(str, command))
    done = subprocess.run([sys.executable, "-S", "-E", "-c", LAUNCHER,
                           *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)}\n{done.stderr}")
    seconds, peak = done.stdout.split()
    return float(seconds), int(peak)


class Bench:
    """Measures cases, each once."""

    def __init__(self, control, work, windows):
        self.control = control
        self.work = work
        self.windows = windows
        self.known = {}
        self.base = {}

    def evaluate(self, directory, model, reference=None):
        command = [self.control, "eval", directory, "-o", "json"]
        command += ["--evaluation", model.evaluation]
        command += ["--sequence-length", str(model.context)]
        command += ["--reference", reference] if reference else []
        done = subprocess.run(command, check=True, capture_output=True,
                              text=True)
        return json.loads(done.stdout)

    def perplexity(self, model):
        if model.name not in self.base:
            found = self.evaluate(model.directory, model)
            self.base[model.name] = found["perplexity"]
        return self.base[model.name]

    def divergence(self, directory, found, model):
        """GGUF files are evaluated as the floats that their reader sees."""
        if not (directory / "config.json").exists():
            plain = directory / "floats"
            plain.mkdir()
            shutil.copy(model.directory / "config.json", plain)
            tensors = {name: w.values for name, w in found.items()}
            models.write_safetensors(plain / "model.safetensors", tensors)
            directory = plain
        return self.evaluate(directory, model, model.directory)

    def roles(self, case, model, found):
        out = {}
        for name, original in sorted(model.weights.items()):
            role = name.split(".")[-2]
            if role not in ROLES:
                continue
            weight = found.get(name)
            if weight is None or weight.stored not in case.types():
                kind = weight.stored if weight else "nothing"
                raise Fallback(
                    f"{model.name}, {case.scheme} as {case.format}: {name} is"
                    f" {kind}; allowed are {sorted(case.types())}"
                )
            if case.scaled:
                weight = weight._replace(
                    values=unscaled(original, weight.values))
            importance = model.importance.get(name)
            out.setdefault(role, Errors()).add(original, weight, importance)
        return {role: out[role] for role in ROLES if role in out}

    def measure(self, case, model):
        key = (model.name, case.scheme, case.format, case.flags)
        if key not in self.known:
            with tempfile.TemporaryDirectory(dir=self.work) as work:
                directory = pathlib.Path(work) / "out"
                self.known[key] = self.run(case, model, directory)
        return self.known[key]

    def run(self, case, model, directory):
        command = [self.control, "quantize", model.directory]
        command += ["--scheme", case.scheme, "--format", case.format]
        command += [flag.format(**vars(model)) for flag in case.flags]
        command += ["--output", directory, "--no-fsync", "--threads", "1"]
        seconds, peak = timed(command)
        size = sum(f.stat().st_size for f in directory.iterdir())
        found = decode.weights(directory, model.config)
        roles = self.roles(case, model, found)
        quality = self.divergence(directory, found, model)
        floats = case.format == "dequantized"
        return Result(roles, size, seconds, peak, quality["perplexity"],
                      quality["klMean"], case.nominal_bits if floats else 0)
