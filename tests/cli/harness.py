"""Runs quantctl and quantd for the tests of this folder."""

import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

QUANTCTL = os.environ["QUANTCTL"]
QUANTD = os.environ.get("QUANTD", "")
GEN_MODEL = os.environ.get("GEN_MODEL", "")
EXAMPLES = pathlib.Path(os.environ["EXAMPLES"])
MODEL = EXAMPLES / "tiny-own-pad768-bf16"
POLL_SECONDS = 0.02
# Sanitizers make everything slower (tests/sanitize/run.sh).
LIMIT_SECONDS = 60 * int(os.environ.get("TEST_SLOWNESS", "1"))

# The contract of quantctl --help.
OK, USAGE, FAILED, DENIED, NOT_FOUND, CANCELLED = 0, 2, 3, 4, 5, 6
TIMED_OUT, UNAVAILABLE, DIGEST, GATE, INTERRUPTED = 7, 9, 10, 12, 130


def environment(**extra):
    """Without what the caller's shell says about quantctl."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("QUANT_")}
    return {**kept, "TZ": "UTC", **extra}


def wait_for(what, condition):
    end = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"waited {LIMIT_SECONDS} s for {what}")


def write_model(path, tensors):
    """A .safetensors file of BF16 tensors: {name: (shape, bits...)}."""
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = b"".join(struct.pack("<H", v) for v in values)
        header[name] = {
            "dtype": "BF16",
            "shape": shape,
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_text(path):
    """JSONL of prose that makes some thousand tokens; returns the path."""
    lines = (
        " ".join(f"It was the best of times in the year {1700 + 7 * i + k}, it"
                 f" was the age of {word}." for k in range(9))
        for i, word in enumerate("wisdom foolishness belief doubt light hope "
                                 "darkness spring despair winter".split())
    )
    path.write_text("".join(json.dumps({"text": line}) + "\n"
                            for line in lines))
    return path


def write_ids(path, ids):
    """A .npy file of int32."""
    header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({len(ids)},), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) +
                     header.encode() + struct.pack(f"<{len(ids)}i", *ids))


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="quantctl_"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.env = environment()

    def start(self, *arguments, **options):
        return subprocess.Popen(
            [QUANTCTL, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env,
            cwd=self.dir,
            **options,
        )

    def finish(self, process, code):
        out, err = process.communicate(timeout=LIMIT_SECONDS)
        self.assertEqual(process.returncode, code, f"{out}\n{err}")
        return out, err

    def ctl(self, code, *arguments):
        """Runs quantctl, which must end with `code`."""
        return self.finish(self.start(*arguments), code)

    def json(self, *arguments):
        out, _ = self.ctl(OK, *arguments, "-o", "json")
        return json.loads(out)


class ServerCase(Case):
    flags = ()

    def setUp(self):
        super().setUp()
        self.server = None
        self.addCleanup(self.stop_server, signal.SIGKILL)
        self.start_server(*self.flags)

    def start_server(self, *flags):
        data = self.dir / "data"
        command = [QUANTD, "--data-dir", data, "--model-root", EXAMPLES]
        command += ["--model-root", self.dir]
        command += ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
        log = open(self.dir / "quantd.log", "ab")
        self.server = subprocess.Popen(
            [*map(str, command), *flags],
            stdout=log,
            stderr=log,
            env=environment(),
        )
        log.close()
        endpoint = wait_for("the endpoint", lambda: self.endpoint(data))
        self.env["QUANT_SERVER"] = endpoint["grpc"]
        self.http = endpoint["http"]

    def endpoint(self, data):
        self.assertIsNone(self.server.poll(), "quantd ended")
        try:
            endpoint = json.loads((data / "endpoint").read_text())
        except (OSError, ValueError):
            return None
        return endpoint if endpoint["pid"] == self.server.pid else None

    def stop_server(self, how=signal.SIGTERM):
        if self.server and self.server.poll() is None:
            self.server.send_signal(how)
            self.server.wait(LIMIT_SECONDS)
