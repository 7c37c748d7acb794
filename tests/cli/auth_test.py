"""quantctl and a real quantd that asks for credentials; and where secrets must
not be."""

import os
import stat
import subprocess
import unittest

from harness import (DENIED, LIMIT_SECONDS, MODEL, OK, QUANTD, USAGE,
                     ServerCase, environment, wait_for)


class AuthCase(ServerCase):
    def token(self, name, role, tenant):
        """Makes a token: its file, and its line in the server's file."""
        path = self.dir / f"{name}.token"
        made = subprocess.run(
            [QUANTD, "token", "--name", name, "--role", role, "--tenant", tenant,
             "--output", path], check=True, capture_output=True, text=True,
            timeout=LIMIT_SECONDS, env=environment())
        self.assertNotIn(path.read_text().strip(), made.stdout + made.stderr)
        return path, made.stdout

    def start_server(self, *flags):
        self.auth = self.dir / "auth"
        self.tokens = {}
        lines = ["# who may do what\n"]
        for name, role, tenant in (("ci", "submitter", "team-a"),
                                   ("eye", "viewer", "team-a"),
                                   ("other", "submitter", "team-b"),
                                   ("root", "admin", "ops")):
            self.tokens[name], line = self.token(name, role, tenant)
            lines.append(line)
        self.auth.write_text("".join(lines))
        super().start_server("--auth-file", self.auth, *flags)

    def be(self, name):
        self.env["QUANT_TOKEN_FILE"] = str(self.tokens[name])

    def log(self):
        return (self.dir / "quantd.log").read_text()


class Auth(AuthCase):
    def test_who_may_do_what(self):
        _, error = self.ctl(DENIED, "list")
        self.assertIn("bearer token", error)
        self.ctl(OK, "health")
        self.be("eye")
        self.ctl(OK, "list")
        _, error = self.ctl(DENIED, "submit", MODEL, "--scheme", "W4A16")
        self.assertIn("submitter", error)
        self.be("ci")
        self.ctl(OK, "submit", MODEL, "--scheme", "W4A16", "--wait", "--output",
                 "out")
        self.ctl(OK, "verify", "out")

    def test_a_token_may_also_come_from_the_environment(self):
        self.env["QUANT_TOKEN"] = self.tokens["eye"].read_text()
        self.ctl(OK, "list")
        self.env["QUANT_TOKEN"] = "wrong"
        self.ctl(DENIED, "list")
        self.be("eye")
        self.ctl(OK, "list")

    def test_a_token_stays_off_networks_that_can_read_it(self):
        self.be("ci")
        self.env["QUANT_SERVER"] = "server.example.com:50051"
        _, error = self.ctl(USAGE, "list")
        self.assertIn("plaintext", error)
        self.assertNotIn(self.tokens["ci"].read_text().strip(), error)

    def test_the_file_is_watched_and_a_bad_one_is_not_taken(self):
        self.be("ci")
        self.ctl(OK, "list")
        good = self.auth.read_text()
        self.auth.write_text("ci submitter\nroot chief x y\n")
        wait_for("the refusal", lambda: "auth_file_refused" in self.log())
        self.assertIn("auth:1: 2 words", self.log())
        self.assertIn("auth:2: role", self.log())
        self.ctl(OK, "list")
        self.auth.write_text("".join(
            line for line in good.splitlines(True) if "ci " not in line))
        wait_for("the change",
                 lambda: self.log().count("auth_file_loaded") == 2)
        self.ctl(DENIED, "list")

    def test_a_token_file_is_its_owners_alone_and_never_replaced(self):
        mode = stat.S_IMODE(os.stat(self.tokens["ci"]).st_mode)
        self.assertEqual(mode, 0o600)
        again = subprocess.run(
            [QUANTD, "token", "--name", "ci", "--role", "viewer", "--tenant",
             "x", "--output", self.tokens["ci"]], capture_output=True,
            text=True, timeout=LIMIT_SECONDS)
        self.assertEqual(again.returncode, 1, again.stderr)
        wrong = subprocess.run(
            [QUANTD, "token", "--name", "ci", "--role", "chief", "--tenant",
             "x", "--output", self.dir / "new"], capture_output=True, text=True,
            timeout=LIMIT_SECONDS)
        self.assertEqual(wrong.returncode, 2)
        self.assertFalse((self.dir / "new").exists())


class Secrets(AuthCase):
    """Tokens are in the hands of callers, and nowhere else."""

    def test_no_log_no_error_no_file_of_the_server_has_a_token(self):
        said = []
        secrets = [path.read_text().strip() for path in self.tokens.values()]
        wrong = "quant_" + "A" * 43
        for secret in [*secrets, wrong]:
            self.env["QUANT_TOKEN"] = secret
            for command in (
                    ["submit", MODEL, "--scheme", "W4A16", "--wait"],
                    ["submit", MODEL, "--scheme", "nonsense"],
                    ["list", "-o", "json"], ["get", "jobs/none"],
                    ["methods", "--remote"], ["cancel", "x"]):
                process = self.start(*command)
                said.extend(process.communicate(timeout=LIMIT_SECONDS))
        self.auth.write_text(f"ci submitter team-a {wrong}\n")
        wait_for("the refusal", lambda: "auth_file_refused" in self.log())
        self.stop_server()
        places = {"quantctl": "".join(said).encode(),
                  "log": self.log().encode()}
        for path in (self.dir / "data").rglob("*"):
            if path.is_file():
                places[str(path)] = path.read_bytes()
        self.assertGreater(len(places), 5)
        self.assertIn(b"job", places["log"])
        for where, text in places.items():
            for secret in [*secrets, wrong]:
                self.assertNotIn(secret.encode(), text, where)


if __name__ == "__main__":
    unittest.main()
