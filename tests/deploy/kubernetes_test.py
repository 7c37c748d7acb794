"""deploy/kubernetes and the chart: what they render is what the API takes, the
objects fit together, and quantd takes its configuration. Kustomize and the types
of the API come from a Go program of ours, Helm is built beside it; tools.sh says
which versions."""

import copy
import json
import re
import subprocess
import unittest

import yaml

from manifests import by_kind, check_all
from settings import DEPLOY, ROOT, ConfiguredCase, models, tool
from tls_test import Authority

KUSTOMIZE = DEPLOY / "kubernetes"
CHART = DEPLOY / "helm" / "quantd"
FULL = ROOT / "tests/deploy/full_values.yaml"
# What the types that we decode with belong to; Helm would say 1.20.
KUBERNETES_VERSION = "1.26"
ALL_KINDS = {"StatefulSet", "Service", "ServiceAccount", "ConfigMap",
             "NetworkPolicy", "PodDisruptionBudget"}
PLACES = ("listen", "http-listen", "data-dir", "model-root", "tls-cert",
          "tls-key", "tls-client-ca", "auth-file")


def run(*command):
    return subprocess.run([*map(str, command)], text=True, capture_output=True,
                          timeout=120)


def template(*arguments):
    return run(tool("helm"), "template", "quantd", CHART, "--kube-version",
               KUBERNETES_VERSION, *arguments)


class KubernetesCase(ConfiguredCase):
    def good(self, done):
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def decode(self, text):
        path = self.dir / "manifests.yaml"
        path.write_text(text)
        return run(tool("kubernetes"), "decode", path)

    def objects(self, text):
        return json.loads(self.good(self.decode(text)))

    def kustomize(self, name):
        return self.good(run(tool("kubernetes"), "kustomize", KUSTOMIZE / name))

    def chart(self, *arguments):
        return self.good(template(*arguments))

    def check(self, objects, more_kinds=frozenset()):
        self.assertEqual(set(by_kind(objects)), ALL_KINDS | more_kinds)
        return check_all(self, objects)

    def serves(self, text):
        """quantd starts with it, but for the places that a test has not."""
        kept = [line for line in text.splitlines()
                if line.split(":")[0] not in PLACES]
        certificate = Authority(self.dir / "authority").issue("server")
        self.start_configured(
            "\n".join(kept) + "\n", QUANT_MODEL_ROOT=models(),
            QUANT_TLS_CERT=str(certificate / "cert.pem"),
            QUANT_TLS_KEY=str(certificate / "key.pem"))


class Kustomize(KubernetesCase):
    def test_the_base(self):
        self.serves(self.check(self.objects(self.kustomize("base"))))

    def test_every_component_together(self):
        objects = self.objects(self.kustomize("examples/full"))
        self.serves(self.check(objects, {"ServiceMonitor"}))
        self.assertEqual({o["metadata"]["namespace"] for o in objects},
                         {"quantization"})


