"""What is measured for each registered name: which flags, and which types a
weight may have on disk afterwards. Names come from the program and are checked
against the .def files, where a new line is all that a new name needs.
"""

import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
REGISTRIES = {
    "scheme": [
        "core/codec/presets.def",
        "core/codec/block_presets.def",
        "core/codec/gguf_presets.def",
    ],
    "method": ["core/method/methods.def"],
    "format": ["core/artifact/formats.def"],
}
LINE = re.compile(r'^QUANT_\w+\("([^"]+)"(.*)\)$', re.MULTILINE)

K_TYPES = {"Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"}
# GGUF file types whose policy mixes block types; every other one has its own
# in every weight of a layer.
MIXED = {name: K_TYPES for name in ("Q2_K", "Q2_K_S", "Q3_K", "Q3_K_S",
                                    "Q3_K_M", "Q3_K_L", "Q4_K", "Q4_K_S",
                                    "Q4_K_M", "Q5_K", "Q5_K_S", "Q5_K_M")}
MIXED["IQ4_NL"] = {"IQ4_NL", "Q5_K"}
MIXED["IQ4_XS"] = {"IQ4_XS", "Q5_K"}
MIXED["Q4_0"] = {"Q4_0", "Q4_1"}
MIXED["Q5_0"] = {"Q5_0", "Q5_1"}
# Dense models have no experts: the rule says which weights are meant.
MXFP4_RULE = ("--rule", "Linear=MXFP4")
# As str.format of the model.
CALIBRATION = ("--calibration", "{calibration}", "--sequence-length",
               "{context}", "--calibration-sequences", "64")
FLAGS = {"MXFP4": MXFP4_RULE, "MXFP4_MOE": MXFP4_RULE, "FP8": CALIBRATION,
         "W8A8_STATIC": CALIBRATION}
TYPES = {"MXFP4_MOE": {"MXFP4"}}
# Flags that a method needs besides its name.
METHOD_FLAGS = {"gptq": CALIBRATION, "awq": CALIBRATION,
                "smoothquant": CALIBRATION}
# Methods that write weights scaled by factors that others undo.
SCALING = {"awq", "smoothquant"}
# Methods for activations that are rounded, and the schemes that do so.
METHOD_SCHEMES = {"smoothquant": ("W8A8", "W8A8_STATIC")}
METHOD_GROUP = "64"
SAMPLE = ("W4A16", "FP8_E5M2", "NVFP4A16", "NF4", "Q4_K_M")
FIRST = ("compressed-tensors", "safetensors")  # the defaults


@dataclasses.dataclass(frozen=True)
class Case:
    scheme: str
    format: str
    label: str
    flags: tuple = ()
    nominal_bits: int = 0  # of a code, for formats that store none
    scaled: bool = False  # weights are scaled on disk

    def types(self):
        """What a weight's type on disk may be; anything else is a fallback."""
        if self.scheme in ("F32", "F16", "BF16"):
            return {self.scheme}
        if self.format == "dequantized":
            return {"F32"}
        if self.format != "gguf":
            return {"codes"}
        own = TYPES.get(self.scheme, {self.scheme})
        return MIXED.get(self.scheme, own)


def registered(kind):
    """Names of a kind in the .def files that this version can make."""
    names = []
    for path in REGISTRIES[kind]:
        for name, rest in LINE.findall((ROOT / path).read_text()):
            unavailable = path.endswith("/presets.def") and not rest.endswith(
                ', ""'
            )
            if not unavailable:
                names.append(name)
    return names


def scheme_case(scheme, form, label="", flags=()):
    name = scheme["name"]
    return Case(name, form, label or form, FLAGS.get(name, ()) + tuple(flags),
                scheme["bits"])


def scheme_cases(scheme):
    """A scheme in every format that carries it, and with every search."""
    forms = set(scheme["formats"]) - {"dequantized"}
    forms = sorted(forms, key=lambda form: (form not in FIRST, form))
    for form in forms or ["dequantized"]:
        yield scheme_case(scheme, form)
        if form == "gguf" and scheme["type"] not in ("f16", "bf16", "f32"):
            fast, matrix = ("--search", "fast"), ("--imatrix", "{matrix}")
            yield scheme_case(scheme, form, "gguf, fast search", fast)
            yield scheme_case(scheme, form, "gguf, importance matrix", matrix)
        if form == "compressed-tensors" and scheme["type"] == "int":
            yield scheme_case(scheme, form, f"{form}, --scale mse",
                              ("--scale", "mse"))


def method_cases(method):
    """Integers of few bits, beside rtn; floats, so that nothing else counts. Or
    the schemes that the method is for."""
    for scheme in METHOD_SCHEMES.get(method, ()):
        for name in ("rtn", method):
            flags = ("--method", name) + tuple(
                METHOD_FLAGS.get(name, FLAGS.get(scheme, ())))
            yield Case(scheme, "compressed-tensors", f"{scheme}, {name}", flags,
                       scaled=name in SCALING)
    if method in METHOD_SCHEMES:
        return
    for bits in (4, 3, 2):
        for symmetry in ("symmetric", "asymmetric"):
            for name in dict.fromkeys(("rtn", method)):
                flags = (f"--{symmetry}", "--group-size", METHOD_GROUP,
                         "--method", name, *METHOD_FLAGS.get(name, ()))
                label = f"{bits} bits, {symmetry}, {name}"
                yield Case(f"W{bits}A16", "dequantized", label, flags, bits,
                           name in SCALING)


def format_cases(form, schemes):
    """Of `dequantized` a sample: values are what they are in other formats."""
    for scheme in schemes:
        if form == "dequantized" and scheme["name"] not in SAMPLE:
            continue
        if form in scheme.get("formats", []):
            yield scheme_case(scheme, form, scheme["name"])


def cases(kind, name, capabilities):
    """-> [Case]; none when the program does not know the name."""
    schemes = capabilities["schemes"]
    if kind == "scheme":
        found = [s for s in schemes if s["name"] == name]
        return [case for s in found for case in scheme_cases(s)]
    if kind == "method":
        return list(method_cases(name))
    return list(format_cases(name, schemes))
