#!/usr/bin/env python3
"""Peak memory of the server and its attempt together.

    memory.py BUILD_DIR [--sizes 1GB 8GB] [--limit 300MB] [--work DIR]

The larger model has a tensor of 2.1 GB. The peak must stay below the limit, and
must not grow with the model.
"""

import argparse
import pathlib
import re
import sys
import tempfile

from harness import Build, Failure, Server, require, wait_for

# What malloc and the page tables make of one run and the next.
NOISE_BYTES = 30_000_000


def high_water_bytes(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    match = re.search(r"VmHWM:\s+(\d+) kB", text)
    return int(match.group(1)) * 1024 if match else 0


def measure(build, work, size, scheme):
    model = work / "models" / size
    if not model.exists():
        big = "2.1GB" if size == "8GB" else None
        build.generate(model, size, big_tensor=big)
    server = Server(
        build, work / f"data-{size}-{scheme}", work / "models", "--threads", "2"
    )
    server.start()
    peaks = {}
    name = server.submit(size, "--scheme", scheme)

    def finished():
        for child in server.children():
            peaks[child] = max(peaks.get(child, 0), high_water_bytes(child))
        job = server.job(name)
        require(job["state"] != "FAILED", f"{job.get('error')}")
        return job["state"] == "SUCCEEDED"

    wait_for("the job", 1200, finished)
    served = high_water_bytes(server.process.pid)
    server.stop()
    require(peaks, "no attempt was seen")
    attempt = max(peaks.values())
    print(
        f"{size} {scheme}: server {served / 1e6:.0f} MB + attempt "
        f"{attempt / 1e6:.0f} MB = {(served + attempt) / 1e6:.0f} MB",
        flush=True,
    )
    return served + attempt


def run(arguments, work):
    build = Build(arguments.build)
    limit = int(arguments.limit[:-2]) * 1_000_000
    for scheme in ("W4A16", "W8A16"):
        peaks = [measure(build, work, s, scheme) for s in arguments.sizes]
        require(max(peaks) < limit, f"more than {arguments.limit}")
        require(
            max(peaks) <= peaks[0] + NOISE_BYTES, "grows with the model's size"
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--sizes", nargs="+", default=["1GB", "8GB"])
    parser.add_argument("--limit", default="300MB")
    parser.add_argument("--work")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(dir=arguments.work) as work:
            run(arguments, pathlib.Path(work))
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        sys.exit(1)
    print("ok")


if __name__ == "__main__":
    main()
