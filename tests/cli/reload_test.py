"""SIGHUP: what a running server takes over of its file, and what it refuses."""

import json
import signal
import unittest
import urllib.request

from harness import MODEL, OK, ServerCase, wait_for

SOURCE = f"server:{MODEL.name}"


class Reload(ServerCase):
    def setUp(self):
        super().setUp()
        self.stop_server()
        self.file = self.dir / "quantd.yaml"
        self.write("log-format: json")
        self.start_server("--config", self.file)

    def write(self, *lines):
        self.file.write_text("\n".join(lines) + "\n")

    def metric(self, name):
        with urllib.request.urlopen(f"http://{self.http}/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.split()[1])
        return None

    def events(self, name):
        return [json.loads(line) for line
                in (self.dir / "quantd.log").read_text().splitlines()
                if f'"{name}"' in line]

    def reload(self, event):
        before = len(self.events(event))
        self.server.send_signal(signal.SIGHUP)
        wait_for(event, lambda: len(self.events(event)) > before)
        return self.events(event)[-1]

    def submit(self, code=OK):
        return self.ctl(code, "submit", SOURCE, "--scheme", "W4A16", "--wait",
                        "-o", "name")[0].strip()

    def test_good_and_bad_files(self):
        job = self.submit()
        self.assertNotIn("expireTime", self.json("get", job))
        self.write("log-format: json", "retention: 1h", "workers: 3")
        line = self.reload("config_reloaded")
        self.assertEqual(line["applied"], "retention")
        self.assertEqual(line["waiting_for_restart"], "workers")
        self.assertIn("expireTime", self.json("get", job))
        self.assertEqual(self.metric("quant_config_restart_settings"), 1)
        # Every problem at once, and all stays as it is.
        self.write("log-format: json", "retention: soon", "wrokers: 1",
                   "max-streams: many")
        line = self.reload("config_refused")
        for problem in ("quantd.yaml:2: retention", "wrokers",
                        "quantd.yaml:4: max-streams"):
            self.assertIn(problem, line["msg"])
        self.assertEqual(self.metric("quant_config_last_load_successful"), 0)
        self.assertEqual(
            self.metric('quant_config_loads_total{result="refused"}'), 1)
        self.assertIn("expireTime", self.json("get", job))
        # A file that is gone is a bad file too.
        self.file.unlink()
        self.reload("config_refused")
        self.write("log-format: json", "max-open-jobs: 1")
        self.reload("config_reloaded")
        self.assertEqual(self.metric("quant_config_last_load_successful"), 1)
        self.assertNotIn("expireTime", self.json("get", job))
        self.submit()
        self.assertEqual(self.metric("quant_config_restart_settings"), 0)


if __name__ == "__main__":
    unittest.main()
