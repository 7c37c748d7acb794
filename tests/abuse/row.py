#!/usr/bin/env python3
"""Runs rows of the table (cases.toml) that are functions of this folder.

    row.py BUILD_DIR ROW...

Each row gets a folder and servers of its own. Prints the figures that it saw.
"""

import sys
import tempfile
import traceback

from node import Failure, Node
from harness import Build

MODULES = ("requests", "connections", "processes")


def rows():
    """Functions by row."""
    found = {}
    for module in map(__import__, MODULES):
        for name, function in vars(module).items():
            if name.startswith("row_"):
                found[int(name[4:])] = function
    return found


def run(build, row, function):
    with tempfile.TemporaryDirectory(prefix=f"quant_row_{row}_") as work:
        node = Node(build, work)
        try:
            function(node)
        except Exception as problem:  # of whatever kind, it is told
            if not isinstance(problem, Failure):
                traceback.print_exc()
            print(f"row {row} FAILED: {problem}\n{node.log()}", flush=True)
            return False
        finally:
            node.close()
        print(f"row {row} ok: {'; '.join(node.figures)}", flush=True)
    return True


def main():
    build, known = Build(sys.argv[1]), rows()
    done = [run(build, int(row), known[int(row)]) for row in sys.argv[2:]]
    sys.exit(not all(done))


if __name__ == "__main__":
    main()
