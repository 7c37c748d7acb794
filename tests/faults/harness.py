"""Starts and ends real servers, and asks them through quantctl."""

import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
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
        self.preload = directory / "tests" / "faults" / "libpreload.so"
        sys.path.insert(0, str(directory / "tests" / "python"))  # api.py's

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

    def spawn(self, **variables):
        """Starts the process; with `variables`, below preload.c."""
        if variables:
            variables["LD_PRELOAD"] = str(self.build.preload)
            variables["ASAN_OPTIONS"] = "verify_asan_link_order=0"
        (self.data_dir / "endpoint").unlink(missing_ok=True)  # of a killed one
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                env=os.environ | variables,
            )

    def start(self, **variables):
        self.spawn(**variables)
        endpoint = self.data_dir / "endpoint"

        def ready():
            require(self.process.poll() is None, "quantd ended: " + self.log())
            return endpoint.exists() and endpoint.read_text()

        self.endpoint = json.loads(wait_for("quantd to serve", 60, ready))

    def log(self):
        return self.log_path.read_text(errors="replace")[-4000:]

    def kill(self):
        if self.process and self.process.poll() is None:
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

    def ctl(self, *arguments, check=True, **variables):
        variables["QUANT_SERVER"] = self.endpoint["grpc"]
        environment = os.environ | variables
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

    def submit(self, model, *flags, **variables):
        command = ("submit", f"server:{model}", *flags, "-o", "name")
        return self.ctl(*command, **variables).stdout.strip()

    def job(self, name):
        return json.loads(self.ctl("get", name, "-o", "json").stdout)


def conduct(scenario):
    """Runs it to the end of the program. A failure is told with the log of its
    server, which never stays."""
    try:
        scenario.run()
    except Failure as failure:
        print(f"FAILED: {failure}\n{scenario.server.log()}", file=sys.stderr)
        sys.exit(1)
    finally:
        scenario.server.kill()
    print("ok")


def certificate(work):
    """A self-signed certificate of 127.0.0.1: (cert, key)."""
    cert, key = work / "cert.pem", work / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext"]
    command += ["subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def rss_bytes(pid):
    """Resident memory of a process now, and at its highest."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    sizes = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", text, re.M))
    return int(sizes["VmRSS"]) * 1024, int(sizes["VmHWM"]) * 1024


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
