#!/usr/bin/env python3
"""Measures calibrated jobs: how time grows, and memory beside the plan's bound.

    tests/bench/calibrated.py BUILD_DIR [--only growth|large] [--work DIR]

GPTQ of random weights on random tokens in sequences of 2048. "growth" doubles
the layers of a small model, then its tokens: the time per layer and per token
should stay. "large" is a model of 1.1 billion parameters. Two threads, no
fsync. Asserts nothing.
"""

import argparse
import array
import json
import os
import random
import shutil
import subprocess
import tempfile

from machine import measured, processor

THREADS = "2"
LENGTH = 2048
AIM_BYTES = 2.5e9
# What gen_model makes of a size: bytes outside of layers, and of a layer.
SMALL = (4 * 8192 * 1024, 2 * (1024 * 1024 * 5 // 2 + 3 * 1024 * 2816))
LARGE_BYTES = 2_200_000_000


def write_ids(path, count, vocabulary=8192):
    """A .npy file of 32-bit ids."""
    header = ("{'descr': '<i4', 'fortran_order': False, 'shape': (%d,), }"
              % count)
    header = header.ljust(128 - 10 - 1) + "\n"
    source = random.Random(1)
    ids = array.array("i", (source.randrange(vocabulary) for _ in range(count)))
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little"))
        file.write(header.encode() + ids.tobytes())


class Bench:
    def __init__(self, build, work):
        self.build, self.work = os.path.abspath(build), work

    def run(self, size, tokens):
        """Seconds, peak and planned bytes of one job."""
        model, ids, out = (os.path.join(self.work, name)
                           for name in ("model", "ids.npy", "out"))
        subprocess.run([os.path.join(self.build, "tests/tools/gen_model"),
                        "--output", model, "--bytes", str(size)], check=True)
        write_ids(ids, tokens)
        job = [model, "--scheme", "W4A16", "--method", "gptq", "--calibration",
               ids, "--sequence-length", str(LENGTH), "--threads", THREADS]
        quantctl = os.path.join(self.build, "client/quantctl")
        plan = json.loads(subprocess.run(
            [quantctl, "plan", *job, "-o", "json"], check=True,
            capture_output=True).stdout)
        seconds, peak = measured(
            [quantctl, "quantize", *job, "--output", out, "--no-fsync"])
        shutil.rmtree(model)
        shutil.rmtree(out)
        return seconds, peak * 1e6, int(plan["memoryBoundBytes"])

    def growth(self):
        base = None
        for layers, sequences in ((4, 8), (8, 8), (16, 8), (4, 16), (4, 32)):
            seconds, peak, bound = self.run(
                SMALL[0] + layers * SMALL[1], sequences * LENGTH)
            work = layers * sequences
            base = base or seconds / work
            print("%2d layers, %6d tokens: %6.1f s, %.2f x the time per layer"
                  " and token of the first; peak %.0f MB, planned %.0f MB"
                  % (layers, sequences * LENGTH, seconds, seconds / work / base,
                     peak / 1e6, bound / 1e6), flush=True)

    def large(self):
        seconds, peak, bound = self.run(LARGE_BYTES, 8 * LENGTH)
        print("1.1 billion parameters, %d tokens: %.0f s; peak %.2f GB, planned"
              " %.2f GB (aim %.1f GB)" % (8 * LENGTH, seconds, peak / 1e9,
                                          bound / 1e9, AIM_BYTES / 1e9))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--only", choices=("growth", "large"))
    parser.add_argument("--work", default=None)
    options = parser.parse_args()
    print("load average %.2f %.2f %.2f, %d cores, %s"
          % (*os.getloadavg(), os.cpu_count(), processor()), flush=True)
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        bench = Bench(options.build, work)
        for name in ("growth", "large"):
            if options.only in (None, name):
                getattr(bench, name)()


if __name__ == "__main__":
    main()
