"""What the pieces of deploy/ must agree on, and a server with a given
configuration."""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
sys.path.insert(0, str(ROOT / "tests" / "cli"))

from harness import EXAMPLES, QUANTD, Case, environment, wait_for  # noqa: E402

GRPC_PORT, HTTP_PORT, UID = 50051, 8080, 10001


def source_number(path, pattern):
    found = re.search(pattern, (ROOT / path).read_text())
    assert found, f"{path}: nothing looks like {pattern}"
    return int(found.group(1))


# A stopping quantd ends itself so long after its drain timeout.
WATCHDOG_SECONDS = source_number(
    "server/app.cc", r"kWatchdogGrace = absl::Seconds\((\d+)\)")
DEFAULT_DRAIN_SECONDS = source_number(
    "server/config/server_config.h", r"drain_timeout = absl::Seconds\((\d+)\)")
VERSION = re.search(r'kVersion\[\] = "([^"]+)"',
                    (ROOT / "core/base/version.h").read_text()).group(1)


def settings():
    """The names of all settings, as quantd itself lists them."""
    shown = subprocess.run([QUANTD, "--help"], text=True, check=True,
                           capture_output=True, timeout=60).stdout
    names = re.findall(r"^ +--([a-z][a-z-]+) ", shown, re.M)
    return set(names) - {"help", "version", "config"}


def seconds(text):
    """Of a duration like 30s or 5m."""
    found = re.fullmatch(r"(\d+)(s|m|h)", str(text))
    assert found, f"{text!r} is no duration"
    return int(found.group(1)) * {"s": 1, "m": 60, "h": 3600}[found.group(2)]


def cores(quantity):
    text = str(quantity)
    return int(text[:-1]) / 1000 if text.endswith("m") else float(text)


class ConfiguredCase(Case):
    """Starts quantd on a configuration file; only places are replaced."""

    def start_configured(self, text, program=QUANTD, **variables):
        (self.dir / "quantd.yaml").write_text(text)
        data = self.dir / "data"
        log = open(self.dir / "quantd.log", "wb")
        server = subprocess.Popen(
            [program], stdout=log, stderr=log,
            env=environment(QUANT_CONFIG=str(self.dir / "quantd.yaml"),
                            QUANT_DATA_DIR=str(data),
                            QUANT_LISTEN="127.0.0.1:0",
                            QUANT_HTTP_LISTEN="127.0.0.1:0",
                            **variables))
        log.close()
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)

        def endpoint():
            self.assertIsNone(server.poll(),
                              (self.dir / "quantd.log").read_text())
            return (data / "endpoint").exists()

        wait_for("the endpoint", endpoint)
        return server, (data / "endpoint").read_text()


def models():
    return str(EXAMPLES)


def tool(name):
    """A program that tests/deploy/tools.sh built."""
    path = os.environ[name.upper()]
    assert os.access(path, os.X_OK), f"{path}: run tests/deploy/tools.sh"
    return path
