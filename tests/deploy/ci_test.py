"""The GitHub Action and the GitLab template: their shell steps, as they stand in
the YAML, against a real quantd."""

import os
import pathlib
import re
import signal
import subprocess
import unittest

import yaml

from settings import DEPLOY
from harness import (DENIED, FAILED, GATE, INTERRUPTED, LIMIT_SECONDS, MODEL, OK,
                     QUANTCTL, QUANTD, TIMED_OUT, UNAVAILABLE, USAGE, ServerCase,
                     wait_for)
from tls_test import Authority

ACTION = yaml.safe_load((DEPLOY / "github-action/action.yml").read_text())
GITLAB = yaml.safe_load((DEPLOY / "gitlab/quantize.yml").read_text())[".quantize"]
GOOD, BAD = "min_sqnr_db>=15\nsize_bytes<=10MB", "min_sqnr_db>=15\nmin_sqnr_db>=50"


def interpolate(text, inputs):
    """Of a workflow's expressions, the one that the action uses."""
    return re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda m: inputs[m.group(1)],
                  str(text))


class CiCase(ServerCase):
    def setUp(self):
        super().setUp()
        bin_dir = self.dir / "bin"
        bin_dir.mkdir()
        (bin_dir / "quantctl").symlink_to(QUANTCTL)
        self.env["PATH"] = f"{bin_dir}:{os.environ['PATH']}"
        self.env["TMPDIR"] = str(self.dir / "tmp")
        (self.dir / "tmp").mkdir()

    def step(self, text, variables):
        """Starts a step's text the way that both runners do."""
        return subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text],
            env={**self.env, **variables}, cwd=self.dir, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self, process, code):
        out, err = process.communicate(timeout=LIMIT_SECONDS)
        self.assertEqual(process.returncode, code, out + err)
        # No certificate, no report is left behind.
        self.assertEqual(list((self.dir / "tmp").iterdir()), [])
        return out, err

    def verified(self, directory="quantized"):
        self.ctl(OK, "verify", self.dir / directory)
        self.assertTrue((self.dir / directory / "model.safetensors").exists())


class GithubCase(CiCase):
    def start_action(self, attempt=1, env=(), **given):
        inputs = {name: row.get("default", "")
                  for name, row in ACTION["inputs"].items()}
        inputs["server"] = self.env["QUANT_SERVER"]
        for name, value in given.items():
            name = name.replace("_", "-")
            self.assertIn(name, inputs)
            inputs[name] = str(value)
        for name, row in ACTION["inputs"].items():
            self.assertTrue(inputs[name] or not row.get("required"), name)
        step, = ACTION["runs"]["steps"]
        self.assertEqual(step["shell"], "bash")
        self.assertNotIn("${{", step["run"])
        self.outputs, self.summary = self.dir / "outputs", self.dir / "summary"
        for path in (self.outputs, self.summary):
            path.write_text("")
        variables = {name: interpolate(text, inputs)
                     for name, text in step["env"].items()}
        return self.step(step["run"], {
            **variables, "GITHUB_ACTION_PATH": str(DEPLOY / "github-action"),
            "GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(self.outputs),
            "GITHUB_STEP_SUMMARY": str(self.summary), "GITHUB_RUN_ID": "1234",
            "GITHUB_RUN_ATTEMPT": str(attempt), "GITHUB_JOB": "model",
            "GITHUB_SHA": "0123456789abcdef0123456789abcdef01234567",
            **dict(env)})

    def action(self, code, **given):
        return self.end(self.start_action(**given), code)

    def output(self):
        pairs = dict(line.split("=", 1)
                     for line in self.outputs.read_text().splitlines())
        self.assertLessEqual(set(pairs), set(ACTION["outputs"]))
        return pairs


