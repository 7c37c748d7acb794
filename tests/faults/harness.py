"""Starts and ends real servers, and asks them through quantctl."""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import time

POLL_SECONDS = 0.02


class Failure(Exception):
    """What the test promises did not hold."""


def require(condition, message):
    if not condition:
        raise Failure(message)


def wait_for(what, seconds, condition):
    """Polls until `condition` gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(POLL_SECONDS)
    raise Failure(f"waited {seconds} s for {what}")


class Build:
    """The programs under test."""

    def __init__(self, directory):
        directory = pathlib.Path(directory).resolve()
        self.quantd = directory / "server" / "quantd"
        self.quantctl = directory / "client" / "quantctl"
        self.gen_model = directory / "tests" / "tools" / "gen_model"

    def generate(self, path, size, seed=1, big_tensor=None):
        command = [self.gen_model, "--output", path, "--bytes", size]
        command += ["--seed", str(seed)]
        command += ["--big-tensor-bytes", big_tensor] if big_tensor else []
        subprocess.run(command, check=True)

    def quantize(self, model, output, flags):
        command = [self.quantctl, "quantize", model, "--output", output]
        subprocess.run(
            [*command, "--no-fsync", *flags],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


class Server:
    def __init__(self, build, data_dir, model_root, *flags):
        self.build, self.data_dir = build, pathlib.Path(data_dir)
        self.command = [build.quantd, "--data-dir", data_dir]
        self.command += ["--model-root", model_root, *flags]
        self.command += ["--listen", "127.0.0.1:0"]
        self.command += ["--http-listen", "127.0.0.1:0"]
        self.log_path = self.data_dir.parent / "quantd.log"
        self.process = None

    def start(self):
        endpoint = self.data_dir / "endpoint"
        endpoint.unlink(missing_ok=True)  # of a server that was killed
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log
            )

        def ready():
            require(self.process.poll() is None, "quantd ended: " + self.log())
            return endpoint.exists() and endpoint.read_text()

        self.endpoint = json.loads(wait_for("quantd to serve", 60, ready))

    def log(self):
        return self.log_path.read_text(errors="replace")[-4000:]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        require(code == 0, f"quantd ended with {code}: {self.log()}")

    def children(self):
        """Processes of running attempts."""
        pid = self.process.pid
        found = []
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except FileNotFoundError:
                pass  # a thread that ended meanwhile
        return found

    def ctl(self, *arguments, check=True):
        environment = os.environ | {"QUANT_SERVER": self.endpoint["grpc"]}
        done = subprocess.run(
            [self.build.quantctl, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
        )
        if check:
            require(
                done.returncode == 0,
                f"quantctl {arguments} ended with {done.returncode}: "
                f"{done.stderr}\n{self.log()}",
            )
        return done

    def submit(self, model, *flags):
        command = ("submit", f"server:{model}", *flags, "-o", "name")
        return self.ctl(*command).stdout.strip()

    def job(self, name):
        return json.loads(self.ctl("get", name, "-o", "json").stdout)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def digests(directory):
    directory = pathlib.Path(directory)
    return {
        str(path.relative_to(directory)): sha256(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
