"""Man pages and completions, as installed: complete, well-formed, and understood
by the shells that read them."""

import gzip
import os
import pathlib
import pty
import re
import select
import subprocess
import time
import unittest

from harness import LIMIT_SECONDS, OK, QUANTCTL, QUANTD, Case

MANUAL = pathlib.Path(os.environ["MANUAL"])


def run(*command, **options):
    return subprocess.run(command, text=True, capture_output=True,
                          timeout=LIMIT_SECONDS, **options)


class Man(Case):
    def setUp(self):
        super().setUp()
        self.pages = {}
        for packed in (MANUAL / "man").glob("man?/*.gz"):
            plain = self.dir / packed.stem
            plain.write_bytes(gzip.decompress(packed.read_bytes()))
            self.pages[packed.name.split(".")[0]] = plain

    def rendered(self, name):
        shown = run("mandoc", "-T", "utf8", "-O", "width=1000",
                    self.pages[name])
        return re.sub(".\b", "", shown.stdout)  # without overstriking

    def commands(self):
        out, _ = self.ctl(OK, "--help")
        table = out.partition("Subcommands:\n")[2].partition("\n\n")[0]
        return re.findall(r"^  ([a-z]+) ", table, re.M)

    def server_commands(self):
        said = " ".join(run(QUANTD, "--help").stdout.split())
        names = set(re.findall(r"quantd ([a-z]+)\b", said))
        self.assertLessEqual({"doctor", "backup", "restore"}, names)
        return names

    def test_there_is_a_page_for_every_command(self):
        commands = self.commands()
        self.assertGreater(len(commands), 20)
        self.assertEqual(set(self.pages), {"quantctl", "quantd"} |
                         {f"quantctl-{c}" for c in commands} |
                         {f"quantd-{c}" for c in self.server_commands()})

    def test_no_renderer_complains(self):
        found = run("mandoc", "-T", "lint", "-W", "style",
                    *self.pages.values())
        self.assertEqual((found.returncode, found.stdout), (0, ""))
        found = run("groff", "-ww", "-man", "-Tutf8", *self.pages.values())
        self.assertEqual((found.returncode, found.stderr), (0, ""))

    def test_they_say_what_help_says(self):
        pairs = [("quantd", [QUANTD]), ("quantctl", [QUANTCTL])]
        pairs += [(f"quantctl-{c}", [QUANTCTL, c]) for c in self.commands()]
        pairs += [(p, [QUANTD, p.removeprefix("quantd-")])
                  for p in self.pages if p.startswith("quantd-")]
        count = 0
        for name, command in pairs:
            text = self.rendered(name)
            said = run(*command, "--help", env={}).stdout
            for flags in re.findall(r"^  (-\S+)", said, re.M):
                flags = flags.replace(",", ", ")
                self.assertRegex(text, rf"(?m)^ +{flags}( |$)", name)
                count += 1
            # Every word is there, in the same order within its line.
            for line in re.findall(r"^ {30}(.*)$", said, re.M):
                self.assertIn(line, text, name)
        self.assertGreater(count, 200)

    def test_exit_codes_and_variables(self):
        text = self.rendered("quantctl-submit")
        for words in ("12 +gate failed", "130 +interrupted", "0 +ok",
                      "QUANT_SERVER\n +The default of --server"):
            self.assertRegex(text, words)

    def test_the_same_help_gives_the_same_bytes(self):
        script = pathlib.Path(__file__).parents[2] / "scripts/manual.py"
        for target in ("a", "b"):
            subprocess.run(["python3", "-B", script, QUANTCTL, QUANTD,
                            self.dir / target], check=True,
                           env={**os.environ, "SOURCE_DATE_EPOCH": "86400"})
        same = run("diff", "-r", self.dir / "a", self.dir / "b")
        self.assertEqual((same.returncode, same.stdout), (0, ""))
        found = self.dir / "a/man/man8/quantd.8.gz"
        self.assertIn(b"1970-01-02", gzip.decompress(found.read_bytes()))


class Completions(Case):
    def test_bash(self):
        script = (f"source {MANUAL}/completions/quantctl; COMP_WORDS=(quantctl "
                  "submit --ga); COMP_CWORD=2; _quantctl; echo ${COMPREPLY[@]};"
                  "complete -p quantctl")
        said = run("bash", "--norc", "-c", script)
        self.assertEqual(said.stdout.splitlines(), [
            "--gate", "complete -o default -F _quantctl quantctl"], said.stderr)

    def test_fish(self):
        script = f"source {MANUAL}/completions/quantctl.fish; complete -C "
        for line, want in (("quantctl dow", "download\tDownload and"),
                           ("quantctl submit --ga", "--gate")):
            said = run("fish", "--no-config", "-c", f"{script}'{line}'",
                       env={**os.environ, "HOME": str(self.dir)})
            self.assertTrue(said.stdout.startswith(want), said)

    def test_zsh_by_its_search_path(self):
        """In a terminal, since zsh completes nowhere else."""
        shell = Terminal(self, ["zsh", "-f", "-i"])
        shell.type(f"fpath=({MANUAL}/completions $fpath); PS1='ready> '; "
                   "autoload -U compinit; compinit -D -u\n")
        shell.expect("ready> ")
        # The first use loads the file, and must complete already.
        shell.type("quantctl dow\t")
        shell.expect("quantctl download ")
        shell.type("\x15quantctl submit --gat\t")
        shell.expect("quantctl submit --gate ")

    def test_zsh_by_source(self):
        shell = Terminal(self, ["zsh", "-f", "-i"])
        shell.type("PS1='ready> '; autoload -U compinit; compinit -D -u; "
                   f"source <({QUANTCTL} completion zsh)\n")
        shell.expect("ready> ")
        shell.type("quantctl veri\t")
        shell.expect("quantctl verify ")


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, case, command):
        self.case, self.seen = case, ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(HOME=str(case.dir), TERM="dumb")
            os.execvp(command[0], command)
        case.addCleanup(os.waitpid, self.pid, 0)
        case.addCleanup(os.close, self.fd)  # hangs up

    def type(self, text):
        self.seen = ""
        os.write(self.fd, text.encode())

    def expect(self, text):
        end = time.monotonic() + LIMIT_SECONDS
        while text not in self.seen and time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                self.seen += os.read(self.fd, 4096).decode(errors="replace")
        self.case.assertIn(text, self.seen)


if __name__ == "__main__":
    unittest.main()
