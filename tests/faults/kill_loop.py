#!/usr/bin/env python3
"""kill -9 of the server or of an attempt, at random moments, again and again.

    kill_loop.py BUILD_DIR [--calibrated] [--bytes 200MB] [--kills 3] [--seed N]

The job must end SUCCEEDED, with the bytes of a run that nobody disturbed; at
most one tensor may be done again per kill; and until the end no artifact may be
listed. Most kills come after something new was kept, so that there is work to
lose. With --calibrated a text runs through the network before (GPTQ) and after
(evaluation), by default through the bundled model.
"""

import argparse
import os
import pathlib
import random
import signal
import tempfile
import time

from harness import Build, Server, conduct, digests, require, wait_for

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
TEXT = str(EXAMPLES / "tokens/tiny-own_sampled_{}.npy")
# Slow enough to be hit: the search for scales is most of the work.
FLAGS = ("--scheme", "W4A16", "--scale", "mse")
CALIBRATED = ("--scheme", "W4A16", "--method", "gptq",
              "--calibration", TEXT.format("calib"), "--sequence-length", "256",
              "--evaluation", TEXT.format("eval"))


class KillLoop:
    def __init__(self, arguments, work):
        self.random = random.Random(arguments.seed)
        self.kills = arguments.kills
        self.work = pathlib.Path(work)
        self.build = Build(arguments.build)
        self.flags = CALIBRATED if arguments.calibrated else FLAGS
        self.model = EXAMPLES / "tiny-own-pad768-bf16"
        if arguments.bytes or not arguments.calibrated:
            self.model = self.work / "models" / "model"
            self.build.generate(self.model, arguments.bytes or "200MB")
        self.server = Server(
            self.build,
            self.work / "data",
            self.model.parent,
            "--threads",
            "2",
        )
        self.counts = {"server": 0, "attempt": 0}
        self.idle_kills = 0  # in a row, without waiting for progress

    def kept(self):
        """Finished tensors that are on record, blocks' codes, figures."""
        work = self.work / "data" / "work"
        files = [*work.glob("*/calibrated/*/block-*"),
                 *work.glob("*/evaluated/*/part-*")]
        lines = 0
        for journal in work.glob("*/journal"):
            text = journal.read_text(errors="replace")
            lines += sum(line.startswith("done ") for line in text.splitlines())
        return len(files) + lines

    def running(self, name):
        """The job once it runs; Failure when it is over too early."""

        def check():
            job = self.server.job(name)
            state = job["state"]
            require(
                state in ("QUEUED", "RUNNING"),
                f"{state} after {self.counts} kills: {job.get('error')}",
            )
            require(not job.get("artifacts"), "an artifact before the end")
            return state == "RUNNING" and self.server.children() and job

        return wait_for("the job to run", 120, check)

    def wait_for_progress(self, name):
        begin = self.kept()
        wait_for(
            "something that is kept",
            600,
            lambda: self.running(name) and self.kept() > begin,
        )

    def kill_once(self, name):
        # Three attempts that die without progress are poison, by design.
        if self.idle_kills == 2 or self.random.random() < 0.75:
            self.wait_for_progress(name)
            self.idle_kills = 0
        else:
            self.running(name)
            self.idle_kills += 1
        time.sleep(self.random.uniform(0, 0.1))  # the random moment itself
        if self.random.random() < 0.5:
            self.counts["server"] += 1
            self.server.kill()
            self.server.start()
            return
        children = self.server.children()
        if children:
            self.counts["attempt"] += 1
            os.kill(children[0], signal.SIGKILL)
            wait_for(
                "the attempt to end",
                30,
                lambda: children[0] not in self.server.children(),
            )

    def run(self):
        self.server.start()
        name = self.server.submit(self.model.name, *self.flags)
        while sum(self.counts.values()) < self.kills:
            self.kill_once(name)
        out = self.work / "out"
        self.server.ctl("wait", name, "--timeout", "30m")
        job = self.server.job(name)
        require(job["state"] == "SUCCEEDED", f"{job['state']}")
        self.server.ctl("download", name, "--output", out)
        self.check(job, out)
        self.server.stop()

    def check(self, job, out):
        redone = int(job["metrics"].get("tensors_redone", -1))
        resumed = job["metrics"].get("blocks_resumed", 0)
        print(
            f"killed {self.counts}, attempt {job['attempt']}, "
            f"{redone} tensors redone, {resumed:.0f} calibrated blocks resumed",
            flush=True,
        )
        require(0 <= redone <= self.kills, f"{redone} tensors redone")
        calm = self.work / "calm"
        self.build.quantize(self.model, calm, self.flags)
        mine, theirs = digests(calm), digests(out)
        require(mine == theirs, f"bytes differ: {mine} {theirs}")


def parse(arguments=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--calibrated", action="store_true")
    parser.add_argument("--bytes")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    return parser.parse_args(arguments)


def main():
    arguments = parse()
    print(f"kill_loop: --seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as work:
        conduct(KillLoop(arguments, work))


if __name__ == "__main__":
    main()