class Github(GithubCase):
    def test_submits_gates_and_fetches(self):
        self.action(OK, model=MODEL, scheme="W4A16", gates=GOOD)
        self.verified()
        output = self.output()
        self.assertEqual(output["directory"], "quantized")
        job = self.json("get", output["job"])
        self.assertEqual(job["state"], "SUCCEEDED")
        self.assertEqual(job["labels"]["ci.commit"][:8], "01234567")
        self.assertEqual(len(job["gates"]), 2)
        self.assertIn("min_sqnr_db >= 15", self.summary.read_text())

    def test_several_outputs_and_flags(self):
        self.action(OK, model=f"server:{MODEL.name}", scheme="W4A16\nW8A16",
                    flags="--group-size\n32\n--rule\nre:.*down_proj=skip",
                    output="two words")
        for scheme in ("W4A16", "W8A16"):
            self.verified(f"two words/{scheme}")
        spec = self.json("get", self.output()["job"])["spec"]["outputs"][0]
        self.assertEqual(spec["recipe"]["groupSize"], "32")

    def test_a_failed_gate_fails_the_step(self):
        out, err = self.action(GATE, model=MODEL, scheme="W4A16", gates=BAD)
        self.assertRegex(out, r"(?m)^::error title=quantize::jobs/\S+: "
                              r"min_sqnr_db >= 50 on W4A16: [0-9.]+, FAILED$")
        self.assertFalse((self.dir / "quantized").exists())
        output = self.output()
        self.assertEqual(set(output), {"job"})
        self.assertEqual(self.json("get", output["job"])["stateReason"],
                         "GATE_FAILED")
        self.assertIn("exit code 12", err)

    def test_a_run_gets_one_job_per_request(self):
        jobs = []
        for scheme, attempt in (("W4A16", 1), ("W4A16", 1), ("W8A16", 1),
                                ("W4A16", 2)):
            self.action(OK, model=MODEL, scheme=scheme, attempt=attempt,
                        output=f"out{len(jobs)}")
            jobs.append(self.output()["job"])
        self.assertEqual(jobs[0], jobs[1])
        self.assertEqual(len(set(jobs)), 3)

    def test_inputs_are_no_shell(self):
        for text in ("$(touch harm)", "`touch harm`", "; touch harm", "'"):
            process = self.start_action(model=text, scheme=text, gates=text)
            _, err = process.communicate(timeout=LIMIT_SECONDS)
            self.assertNotEqual(process.returncode, OK)
            self.assertFalse((self.dir / "harm").exists(), err)

    def test_what_else_can_go_wrong(self):
        self.action(USAGE, model=MODEL, scheme="W4A16", output="")
        self.action(USAGE, model=MODEL, scheme="W4A17")
        out, _ = self.action(FAILED, model=MODEL, scheme="W4A16",
                             flags="--target-size\n1kB")
        self.assertIn("::error", out)
        self.action(UNAVAILABLE, model=MODEL, scheme="W4A16",
                    server="127.0.0.1:1", env={"QUANT_RETRY_FOR": "1s"})


class Stuck(GithubCase):
    """A server without workers: jobs stay where they are."""

    flags = ("--workers", "0")

    def test_waits_no_longer_than_asked(self):
        _, err = self.action(TIMED_OUT, model=MODEL, scheme="W4A16",
                             timeout="1s")
        self.assertIn("it goes on", err)
        self.assertEqual(self.json("get", self.output()["job"])["state"],
                         "QUEUED")

    def test_a_cancelled_step_cancels_its_job(self):
        for how in (signal.SIGINT, signal.SIGTERM):
            process = self.start_action(model=MODEL, scheme="W4A16",
                                        request_id=how.name)
            wait_for("the job", self.outputs.read_text)
            job = self.output()["job"]

            wait_for("quantctl wait",
                     lambda: self.has_child(process, "wait"))
            process.send_signal(how)
            self.end(process, INTERRUPTED)
            self.assertEqual(self.json("get", job)["state"], "CANCELLED")

    def has_child(self, process, word):
        children = f"/proc/{process.pid}/task/{process.pid}/children"
        for pid in pathlib.Path(children).read_text().split():
            line = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if line[:2] == ["quantctl", word]:
                return True
        return False


