"""quantctl and a real quantd over TLS: who is let in, and new certificates."""

import os
import re
import subprocess
import threading
import time
import unittest
import urllib.request

from harness import LIMIT_SECONDS, MODEL, OK, UNAVAILABLE, ServerCase, wait_for

EC_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *map(str, arguments)], check=True,
                          capture_output=True, timeout=LIMIT_SECONDS, **options)


class Authority:
    """Signs certificates for 127.0.0.1, each in a folder of its own."""

    def __init__(self, path):
        path.mkdir()
        self.path, self.key, self.cert = path, path / "ca.key", path / "ca.pem"
        openssl("req", "-x509", *EC_KEY, "-days", "2", "-subj",
                f"/CN={path.name}", "-keyout", self.key, "-out", self.cert)

    def issue(self, name):
        folder = self.path / name
        folder.mkdir()
        extensions = folder / "extensions"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        openssl("req", *EC_KEY, "-subj", f"/CN={name}", "-keyout",
                folder / "key.pem", "-out", folder / "request.pem")
        openssl("x509", "-req", "-in", folder / "request.pem", "-CA", self.cert,
                "-CAkey", self.key, "-CAcreateserial", "-days", "2", "-extfile",
                extensions, "-out", folder / "cert.pem")
        return folder


def serial(certificate):
    return openssl("x509", "-noout", "-serial", input=certificate).stdout


class TlsCase(ServerCase):
    def start_server(self, *flags):
        self.ours = Authority(self.dir / "ours")
        self.theirs = Authority(self.dir / "theirs")
        # As Kubernetes mounts secrets: a link that moves to new files at once.
        self.live = self.dir / "live"
        self.live.symlink_to(self.ours.issue("server"))
        super().start_server("--tls-cert", self.live / "cert.pem", "--tls-key",
                             self.live / "key.pem", *flags)

    def shown_serial(self):
        """Of the certificate that the server shows to a new connection."""
        shown = openssl("s_client", "-alpn", "h2", "-connect",
                        self.env["QUANT_SERVER"], stdin=subprocess.DEVNULL)
        return serial(shown.stdout)


class Tls(TlsCase):
    def setUp(self):
        super().setUp()
        self.env["QUANT_TLS_CA"] = str(self.ours.cert)

    def test_a_job_from_submit_to_verify(self):
        self.ctl(OK, "submit", MODEL, "--scheme", "W4A16", "--wait", "--output",
                 "out")
        self.ctl(OK, "verify", "out")

    def test_the_end_of_the_certificate_is_a_metric(self):
        url = f"http://{self.http}/metrics"
        text = urllib.request.urlopen(url, timeout=LIMIT_SECONDS).read().decode()
        end = float(re.search(
            r"^quant_tls_cert_expiry_timestamp_seconds (\S+)$", text, re.M)[1])
        self.assertAlmostEqual(end, time.time() + 2 * 86400, delta=600)

    def test_a_stranger_is_not_taken_for_the_server(self):
        self.env["QUANT_TLS_CA"] = str(self.theirs.cert)
        self.ctl(UNAVAILABLE, "health")

    def test_plaintext_is_not_answered(self):
        del self.env["QUANT_TLS_CA"]
        self.ctl(UNAVAILABLE, "health")

    def test_a_new_certificate_is_shown_and_no_handshake_fails(self):
        before = self.shown_serial()
        done = threading.Event()
        codes = []

        def connect_on_and_on():
            while not done.is_set():
                process = self.start("health")
                process.communicate(timeout=LIMIT_SECONDS)
                codes.append(process.returncode)

        load = threading.Thread(target=connect_on_and_on)
        load.start()
        try:
            renewed = self.ours.issue("renewed")
            link = self.dir / "link"
            link.symlink_to(renewed)
            os.replace(link, self.live)
            wait_for("the new certificate",
                     lambda: self.shown_serial() != before)
            wait_for("handshakes enough", lambda: len(codes) > 10)
        finally:
            done.set()
            load.join()
        self.assertEqual(self.shown_serial(),
                         serial((renewed / "cert.pem").read_bytes()))
        self.assertEqual(set(codes), {OK})


class MutualTls(TlsCase):
    def start_server(self, *flags):
        # The authority is made by the base class; the file need not exist yet
        # when its name is given.
        super().start_server("--tls-client-ca", self.dir / "ours" / "ca.pem")

    def setUp(self):
        super().setUp()
        self.env["QUANT_TLS_CA"] = str(self.ours.cert)

    def show(self, folder):
        self.env["QUANT_TLS_CERT"] = str(folder / "cert.pem")
        self.env["QUANT_TLS_KEY"] = str(folder / "key.pem")

    def test_only_who_shows_a_certificate_of_the_authority_gets_in(self):
        self.ctl(UNAVAILABLE, "health")
        self.show(self.theirs.issue("stranger"))
        self.ctl(UNAVAILABLE, "health")
        self.show(self.ours.issue("client"))
        self.ctl(OK, "health")
        self.ctl(OK, "list")


if __name__ == "__main__":
    unittest.main()
