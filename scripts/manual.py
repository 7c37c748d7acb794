#!/usr/bin/env python3
"""manual.py QUANTCTL QUANTD DIRECTORY: writes the man pages of both programs, and
one for each of their commands, into DIRECTORY/man, and what shells complete into
DIRECTORY/completions. All they say of commands and flags is what the programs
print, so that they can't tell anything else. With SOURCE_DATE_EPOCH the pages carry
that date."""

import dataclasses
import gzip
import os
import pathlib
import re
import subprocess
import sys
import textwrap
import time

PACKAGE = "quantd"
INDENT = 30  # where CLI11 begins descriptions


@dataclasses.dataclass
class Help:
    """What one --help says."""
    description: str = ""
    usage: str = ""
    sections: dict = dataclasses.field(default_factory=dict)  # name: rows
    footer: list = dataclasses.field(default_factory=list)  # paragraphs


def call(*command):
    return subprocess.run(command, check=True, text=True, capture_output=True,
                          env={"PATH": os.environ.get("PATH", "")}).stdout


def rows_of(lines):
    """[what, text] of lines like "  --flag TYPE   text", and their rests."""
    rows = []
    for line, following in zip(lines, [*lines[1:], ""]):
        if line.startswith(" " * INDENT):
            rows[-1][1] = line.strip()
        elif following.startswith(" " * INDENT):
            rows.append([line.strip(), ""])  # too long for its column
        else:
            rows.append([line[:INDENT].strip(), line[INDENT:].strip()])
    return rows


def read_help(text):
    parsed = Help()
    heading = None
    collected = {None: []}
    for line in text.splitlines():
        if line.startswith("Usage: "):
            parsed.usage = line.removeprefix("Usage: ")
        elif re.fullmatch(r"[A-Z][a-z]+:", line):
            heading = line[:-1]
            collected[heading] = []
        elif heading is not None and line.startswith("  "):
            collected[heading].append(line)
        elif not parsed.usage:
            parsed.description = f"{parsed.description} {line}".strip()
        else:  # after the last section
            collected[None].append(line)
    parsed.footer = [" ".join(p.split()) for p in
                     "\n".join(collected.pop(None)).split("\n\n") if p.strip()]
    parsed.sections = {name: rows_of(lines)
                       for name, lines in collected.items()}
    return parsed


def roff(text):
    """Text as roff prints it, whatever is in it."""
    return text.replace("\\", "\\e").replace("-", "\\-")


def filled(text):
    """Lines of at most 79 bytes, none of which is a request."""
    lines = textwrap.wrap(roff(text), 76, break_long_words=False,
                          break_on_hyphens=False)
    return [re.sub(r"^([.'])", r"\\&\1", line) for line in lines] or ["\\&"]


def bold(text):
    return f"\\fB{roff(text)}\\fR"


def flag_markup(what):
    """-h,--help, --limit INT:NONNEGATIVE=32, --output TEXT Needs: --wait,
    model TEXT REQUIRED: names bold, values in italics."""
    names, *words = what.split(" ")
    text = ", ".join(bold(name) for name in names.split(","))
    if words and not words[0].startswith(("(", "Needs", "Excludes")):
        value, _, default = words.pop(0).partition("=")
        value = value.removeprefix("ENUM:").partition(":")[0]
        text += f" \\fI{roff(value)}\\fR"
        text += f" ({roff(default)})" if default else ""
    rest = " ".join(word for word in words if word != "REQUIRED")
    rest = re.sub(r"Excludes: (\S+)", r"(not with \1)", rest)
    rest = re.sub(r"Needs: (\S+)", r"(with \1)", rest)
    return f"{text} {roff(rest)}".rstrip()


def items(rows, markup):
    lines = []
    for what, text in rows:
        lines += [".TP", markup(what), *filled(text)]
    return lines


def sentence(text):
    return text if text.endswith(".") else f"{text}."


