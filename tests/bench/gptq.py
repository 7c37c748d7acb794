#!/usr/bin/env python3
"""Times calibrated quantization beside torch, in one run.

    tests/bench/gptq.py BUILD_DIR [--python PYTHON] [--shapes 4096x4096,...]

PYTHON has torch on OpenBLAS (Debian: python3-torch, libopenblas0-pthread). The
peer is gptq_torch.py, on whichever kernels of OpenBLAS multiply fastest here;
both take two threads. Prints what bench_forward and bench_gptq find as fractions
of what products of matrices reach, and how many times as fast the Hessian and
the solve are. Asserts nothing.
"""

import argparse
import os
import re
import subprocess

from machine import processor

HERE = os.path.dirname(os.path.abspath(__file__))
THREADS = "2"
# rows x columns -> how many times as fast the solve should be.
AIMS = {"4096x4096": 6, "4096x11008": 3}


PRODUCT = """
import time, torch
torch.set_num_threads(%s)
x, least = torch.randn(2048, 2048), 1e9
for _ in range(4):
    begin = time.monotonic()
    x.t() @ x
    least = min(least, time.monotonic() - begin)
print(2 * 2048 ** 3 / least / 1e9)
""" % THREADS


def environment(kernels):
    return {**os.environ, "OPENBLAS_CORETYPE": kernels}


def best_kernels(python):
    """Their name and GFLOP/s. OpenBLAS takes processors that it does not know
    for old ones; without OpenBLAS torch is no peer."""
    speeds = {}
    for kernels in ("Haswell", "Zen", "SkylakeX"):
        # Where the processor lacks them, it dies.
        done = subprocess.run([python, "-c", PRODUCT], capture_output=True,
                              text=True, env=environment(kernels))
        if done.returncode == 0:
            speeds[kernels] = float(done.stdout)
    if not speeds:
        raise SystemExit(f"{python}: no torch; install python3-torch")
    best = max(speeds, key=speeds.get)
    return best, speeds[best]


def ours(build, rows, columns):
    out = subprocess.run(
        [os.path.join(build, "tests", "bench", "bench_gptq"), THREADS, rows,
         columns], check=True, capture_output=True, text=True).stdout
    print(out, end="")
    hessian = re.search(r"hessian +([\d.]+) s", out)
    solves = re.findall(r"solve ([\d.]+) s", out)
    return {"hessian": float(hessian[1]), "solve": float(solves[0])}


def theirs(python, kernels, rows, columns):
    out = subprocess.run(
        [python, os.path.join(HERE, "gptq_torch.py"), rows, columns,
         "--threads", THREADS], check=True, capture_output=True, text=True,
        env=environment(kernels)).stdout
    seconds = dict(line.split() for line in out.splitlines())
    return {name: float(value) for name, value in seconds.items()}


def compare(build, python, kernels, shape):
    rows, columns = shape.split("x")
    mine = ours(build, rows, columns)
    peer = theirs(python, kernels, rows, columns)
    for name in ("hessian", "solve"):
        aim = f" (aim {AIMS[shape]})" if name == "solve" and shape in AIMS else ""
        print("  %s: torch %.3f s, quantd %.3f s: %.1f x as fast%s"
              % (name, peer[name], mine[name], peer[name] / mine[name], aim))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--shapes", default=",".join(AIMS))
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    kernels, speed = best_kernels(options.python)
    print("load average %.2f %.2f %.2f, %d cores, %s; torch on %s kernels, %.0f "
          "GFLOP/s" % (*os.getloadavg(), os.cpu_count(), processor(), kernels,
                       speed))
    subprocess.run([os.path.join(build, "tests", "bench", "bench_forward"),
                    THREADS], check=True)
    for shape in options.shapes.split(","):
        compare(build, options.python, kernels, shape)


if __name__ == "__main__":
    main()
