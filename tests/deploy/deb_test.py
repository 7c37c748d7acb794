"""The Debian package, built from this build and looked at without installing it:
what is in it, what it asks for, and that its programs work on its configuration.
install_deb.sh installs it."""

import os
import pathlib
import re
import subprocess
import unittest

import yaml

from settings import (DEFAULT_DRAIN_SECONDS, GRPC_PORT, HTTP_PORT, VERSION,
                      WATCHDOG_SECONDS, ConfiguredCase, settings)
from harness import MODEL

BUILD = pathlib.Path(os.environ["BUILD"])


def run(*command, **options):
    done = subprocess.run([*map(str, command)], text=True, capture_output=True,
                          timeout=250, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


class Deb(ConfiguredCase):
    @classmethod
    def setUpClass(cls):
        cls.work = BUILD / "deb_test"
        run("rm", "-rf", cls.work)
        run("cpack", "-G", "DEB", "--config", BUILD / "CPackConfig.cmake",
            "-B", cls.work, cwd=BUILD)
        cls.deb, = cls.work.glob("*.deb")
        cls.root, cls.control = cls.work / "root", cls.work / "control"
        run("dpkg-deb", "--extract", cls.deb, cls.root)
        run("dpkg-deb", "--control", cls.deb, cls.control)

    def read(self, path):
        return (self.root / path).read_text()

    def unit(self):
        lines = self.read("lib/systemd/system/quantd.service").splitlines()
        return dict(line.split("=", 1) for line in lines
                    if "=" in line and not line.startswith("#"))

    def test_the_files(self):
        listed = run("dpkg-deb", "--contents", self.deb)
        rows = [line.split(None, 5) for line in listed.splitlines()]
        self.assertEqual({row[1] for row in rows}, {"root/root"})
        files = {row[5].removeprefix("./"): row[0] for row in rows
                 if row[0][0] == "-"}
        for name in ("usr/bin/quantd", "usr/bin/quantctl",
                     "usr/share/quant/ci/quantize.sh"):
            self.assertEqual(files.pop(name), "-rwxr-xr-x", name)
        self.assertEqual(set(files.values()), {"-rw-r--r--"})
        for name in ("etc/quantd/quantd.yaml", "usr/share/man/man8/quantd.8.gz",
                     "lib/systemd/system/quantd.service",
                     "usr/share/man/man1/quantctl-submit.1.gz",
                     "usr/share/bash-completion/completions/quantctl",
                     "usr/share/zsh/vendor-completions/_quantctl",
                     "usr/share/fish/vendor_completions.d/quantctl.fish",
                     "usr/share/doc/quantd/copyright",
                     "usr/share/doc/quantd/changelog.gz",
                     "usr/share/doc/quantd/CHANGELOG.md.gz",
                     "usr/share/quant/proto/quant/v1/job_service.proto"):
            self.assertIn(name, files)
        strange = [name for name in files if re.search(
            r"\.(a|h|cmake)$|/worker/|^usr/local", name)]
        self.assertEqual(strange, [])

    def test_what_it_asks_for(self):
        fields = run("dpkg-deb", "--field", self.deb)
        for line in ("Package: quantd", f"Version: {VERSION}",
                     "Architecture: amd64"):
            self.assertIn(f"{line}\n", fields)
        depends = re.search(r"^Depends: (.*)$", fields, re.M).group(1)
        for library in ("libc6 (>= ", "libgrpc++", "libprotobuf", "libsqlite3-0",
                        "libdnnl", "libssl3", "adduser"):
            self.assertIn(library, depends)
        needed = set(re.findall(r"=> (/\S+)", run(
            "ldd", self.root / "usr/bin/quantd", self.root / "usr/bin/quantctl")))
        self.assertGreater(len(needed), 20)
        for library in needed:
            self.assertFalse(library.startswith(("/usr/local", "/opt")), library)
        self.assertEqual((self.control / "conffiles").read_text(),
                         "/etc/quantd/quantd.yaml\n")
        run("md5sum", "--check", "--quiet", self.control / "md5sums",
            cwd=self.root)
        for script in ("postinst", "prerm", "postrm"):
            run("sh", "-n", self.control / script)

    def test_the_service(self):
        unit = self.unit()
        program, flag, path = unit["ExecStart"].split()
        self.assertTrue(os.access(self.root / program[1:], os.X_OK))
        self.assertEqual(flag, "--config")
        self.assertTrue((self.root / path[1:]).exists())
        self.assertIn(f"--no-create-home {unit['User']}\n",
                      (self.control / "postinst").read_text())
        self.assertGreaterEqual(int(unit["TimeoutStopSec"]),
                                DEFAULT_DRAIN_SECONDS + WATCHDOG_SECONDS)
        config = yaml.safe_load(self.read(path[1:]))
        self.assertEqual(config, {
            "listen": f"127.0.0.1:{GRPC_PORT}",
            "http-listen": f"127.0.0.1:{HTTP_PORT}",
            "data-dir": f"/var/lib/{unit['StateDirectory']}"})
        offered = re.findall(r"^#?([a-z-]+): ", self.read(path[1:]), re.M)
        self.assertGreater(len(offered), len(config))
        self.assertLessEqual(set(offered), settings())

    def test_its_programs_do_a_job(self):
        self.env["PATH"] = f"{self.root}/usr/bin:{os.environ['PATH']}"
        _, endpoint = self.start_configured(self.read("etc/quantd/quantd.yaml"),
                                            self.root / "usr/bin/quantd")
        done = subprocess.run(
            ["bash", self.root / "usr/share/quant/ci/quantize.sh"], cwd=self.dir,
            text=True, capture_output=True, timeout=60, env={
                **self.env, "QUANT_SERVER": yaml.safe_load(endpoint)["grpc"],
                "QUANTIZE_MODEL": str(MODEL), "QUANTIZE_SCHEME": "W4A16",
                "QUANTIZE_GATES": "min_sqnr_db>=15", "QUANTIZE_OUTPUT": "out"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((self.dir / "out/manifest.json").exists())


if __name__ == "__main__":
    unittest.main()