class Page:
    def __init__(self, name, section, about, version):
        date = time.strftime("%Y-%m-%d", time.gmtime(
            int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
        self.name, self.section = name, section
        self.lines = [f'.TH {name.upper()} {section} {date} "{PACKAGE} {version}"']
        self.add("NAME", filled(f"{name} - {about.rstrip('.')}"))

    def add(self, heading, lines):
        if lines:
            self.lines += [f".SH {heading}", *lines]

    def write(self, directory):
        folder = directory / f"man{self.section}"
        folder.mkdir(parents=True, exist_ok=True)
        text = "\n".join(self.lines) + "\n"
        # The same text gives the same bytes.
        packed = gzip.compress(text.encode(), mtime=0)
        (folder / f"{self.name}.{self.section}.gz").write_bytes(packed)


def synopsis(usage):
    program, *rest = usage.split(" ")
    words = []
    for word in rest:
        kept = word.startswith("[") or word.isupper() or word == rest[-1]
        words.append(f"\\fI{roff(word)}\\fR" if kept else bold(word))
    return [" ".join([bold(program), *words])]


def exit_status(footer):
    """"Exit codes: 0 ok, 1 other, ..." as a list."""
    for paragraph in footer:
        if paragraph.startswith("Exit codes: "):
            codes = re.findall(r"(\d+) (.*?)(?:, (?=\d)|\.$)",
                               paragraph.removeprefix("Exit codes: "))
            return items(codes, bold)
    return []


def environment(rows):
    found = {}
    for what, text in rows:
        name = re.search(r"\(Env:([A-Z_]+)\)", f"{what} {text}")
        if name:
            found[name.group(1)] = f"The default of {what.split(' ')[0]}."
    return items(sorted(found.items()), bold)


def prose(footer):
    lines = []
    for paragraph in footer:
        if not paragraph.startswith("Exit codes: "):
            lines += [".PP", *filled(paragraph)]
    return lines[1:]  # no .PP right after a heading


def command_page(binary, command, section, version):
    """Of "quantctl submit" or "quantd doctor"."""
    program, name = command.split()
    parsed = read_help(call(binary, name, "--help"))
    about = parsed.description.split(". ")[0]
    page = Page(f"{program}-{name}", section, about[0].lower() + about[1:],
                version)
    page.add("SYNOPSIS",
             synopsis(command + parsed.usage.partition(command)[2]))
    page.add("DESCRIPTION", filled(sentence(parsed.description)))
    for heading, rows in parsed.sections.items():
        heading = "ARGUMENTS" if heading == "Positionals" else heading.upper()
        page.add(heading, items(rows, flag_markup))
    page.add("NOTES", prose(parsed.footer))
    page.add("ENVIRONMENT", environment(parsed.sections.get("Options", [])))
    page.add("EXIT STATUS", exit_status(parsed.footer))
    page.add("SEE ALSO", [f".BR {program} ({section})"])
    return page, parsed


def quantctl_pages(quantctl, version):
    parsed = read_help(call(quantctl, "--help"))
    page = Page("quantctl", 1, "quantize language models, here or by a server",
                version)
    page.add("SYNOPSIS", synopsis("quantctl COMMAND [OPTIONS]"))
    page.add("DESCRIPTION", [*filled(sentence(parsed.description)),
                             "Each command has a page of its own, such as",
                             ".BR quantctl\\-submit (1)."])
    page.add("OPTIONS", items(parsed.sections["Options"], flag_markup))
    commands = parsed.sections["Subcommands"]
    page.add("COMMANDS", items(commands, bold))
    pages, options = [page], []
    for name, _ in commands:
        one, its_help = command_page(quantctl, f"quantctl {name}", 1, version)
        pages.append(one)
        options += its_help.sections.get("Options", [])
    page.add("ENVIRONMENT", environment(options))
    page.add("EXIT STATUS", exit_status(parsed.footer))
    page.add("SEE ALSO", [".BR quantd (8)"])
    return pages


def quantd_pages(quantd, version):
    parsed = read_help(call(quantd, "--help"))
    about = parsed.description.removeprefix("quantd: ")
    page = Page("quantd", 8, about, version)
    page.add("SYNOPSIS", synopsis("quantd [OPTIONS]"))
    page.add("DESCRIPTION", [*filled(sentence(about[0].upper() + about[1:])),
                             ".PP", *prose(parsed.footer)])
    for heading, rows in parsed.sections.items():
        page.add(heading.upper(), items(rows, flag_markup))
    page.add("SIGNALS", items([
        ["SIGTERM, SIGINT", "Takes no new work, gives running jobs the drain "
         "timeout to stop, and ends. Jobs go on where they were after the next "
         "start. A second signal ends the process at once."]], bold))
    page.add("EXIT STATUS", items([
        ["0", "Stopped by a signal."], ["1", "Could not start."],
        ["2", "Wrong usage or settings; all problems are printed."],
        ["3", "Did not end within the drain timeout."]], bold))
    # Its help names them in its last words.
    names = re.findall(r"quantd ([a-z]+)", " ".join(parsed.footer))
    page.add("SEE ALSO", [*[f".BR quantd\\-{name} (8)," for name in names],
                          ".BR quantctl (1)"])
    return [page, *[command_page(quantd, f"quantd {name}", 8, version)[0]
                    for name in names]]


def write_completions(quantctl, directory):
    directory.mkdir(parents=True, exist_ok=True)
    # Named as the shells look for them.
    for shell, name in (("bash", "quantctl"), ("zsh", "_quantctl"),
                        ("fish", "quantctl.fish")):
        (directory / name).write_text(call(quantctl, "completion", shell))


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    quantctl, quantd, directory = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    version = call(quantd, "--version").split()[-1]
    pages = [*quantctl_pages(quantctl, version), *quantd_pages(quantd, version)]
    for page in pages:
        page.write(directory / "man")
    write_completions(quantctl, directory / "completions")


if __name__ == "__main__":
    main()
