#!/usr/bin/env python3
"""Writes docs/evidence/hqq.md: what hqq is worth beside rtn.

    tests/evidence/hqq.py BUILD_DIR [MODEL EVALUATION.npy SEQUENCE_LENGTH]...

Quantizes each model (the bundled one first) with both methods at 4, 3 and 2
bits, with and without zero points, groups of 64 (last groups may be short), and
measures size and perplexity with quantctl eval. Values are kept as floats
(format `dequantized`), so that models of any width take part.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUNDLED = ["examples/tiny-own-pad768-bf16",
           "examples/tokens/tiny-own_sampled_eval.npy", "256"]


def run(command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True).stdout


def perplexity(control, model, tokens, length):
    return json.loads(run([control, "eval", model, "--evaluation", tokens,
                           "--sequence-length", length, "-o", "json"]))[
                               "perplexity"]


def rows(control, model, tokens, length, work):
    out = os.path.join(work, "out")
    for bits in (4, 3, 2):
        for symmetry in ("symmetric", "asymmetric"):
            row = {}
            for method in ("rtn", "hqq"):
                begin = time.monotonic()
                run([control, "quantize", model, "--scheme", f"W{bits}A16",
                     f"--{symmetry}", "--group-size", "64", "--method", method,
                     "--format", "dequantized", "--output", out])
                seconds = time.monotonic() - begin
                row[method] = (perplexity(control, out, tokens, length), seconds)
                shutil.rmtree(out)
            yield bits, symmetry, row


def main():
    build = os.path.abspath(sys.argv[1])
    control = os.path.join(build, "client", "quantctl")
    triples = [[os.path.join(SOURCE, part) for part in BUNDLED[:2]] + BUNDLED[2:]]
    rest = sys.argv[2:]
    triples += [rest[i:i + 3] for i in range(0, len(rest), 3)]
    lines = ["# hqq beside rtn", "",
             "Made by `tests/evidence/hqq.py`. Perplexity, lower is better; groups"
             " of 64, scales in float32.", ""]
    with tempfile.TemporaryDirectory() as work:
        for model, tokens, length in triples:
            base = perplexity(control, model, tokens, length)
            lines += [f"## {os.path.basename(os.path.normpath(model))}", "",
                      f"As it is: {base:.4f}.", "",
                      "| bits | zero points | rtn | hqq | rtn, s | hqq, s |",
                      "|---|---|---|---|---|---|"]
            for bits, symmetry, row in rows(control, model, tokens, length, work):
                lines.append(
                    f"| {bits} | {'no' if symmetry == 'symmetric' else 'yes'} | "
                    f"{row['rtn'][0]:.4f} | {row['hqq'][0]:.4f} | "
                    f"{row['rtn'][1]:.2f} | {row['hqq'][1]:.2f} |")
            lines.append("")
    target = os.path.join(SOURCE, "docs", "evidence", "hqq.md")
    with open(target, "w") as file:
        file.write("\n".join(lines))
    print(target)


if __name__ == "__main__":
    main()
