#!/usr/bin/env python3
"""Times calibrated quantization beside torch, in one run.

    tests/bench/gptq.py BUILD_DIR [--python PYTHON] [--shapes 4096x4096,...]

PYTHON has torch (Debian: python3-torch). The peer is gptq_torch.py, on the best
kernels that its OpenBLAS has for this machine; both take two threads. Prints
what bench_forward and bench_gptq find as fractions of what products of matrices
reach, and how many times as fast the Hessian and the solve are. Asserts nothing.
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


def best_kernels():
    """OpenBLAS 0.3.21 takes processors that it does not know for old ones."""
    with open("/proc/cpuinfo", encoding="ascii") as file:
        flags = file.read()
    if "avx512vl" in flags:
        return "SkylakeX"
    return "Haswell" if "avx2" in flags else "Nehalem"


def ours(build, rows, columns):
    out = subprocess.run(
        [os.path.join(build, "tests", "bench", "bench_gptq"), THREADS, rows,
         columns], check=True, capture_output=True, text=True).stdout
    print(out, end="")
    hessian = re.search(r"hessian +([\d.]+) s", out)
    solves = re.findall(r"solve ([\d.]+) s", out)
    return {"hessian": float(hessian[1]), "solve": float(solves[0])}


def theirs(python, rows, columns):
    kernels = best_kernels()
    environment = {**os.environ, "OPENBLAS_CORETYPE": kernels}
    out = subprocess.run(
        [python, os.path.join(HERE, "gptq_torch.py"), rows, columns,
         "--threads", THREADS], check=True, capture_output=True, text=True,
        env=environment).stdout
    seconds = dict(line.split() for line in out.splitlines())
    return {name: float(value) for name, value in seconds.items()}


def compare(build, python, shape):
    rows, columns = shape.split("x")
    mine, peer = ours(build, rows, columns), theirs(python, rows, columns)
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
    print("load average %.2f %.2f %.2f, %d cores, %s; torch on %s kernels"
          % (*os.getloadavg(), os.cpu_count(), processor(), best_kernels()))
    subprocess.run([os.path.join(build, "tests", "bench", "bench_forward"),
                    THREADS], check=True)
    for shape in options.shapes.split(","):
        compare(build, options.python, shape)


if __name__ == "__main__":
    main()
