"""quantd doctor, backup and restore on the data of a real quantd."""

import json
import signal
import sqlite3
import subprocess
import unittest

from harness import MODEL, OK, QUANTD, ServerCase, environment

SOURCE = f"server:{MODEL.name}"


class Maintenance(ServerCase):
    def setUp(self):
        super().setUp()
        self.data = self.dir / "data"

    def run_job(self):
        out, _ = self.ctl(OK, "submit", SOURCE, "--scheme", "W4A16", "--wait",
                          "-o", "name")
        return out.strip()

    def quantd(self, code, *arguments):
        done = subprocess.run([QUANTD, *map(str, arguments)],
                              capture_output=True, text=True,
                              env=environment(), timeout=60)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def doctor(self, code, *flags):
        out = self.quantd(code, "doctor", "--data-dir", self.data, "--json",
                          *flags)
        return json.loads(out)

    def details(self, findings, severity):
        return [f"{f['check']}: {f['detail']}" for f in findings
                if f["severity"] == severity]

    def weights(self):
        return next(self.data.glob("artifacts/*/files/model.safetensors"))

    def test_all_is_well_beside_a_running_server(self):
        self.run_job()
        findings = self.doctor(0, "--digests")
        self.assertEqual({f["severity"] for f in findings}, {"ok"}, findings)
        self.assertEqual([f["check"] for f in findings],
                         ["queue", "artifacts", "uploads", "work", "disk"])
        self.assertIn("1 jobs", findings[0]["detail"])
        self.assertIn("1 artifacts", findings[1]["detail"])

    def test_one_changed_byte_is_found_by_its_digest(self):
        self.run_job()
        path = self.weights()
        path.chmod(0o600)
        with open(path, "r+b") as file:
            file.seek(-1, 2)
            last = file.read(1)
            file.seek(-1, 2)
            file.write(bytes([last[0] ^ 1]))
        self.doctor(0)
        [found] = self.details(self.doctor(1, "--digests"), "FAILURE")
        self.assertRegex(found, "model.safetensors: has SHA-256 .*, not ")

    def test_what_is_cut_missing_or_unknown_is_named(self):
        self.run_job()
        self.stop_server()
        path = self.weights()
        path.chmod(0o600)
        with open(path, "r+b") as file:
            file.truncate(100)
        (self.data / "work" / ("0" * 26)).mkdir()
        (self.data / "artifacts" / ("1" * 26)).mkdir()
        findings = self.doctor(1)
        failures = self.details(findings, "FAILURE")
        self.assertEqual(len(failures), 2, failures)
        self.assertTrue(any("no sound record.json" in text
                            for text in failures), failures)
        self.assertTrue(any("model.safetensors: is 100 bytes" in text
                            for text in failures), failures)
        [warning] = self.details(findings, "warning")
        self.assertIn("is of no known job", warning)

    def test_a_damaged_queue_is_found(self):
        self.run_job()
        self.stop_server()
        queue = self.data / "queue.sqlite"
        with open(queue, "r+b") as file:
            file.seek(3 * 4096)
            file.write(b"\xff" * 4096)
        failures = self.details(self.doctor(1), "FAILURE")
        self.assertIn("queue", failures[0])

    def test_a_torn_journal_is_told(self):
        job = self.run_job().removeprefix("jobs/")
        work = self.data / "work" / job
        work.mkdir(exist_ok=True)
        (work / "journal").write_bytes(b"quant-journal 1 torn")
        [warning] = self.details(self.doctor(0), "warning")
        self.assertIn("bytes at the end are torn", warning)

    def test_backup_beside_the_server_and_back(self):
        first = self.run_job()
        backup = self.dir / "queue.backup"
        out = self.quantd(0, "backup", "--data-dir", self.data, "--output",
                          backup)
        self.assertIn("1 jobs", out)
        second = self.run_job()
        self.assertIn("stop it first",
                      self.quantd(1, "restore", "--data-dir", self.data,
                                  "--from", backup))
        self.stop_server(signal.SIGKILL)
        out = self.quantd(0, "restore", "--data-dir", self.data, "--from",
                          backup)
        self.assertIn("what was there before", out)
        # Of the killed server's log too: folded into what was kept.
        self.assertEqual(sorted(path.name for path in
                                self.data.glob("*.replaced.*")),
                         ["queue.sqlite.replaced.1"])
        # The artifact of the job that the backup does not know.
        warnings = self.details(self.doctor(0), "warning")
        self.assertTrue(any(second.removeprefix("jobs/") in text
                            for text in warnings), warnings)
        self.start_server()
        self.assertEqual(self.json("get", first)["state"], "SUCCEEDED")
        self.ctl(5, "get", second)
        self.assertEqual(self.json("get", self.run_job())["state"],
                         "SUCCEEDED")
        # What was replaced can be put back in turn.
        self.stop_server()
        [replaced] = self.data.glob("*.replaced.*")
        self.quantd(0, "restore", "--data-dir", self.data, "--from", replaced)
        self.start_server()
        self.assertEqual(self.json("get", second)["state"], "SUCCEEDED")

    def test_refusals(self):
        backup = self.dir / "taken"
        backup.write_text("x")
        self.assertIn("exists", self.quantd(
            1, "backup", "--data-dir", self.data, "--output", backup))
        self.stop_server()
        before = (self.data / "queue.sqlite").read_bytes()
        self.quantd(1, "restore", "--data-dir", self.data, "--from", backup)
        other = self.dir / "other.sqlite"
        with sqlite3.connect(other) as database:
            database.execute("CREATE TABLE t(x)")
        self.assertIn("no queue of quantd", self.quantd(
            1, "restore", "--data-dir", self.data, "--from", other))
        self.assertEqual((self.data / "queue.sqlite").read_bytes(), before)
        self.assertIn("--data-dir", self.quantd(2, "doctor"))
        self.assertIn("--digests", self.quantd(0, "doctor", "--help"))
        self.assertIn("is no directory", self.quantd(
            1, "doctor", "--data-dir", self.dir / "none"))


if __name__ == "__main__":
    unittest.main()