class Tokens(GithubCase):
    """A server that asks who calls."""

    def start_server(self, *flags):
        self.ours = Authority(self.dir / "ours")
        server = self.ours.issue("server")
        auth = self.dir / "auth"
        for role in ("viewer", "submitter"):
            line = subprocess.run(
                [QUANTD, "token", "--name", role, "--role", role, "--tenant",
                 "team", "--output", self.dir / role], check=True, text=True,
                capture_output=True).stdout
            with auth.open("a") as lines:
                lines.write(line)
        super().start_server(
            "--tls-cert", server / "cert.pem", "--tls-key", server / "key.pem",
            "--auth-file", auth)

    def test_the_token_decides(self):
        given = {"model": MODEL, "scheme": "W4A16",
                 "tls_ca": self.ours.cert.read_text()}
        self.action(DENIED, **given)
        self.action(DENIED, token="no-token", **given)
        token = (self.dir / "viewer").read_text().strip()
        self.action(DENIED, token=token, **given)
        token = (self.dir / "submitter").read_text().strip()
        out, err = self.action(OK, token=token, **given)
        self.assertNotIn(token, out + err + self.summary.read_text())
        self.verified()


class Gitlab(CiCase):
    KEYWORDS = {"image", "variables", "script", "interruptible", "retry",
                "artifacts"}

    def run_template(self, code, job_id, **given):
        self.assertEqual(set(GITLAB), self.KEYWORDS)
        variables = {
            **GITLAB["variables"], "QUANTIZE_MODEL": str(MODEL),
            "QUANTIZE_SCHEME": "W4A16", "GITLAB_CI": "true",
            "CI_JOB_ID": str(job_id), "CI_COMMIT_SHA": "00ff",
            # Where the image has it.
            "QUANTIZE_SCRIPT": str(DEPLOY / "ci/quantize.sh"), **given}
        return self.end(self.step("\n".join(GITLAB["script"]), variables), code)

    def test_submits_gates_and_fetches(self):
        self.run_template(OK, 1, QUANTIZE_GATES=GOOD)
        self.assertEqual(GITLAB["artifacts"]["paths"], ["$QUANTIZE_OUTPUT"])
        self.verified(GITLAB["variables"]["QUANTIZE_OUTPUT"])
        report = GITLAB["artifacts"]["reports"]["dotenv"]
        lines = (self.dir / report).read_text().splitlines()
        self.assertRegex(lines[0], r"^QUANTIZE_JOB=jobs/\w+$")
        self.assertEqual(lines[1], "QUANTIZE_DIRECTORY=quantized")

    def test_a_failed_gate_fails_the_job_for_good(self):
        _, err = self.run_template(GATE, 2, QUANTIZE_GATES=BAD)
        self.assertIn("min_sqnr_db >= 50 on W4A16", err)
        self.assertFalse((self.dir / "quantized").exists())
        self.assertEqual(GITLAB["retry"]["exit_codes"], [UNAVAILABLE, 11])

    def test_the_script_is_where_the_template_looks(self):
        where = GITLAB["variables"]["QUANTIZE_SCRIPT"]
        dockerfile = (DEPLOY.parent / "Dockerfile").read_text()
        self.assertIn(f"COPY deploy/ci/quantize.sh {where}\n", dockerfile)


class Tls(CiCase):
    def start_server(self, *flags):
        self.ours = Authority(self.dir / "ours")
        server = self.ours.issue("server")
        super().start_server(
            "--tls-cert", server / "cert.pem", "--tls-key", server / "key.pem",
            "--tls-client-ca", self.ours.cert)

    def test_certificates_come_as_texts(self):
        client = self.ours.issue("client")
        texts = {"QUANTIZE_TLS_CA": self.ours.cert.read_text(),
                 "QUANTIZE_TLS_CERT": (client / "cert.pem").read_text(),
                 "QUANTIZE_TLS_KEY": (client / "key.pem").read_text()}
        variables = {"QUANTIZE_MODEL": str(MODEL), "QUANTIZE_SCHEME": "W4A16",
                     "QUANTIZE_OUTPUT": "out", "QUANT_RETRY_FOR": "1s"}
        script = f'exec "{DEPLOY}/ci/quantize.sh"'
        out, err = self.end(self.step(script, {**variables, **texts}), OK)
        self.assertNotIn("PRIVATE", out + err)
        self.verified("out")
        self.end(self.step(script, {**variables, "QUANTIZE_OUTPUT": "out2",
                                    "QUANTIZE_TLS_CA": texts["QUANTIZE_TLS_CA"]}),
                 UNAVAILABLE)


if __name__ == "__main__":
    unittest.main()
