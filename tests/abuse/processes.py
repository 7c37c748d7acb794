"""Rows about what becomes of processes, disks and clocks."""

import json
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import time

from node import (Api, RUNNING, SUCCEEDED, all_jobs, answer, end_of, require,
                  slow_spec, spec, wait_for)


def died_at(node, failpoint):
    """A server that was killed there by its own CreateJob, and runs again."""
    server = node.start("--workers", "0")
    server.kill()
    server.start(QUANT_FAILPOINT=failpoint)
    with Api(server.endpoint["grpc"]) as api:
        code = answer(lambda: api.CreateJob(spec=spec(), request_id="once"))[0]
        require(code == "UNAVAILABLE", f"answered {code}")
    require(server.process.wait(30) == -signal.SIGKILL, "not killed")
    server.start()
    return server


def row_2(node):
    """Killed before the commit is on the disk; the client tries again."""
    server = died_at(node, "fdatasync:queue.sqlite-wal:before:1")
    with Api(server.endpoint["grpc"]) as api:
        api.CreateJob(spec=spec(), request_id="once")
        require(len(all_jobs(api)) == 1, "not one job")


def row_3(node):
    """Killed after the commit, before the reply; the client tries again."""
    server = died_at(node, "fdatasync:queue.sqlite-wal:after:1")
    with Api(server.endpoint["grpc"]) as api:
        jobs = all_jobs(api)
        require(len(jobs) == 1, f"{len(jobs)} jobs after the commit")
        again = api.CreateJob(spec=spec(), request_id="once")
        require(again.name == jobs[0].name, "another job")
        require(len(all_jobs(api)) == 1, "not one job")


def row_7(node):
    """A worker is stopped for longer than its lease, and goes on."""
    node.slow_model()
    seconds = 70  # a lease has 60
    server = node.start()
    with Api(server.endpoint["grpc"]) as api:
        name = api.CreateJob(spec=slow_spec()).name
        child = wait_for("a worker", 60, server.children)[0]
        os.kill(child, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(child, signal.SIGCONT)
        job = end_of(api, name)
    require(job.state == SUCCEEDED, f"ended in {job.state}: {job.error}")
    require(len(job.artifacts) == 1, f"{len(job.artifacts)} artifacts")
    node.seen(f"stopped for {seconds} s: attempt {job.attempt}")


def row_16(node):
    """The power goes: what was not synced is gone. Then on a disk that lies."""
    disk = node.work / "disk"
    disk.mkdir()
    server = node.server("--workers", "0")
    server.start(QUANT_DISK=str(disk))

    def create(count):
        with Api(server.endpoint["grpc"]) as api:
            return {api.CreateJob(spec=spec()).name for _ in range(count)}

    def power_cut():
        server.kill()
        for file in server.data_dir.glob("queue.sqlite*"):
            file.unlink()  # what was deleted before stays so
            if (disk / file.name).exists():
                shutil.copy(disk / file.name, file)
        server.start(QUANT_DISK=str(disk))
        with Api(server.endpoint["grpc"]) as api:
            return {job.name for job in all_jobs(api)}

    honest = create(50)
    require(power_cut() == honest, "an acknowledged job is gone")
    honest |= create(20)
    (disk / "lies").touch()
    create(30)
    after = power_cut()
    require(honest <= after, "a job of before the lies is gone")
    damage = sqlite3.connect(server.data_dir / "queue.sqlite").execute(
        "PRAGMA integrity_check").fetchone()
    require(damage == ("ok",), f"damaged: {damage}")
    node.seen(f"{len(honest)} of {len(honest)} jobs kept by an honest disk; a "
              f"lying one lost {30 - len(after - honest)} of 30, the file whole")


def row_23(node):
    """The wall clock jumps by an hour, forth and back, while a job runs."""
    node.slow_model()
    clock = node.work / "clock"
    clock.write_bytes(bytes(16))
    server = node.start(QUANT_CLOCK=str(clock))
    with Api(server.endpoint["grpc"]) as api:
        for jump in (3600, -3600):
            name = api.CreateJob(spec=slow_spec()).name
            wait_for("the job to run", 60, lambda: api.GetJob(
                name=name).state == RUNNING and server.children())
            with open(clock, "r+b") as file:
                file.write(struct.pack("<q", jump))
            job = end_of(api, name)
            require(job.state == SUCCEEDED, f"{jump}: {job.state} {job.error}")
            node.seen(f"{jump:+} s: attempt {job.attempt}")
        require(api.CreateJob(spec=spec()).name > name, "ids went back")


def row_25(node):
    """SIGTERM twice, and during the start, again and again."""
    server = node.start("--workers", "0")
    with Api(server.endpoint["grpc"]) as api:
        names = {api.CreateJob(spec=spec()).name for _ in range(5)}
        for i in range(20):
            server.process.terminate()
            if i % 2 == 0:
                server.process.terminate()
            server.process.wait(60)
            server.spawn()
            time.sleep(0.005 * i)
        server.process.terminate()
        server.process.wait(60)
    server.start()
    with Api(server.endpoint["grpc"]) as api:
        require({job.name for job in all_jobs(api)} == names, "jobs differ")
    server.stop()
    node.seen("20 starts")


def row_65(node):
    """Standard error is a full disk, or a pipe that nobody reads."""
    for log in ("/dev/full", None):
        server = node.server(data=f"data-{log is None}")
        if log:
            server.log_path = log
            server.log = str
            server.start()
        else:
            read, write = os.pipe()
            server.process = subprocess.Popen(
                server.command, stdout=write, stderr=write)
            os.close(write)
            os.close(read)
            endpoint = server.data_dir / "endpoint"
            wait_for("quantd", 60, endpoint.exists)

            server.endpoint = json.loads(wait_for(
                "its address", 10, endpoint.read_text))
        with Api(server.endpoint["grpc"]) as api:
            job = end_of(api, api.CreateJob(spec=spec()).name)
            require(job.state == SUCCEEDED, f"{job.state} with {log}")
