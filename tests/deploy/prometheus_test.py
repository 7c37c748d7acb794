"""What deploy/ promises, held against Prometheus and a real quantd."""

import json
import os
import pathlib
import re
import subprocess
import sys
import unittest
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
sys.path.insert(0, str(ROOT / "tests" / "cli"))

from harness import LIMIT_SECONDS, MODEL, OK, ServerCase, wait_for  # noqa: E402

RULES = [DEPLOY / "prometheus" / name for name in ("recording.yaml", "alerts.yaml")]
# Words of PromQL that look like metrics: "quant_..." and "process_..." only.
METRIC = re.compile(r"\b((?:quant|process)_[a-z_]+|quant:[a-z0-9_:]+)\b")


def promtool(*arguments):
    return subprocess.run(["promtool", *map(str, arguments)], text=True,
                          capture_output=True, timeout=LIMIT_SECONDS)


def dashboard_expressions():
    dashboard = json.loads((DEPLOY / "grafana" / "quantd.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


class Rules(unittest.TestCase):
    def test_rules_are_well_formed_and_fire_when_they_should(self):
        checked = promtool("check", "rules", *RULES)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        tested = promtool("test", "rules", ROOT / "tests/deploy/rules_test.yaml")
        self.assertEqual(tested.returncode, 0, tested.stdout + tested.stderr)

    def test_every_alert_is_tested_and_has_a_runbook_section(self):
        alerts = re.findall(r"- alert: (\w+)", RULES[1].read_text())
        runbook = (ROOT / "docs/runbook.md").read_text()
        cases = (ROOT / "tests/deploy/rules_test.yaml").read_text()
        self.assertGreater(len(alerts), 10)
        self.assertEqual(re.findall(r"^## (Quantd\w+)$", runbook, re.M),
                         alerts)
        for alert in alerts:
            self.assertRegex(cases, rf"alertname: {alert}\n +exp_alerts")

    def test_the_configuration_is_one_that_prometheus_takes(self):
        checked = promtool("check", "config", DEPLOY / "prometheus/prometheus.yaml")
        self.assertEqual(checked.returncode, 0, checked.stderr)


class Scrape(ServerCase):
    def setUp(self):
        super().setUp()
        self.ctl(OK, "submit", f"server:{MODEL.name}", "--scheme", "W4A16", "--wait")

    def start_prometheus(self):
        """Debian's Prometheus on a copy of the shipped configuration."""
        text = (DEPLOY / "prometheus/prometheus.yaml").read_text()
        text = text.replace("quantd:8080", self.http).replace("15s", "1s")
        (self.dir / "prometheus.yaml").write_text(text)
        for rule in RULES:
            text = rule.read_text().replace("interval: 30s", "interval: 1s")
            (self.dir / rule.name).write_text(text)
        log = open(self.dir / "prometheus.log", "wb")
        process = subprocess.Popen(
            ["prometheus", f"--config.file={self.dir}/prometheus.yaml",
             f"--storage.tsdb.path={self.dir}/tsdb",
             "--web.listen-address=127.0.0.1:0"], stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(log.close)
        self.prometheus = wait_for("Prometheus", lambda: self.listening(process))

    def listening(self, process):
        """Where it listens: the kernel knows what port 0 became."""
        self.assertIsNone(process.poll(),
                          (self.dir / "prometheus.log").read_text())
        inodes = set()
        for link in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                inodes.add(os.readlink(link))
            except OSError:
                pass
        for line in pathlib.Path("/proc/net/tcp").read_text().splitlines():
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                return f"127.0.0.1:{int(fields[1].split(':')[1], 16)}"
        return None

    def query(self, expression):
        query = urllib.parse.urlencode({"query": expression})
        url = f"http://{self.prometheus}/api/v1/query?{query}"
        try:
            with urllib.request.urlopen(url, timeout=LIMIT_SECONDS) as page:
                answer = json.load(page)
        except urllib.error.URLError:
            return None  # still starting
        self.assertEqual(answer["status"], "success", answer)
        return answer["data"]["result"]

    def test_prometheus_reads_a_real_server_and_the_dashboard_has_its_metrics(self):
        self.start_prometheus()
        done = wait_for("the finished job", lambda: self.query(
            'quant_jobs_completed_total{outcome="SUCCEEDED"} == 1'))
        self.assertEqual(done[0]["metric"]["job"], "quantd")
        wait_for("a recorded rule",
                 lambda: self.query('quant:workers_busy:ratio{job=""}'))
        self.assertEqual(self.query('ALERTS{alertstate="firing"}'), [])
        url = f"http://{self.http}/metrics"
        served = urllib.request.urlopen(url, timeout=LIMIT_SECONDS).read().decode()
        known = set(METRIC.findall(served))
        known |= set(re.findall(r"- record: (\S+)", RULES[0].read_text()))
        # Shown by servers with certificates only; tests/cli/tls_test.py reads it.
        known.add("quant_tls_cert_expiry_timestamp_seconds")
        used = list(dashboard_expressions())
        for rule in RULES:
            used += [(rule.name, e) for e in
                     re.findall(r"expr: (?:\|\n((?: {10,}.*\n)+)|(.*))",
                                rule.read_text())
                     for e in e if e]
        self.assertGreater(len(used), 40)
        for where, expression in used:
            for metric in METRIC.findall(expression):
                self.assertIn(metric, known, f"{where}: {expression}")
        for title, expression in dashboard_expressions():
            expression = expression.replace("$instance", ".*")
            self.assertIsNotNone(self.query(expression), title)


if __name__ == "__main__":
    unittest.main()
