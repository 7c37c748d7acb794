#!/usr/bin/env python3
"""kill -9 of the server, of a worker, of both, while clients go on working.

    chaos.py BUILD_DIR [--kills 500] [--seed N]

Clients create, cancel, watch and download at random. A kill comes at a random
moment, or where the server makes a commit durable or renames a result
(preload.c). In the end P1 to P5 of docs/robustness.md must hold for all that the
clients were told.
"""

import argparse
import collections
import hashlib
import os
import pathlib
import random
import signal
import tempfile
import threading
import time

from harness import Build, Failure, Server, conduct, require, wait_for
from api import Api, spec

TINY = pathlib.Path(__file__).resolve().parents[2] / (
    "examples/tiny-own-pad768-bf16")
SUCCEEDED, FAILED, CANCELLED = TERMINAL = (4, 5, 6)
DURABLE = (2, 3, 4, 5)  # STATE, ATTEMPT, GATE, ARTIFACT
SNAPSHOT, FINAL = 1, 8
FAILPOINTS = [f"fdatasync:queue.sqlite-wal:{when}:{{}}"
              for when in ("before", "after")]
# "files" is a result that the store takes over; the worker makes the manifest.
FAILPOINTS += [f"rename:{path}:{when}:1" for path in ("files", "manifest.json")
               for when in ("before", "after")]
CLIENTS = 4


class History:
    """All that any client was told."""

    def __init__(self):
        self.lock = threading.Lock()
        self.names = collections.defaultdict(set)  # by request id
        self.ends = collections.defaultdict(set)  # by name
        self.faults = []
        self.counts = collections.Counter()

    def created(self, request_id, job):
        with self.lock:
            self.names[request_id].add(job.name)

    def saw(self, job):
        with self.lock:
            if job.state in TERMINAL:
                self.ends[job.name].add((job.state, tuple(job.artifacts)))

    def fault(self, text):
        with self.lock:
            self.faults.append(text)


class Client(threading.Thread):
    def __init__(self, chaos, seed):
        super().__init__(daemon=True)
        self.chaos, self.history = chaos, chaos.history
        self.random = random.Random(seed)
        self.mine = []
        self.last = collections.Counter()  # sequence seen, by name
        self.number = seed

    def run(self):
        import grpc
        last = None
        while not self.chaos.done.is_set():
            action = self.random.choice(
                (self.create, self.create, self.cancel, self.watch,
                 self.download, self.repeat))
            try:
                with Api(self.chaos.server.endpoint["grpc"]) as api:
                    for _ in range(5):
                        action(api)
                        self.history.counts[action.__name__] += 1
            except grpc.RpcError as error:
                last = error.code().name
                self.history.counts[last] += 1
                if last not in ("UNAVAILABLE", "CANCELLED", "NOT_FOUND",
                                "DEADLINE_EXCEEDED", "UNKNOWN"):
                    self.history.fault(f"{action.__name__}: {error}")
                time.sleep(0.02)

    def create(self, api):
        if len(self.mine) > self.chaos.most:
            return
        self.number += CLIENTS
        self.mine.append([f"request-{self.number}", None])
        self.repeat(api)

    def repeat(self, api):
        """Asks again for a job that may or may not have been made."""
        if not self.mine:
            return
        entry = self.mine[-1] if self.mine[-1][1] is None else (
            self.random.choice(self.mine))
        job = api.CreateJob(spec=spec(TINY.name), request_id=entry[0], timeout=20)
        self.history.created(entry[0], job)
        self.history.saw(job)
        entry[1] = job.name

    def pick(self):
        names = [name for _, name in self.mine if name]
        return self.random.choice(names) if names else None

    def cancel(self, api):
        if (name := self.pick()) and self.random.random() < 0.3:
            self.history.saw(api.CancelJob(name=name, timeout=20))

    def watch(self, api):
        if name := self.pick():
            watch_once(api, name, self.last, self.history)

    def download(self, api):
        name = self.pick()
        job = api.GetJob(name=name, timeout=20) if name else None
        if job is None or job.state != SUCCEEDED:
            return
        self.history.saw(job)
        for file in api.GetArtifact(name=job.artifacts[0]).files:
            parts = api.Read(resource_name=file.resource_name)
            sha = hashlib.sha256(b"".join(part.data for part in parts))
            if sha.hexdigest() != file.sha256:
                self.history.fault(f"{file.resource_name}: another digest")


