"""Ids of quantctl tokenize against the tokenizers and sentencepiece packages,
id by id: every feature on hostile text, and real tokenizers on real text.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import sentencepiece
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
sys.path.insert(0, str(GOLDEN))
from make_tokenizers import assemble  # noqa: E402

QUANTCTL = os.environ["QUANTCTL"]
TEXTS = sorted((GOLDEN / "texts").glob("*.txt"))
TOKENIZERS = GOLDEN / "tokenizers"
CASES = json.loads((TOKENIZERS / "cases.json").read_text(encoding="utf-8"))
# Texts that may not be part of the project lie beside it.
DATA = ROOT.parent / "shared/data"
MORE = sorted((DATA / "text").glob("*.txt"))
# Other checkpoints to hold against the packages, by hand: folders with a
# tokenizer.json.
FOLDERS = [
    pathlib.Path(p)
    for p in os.environ.get("QUANT_TEST_TOKENIZERS", "").split(":")
    if p
]


def read(path):
    return path.read_bytes().decode("utf-8")


def ids_of(model, text, *flags):
    out = subprocess.run(
        [QUANTCTL, "tokenize", model, text, "-o", "name", *flags],
        capture_output=True,
        text=True,
    )
    assert out.returncode == 0, out.stderr
    return [int(line) for line in out.stdout.split()]


def check(found, expected):
    """Names the first difference: whole lists are too long to read."""
    for i, (a, b) in enumerate(zip(found, expected)):
        assert a == b, f"id {i}: {found[i : i + 8]}, not {expected[i : i + 8]}"
    assert len(found) == len(expected)


def check_json(folder, texts):
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs.no_truncation()
    theirs.no_padding()
    for text in texts:
        check(ids_of(folder, text), theirs.encode(read(text)).ids)


def check_spm(folder, texts):
    theirs = sentencepiece.SentencePieceProcessor(
        model_file=str(folder / "tokenizer.model")
    )
    for text in texts:
        check(ids_of(folder, text, "--plain"), theirs.encode(read(text)))


@pytest.mark.parametrize("name", CASES)
def test_every_feature(name, tmp_path):
    base = CASES[name]["base"]
    bases = {base: json.loads(read(TOKENIZERS / f"{base}.json"))}
    whole = json.dumps(assemble(bases, CASES[name]))
    (tmp_path / "tokenizer.json").write_text(whole)
    check_json(tmp_path, TEXTS)


@pytest.mark.parametrize("path", sorted(TOKENIZERS.glob("*.model")), ids=str)
def test_sentencepiece_models(path, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(path.read_bytes())
    check_spm(tmp_path, TEXTS)


def test_bundled_model():
    folder = ROOT / "examples" / "tiny-own-pad768-bf16"
    documents = [ROOT / "README.md", ROOT / "docs" / "gguf.md"]
    check_json(folder, TEXTS + documents + MORE)


def test_models_beside_the_project(tmp_path):
    """Nothing to do where they are not: the cases above cover the features."""
    folder = DATA / "models" / "stories260K"
    if folder.exists():
        check_json(folder, TEXTS + MORE)
        model = (folder / "tokenizer.model").read_bytes()
        (tmp_path / "tokenizer.model").write_bytes(model)
        check_spm(tmp_path, TEXTS + MORE)
    for other in FOLDERS:
        check_json(other, TEXTS + MORE)


def test_text_that_is_not_utf8_is_refused(tmp_path):
    text = tmp_path / "text"
    text.write_bytes(b"good \xed\xa0\x80")
    out = subprocess.run(
        [QUANTCTL, "tokenize", ROOT / "examples/tiny-own-pad768-bf16", text],
        capture_output=True,
        text=True,
    )
    assert out.returncode == 2
    assert "byte 5 is not UTF-8" in out.stderr
