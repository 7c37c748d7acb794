"""Facts that stand in several files of deploy/ agree with each other and with
quantd. Needs no cluster and no tool of Kubernetes."""

import json
import re
import unittest
import urllib.request

import yaml

from settings import (DEFAULT_DRAIN_SECONDS, DEPLOY, GRPC_PORT, HTTP_PORT, ROOT,
                      UID, VERSION, WATCHDOG_SECONDS, ConfiguredCase, models,
                      seconds, settings)

BASE = DEPLOY / "kubernetes" / "base"
CHART = DEPLOY / "helm" / "quantd"
# What the chart sets by itself.
OWN_SETTINGS = {"listen", "http-listen", "data-dir", "model-root", "insecure",
                "drain-timeout", "tls-cert", "tls-key", "tls-client-ca",
                "auth-file"}


def read(path):
    return yaml.safe_load((DEPLOY / path).read_text())


class ProvenPages(unittest.TestCase):
    """Every test that a page names exists."""

    def names_of_tests(self):
        names = set()
        for source in (ROOT / "tests").rglob("*_test.cc"):
            names.update(".".join(pair) for pair in re.findall(
                r"^TEST(?:_F|_P)?\((\w+),\s*(\w+)\)", source.read_text(),
                re.MULTILINE))
        for lists in (ROOT / "tests").rglob("CMakeLists.txt"):
            text = lists.read_text()
            # By name, and by functions that put the folder's name before it.
            names.update(re.findall(r"NAME ([\w.]+)", text))
            names.update(f"{lists.parent.name}.{name}" for name in re.findall(
                r"^ *\w+_test\((\w+)", text, re.MULTILINE))
        for rows in (ROOT / "tests" / "abuse").glob("*.py"):
            names.update(f"abuse.{row}" for row in re.findall(
                r"^def row_(\d+)", rows.read_text(), re.MULTILINE))
        names.update(f"faults.{fault.stem}" for fault in
                     (ROOT / "tests" / "faults").glob("*.py"))
        return names

    def test_names_of_tests(self):
        known = self.names_of_tests()
        for page in ("robustness.md", "threat_model.md"):
            text = (ROOT / "docs" / page).read_text()
            named = [name for name in re.findall(r"`(\w+\.\w+)`", text)
                     if not name.endswith((".md", ".h", ".cc"))]
            self.assertGreater(len(named), 3, page)
            for name in named:
                self.assertIn(name, known, page)


class Facts(unittest.TestCase):
    def test_the_settings_exist(self):
        known = settings()
        self.assertGreater(len(known), 10)
        for path in ("image.yaml", "kubernetes/base/quantd.yaml"):
            self.assertLessEqual(set(read(path)), known, path)
        schema = json.loads((CHART / "values.schema.json").read_text())
        offered = set(schema["properties"]["config"]["properties"])
        self.assertLessEqual(OWN_SETTINGS, known)
        self.assertEqual(offered, known - OWN_SETTINGS)
        variables = {f"QUANT_{name.upper().replace('-', '_')}" for name in known}
        variables |= {"QUANT_CONFIG", "QUANT_SERVER", "QUANT_TLS_CA", "QUANT_TOKEN"}
        for path in [*DEPLOY.rglob("*"), ROOT / "Dockerfile"]:
            if path.is_file():
                used = re.findall(r"\bQUANT_[A-Z_]+", path.read_text())
                self.assertLessEqual(set(used), variables, path)

    def test_the_ports(self):
        dockerfile = (ROOT / "Dockerfile").read_text()
        self.assertIn(f"\nEXPOSE {GRPC_PORT} {HTTP_PORT}\n", dockerfile)
        for path in ("image.yaml", "kubernetes/base/quantd.yaml"):
            self.assertEqual(read(path)["listen"], f"0.0.0.0:{GRPC_PORT}")
            self.assertEqual(read(path)["http-listen"], f"0.0.0.0:{HTTP_PORT}")
        scraped = read("prometheus/prometheus.yaml")["scrape_configs"][0]
        self.assertEqual(scraped["static_configs"][0]["targets"],
                         [f"quantd:{HTTP_PORT}"])
        published = read("compose.yaml")["services"]["quantd"]["ports"]
        self.assertEqual(published, [f"127.0.0.1:{GRPC_PORT}:{GRPC_PORT}"])

    def test_a_stopping_server_has_the_time_it_takes(self):
        compose = read("compose.yaml")["services"]["quantd"]
        self.assertGreaterEqual(seconds(compose["stop_grace_period"]),
                                DEFAULT_DRAIN_SECONDS + WATCHDOG_SECONDS)
        pod = read("kubernetes/base/statefulset.yaml")["spec"]["template"]["spec"]
        pause = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        drain = seconds(read("kubernetes/base/quantd.yaml")["drain-timeout"])
        self.assertEqual(pause[0], "sleep")
        self.assertGreaterEqual(pod["terminationGracePeriodSeconds"],
                                int(pause[1]) + drain + WATCHDOG_SECONDS)
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        self.assertEqual(values["shutdown"], {
            "preStopSeconds": int(pause[1]), "drainTimeoutSeconds": drain})

    def test_the_user(self):
        dockerfile = (ROOT / "Dockerfile").read_text()
        self.assertIn(f"--uid {UID} ", dockerfile)
        self.assertRegex(dockerfile, rf"\nUSER {UID}(:{UID})?\n")
        pod = read("kubernetes/base/statefulset.yaml")["spec"]["template"]["spec"]
        for key in ("runAsUser", "runAsGroup", "fsGroup"):
            self.assertEqual(pod["securityContext"][key], UID)
        helpers = (CHART / "templates" / "_helpers.tpl").read_text()
        self.assertEqual(re.findall(r"(?:runAs(?:User|Group)|fsGroup): (\d+)",
                                    helpers), [str(UID)] * 3)

    def test_the_version(self):
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        self.assertEqual(chart["appVersion"], VERSION)
        kustomization = read("kubernetes/base/kustomization.yaml")
        self.assertEqual(kustomization["images"][0]["newTag"], VERSION)
        self.assertEqual(kustomization["labels"][1]["pairs"]
                         ["app.kubernetes.io/version"], VERSION)
        full = read("kubernetes/examples/full/kustomization.yaml")
        self.assertEqual(full["images"][0]["newTag"], VERSION)
        self.assertRegex((ROOT / "CMakeLists.txt").read_text(),
                         rf"project\(quant VERSION {re.escape(VERSION)} ")


class Configurations(ConfiguredCase):
    def starts(self, path, probes, **variables):
        text = (DEPLOY / path).read_text()
        _, endpoint = self.start_configured(text, **variables)
        address = json.loads(endpoint)["http"]
        for probe in sorted(probes):
            url = f"http://{address}{probe}"
            with urllib.request.urlopen(url, timeout=60) as page:
                self.assertEqual(page.status, 200, probe)

    def test_quantd_takes_the_image_s(self):
        self.starts("image.yaml", {"/livez"}, QUANT_MODEL_ROOT=models())

    def test_quantd_takes_the_cluster_s_and_serves_its_probes(self):
        text = (BASE / "statefulset.yaml").read_text()
        probes = set(re.findall(r"httpGet: \{path: (\S+), port: http\}", text))
        self.assertEqual(probes, {"/livez", "/readyz"})
        chart = (CHART / "templates" / "statefulset.yaml").read_text()
        self.assertEqual(
            set(re.findall(r"httpGet: \{path: (\S+), port: http\}", chart)),
            probes)
        self.starts("kubernetes/base/quantd.yaml", probes | {"/metrics"})


if __name__ == "__main__":
    unittest.main()
