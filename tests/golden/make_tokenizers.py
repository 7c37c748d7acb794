"""Makes tests/golden/tokenizers: small tokenizers for every feature that is
supported, and the ids that the public packages find with them.

    python3 tests/golden/make_tokenizers.py     (needs tokenizers, sentencepiece)

bytes.json, signs.json, words.json and prefixes.json are trained here on the
texts beside them and on the project's documents; cases.json says what each case
changes of one of them. ids.json has the ids of every line of texts/nasty.txt,
and count and SHA-256 (of int32, little-endian) for the other texts.
"""

import hashlib
import json
import pathlib

import numpy as np
import sentencepiece
import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers as pre
from tokenizers import trainers

HERE = pathlib.Path(__file__).parent
OUT = HERE / "tokenizers"
ROOT = HERE.parents[1]
LONG = ["letters", "salad", "whitespace"]

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
ENDS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{ENDS}"
QWEN2 = rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{ENDS}"
QWEN35 = (
    rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SLASHES = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}|{SLASHES}"
)
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
    rf"|\p{{N}}{{1,3}}|{SLASHES}"
)
HAN = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"


def bytes_step(prefix=False, regex=False):
    return {
        "type": "ByteLevel",
        "add_prefix_space": prefix,
        "trim_offsets": True,
        "use_regex": regex,
    }


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {
        "type": "Split",
        "pattern": {kind: pattern},
        "behavior": behavior,
        "invert": invert,
    }


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def normal(*steps):
    return {"type": "Sequence", "normalizers": list(steps)}


def replace(old, new, kind="String"):
    return {"type": "Replace", "pattern": {kind: old}, "content": new}


def metaspace(scheme, cut):
    return {
        "type": "Metaspace",
        "replacement": "\u2581",
        "prepend_scheme": scheme,
        "split": cut,
    }


def added(content, **flags):
    names = ["single_word", "lstrip", "rstrip", "normalized", "special"]
    return {
        "id": 0,
        "content": content,
        **{n: flags.get(n, False) for n in names},
    }


def template(before, after):
    def special(pair):
        return {"SpecialToken": {"id": pair[0], "type_id": 0}}

    text = {"Sequence": {"id": "A", "type_id": 0}}
    single = [*map(special, before), text, *map(special, after)]
    table = {
        name: {"id": name, "ids": [id_], "tokens": [name]}
        for name, id_ in [*before, *after]
    }
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": table,
    }


