"""One node for one row of the table: a folder, a model, and real servers."""

import pathlib
import shutil
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "faults"))

from harness import (Failure, Server, certificate, require,  # noqa: E402
                     rss_bytes, wait_for)
from api import Api, answer, spec  # noqa: E402

TINY = HERE.parent.parent / "examples" / "tiny-own-pad768-bf16"
TERMINAL = (4, 5, 6)  # Job.State SUCCEEDED, FAILED, CANCELLED
SUCCEEDED, FAILED, CANCELLED = TERMINAL
QUEUED, RUNNING = 1, 2


class Node:
    def __init__(self, build, work):
        self.build, self.work = build, pathlib.Path(work)
        self.models = self.work / "models"
        self.models.mkdir()
        (self.models / "model").mkdir()
        for file in TINY.iterdir():
            shutil.copy(file, self.models / "model")
        self.servers = []
        self.figures = []

    def server(self, *flags, data="data"):
        """Not started yet."""
        made = Server(self.build, self.work / data, self.models, *flags)
        self.servers.append(made)
        return made

    def start(self, *flags, **variables):
        made = self.server(*flags)
        made.start(**variables)
        return made

    def slow_model(self, size="60MB"):
        """A model that takes some seconds with slow_spec."""
        if not (self.models / "slow").exists():
            self.build.generate(self.models / "slow", size)

    def seen(self, text):
        """A figure for the table."""
        self.figures.append(text)

    def close(self):
        for server in self.servers:
            server.kill()

    def log(self):
        return "".join(server.log() for server in self.servers)


def slow_spec(**more):
    return spec("slow", recipe={"scale": "mse"}, **more)


def end_of(api, name, seconds=120):
    """The job, once it has ended."""

    def ended():
        job = api.GetJob(name=name)
        return job.state in TERMINAL and job

    return wait_for(f"the end of {name}", seconds, ended)


def all_jobs(api):
    """Every job, page by page."""
    jobs, token = [], ""
    while True:
        page = api.ListJobs(page_size=1000, page_token=token)
        jobs += page.jobs
        token = page.next_page_token
        if not token:
            return jobs


def percentile(samples, share):
    samples = sorted(samples)
    return samples[min(len(samples) - 1, int(share * len(samples)))]


def timed(call):
    begin = time.monotonic()
    call()
    return time.monotonic() - begin


def expect(got, *wanted):
    require(got in wanted, f"got {got}; want one of {wanted}")
