#!/usr/bin/env python3
"""Measures quantd as ratios to this machine's own limits, in one run.

    tests/bench/run.py BUILD_DIR [--model-bytes N] [--rounds N] [--work DIR]

Prints a line per figure: what was measured, the limit beside it, the target.
Nothing is asserted: machines are noisy, and a figure is to be read with its
spread. Local runs use two threads, a warm page cache, no fsync on either side,
and include the SHA-256 of every output file. The floor beside them is what
reading, writing and that SHA-256 cost alone.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from floor import Floor
from machine import processor, touch_memory

THREADS = "2"


def spread(seconds):
    return "min %.3f / median %.3f / max %.3f s" % (
        min(seconds), statistics.median(seconds), max(seconds))


def timed(command):
    begin = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    return time.monotonic() - begin


def read_all(path):
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 22):
            pass


def bench_local(build, model, rounds, work):
    """Quantizing a model, beside copying its weights."""
    weights = os.path.join(model, "model.safetensors")
    copy = os.path.join(work, "copy.safetensors")
    out = os.path.join(work, "out")
    times = {"cp": [], "W4A16": [], "W8A16": []}
    written = {}
    touch_memory()
    read_all(weights)
    for _ in range(rounds):
        # Interleaved, so that a slow moment hits all three.
        times["cp"].append(timed(["cp", "--reflink=never", weights, copy]))
        os.remove(copy)
        for scheme in ("W4A16", "W8A16"):
            times[scheme].append(timed(
                [os.path.join(build, "client", "quantctl"), "quantize", model,
                 "--scheme", scheme, "--output", out, "--threads", THREADS,
                 "--no-fsync"]))
            written[scheme] = [entry.stat().st_size for entry in os.scandir(out)]
            shutil.rmtree(out)
    floor = Floor(weights, work)
    copied = statistics.median(times["cp"])
    print("cp --reflink=never of %.2f GB: %s" % (floor.size / 1e9,
                                                 spread(times["cp"])))
    for scheme, target in (("W4A16", 1.0), ("W8A16", 1.25)):
        median = statistics.median(times[scheme])
        print("%s: %s = %.2f x cp by medians, %.2f x by minima (target %.2f)" %
              (scheme, spread(times[scheme]), median / copied,
               min(times[scheme]) / min(times["cp"]), target))
        largest = max(written[scheme])
        least = floor.copying_and_hashing(written[scheme])
        print("  floor %.3f s = %.2f x cp, %.0f %% of it: SHA-256 of its file of "
              "%.2f GB takes %.3f s (%.2f GB/s), reading and writing on both "
              "cores %.3f s"
              % (least, least / copied, 100 * least / median, largest / 1e9,
                 floor.hashing(largest), 1e-9 / floor.hash_rate,
                 floor.copying(sum(written[scheme]))))


class Server:
    """A quantd of its own, on free ports."""

    def __init__(self, build, root, work, extra=()):
        self.data = tempfile.mkdtemp(dir=work)
        self.process = subprocess.Popen(
            [os.path.join(build, "server", "quantd"), "--data-dir", self.data,
             "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0",
             "--model-root", root, *extra],
            stdout=subprocess.DEVNULL, stderr=open(os.path.join(work, "server.log"), "w"))
        endpoint = os.path.join(self.data, "endpoint")
        deadline = time.monotonic() + 20
        while not os.path.exists(endpoint):
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit("quantd did not start")
            time.sleep(0.02)
        with open(endpoint) as file:
            addresses = json.load(file)
        self.grpc = addresses["grpc"]
        self.http = addresses["http"]

    def metric(self, name):
        with urllib.request.urlopen("http://%s/metrics" % self.http) as page:
            text = page.read().decode()
        match = re.search(r"^%s(?:\{[^}]*\})? (\S+)$" % name, text, re.M)
        return float(match.group(1)) if match else float("nan")

    def peak_rss_mb(self):
        with open("/proc/%d/status" % self.process.pid) as file:
            return int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)) / 1e3

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        shutil.rmtree(self.data)


def drive(build, server, *arguments):
    output = subprocess.run(
        [os.path.join(build, "tests", "bench", "bench_rpc"), server.grpc,
         *[str(a) for a in arguments]],
        check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def show(label, row, target):
    print("%s: %.0f/s, p50 %.2f ms, p99 %.2f ms, %d calls, %d errors %s(target %s)"
          % (label, row["per_second"], row["p50_ms"], row["p99_ms"], row["calls"],
             row["errors"], row["first_error"], target))


def bench_calls(build, root, small, seconds, work):
    """Unary calls on a server whose workers have nothing to do."""
    server = Server(build, root, work, ["--workers", "0"])
    try:
        before = server.metric("quant_db_commits_total")
        row = drive(build, server, "create", small, seconds, 64)[0]
        commits = server.metric("quant_db_commits_total") - before
        show("CreateJob, durable, 64 in flight", row, ">= 2000/s")
        print("  fdatasync'ed commits: %.0f for %d jobs" % (commits, row["calls"]))
        row = drive(build, server, "get", small, seconds, 64)[0]
        show("GetJob, 64 in flight", row, ">= 15000/s")
        print("  server peak RSS %.0f MB" % server.peak_rss_mb())
    finally:
        server.stop()


def bench_jobs(build, root, small, big, seconds, work):
    """Latency to the start of a job, and calls beside busy workers."""
    server = Server(build, root, work, ["--no-fsync"])
    control = os.path.join(build, "client", "quantctl")
    try:
        row = drive(build, server, "start", small, 20, 1)[0]
        print("submit -> RUNNING: p50 %.1f ms, max %.1f ms (target < 100 ms)"
              % (row["p50_ms"], row["max_ms"]))
        row = drive(build, server, "get", small, seconds, 8)[0]
        show("GetJob, 8 in flight, idle workers", row, "printed")
        for _ in range(4):
            subprocess.run([control, "submit", "--server", server.grpc,
                            "server:" + big, "--scheme", "W4A16", "--scale", "mse"],
                           check=True, stdout=subprocess.DEVNULL)
        row = drive(build, server, "busyget", small, seconds, 8)[0]
        show("GetJob, 8 in flight, workers fill both cores", row, "printed")
    finally:
        server.stop()


def bench_download(build, root, big, work):
    """Verified reading of an artifact over loopback."""
    server = Server(build, root, work, ["--no-fsync"])
    control = os.path.join(build, "client", "quantctl")
    out = os.path.join(work, "download")
    try:
        job = subprocess.run(
            [control, "submit", "--server", server.grpc, "server:" + big,
             "--scheme", "W8A16", "--wait", "-o", "json"],
            check=True, stdout=subprocess.PIPE, text=True).stdout
        artifact = json.loads(job)["artifacts"][0]
        rates = []
        touch_memory()
        for _ in range(5):
            begin = time.monotonic()
            process = subprocess.Popen(
                [control, "download", "--server", server.grpc, artifact,
                 "--output", out],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, _, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - begin
            size = sum(os.path.getsize(os.path.join(d, f))
                       for d, _, fs in os.walk(out) for f in fs)
            rates.append(size / 1e6 / wall)
            shutil.rmtree(out)
        print("verified download: %s MB/s, peak RSS client %.0f MB, server "
              "%.0f MB (target >= 700 MB/s, flat)"
              % (" / ".join("%.0f" % r for r in rates), usage.ru_maxrss / 1e3,
                 server.peak_rss_mb()))
        for row in drive(build, server, "read",
                         artifact + "/files/model.safetensors", 3, 1):
            print("ByteStream.Read + SHA-256, no disk: %.0f MB/s"
                  % row["mb_per_second"])
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--model-bytes", default="2200000000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--work", default=None)
    parser.add_argument("--only", choices=["local", "calls", "jobs", "download"])
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    source = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
    work = tempfile.mkdtemp(dir=options.work, prefix="quant-bench-")
    root = os.path.join(work, "models")
    small = os.path.join(root, "small")
    big = os.path.join(root, "big")
    print("load average %.2f %.2f %.2f, %d cores, %s"
          % (*os.getloadavg(), os.cpu_count(), processor()))
    try:
        shutil.copytree(os.path.join(source, "examples", "tiny-own-pad768-bf16"),
                        small)
        subprocess.run([os.path.join(build, "tests", "tools", "gen_model"),
                        "--output", big, "--bytes", options.model_bytes],
                       check=True, stdout=subprocess.DEVNULL)
        cases = {
            "local": lambda: bench_local(build, big, options.rounds, work),
            "calls": lambda: bench_calls(build, root, small, options.seconds, work),
            "jobs": lambda: bench_jobs(build, root, small, big, options.seconds, work),
            "download": lambda: bench_download(build, root, big, work),
        }
        for name, case in cases.items():
            if options.only in (None, name):
                case()
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