def watch_once(api, name, last, history):
    """Goes on where the last watch ended, as long as the server is there; each
    durable event is the next."""
    for event in api.WatchJob(name=name, after_sequence=last[name], timeout=20):
        if event.sequence < last[name]:
            history.fault(f"{name}: back to {event.sequence} from {last[name]}")
        if event.kind in DURABLE:
            if event.sequence != last[name] + 1:
                history.fault(f"{name}: {last[name]}, then {event.sequence}")
            last[name] = event.sequence
        elif event.kind == SNAPSHOT:
            last[name] = event.sequence
        if event.kind == FINAL:
            history.saw(event.job)


class Chaos:
    def __init__(self, arguments, work):
        self.random = random.Random(arguments.seed)
        self.kills, self.most = arguments.kills, 5 * arguments.kills
        self.history, self.done = History(), threading.Event()
        self.server = Server(Build(arguments.build), f"{work}/data",
                             TINY.parent, "--workers", "2")
        self.counts = collections.Counter()

    def kill_once(self):
        what = self.random.choice(("server", "worker", "both", "failpoint"))
        self.counts[what] += 1
        time.sleep(self.random.uniform(0, 0.3))
        if what == "failpoint":
            self.strike()
        if what in ("worker", "both"):
            for child in self.server.children()[:1]:
                try:
                    os.kill(child, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        if what != "worker":
            self.server.kill()
            self.server.start()

    def strike(self):
        """A server that dies, or whose workers do, where it comes to."""
        point = self.random.choice(FAILPOINTS).format(self.random.randint(1, 12))
        self.server.kill()
        try:
            self.server.start(QUANT_FAILPOINT=point)
        except Failure:  # it came there while it started
            pass
        end = time.monotonic() + self.random.uniform(0.5, 1.5)
        while self.server.process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        if self.server.process.poll() is not None:
            self.counts["server struck"] += 1

    def run(self):
        self.server.start()
        clients = [Client(self, number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        for _ in range(self.kills):
            self.kill_once()
        self.done.set()
        for client in clients:
            client.join(120)
        with Api(self.server.endpoint["grpc"]) as api:
            self.check(api)
        self.server.stop()

    def check(self, api):
        history = self.history
        require(not history.faults, "\n".join(history.faults[:10]))
        require(len(history.names) > self.kills // 10, "hardly any job")
        for request_id, names in history.names.items():
            require(len(names) == 1, f"P3: {request_id} made {names}")
        ends, reasons = collections.Counter(), collections.Counter()
        for name in (each for names in history.names.values() for each in names):
            job = wait_for(f"the end of {name}", 300, lambda: self.ended(
                api, name))  # P1: it is there
            history.saw(job)
            seen = history.ends[name]
            require(len(seen) == 1, f"P2, P4: {name} ended as {seen}")
            require(len(job.artifacts) == (job.state == SUCCEEDED),
                    f"P2: {name}: {job.state} with {job.artifacts}")
            watch_once(api, name, collections.Counter(), history)
            ends[job.state] += 1
            if job.state == FAILED:
                reasons[job.state_reason] += 1
        require(not history.faults, "\n".join(history.faults[:10]))
        print(f"kills {dict(self.counts)}; clients {dict(history.counts)}; "
              f"{sum(ends.values())} jobs ended: {ends[SUCCEEDED]} succeeded, "
              f"{ends[CANCELLED]} cancelled, {ends[FAILED]} failed "
              f"{dict(reasons)}", flush=True)

    def ended(self, api, name):
        job = api.GetJob(name=name)
        return job.state in TERMINAL and job


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"chaos: --seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as work:
        conduct(Chaos(arguments, work))


if __name__ == "__main__":
    main()
