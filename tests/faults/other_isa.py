#!/usr/bin/env python3
"""A calibrated job that another kind of CPU goes on with.

    other_isa.py BUILD_DIR

The first attempt runs on a smaller instruction set and is killed after it kept
something. Calibrated bytes depend on the instruction set: the next attempt must
take nothing over, say so in the job's log, and end with the bytes of a run that
nobody disturbed. Needs a CPU that has more than SSE 4.1.
"""

import os
import sys
import tempfile

from kill_loop import KillLoop, parse
from harness import conduct, require

SMALL = "ONEDNN_MAX_CPU_ISA"


class OtherIsa(KillLoop):
    def kill_once(self, name):
        self.wait_for_progress(name)
        self.counts["server"] += 1
        self.server.kill()
        del os.environ[SMALL]
        self.server.start()

    def run(self):
        os.environ[SMALL] = "SSE41"
        super().run()

    def check(self, job, out):
        super().check(job, out)
        log = self.server.ctl("logs", job["name"]).stdout
        require("instruction set" in log, f"not told: {log}")
        require(not job["metrics"].get("blocks_resumed"), "blocks were resumed")


def main():
    arguments = parse([*sys.argv[1:], "--calibrated", "--kills", "1"])
    with tempfile.TemporaryDirectory() as work:
        conduct(OtherIsa(arguments, work))


if __name__ == "__main__":
    main()
