#!/usr/bin/env python3
"""Times GGUF quantization beside llama.cpp's own quantizer, in one run.

    tests/bench/gguf.py BUILD_DIR PYTHON [--model-bytes N] [--rounds N]
                        [--types Q8_0,Q4_0,...] [--source FILE] [--work DIR]

PYTHON has the package llama-cpp-python (tests/interop/llama_cpp/run.sh makes
build/venv-llama). Both read the same F16 GGUF file from a warm page cache with
two threads and write to the same disk without fsync; quantctl also hashes what
it writes. Prints times, peak memory, the ratio, and which fraction of the time
the floor is: reading the source and writing as many bytes as the result has,
with two threads, on the same page cache. Asserts nothing.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile

from floor import Floor
from machine import measured, processor

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
THREADS = "2"
# What is aimed at: type -> search level -> times as fast.
AIMS = {
    "Q8_0": {"default": 6},
    "Q4_0": {"default": 5, "fast": 5},
    "Q6_K": {"fast": 8, "default": 5},
    "Q5_K_M": {"fast": 8, "default": 5},
    "Q4_K_M": {"fast": 8, "default": 5},
    "Q2_K": {"fast": 8, "default": 5},
    "IQ4_XS": {"default": 15},
}
FILE_TYPES = {"Q8_0": 7, "Q4_0": 2, "Q6_K": 18, "Q5_K_M": 17, "Q4_K_M": 15,
              "Q2_K": 10, "IQ4_XS": 30}
THEIRS = """
import sys, llama_cpp
llama_cpp.llama_backend_init()
p = llama_cpp.llama_model_quantize_default_params()
p.ftype, p.nthread = int(sys.argv[3]), int(sys.argv[4])
sys.exit(llama_cpp.llama_model_quantize(sys.argv[1].encode(),
                                        sys.argv[2].encode(), p))
"""


def show(label, times):
    seconds = [t for t, _ in times]
    print("  %-16s min %.2f / median %.2f / max %.2f s, peak %.0f MB"
          % (label, min(seconds), statistics.median(seconds), max(seconds),
             max(m for _, m in times)))
    return statistics.median(seconds)


def make_model(build, size, work):
    """An F16 GGUF file of about `size` bytes with random weights."""
    model = os.path.join(work, "model")
    subprocess.run([os.path.join(build, "tests", "tools", "gen_model"),
                    "--output", model, "--bytes", size],
                   check=True, stdout=subprocess.DEVNULL)
    bundled = os.path.join(SOURCE, "examples", "tiny-own-pad768-bf16")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if os.path.exists(os.path.join(bundled, name)):
            shutil.copy(os.path.join(bundled, name), model)
    out = os.path.join(work, "f16")
    subprocess.run([os.path.join(build, "client", "quantctl"), "quantize", model,
                    "--scheme", "F16", "--format", "gguf", "--output", out],
                   check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    shutil.rmtree(model)
    return os.path.join(out, "model-F16.gguf")


def bench_type(options, build, source, name, floor, work):
    out = os.path.join(work, "out")
    theirs_out = os.path.join(work, "theirs.gguf")
    ours = {level: [] for level in AIMS[name]}
    theirs = []
    for _ in range(options.rounds):
        for level in ours:
            ours[level].append(measured(
                [os.path.join(build, "client", "quantctl"), "quantize", source,
                 "--scheme", name, "--search", level, "--output", out,
                 "--threads", THREADS, "--no-fsync"]))
            written = sum(entry.stat().st_size for entry in os.scandir(out))
            shutil.rmtree(out)
        theirs.append(measured(
            [options.python, "-c", THEIRS, source, theirs_out,
             str(FILE_TYPES[name]), THREADS]))
        os.remove(theirs_out)
    print(name)
    reference = show("llama.cpp", theirs)
    for level, times in ours.items():
        median = show("quantctl " + level, times)
        print("    %.1f x as fast by medians (aim %d); the floor of %.2f s is"
              " %.0f %% of it" % (reference / median, AIMS[name][level],
                                 floor.copying(written),
                                 100 * floor.copying(written) / median))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("python")
    parser.add_argument("--model-bytes", default="2200000000")
    parser.add_argument("--source", help="an F16 .gguf file to take instead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--types", default=",".join(AIMS))
    parser.add_argument("--work", default=None)
    options = parser.parse_args()
    work = tempfile.mkdtemp(dir=options.work, prefix="quant-bench-")
    print("load average %.2f %.2f %.2f, %d cores, %s"
          % (*os.getloadavg(), os.cpu_count(), processor()))
    try:
        build = os.path.abspath(options.build)
        source = options.source or make_model(build, options.model_bytes, work)
        floor = Floor(source, work)
        print("F16 source of %.2f GB, read in %.2f s"
              % (floor.size / 1e9, floor.copying(0)))
        for name in options.types.split(","):
            bench_type(options, build, source, name, floor, work)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
