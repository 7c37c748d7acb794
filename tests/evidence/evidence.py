#!/usr/bin/env python3
"""Writes docs/evidence/NAME.md for schemes, methods and formats.

    tests/evidence/evidence.py BUILD_DIR [NAME...]

Without names it does all that are registered (half an hour of one core). Every
figure comes from an artifact that quantctl wrote, read back by code that is not
ours (decode.py). A weight that fell back to another type ends the program with
an error. Needs numpy and the gguf package: build/venv has them.
"""

import argparse
import json
import pathlib
import platform
import subprocess
import sys
import tempfile

import cases
import measure
import models

TARGET = cases.ROOT / "docs/evidence"
WINDOWS = 8
ABOUT = {
    "scheme": "A scheme. Rows are formats that carry it, and searches.",
    "method": "A method, beside `rtn`: integers in groups of 64, values kept as"
    " floats (format `dequantized`), or the schemes that it is for. Where weights are scaled on disk, their errors"
    " are those without the factors of rows and columns that fit best.",
    "format": "A format. Rows are the schemes that it carries, from their own"
    " pages, which say more by role.",
}


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def bits(result, errors):
    if result.nominal_bits:
        return f"{result.nominal_bits} a code"
    return f"{errors.bits:.3f}"


def figures(errors):
    return [f"{errors.relative:.5f}", f"{errors.weighted:.5f}",
            f"{errors.sqnr:.2f}"]


SUMMARY = ["", "bits per weight", "relative RMSE", "weighted", "SQNR, dB",
           "perplexity", "KL divergence", "bytes", "s", "peak, MB"]


def summary(results):
    rows = []
    for case, result in results:
        rows.append([
            case.label, bits(result, result.all), *figures(result.all),
            f"{result.perplexity:.4f}", f"{result.divergence:.6f}",
            result.size, f"{result.seconds:.2f}", round(result.peak / 1e6),
        ])
    return table(SUMMARY, rows)


def by_role(case, result):
    header = ["role", "tensors", "types", "bits per weight", "relative RMSE",
              "weighted", "SQNR, dB"]
    rows = [
        [role, errors.tensors, ", ".join(sorted(errors.types)),
         bits(result, errors), *figures(errors)]
        for role, errors in result.roles.items()
    ]
    return [f"By role, {case.label}:", "", *table(header, rows)]


def rows_of(path, form):
    """A scheme's page -> {model: the row of a format, or nothing}"""
    rows, model = {}, None
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            model = line.removeprefix("### ")
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if cells[0] == form and len(cells) == len(SUMMARY):
            rows[model] = cells[1:]
    return rows


def format_section(form, directory, capabilities):
    """What the schemes' pages say about a format."""
    models_rows = {}
    for case in cases.format_cases(form, capabilities["schemes"]):
        for model, cells in rows_of(directory / f"{case.scheme}.md",
                                    form).items():
            row = [f"[{case.scheme}]({case.scheme}.md)", *cells]
            models_rows.setdefault(model, []).append(row)
    lines = ["## As a format", "", ABOUT["format"], ""]
    for model, rows in models_rows.items():
        lines += [f"### {model}", "", *table(SUMMARY, rows), ""]
    return lines


def section(kind, name, bench, at_hand, capabilities):
    found = cases.cases(kind, name, capabilities)
    if not found:
        raise SystemExit(f"{kind} {name}: not known to quantctl")
    lines = [f"## As a {kind}", "", ABOUT[kind], ""]
    for model in at_hand:
        results = [(case, bench.measure(case, model)) for case in found]
        lines += [f"### {model.name}", "",
                  f"As it is, on {bench.windows} windows: perplexity"
                  f" {bench.perplexity(model):.4f}.", "",
                  *summary(results), ""]
        # The first of a scheme is its default; the last methods are compared.
        shown = results[:2] if kind == "method" else results[:1]
        for case, result in shown:
            lines += [*by_role(case, result), ""]
    return lines


def page(name, bench, at_hand, capabilities, directory):
    lines = [f"# {name}", "",
             "Made by `tests/evidence/evidence.py`; [README.md](README.md) says"
             " what the columns are.", ""]
    for kind in cases.REGISTRIES:
        if name not in cases.registered(kind):
            continue
        if kind == "format" and name != "dequantized":
            lines += format_section(name, directory, capabilities)
        else:
            lines += section(kind, name, bench, at_hand, capabilities)
    return "\n".join(lines)


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def all_names():
    names = [n for kind in cases.REGISTRIES for n in cases.registered(kind)]
    return list(dict.fromkeys(names))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--output", type=pathlib.Path, default=TARGET)
    parser.add_argument("--windows", type=int, default=WINDOWS)
    parser.add_argument("--bundled-only", action="store_true",
                        help="leave out models that are not in the project")
    arguments = parser.parse_args()
    control = arguments.build.resolve() / "client/quantctl"
    capabilities = json.loads(subprocess.run(
        [control, "methods", "-o", "json"], check=True, capture_output=True
    ).stdout)
    unknown = set(arguments.names) - set(all_names())
    if unknown:
        raise SystemExit(f"not registered: {', '.join(sorted(unknown))}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        at_hand = list(models.models(control, work, arguments.windows,
                                     arguments.bundled_only))
        print("models:", ", ".join(model.name for model in at_hand))
        print("processor:", processor(), flush=True)
        bench = measure.Bench(control, work, arguments.windows)
        for name in arguments.names or all_names():
            text = page(name, bench, at_hand, capabilities, arguments.output)
            path = arguments.output / f"{name}.md"
            path.write_text(text)
            print(path, flush=True)


if __name__ == "__main__":
    try:
        main()
    except measure.Fallback as problem:
        sys.exit(f"fallback: {problem}")
