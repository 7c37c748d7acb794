"""Logs of jobs and traces, from quantctl to the server, the worker and back."""

import json
import signal
import subprocess
import unittest

from harness import CANCELLED, MODEL, NOT_FOUND, OK, TIMED_OUT, ServerCase, wait_for

SOURCE = f"server:{MODEL.name}"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Logs(ServerCase):
    def lines(self, job, *flags):
        out, _ = self.ctl(OK, "logs", job, "-o", "json", *flags)
        return [json.loads(line) for line in out.splitlines()]

    def submit(self, *flags):
        out, _ = self.ctl(OK, "submit", SOURCE, "--scheme", "W4A16", "-o",
                          "name", *flags)
        return out.strip()

    def test_from_creation_to_the_end_and_after_a_restart(self):
        self.env["TRACEPARENT"] = f"00-{TRACE}-00f067aa0ba902b7-01"
        job = self.submit("--wait")
        lines = self.lines(job)
        events = [line["event"] for line in lines]
        self.assertEqual(events[:2], ["job_created", "attempt_started"])
        self.assertEqual(events[-1], "attempt_ended")
        stages = [line["stage"] for line in lines if line["event"] == "stage"]
        self.assertIn("PLANNING", stages)
        self.assertGreater(len(stages), 1)
        planned = next(line for line in lines if line["event"] == "planned")
        self.assertEqual(planned["from"], "worker")
        self.assertGreater(int(planned["output_bytes"]), 1000)
        self.assertEqual(lines[-1]["state"], "SUCCEEDED")
        for line in lines:
            self.assertEqual(line["trace_id"], TRACE, line)
            self.assertEqual("jobs/" + line["job"], job)
        self.assertEqual(self.json("get", job)["traceId"], TRACE)
        ended = [json.loads(line) for line
                 in (self.dir / "quantd.log").read_text().splitlines()
                 if '"attempt_ended"' in line]
        self.assertEqual([line["trace_id"] for line in ended], [TRACE])
        out, _ = self.ctl(OK, "logs", job)
        self.assertRegex(out, r"(?m)^\S+Z info attempt_started attempt=1$")
        self.stop_server(signal.SIGKILL)
        self.start_server()
        self.assertEqual(self.lines(job), lines)
        self.assertEqual(self.lines(job, "--follow"), lines)
        self.ctl(OK, "delete", job)
        self.ctl(NOT_FOUND, "logs", job)
        wait_for("the file to go",
                 lambda: not list((self.dir / "data/logs").iterdir()))

    def test_what_is_no_trace_is_none(self):
        self.env["TRACEPARENT"] = "\x1b[31m\n"
        job = self.submit()
        self.assertRegex(self.json("get", job)["traceId"], r"^[0-9a-f]{32}$")


class Waiting(ServerCase):
    flags = ("--workers", "0")

    def test_it_follows_until_the_end(self):
        out, _ = self.ctl(OK, "submit", SOURCE, "--scheme", "W4A16", "-o", "name")
        job = out.strip()
        self.assertEqual(self.ctl(OK, "logs", job)[0], "")
        reader = self.start("logs", job, "--follow", "-o", "json")
        self.ctl(TIMED_OUT, "wait", job, "--timeout", "300ms")
        self.assertIsNone(reader.poll(), "it waits for the job's end")
        self.ctl(OK, "cancel", job)
        self.ctl(CANCELLED, "wait", job)
        out, _ = self.finish(reader, OK)
        self.assertEqual([json.loads(line)["event"] for line
                          in out.splitlines()],
                         ["job_created", "cancel_requested"])


if __name__ == "__main__":
    unittest.main()
