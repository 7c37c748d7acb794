#!/usr/bin/env python3
"""ghz drives CreateJob and GetJob over TLS, while the jobs run.

    load.py BUILD_DIR GHZ [--seconds 600] [--creates 5] [--gets 200]

GHZ is that program (ghz.sh builds it). No call may fail, and what is ended is
deleted after a minute, so that memory must stop growing: its slope over the
second half is printed, and may not be more than 1 MB a minute.
"""

import argparse
import json
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.request

from harness import Build, Server, certificate, conduct, require, rss_bytes

PROTO = pathlib.Path(__file__).resolve().parent.parent.parent / "proto"
MAX_BYTES_PER_MINUTE = 1_000_000


class Load:
    def __init__(self, arguments, work):
        self.arguments, self.work = arguments, work
        build = Build(arguments.build)
        build.generate(work / "models" / "model", "1MB")
        self.cert, key = certificate(work)
        self.server = Server(build, work / "data", work / "models",
                             "--tls-cert", self.cert, "--tls-key", key,
                             "--retention", "1m", "--no-fsync")

    def drive(self, method, rate, message):
        command = [self.arguments.ghz, "--proto", PROTO /
                   "quant/v1/job_service.proto", "--import-paths", PROTO,
                   "--call", f"quant.v1.JobService.{method}", "--cacert",
                   self.cert, "--duration", f"{self.arguments.seconds}s",
                   "--duration-stop", "wait", "--rps", rate, "--concurrency", 4,
                   "--timeout", "60s", "--data", json.dumps(message),
                   "--format", "json", self.server.endpoint["grpc"]]
        with open(self.work / method, "wb") as report:
            return subprocess.Popen(map(str, command), stdout=report)

    def run(self):
        self.server.start()
        spec = {"source": {"server_path": "model"},
                "outputs": [{"recipe": {"scheme": "W4A16"}}]}
        tls = {"QUANT_TLS_CA": str(self.cert)}
        name = self.server.submit("model", "--scheme", "W4A16",
                                  "--retention", "24h", **tls)
        create = {"spec": spec, "request_id": "{{.WorkerID}}-{{.RequestNumber}}"}
        drivers = {"CreateJob": self.drive("CreateJob", self.arguments.creates,
                                           create),
                   "GetJob": self.drive("GetJob", self.arguments.gets,
                                        {"name": name})}
        samples, begin = [], time.monotonic()
        while any(driver.poll() is None for driver in drivers.values()):
            samples.append((time.monotonic() - begin,
                            rss_bytes(self.server.process.pid)[0]))
            time.sleep(1)
        for method in drivers:
            self.report(method, json.loads((self.work / method).read_text()))
        self.tell_jobs()
        self.check(samples)
        self.server.stop()

    def tell_jobs(self):
        """A server that falls behind keeps more jobs, and their memory."""
        url = f"http://{self.server.endpoint['http']}/metrics"
        text = urllib.request.urlopen(url, timeout=60).read().decode()
        jobs = re.findall(r'^quant_queue_jobs\{state="(\w+)"\} (\S+)', text, re.M)
        print("jobs at the end:", dict(jobs), flush=True)

    def report(self, method, result):
        p99 = next(each["latency"] for each in result["latencyDistribution"]
                   if each["percentage"] == 99)
        print(f"{method}: {result['count']} calls, "
              f"{result['statusCodeDistribution']}, p99 {p99 / 1e6:.1f} ms",
              flush=True)
        require(set(result["statusCodeDistribution"]) == {"OK"}, "errors")

    def check(self, samples):
        late = samples[len(samples) // 2:]
        n = len(late)
        x, y = (sum(each[i] for each in late) / n for i in (0, 1))
        slope = (sum((t - x) * (b - y) for t, b in late) /
                 sum((t - x) ** 2 for t, _ in late)) * 60
        print(f"memory: {samples[0][1] / 1e6:.1f} MB at first, "
              f"{late[0][1] / 1e6:.1f} at half time, {late[-1][1] / 1e6:.1f} "
              f"at the end: {slope / 1e6:+.3f} MB a minute", flush=True)
        # In less time nothing has been deleted yet.
        if self.arguments.seconds >= 300:
            require(slope < MAX_BYTES_PER_MINUTE, "memory grows")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("ghz")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--creates", type=int, default=5)
    parser.add_argument("--gets", type=int, default=200)
    with tempfile.TemporaryDirectory() as work:
        conduct(Load(parser.parse_args(), pathlib.Path(work)))


if __name__ == "__main__":
    main()
