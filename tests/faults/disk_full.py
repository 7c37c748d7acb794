#!/usr/bin/env python3
"""A data directory on a file system that really is full.

    disk_full.py BUILD_DIR

Mounts a small tmpfs (as root, or as root of a user namespace of its own). What
was accepted before stays whole; what does not fit is refused with a clear error;
and when there is room again, the same server goes on.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from harness import Build, Failure, Server, digests, require

DISK_BYTES = 64_000_000
LARGE = "200MB"  # comes out larger than the disk
SMALL = "20MB"


def in_own_namespace():
    """Runs the rest where mounts are ours and end with us."""
    if os.environ.get("QUANT_TEST_NAMESPACE"):
        return
    command = ["unshare", "--mount"]
    if os.geteuid() != 0:
        command.append("--map-root-user")
    # A changed root is no mount point whose propagation could be changed.
    if subprocess.run([*command, "true"], stderr=subprocess.DEVNULL).returncode:
        command += ["--propagation", "unchanged"]
    environment = os.environ | {"QUANT_TEST_NAMESPACE": "1"}
    command += [sys.executable, "-B", *sys.argv]
    sys.exit(subprocess.run(command, env=environment).returncode)


def mount(directory):
    directory.mkdir()
    options = f"size={DISK_BYTES}"
    command = ["mount", "-t", "tmpfs", "-o", options, "quant", directory]
    subprocess.run(command, check=True)


def fill(path):
    """Takes what is left of the disk."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


def refused(server, model, *flags):
    """The job is not done, and the reason is the disk."""
    done = server.ctl(
        "submit", f"server:{model}", "--wait", *flags, check=False
    )
    require(done.returncode in (8, 11), f"{done.returncode}: {done.stderr}")
    text = (done.stderr + done.stdout).lower()
    require("disk" in text or "space" in text, f"unclear: {text}")
    require(server.process.poll() is None, "quantd ended: " + server.log())
    server.ctl("health")


def accepted(server, model, out):
    name = server.submit(model, "--scheme", "W4A16")
    server.ctl("wait", name, "--timeout", "2m")
    server.ctl("download", name, "--output", out)
    server.ctl("verify", out)
    return name


def run(build, work):
    models = work / "models"
    build.generate(models / "large", LARGE)
    build.generate(models / "small", SMALL)
    disk = work / "disk"
    mount(disk)
    server = Server(build, disk / "data", models)
    server.log_path = work / "quantd.log"
    server.start()
    first = accepted(server, "small", work / "first")
    refused(server, "large", "--scheme", "W8A16")
    print("a job larger than the disk: refused", flush=True)

    fill(disk / "ballast")
    refused(server, "small", "--scheme", "W8A16")
    print("a job on a full disk: refused", flush=True)
    server.ctl("download", first, "--output", work / "again")
    require(
        digests(work / "first") == digests(work / "again"),
        "the earlier artifact changed",
    )

    (disk / "ballast").unlink()
    accepted(server, "small", work / "second")
    require(
        digests(work / "first") == digests(work / "second"),
        "the later artifact differs",
    )
    print("room again: goes on", flush=True)
    server.stop()


def main():
    in_own_namespace()
    with tempfile.TemporaryDirectory() as work:
        try:
            run(Build(sys.argv[1]), pathlib.Path(work))
        except Failure as failure:
            print(f"FAILED: {failure}", file=sys.stderr)
            sys.exit(1)
        finally:
            disk = pathlib.Path(work) / "disk"
            if disk.is_mount():
                subprocess.run(["umount", "--lazy", disk], check=True)
    print("ok")


if __name__ == "__main__":
    main()
