"""The confinement of deploy/debian/quantd.service leaves quantd what it needs: what
a server asks the kernel for, seen by strace from start through a calibrated job to
the stop, is what the unit allows. systemd itself can't run in a test."""

import os
import re
import signal
import subprocess
import unittest

from settings import DEPLOY, ConfiguredCase
from harness import EXAMPLES, LIMIT_SECONDS, MODEL, OK, QUANTD

UNIT = [line.split("=", 1) for line in
        (DEPLOY / "debian/quantd.service").read_text().splitlines()
        if "=" in line and not line.startswith("#")]
TOKENS = EXAMPLES / "tokens" / "tiny-own_sampled_calib.npy"


def values(name):
    return [value.split() for key, value in UNIT if key == name]


def members(name):
    """The system calls of a word of SystemCallFilter."""
    if not name.startswith("@"):
        return {name}
    shown = subprocess.run(["systemd-analyze", "syscall-filter", name], text=True,
                           check=True, capture_output=True).stdout
    words = [line.strip() for line in shown.splitlines()[1:]]
    return set().union(*(members(w) for w in words if w and w[0] != "#"))


def allowed_calls():
    allowed = members("@default")
    for words in values("SystemCallFilter"):
        if words[0].startswith("~"):
            words = [words[0][1:], *words[1:]]
            allowed -= set().union(*map(members, words)) - members("@default")
        else:
            allowed |= set().union(*map(members, words))
    return allowed


class Confinement(ConfiguredCase):
    def traced(self):
        """Lines of a server's life, as a user without rights."""
        for path in (self.dir, EXAMPLES):
            self.assertTrue(os.access(path, os.R_OK))
        os.chmod(self.dir, 0o777)
        trace = self.dir / "trace"
        trace.touch()
        trace.chmod(0o666)
        program = self.dir / "program"
        # SQLite, for one, asks for more when it is root.
        program.write_text("#!/bin/sh\nexec setpriv --reuid 65534 --regid 65534 "
                           "--clear-groups strace -D -f -qq -o "
                           f"'{trace}' '{QUANTD}'\n")
        program.chmod(0o755)
        server, endpoint = self.start_configured("", program)
        self.env["QUANT_SERVER"] = re.search(r'"grpc": *"([^"]+)"',
                                             endpoint).group(1)
        self.ctl(OK, "submit", MODEL, "--scheme", "W4A16", "--method", "gptq",
                 "--calibration", TOKENS, "--calibration-sequences", 2,
                 "--sequence-length", 64, "--wait", "--output", "out")
        server.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(LIMIT_SECONDS), 0)
        return trace.read_text()

    def test_what_is_used_is_allowed(self):
        trace = self.traced()
        used = set(re.findall(r"^\d+ +(\w+)\(", trace, re.M))
        self.assertGreater(len(used), 50)
        self.assertEqual(used - allowed_calls(), set())
        families = set(re.findall(r"socket(?:pair)?\((AF_\w+|PF_\w+)", trace))
        allowed, = values("RestrictAddressFamilies")
        self.assertLessEqual(families, set(allowed))
        self.assertIn("AF_UNIX", families)
        # Why the unit does not say MemoryDenyWriteExecute.
        self.assertRegex(trace, r"PROT_WRITE\|PROT_EXEC")
        self.assertEqual(values("MemoryDenyWriteExecute"), [])

    def test_the_test_can_fail(self):
        allowed = allowed_calls()
        self.assertIn("openat", allowed)
        for call in ("mount", "chroot", "bpf", "init_module", "reboot", "ptrace"):
            self.assertNotIn(call, allowed)


if __name__ == "__main__":
    unittest.main()