def cases(bases):
    b, s = (bases[k]["model"]["vocab"] for k in ("bytes", "signs"))
    out = {}

    def add(name, base, model=None, **changes):
        # What the vocabulary has keeps its id; the others follow it.
        vocab = bases[base]["model"]["vocab"]
        free = len(vocab)
        for token in changes.get("added_tokens", []):
            token["id"] = vocab.get(token["content"], free)
            free += token["id"] == free
        out[name] = {"base": base, "changes": changes, "model": model or {}}

    def cut(name, *steps, **more):
        add(name, "bytes", pre_tokenizer=sequence(*steps), **more)

    add("gpt-2", "bytes")
    add("gpt-2 with a space before", "bytes",
        pre_tokenizer=bytes_step(prefix=True, regex=True))
    cut("llama-3", split(LLAMA3), bytes_step(), model={"ignore_merges": True},
        post_processor={"type": "Sequence", "processors": [
            bytes_step(), template([("<s>", b["<s>"])], [])]})
    cut("llama-3 with merges", split(LLAMA3), bytes_step())
    cut("qwen 2", split(QWEN2), bytes_step(), normalizer={"type": "NFC"})
    cut("qwen 2 removed, inverted", split(QWEN2, "Removed", True), bytes_step())
    cut("qwen 3.5", split(QWEN35), bytes_step(), normalizer={"type": "NFC"})
    cut("tekken", split(TEKKEN), bytes_step(), model={"ignore_merges": True})
    cut("gpt-4o", split(GPT4O), bytes_step())
    cut("deepseek", split(r"\p{N}{1,3}"), split(HAN), split(r"\s?[!-/:-~]+"),
        split(r"\s?\p{L}+"), bytes_step())
    cut("smollm", {"type": "Digits", "individual_digits": True},
        bytes_step(regex=True))
    cut("runs of digits", {"type": "Digits", "individual_digits": False},
        bytes_step(regex=True))
    cut("falcon", {"type": "Punctuation", "behavior": "Contiguous"},
        bytes_step(regex=True))
    cut("punctuation", {"type": "Punctuation", "behavior": "Isolated"},
        bytes_step(prefix=True))
    cut("words", {"type": "Whitespace"}, bytes_step())
    cut("between spaces", {"type": "WhitespaceSplit"}, bytes_step())
    cut("scripts", split(r"\p{Greek}+|\p{Arabic}+|\p{Han}|\P{L}{2,3}?"),
        split(r"(?<=\d)(?=\w)|\u00A0|\x{2028}"), bytes_step())
    for behavior in ("Removed", "MergedWithPrevious", "MergedWithNext",
                     "Contiguous"):
        for invert in (False, True):
            name = f"split {behavior}{', inverted' if invert else ''}"
            cut(name, split(" ", behavior, invert, "String"),
                split(r"\p{N}", behavior, invert), bytes_step())
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        add(form, "bytes", normalizer={"type": form})
    add("strip", "bytes", normalizer={"type": "Strip", "strip_left": True,
                                      "strip_right": True})
    add("rewritten", "bytes", normalizer=normal(
        replace(r"\s+", " ", "Regex"), replace("a", "\u00e4\u00e4"),
        {"type": "NFKC"}, replace("e", "")))
    add("roberta", "bytes", post_processor={
        "type": "RobertaProcessing", "sep": ["</s>", b["</s>"]],
        "cls": ["<s>", b["<s>"]], "trim_offsets": True,
        "add_prefix_space": False})
    add("begin and end", "bytes", post_processor=template(
        [("<s>", b["<s>"]), ("</s>", b["</s>"])], [("</s>", b["</s>"])]))
    specials = bases["bytes"]["added_tokens"]
    add("added", "bytes", added_tokens=specials + [
        added("<|im_start|>", special=True, lstrip=True, rstrip=True),
        added("<|endoftext|>", special=True),
        added("<|"), added("|>", rstrip=True),
        added("ab", single_word=True),
        added("a", single_word=True, lstrip=True, normalized=True),
        added("\u00c5", normalized=True),
        added("caf\u00e9", normalized=True),
        added("\n\n"), added("\n\n\n"),
        added("t's")], normalizer={"type": "NFD"})

    llama = normal({"type": "Prepend", "prepend": "\u2581"},
                   replace(" ", "\u2581"))
    more = bases["signs"]["added_tokens"] + [
        added("<|im_start|>", special=True),
        added("\u2581\u2581"), added("<s"),
        added("user", normalized=True, rstrip=True)]
    add("llama 2", "signs", normalizer=llama,
        post_processor=template([("<s>", s["<s>"])], []))
    add("llama 2 with added", "signs", normalizer=llama, added_tokens=more)
    add("gemma", "signs", normalizer=replace(" ", "\u2581"),
        pre_tokenizer=split(" ", "MergedWithPrevious", kind="String"))
    for scheme in ("always", "first", "never"):
        for whole in (False, True):
            add(f"metaspace {scheme}{'' if whole else ', split'}", "signs",
                pre_tokenizer=metaspace(scheme, not whole), added_tokens=more)
    add("unknown", "signs", {"byte_fallback": False}, normalizer=llama)
    add("unknown one by one", "signs",
        {"byte_fallback": False, "fuse_unk": False}, normalizer=llama)
    add("unknown left out", "signs",
        {"byte_fallback": False, "unk_token": None}, normalizer=llama)
    add("suffix", "words")
    add("prefix", "prefixes")
    return out


def documents():
    """Training text: the project's own words, and the texts."""
    lines = []
    for name in ("README.md", "CONTRIBUTING.md", "docs/style.md",
                 "docs/architecture.md"):
        lines += (ROOT / name).read_text().splitlines(keepends=True)
    for name in [*LONG, "nasty"]:
        text = (HERE / "texts" / f"{name}.txt").read_bytes().decode()
        lines += text.splitlines(keepends=True) * 3
    return lines