class Chart(KubernetesCase):
    def test_lint(self):
        for values in ([], ["--values", FULL]):
            self.good(run(tool("helm"), "lint", "--strict", CHART, *values))

    def test_defaults(self):
        self.serves(self.check(self.objects(self.chart()), {"Pod"}))

    def test_every_value(self):
        text = self.chart("--values", FULL)
        objects = self.objects(text)
        self.serves(self.check(objects, {"Pod", "ServiceMonitor",
                                         "PrometheusRule"}))
        self.check_monitoring(by_kind(objects))
        # A value that no template uses would be missing here.
        unused = [leaf for leaf in leaves(yaml.safe_load(FULL.read_text()))
                  if leaf not in text]
        self.assertEqual(unused, [])
        given = set(yaml.safe_load(FULL.read_text()))
        known = set(yaml.safe_load((CHART / "values.yaml").read_text()))
        self.assertEqual(given, known)

    def check_monitoring(self, kinds):
        """The rules and the dashboard are those that other tests hold."""
        rule, = kinds["PrometheusRule"]
        groups = [group for name in ("recording.yaml", "alerts.yaml") for group in
                  yaml.safe_load((DEPLOY / "prometheus" / name).read_text())["groups"]]
        self.assertEqual(rule["spec"]["groups"], groups)
        shown, = [c for c in kinds["ConfigMap"] if "quantd.json" in c["data"]]
        self.assertEqual(json.loads(shown["data"]["quantd.json"]), json.loads(
            (DEPLOY / "grafana/quantd.json").read_text()))

    def test_switches(self):
        kinds = by_kind(self.objects(self.chart(
            "--set", "networkPolicy.enabled=false",
            "--set", "podDisruptionBudget.enabled=false")))
        self.assertEqual(set(kinds), ALL_KINDS - {
            "NetworkPolicy", "PodDisruptionBudget"} | {"Pod"})

    def test_another_configuration_is_another_pod(self):
        def checksum(*arguments):
            server, = by_kind(self.objects(self.chart(*arguments)))["StatefulSet"]
            return server["spec"]["template"]["metadata"]["annotations"]
        self.assertEqual(checksum(), checksum())
        self.assertNotEqual(checksum(), checksum("--set", "config.workers=0"))

    def test_the_schema_refuses(self):
        for value, said in (
                ("replicas=2", "replicas"),
                ("config.worker=2", "worker"),
                ("config.workers=-1", "config.workers"),
                ("config.workers=many", "config.workers"),
                ("image.tag=latest", "image.tag"),
                ("image.digest=sha256:12", "image.digest"),
                ("persistence.accessMode=ReadWriteMany", "accessMode"),
                ("persistence.size=lots", "persistence.size"),
                ("shutdown.drainTimeoutSeconds=0", "drainTimeoutSeconds"),
                ("service.grpcPort=65536", "grpcPort"),
                ("service.type=ExternalName", "service.type"),
                ("networkPolicy.grpcFrom={}", "grpcFrom"),
                ("auth.existingSecret=a", "needs tls.existingSecret"),
                ("tls.existingSecret=a,tls.clientCertificates=false",
                 "needs auth.existingSecret"),
                ("resources.limits.memory=null", "memory")):
            with self.subTest(value=value):
                done = template("--set", value)
                self.assertNotEqual(done.returncode, 0)
                # Newer versions of Helm write /image/tag.
                self.assertIn(said, done.stderr.replace("/", "."))

    def test_the_chart_makes_what_kustomize_makes(self):
        chart = self.normal(self.chart())
        ours = self.normal(self.kustomize("base"))
        del chart["Pod", "quantd-health"]  # `helm test` alone has it
        self.assertEqual(set(chart), set(ours))
        for key, item in ours.items():
            self.assertEqual(item, chart[key])

    def normal(self, text):
        """Without what only one of the two tools writes."""
        objects = {}
        for item in copy.deepcopy(self.objects(text)):
            for meta in (item["metadata"],
                         item["spec"]["template"]["metadata"]
                         if item["kind"] == "StatefulSet" else {}):
                meta.pop("annotations", None)
                for label in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
                    meta.get("labels", {}).pop(label, None)
            if item["kind"] == "ConfigMap":
                item["data"]["quantd.yaml"] = yaml.safe_load(
                    item["data"]["quantd.yaml"])
            plain = re.sub(r"(quantd-config)-[0-9a-z]{10}\b", r"\1",
                           json.dumps(item))
            item = json.loads(plain)
            objects[item["kind"], item["metadata"]["name"]] = item
        return objects


class Decoder(KubernetesCase):
    """That it refuses, or the checks above would say nothing."""

    def test_what_the_api_would_not_take(self):
        text = self.kustomize("base")
        self.good(self.decode(text))
        for old, new, said in (
                ("readinessProbe:", "readynessProbe:", "readynessProbe"),
                ("replicas: 1", "replicas: one", "replicas"),
                ("periodSeconds: 20", "periodSeconds: [20]", "periodSeconds"),
                ("apiVersion: policy/v1", "apiVersion: policy/v3", "policy/v3"),
                ("storage: 200Gi", "storage: 200 GB", "quantities"),
                ("  name: quantd-headless", "  name: Quantd", "RFC 1123"),
                ("instance: quantd", "instance: quantd-", "alphanumeric"),
                ("  replicas: 1", "  replicas: 1\n  replicas: 1", "replicas")):
            with self.subTest(new=new):
                self.assertIn(old, text)
                done = self.decode(text.replace(old, new, 1))
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(said, done.stderr)


def leaves(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, str):
        yield value


if __name__ == "__main__":
    unittest.main()
