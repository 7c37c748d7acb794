"""Makes tests/golden/texts/*.txt: text that tokenizers stumble over.

    python3 tests/golden/make_texts.py

Everything is written here or follows from Unicode's tables; nothing is quoted.
"""

import pathlib
import random
import unicodedata

TEXTS = pathlib.Path(__file__).with_name("texts")

SPACES = "\t\n\v\f\r \x1c\x1d\x1e\x1f\x85\xa0\u1680\u180e" + "".join(
    map(chr, [*range(0x2000, 0x2010), 0x2028, 0x2029, 0x202F, 0x205F])
) + "\u2060\u3000\ufeff"

NASTY = [
    # Combining marks: composed, decomposed, in the wrong order, alone.
    "caf\u00e9 cafe\u0301 e\u0301\u0323 e\u0323\u0301 \u0301lone q\u0307\u0323",
    "\u1e9b\u0323 \u212b \u00c5 A\u030a \u01d5 U\u0308\u0304 \u0344 \u0958",
    "\uac00 \u1100\u1161 \u1100\u1161\u11a8 \uac01 \u1112\u1161\u11ab\uae00",
    "Z" + "\u0335\u0321\u0322\u0345\u0300\u0301\u0327" * 6 + "algo",
    # Emoji: joined, with skin, keycaps, flags, tags.
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 "
    "\U0001f44b\U0001f3fd #\ufe0f\u20e3 1\ufe0f\u20e3 \U0001f1e9\U0001f1ea"
    "\U0001f1eb \U0001f3f4\U000e0067\U000e0062\U000e007f \u2764\ufe0f\u263a",
    # Right to left, with marks and controls of direction.
    "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd \u202e\u202aabc\u202c\u200f "
    "\u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627 \ufdfa \ufefb "
    "\u0661\u0662\u0663 \u06f4\u06f5\u06f6 12\u066b5",
    # Scripts without spaces, and with vowels around consonants.
    "\u4eca\u65e5\u306f\u3001\u4e16\u754c\uff01\u30ab\u30bf\u30ab\u30ca"
    "\uff76\uff9e\u3002\uff21\uff22\uff23\uff11\uff12 \U00020000\U0002a6d6 "
    "\uf900 \u2f00 \u3400",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01"
    " \u0928\u092e\u0938\u094d\u0924\u0947 \u0995\u09bf \u1780\u17d2\u1798"
    " \u0f56\u0f7c\u0f51",
    # Digits of every kind, and what only looks like some.
    "1 12 123 1234 12345678901234567890 3.14159 1,000,000 0x1F 1e-9 x\u00b2"
    " \u00bd \u2153 \u2167 \u2460 \u0968\u0969 \U0001d7d8\U0001d7d9 \u3007",
    # Letters that change length with their case, and contractions.
    "I'm you're he'd WE'LL they'Ve it's don't 'tis 'S 'T \u2019s "
    "'\u017f \u017ftop \u0130stanbul \u0131 \u1e9e\u00df \ufb03 \u01c4\u01c5"
    " \u03a3\u03c3\u03c2 K\u212a",
    # Signs in runs.
    "!!!??? ... \u2026 -- \u2014 ___ <<<>>> ((([[[{{{ \\\\\\ //// ~~~ ``` ''' "
    '""" @@@ $$ \u20ac\u00a3 a_b-c.d/e\\f a+b=c; !\n?\r\n.\n\n...',
    # Looks like tokens, and parts of them.
    "<s> </s> <unk> <0x41> <0x0A> <|endoftext|> <|im_start|>user <| |> <s>> <s"
    "\u2581\u2581 \u2581a a\u2581 \u0120 \u0120a \u010a \u00c4\u0122",
    # Looks like surrogates: escapes, and the neighbours of their block.
    "\\ud83d\\ude00 \\uD800 \ud7ff \ue000 \uf8ff \ufffd \ufffe \uffff "
    "\U0001fffe \U000f0000 \U0010ffff \ufdd0",
    "\u00ad soft\u00adhyphen zero\u200bwidth no\u200cjoin \u200djoin "
    "\u2066isolate\u2069 \ufeffmark \U000e0001",
]


def controls():
    return "".join(f"{chr(c)}a{chr(c)} " for c in [*range(1, 32), 127, 0x80])


def whitespace():
    """Every space beside letters, digits, signs and other spaces."""
    pieces = []
    for a in SPACES:
        pieces.append(f"x{a}y 1{a}2 .{a}! {a}{a}z{a} ")
        pieces += [a + b + "w" for b in " \n\r\t\xa0"]
    runs = ["a" + " " * n + "b" for n in (1, 2, 3, 4, 7, 8, 16, 31, 100)]
    runs += ["c" + "\n" * n + "d" for n in (1, 2, 3, 5, 17)]
    runs += ["e" + "\r\n" * n + "f" for n in (1, 2, 3, 9)]
    runs += ["g" + "\t" * n + "h" for n in (1, 2, 8, 40)]
    runs += [" \n \n\n  \r\r\n \t\n  i", "j \n", " \n k", "l  \n  "]
    return "".join(pieces) + "".join(runs)


def every_letter():
    """One character of every 61 assigned in Unicode 12 or before."""
    out, count = [], 0
    for c in range(0x110000):
        text = chr(c)
        # Newer ones are letters to one library and nothing to another.
        if unicodedata.ucd_3_2_0.category(text) in ("Cn", "Cs", "Co"):
            continue
        if count % 61 == 0:
            out.append(text + (" " if count % 3 else ""))
        count += 1
    return "".join(out)


def salad(seed, count):
    """Random neighbours of everything above."""
    rng = random.Random(seed)
    pool = list("".join(NASTY)) + list(SPACES) + list("aetoin  \n'") * 20
    words = [w for line in NASTY for w in line.split(" ") if w]
    out = []
    for _ in range(count):
        if rng.random() < 0.3:
            out.append(rng.choice([" ", "", "\n"]) + rng.choice(words))
        else:
            out.append(rng.choice(pool) * rng.choice([1, 1, 1, 2, 3]))
    return "".join(out)


def main():
    TEXTS.mkdir(exist_ok=True)
    texts = {
        "nasty": "\n".join(NASTY) + "\r\n" + controls(),
        "whitespace": whitespace(),
        "letters": every_letter(),
        "salad": salad(1, 4000),
    }
    for name, text in texts.items():
        path = TEXTS / f"{name}.txt"
        path.write_bytes(text.encode("utf-8"))


if __name__ == "__main__":
    main()