def trained(tokenizer, **options):
    trainer = trainers.BpeTrainer(show_progress=False, **options)
    tokenizer.train_from_iterator(documents(), trainer)
    return json.loads(tokenizer.to_str())


def train_bases():
    byte = Tokenizer(models.BPE())
    byte.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
    byte.decoder = decoders.ByteLevel()
    alphabet = pre.ByteLevel.alphabet()
    bases = {"bytes": trained(byte, vocab_size=640, initial_alphabet=alphabet,
                              special_tokens=["<s>", "</s>"])}
    signs = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True,
                                 byte_fallback=True))
    signs.normalizer = normalizers.Replace(" ", "\u2581")
    hexes = [f"<0x{byte:02X}>" for byte in range(256)]
    signs_json = trained(signs, vocab_size=640, limit_alphabet=120,
                         special_tokens=["<unk>", "<s>", "</s>", *hexes])
    signs_json["added_tokens"] = signs_json["added_tokens"][:3]
    bases["signs"] = signs_json
    for name, options in {
        "words": {"end_of_word_suffix": "</w>"},
        "prefixes": {"continuing_subword_prefix": "##"},
    }.items():
        t = Tokenizer(models.BPE(unk_token="<unk>", **options))
        t.pre_tokenizer = pre.Whitespace()
        bases[name] = trained(t, vocab_size=420, limit_alphabet=110,
                              special_tokens=["<unk>"], **options)
    return bases


def assemble(bases, case):
    """The tokenizer.json of a case."""
    whole = json.loads(json.dumps(bases[case["base"]]))
    whole["model"].update(case["model"])
    whole.update(case["changes"])
    return whole


def digest(ids):
    return hashlib.sha256(np.asarray(ids, "<i4").tobytes()).hexdigest()


def ids_of(encode):
    """What ids.json holds of one tokenizer."""
    nasty = (HERE / "texts/nasty.txt").read_bytes().decode()
    out = {"nasty": [encode(line) for line in nasty.split("\n")]}
    for name in LONG:
        ids = encode((HERE / "texts" / f"{name}.txt").read_bytes().decode())
        out[name] = {"count": len(ids), "sha256": digest(ids)}
    return out


def train_spm(name, **options):
    lines = [line.replace("\r", " ").replace("\n", " ") for line in documents()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([x for x in lines if x.strip() and
                                "\0" not in x]),
        model_prefix=str(OUT / name), model_type="bpe", minloglevel=2,
        normalization_rule_name="identity", num_threads=1, **options)
    (OUT / f"{name}.vocab").unlink()
    processor = sentencepiece.SentencePieceProcessor(
        model_file=str(OUT / f"{name}.model"))
    return ids_of(processor.encode)


def main():
    OUT.mkdir(exist_ok=True)
    bases = train_bases()
    for name, base in bases.items():
        text = json.dumps(base, ensure_ascii=False, separators=(",", ":"))
        (OUT / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    table = cases(bases)
    (OUT / "cases.json").write_text(
        json.dumps(table, ensure_ascii=False, indent=1) + "\n",
        encoding="utf-8")
    ids = {}
    for name, case in table.items():
        t = Tokenizer.from_str(json.dumps(assemble(bases, case)))
        ids[name] = ids_of(lambda text: t.encode(text).ids)
    spm = {
        "fallback": train_spm("fallback", vocab_size=600, byte_fallback=True,
                              character_coverage=0.98, hard_vocab_limit=False),
        "symbols": train_spm("symbols", vocab_size=400, byte_fallback=False,
                             character_coverage=0.98, hard_vocab_limit=False,
                             add_dummy_prefix=False,
                             remove_extra_whitespaces=False,
                             user_defined_symbols=["<|im_start|>", "\n", "ab",
                                                   "\u2581\u2581", "a b"]),
    }
    golden = {
        "made_by": "tests/golden/make_tokenizers.py with tokenizers "
                   f"{tokenizers.__version__}, sentencepiece "
                   f"{sentencepiece.__version__}",
        "json": ids,
        "model": spm,
    }
    text = json.dumps(golden, separators=(",", ":"))
    (OUT / "ids.json").write_text(text.replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    main()
