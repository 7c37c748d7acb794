#!/usr/bin/env python3
"""Many watch one job, some never read, and the server is killed meanwhile.

    watchers.py BUILD_DIR [--watchers 10000] [--silent 1000] [--bytes 2.2GB]
                           [--limit 900MB]

All that read must see the end and miss nothing. Prints the server's memory and
GetJob's p99 without them, beside them, and while all of them come back after
kill -9. Memory must stay below the limit.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

from harness import Build, Server, conduct, require, rss_bytes

BENCH_SECONDS = 5
# Then the watchers are ended, and what they did not get to is told.
MOST_SECONDS = "900"


class Watchers:
    def __init__(self, arguments, work):
        self.arguments, self.work = arguments, work
        self.build = Build(arguments.build)
        self.build.generate(work / "models" / "model", arguments.bytes)
        self.server = Server(self.build, work / "data", work / "models",
                             "--workers", "1", "--threads", "1")
        self.tools = pathlib.Path(arguments.build).resolve() / "tests"

    def p99(self, what, seconds=BENCH_SECONDS):
        done = subprocess.run(
            [self.tools / "bench/bench_rpc", self.server.endpoint["grpc"], "get",
             "model", str(seconds), "4"],
            capture_output=True, text=True)
        require(done.returncode == 0,
                f"bench_rpc ended with {done.returncode}: {done.stderr}")
        result = json.loads(done.stdout)
        now, peak = rss_bytes(self.server.process.pid)
        print(f"{what}: GetJob {result['calls'] / seconds:.0f}/s, p99 "
              f"{result['p99_ms']:.1f} ms; server {now / 1e6:.0f} MB, at most "
              f"{peak / 1e6:.0f} MB", flush=True)
        return peak

    def event(self, watchers, name):
        """The next thing they print."""
        line = json.loads(watchers.stdout.readline() or "{}")
        require(line.get("event") == name, f"no {name}: {line}")
        print(f"{name} after {line['seconds']:.1f} s, {line['messages']} "
              f"messages, {line['lost']} watches lost", flush=True)

    def run(self):
        arguments = self.arguments
        self.server.start()
        # The one that comes back must be found where this one was.
        self.server.command[self.server.command.index("--listen") + 1] = (
            self.server.endpoint["grpc"])
        self.server.ctl("queue", "pause")
        name = self.server.submit("model", "--scheme", "W3A16", "--scale", "mse")
        self.p99("alone")
        command = ["timeout", MOST_SECONDS, self.tools / "faults/watchers",
                   self.server.endpoint["grpc"], name, arguments.watchers,
                   arguments.silent]
        watchers = subprocess.Popen(map(str, command), stdout=subprocess.PIPE,
                                    text=True)
        try:
            self.watch(name, watchers)
        finally:
            watchers.kill()
            watchers.wait()

    def watch(self, name, watchers):
        limit = int(self.arguments.limit[:-2]) * 1_000_000
        self.event(watchers, "attached")
        self.p99("watched, job waits")
        self.server.ctl("queue", "resume")
        peaks = [self.p99("watched, job runs")]
        self.server.kill()
        begin = time.monotonic()
        self.server.start()
        print(f"killed and back in {time.monotonic() - begin:.1f} s", flush=True)
        peaks.append(self.p99("while they come back"))
        self.event(watchers, "attached")
        self.event(watchers, "final")
        require(watchers.wait() == 0, "a sequence was missed")
        require(self.server.job(name)["state"] == "SUCCEEDED", "no success")
        peaks.append(rss_bytes(self.server.process.pid)[1])
        require(max(peaks) < limit, f"{max(peaks) / 1e6:.0f} MB")
        self.server.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--watchers", type=int, default=10000)
    parser.add_argument("--silent", type=int, default=1000)
    parser.add_argument("--bytes", default="2.2GB")
    parser.add_argument("--limit", default="900MB")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        conduct(Watchers(arguments, pathlib.Path(work)))


if __name__ == "__main__":
    main()
