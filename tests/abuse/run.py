#!/usr/bin/env python3
"""The abuse and fault table: runs it, and writes what was seen.

    run.py BUILD_DIR              all rows
    run.py BUILD_DIR ROW...       some
    run.py BUILD_DIR --write      all, into docs/robustness.md
    run.py --check                whether that page has the rows of cases.toml
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "robustness.md"
TABLE = re.compile(r"(?<=<!-- rows -->\n).*?(?=<!-- end of rows -->)", re.S)
DOCUMENT = tomllib.loads((HERE / "cases.toml").read_text())
CASES = {case["row"]: case for case in DOCUMENT["case"]}


def tests_of(case):
    return case.get("tests") or [f"abuse.{case['row']}"]


def run(build, rows):
    """{name of a test: [passed, failed, what it said]} from one run of ctest."""
    names = sorted({name for row in rows for name in tests_of(CASES[row])})
    # Parameterized ones stand between their instance and their value.
    pattern = "|".join(map(re.escape, names))
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        subprocess.run(
            ["ctest", "--test-dir", build, "-j", "2", "--no-tests=error", "-R",
             f"(^|/)({pattern})(/|$)", "--output-junit", report.name],
            check=False)
        root = xml.etree.ElementTree.parse(report.name).getroot()
    results = {name: [0, 0, ""] for name in names}
    for test in root.iter("testcase"):
        for name in names:
            if name in test.get("name").split("/"):
                passed = test.get("status") == "run"
                results[name][0 if passed else 1] += 1
                results[name][2] = test.findtext("system-out") or ""
    return results


def seen(case, results):
    mine = [results[name] for name in tests_of(case)]
    passed, failed = (sum(each[i] for each in mine) for i in (0, 1))
    if failed or not all(each[0] for each in mine):
        return f"FAILED: {failed} of {passed + failed}"
    figures = re.search(r"^row \d+ ok: (.+)$", mine[0][2], re.M)
    if figures:
        return figures[1]
    return "as expected" + (f", {passed} tests" if passed > 1 else "")


def line(case, result):
    names = ", ".join(f"`{name}`" for name in tests_of(case))
    return (f"| {case['row']} | {case['what']} | {case['expected']} | {result} "
            f"| {names} |\n")


def table(results):
    text = ("\n| row | what happens | what is expected | seen | tests |\n"
            "|---|---|---|---|---|\n")
    text += "".join(line(case, seen(case, results)) for case in CASES.values())
    text += "\nLeft out:\n\n"
    text += "".join(f"- {row}: {why}\n"
                    for row, why in DOCUMENT["left_out"].items())
    return text + "\n"


def check():
    """The page says what cases.toml says, whatever was seen."""
    rows = set(CASES) | set(map(int, DOCUMENT["left_out"]))
    if rows != set(range(1, 69)):
        sys.exit(f"rows that are missing: {set(range(1, 69)) - rows}")
    shown = re.sub(r"\| [^|]* (\| [^|]* \|\n)", r"\1", TABLE.search(
        PAGE.read_text())[0])
    for case in CASES.values():
        wanted = line(case, "x").replace("| x |", "|")
        if wanted not in shown:
            sys.exit(f"row {case['row']} of {PAGE.name} differs: run.py --write")


def main():
    arguments = sys.argv[1:]
    if arguments == ["--check"]:
        return check()
    write = "--write" in arguments
    build, *some = (each for each in arguments if each != "--write")
    rows = [int(row) for row in some] or list(CASES)
    results = run(build, rows)
    failed = 0
    for row in rows:
        result = seen(CASES[row], results)
        failed += result.startswith("FAILED")
        print(f"{row:3} {result} ({CASES[row]['what']})")
    if write and len(rows) == len(CASES):
        text = table(results)
        PAGE.write_text(TABLE.sub(lambda _: text, PAGE.read_text()))
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
