"""Commands about finished models: targets, diff, dequantize, convert, GGUF."""

import json
import unittest

from harness import EXAMPLES, FAILED, MODEL, OK, USAGE, Case

TOKENS = EXAMPLES / "tokens" / "tiny-own_sampled_eval.npy"


class SizeTargets(Case):
    def total(self, *flags):
        plan = self.json("plan", MODEL, *flags)
        return int(plan["outputs"][0]["totalBytes"])

    def test_target_size_is_met_to_the_byte(self):
        low = self.total("--scheme", "W3A16")
        high = self.total("--scheme", "W4A16")
        target = (low + high) // 2
        flags = ["--scheme", "W4A16", "--target-size", target]
        plan = self.json("plan", MODEL, *flags)["outputs"][0]
        self.assertLessEqual(int(plan["totalBytes"]), target)
        self.assertGreater(int(plan["totalBytes"]), low)
        chosen = {t["scheme"] for t in plan["tensors"]
                  if t["reason"].startswith("target ")}
        self.assertGreater(len(chosen), 1)
        self.ctl(OK, "quantize", MODEL, *flags, "--output", "o", "--no-fsync")
        size = sum(f.stat().st_size for f in (self.dir / "o").rglob("*"))
        self.assertEqual(size, int(plan["totalBytes"]))
        self.ctl(OK, "verify", "o")
        # The frontier: ascending sizes, falling errors, the plan among them.
        frontier = plan["frontier"]
        sizes = [int(c["totalBytes"]) for c in frontier]
        errors = [c.get("relativeError", 0) for c in frontier]
        self.assertEqual(sizes, sorted(sizes))
        self.assertEqual(errors, sorted(errors, reverse=True))
        self.assertEqual([int(c["totalBytes"]) for c in frontier
                          if c.get("planned")], [size])
        out, _ = self.ctl(OK, "plan", MODEL, *flags)
        self.assertIn("planned", out)
        self.assertIn("target ", out)

    def test_target_bits_per_weight(self):
        plan = self.json("plan", MODEL, "--scheme", "W4A16", "--target-bpw", 9)
        self.assertLessEqual(plan["outputs"][0]["bitsPerWeight"], 9)

    def test_recipe_file(self):
        (self.dir / "r.yaml").write_text(
            "scheme: W4A16\ntarget_bits_per_weight: 9\n")
        file = self.json("plan", MODEL, "--recipe", "r.yaml")
        flag = self.json("plan", MODEL, "--scheme", "W4A16", "--target-bpw", 9)
        self.assertEqual(file["outputs"][0]["totalBytes"],
                         flag["outputs"][0]["totalBytes"])

    def test_targets_that_can_not_be(self):
        _, err = self.ctl(FAILED, "plan", MODEL, "--scheme", "W4A16",
                          "--target-size", "1kB")
        self.assertIn("target 1.00 kB: the smallest", err)
        _, err = self.ctl(FAILED, "plan", MODEL, "--scheme", "W4A16",
                          "--target-size", "1TB")
        self.assertIn("nothing needs to be quantized", err)
        for flags, text in [
            (["--target-size", "big"], "--target-size"),
            (["--target-size", "0"], "1 or more"),
            (["--target-bpw", "-1"], "--target-bpw"),
            (["--target-bpw", "65"], "at most 64"),
            (["--target-bpw", "4", "--target-size", "1GB"], "--target"),
        ]:
            with self.subTest(flags=flags):
                _, err = self.ctl(USAGE, "plan", MODEL, "--scheme", "W4A16",
                                  *flags)
                self.assertIn(text, err)


class Diff(Case):
    def test_a_cast_against_its_source(self):
        self.ctl(OK, "quantize", MODEL, "--scheme", "F32", "--output", "f32",
                 "--no-fsync")
        diff = self.json("diff", MODEL, "f32")
        self.assertNotIn("sqnrDb", diff)
        self.assertEqual(
            {t.get("differentCount", "0") for t in diff["tensors"]}, {"0"})
        self.assertEqual(int(diff["otherBytes"]),
                         2 * int(diff["referenceBytes"]))

    def test_worst_first_and_as_the_run_measured(self):
        self.ctl(OK, "quantize", MODEL, "--scheme", "W4A16", "--format",
                 "dequantized", "--rule", "re:.*down_proj=W2A16", "--output",
                 "d", "--no-fsync")
        diff = self.json("diff", MODEL, "d")
        worst = diff["tensors"][0]
        self.assertIn("down_proj", worst["name"])
        self.assertEqual((worst["referenceType"], worst["otherType"]),
                         ("BF16", "F32"))
        values = [t.get("sqnrDb", float("inf")) for t in diff["tensors"]]
        self.assertEqual(values, sorted(values))
        out, _ = self.ctl(OK, "diff", MODEL, "d")
        self.assertIn("SQNR DB", out)
        self.assertIn("only in other:", out)
        names, _ = self.ctl(OK, "diff", MODEL, "d", "-o", "name")
        self.assertEqual(names.split()[0], worst["name"])
        same, _ = self.ctl(OK, "diff", MODEL, MODEL, "-o", "name")
        self.assertEqual(same, "")

    def test_mistakes(self):
        self.ctl(USAGE, "diff", MODEL)
        _, err = self.ctl(5, "diff", MODEL, "nothing")
        self.assertIn("nothing", err)


class Dequantize(Case):
    def test_plain_models_are_cast(self):
        self.ctl(OK, "dequantize", MODEL, "--output", "f32", "--no-fsync")
        config = json.loads((self.dir / "f32" / "config.json").read_text())
        self.assertNotIn("quantization_config", config)
        self.assertTrue((self.dir / "f32" / "tokenizer.json").exists())
        diff = self.json("diff", MODEL, "f32")
        self.assertNotIn("sqnrDb", diff)
        self.ctl(OK, "dequantize", "f32", "--dtype", "bf16", "--output", "bf16",
                 "--no-fsync")
        self.assertNotIn("sqnrDb", self.json("diff", MODEL, "bf16"))
        self.ctl(USAGE, "dequantize", MODEL, "--dtype", "I8", "--output", "x")


class Convert(Case):
    def files(self, name):
        """All but manifest.json, which names the recipe."""
        folder = self.dir / name
        return {f.name: f.read_bytes() for f in folder.iterdir()
                if f.name != "manifest.json"}

    def quantize(self, scheme, format_name, output, *flags):
        self.ctl(OK, "quantize", MODEL, "--scheme", scheme, "--format",
                 format_name, "--output", output, "--no-fsync", *flags)

    def convert(self, source, to, output, *flags):
        self.ctl(OK, "convert", source, "--to", to, "--output", output,
                 "--no-fsync", *flags)

    def test_round_trips_give_the_same_files(self):
        self.quantize("W4A16", "gptq", "gptq")
        self.convert("gptq", "awq", "awq")
        self.convert("awq", "compressed-tensors", "ct", "--threads", 1)
        self.convert("ct", "gptq_v2", "v2")
        self.convert("v2", "awq", "awq2", "--threads", 3)
        self.assertEqual(self.files("awq"), self.files("awq2"))
        self.convert("gptq", "compressed-tensors", "direct")
        self.convert("direct", "gptq", "gptq2", "--source-digest")
        self.assertEqual(self.files("gptq"), self.files("gptq2"))
        for name in ("awq", "ct", "v2", "awq2", "direct", "gptq2"):
            self.ctl(OK, "verify", name)
            diff = self.json("diff", "gptq", name)
            self.assertNotIn("sqnrDb", diff)
        manifest = json.loads((self.dir / "gptq2/manifest.json").read_text())
        self.assertEqual(manifest["recipe"],
                         {"format": "gptq", "max_shard_bytes": "5000000000",
                          "nonfinite": "NONFINITE_ERROR",
                          "source_digest": True, "keep_codes": True})
        self.assertEqual([len(s["sha256"]) for s in manifest["sources"]], [64])

    def test_the_plan_is_exact(self):
        self.quantize("W4A16_ASYM", "awq", "awq")
        plan = self.json("plan", "awq", "--keep-codes", "--format", "gptq_v2")
        planned = plan["outputs"][0]
        self.assertEqual(planned["name"], "gptq_v2")
        self.convert("awq", "gptq_v2", "v2", "--max-shard-size", "5GB")
        size = sum(f.stat().st_size for f in (self.dir / "v2").iterdir())
        self.assertEqual(size, int(planned["totalBytes"]))
        schemes = {t["scheme"] for t in planned["tensors"] if "scheme" in t}
        self.assertEqual(schemes, {"W4A16_ASYM"})
        # A folder that holds something is replaced only when told so.
        _, err = self.ctl(USAGE, "convert", "awq", "--to", "gptq_v2",
                          "--output", "v2")
        self.assertIn("--overwrite", err)
        self.convert("awq", "gptq_v2", "v2", "--overwrite")

    def test_refusals_come_before_any_work(self):
        self.quantize("W8A16", "compressed-tensors", "w8")
        self.quantize("NF4", "bitsandbytes", "nf4")
        for code, source, to, text in [
            (FAILED, "w8", "awq", 'the nearest is format "compressed-tensors" '
                                  'or "gptq" or "gptq_v2"'),
            (FAILED, MODEL, "awq", "the nearest is to quantize it"),
            (FAILED, "nf4", "gptq", "integers with float scales are carried"),
            (USAGE, "w8", "gguf", "awq, compressed-tensors, gptq, gptq_v2 do"),
            (USAGE, "w8", "gptk", 'did you mean "gptq"'),
        ]:
            with self.subTest(source=source, to=to):
                _, err = self.ctl(code, "convert", source, "--to", to,
                                  "--output", "x")
                self.assertIn(text, err)
                self.assertFalse((self.dir / "x").exists())
                self.assertFalse((self.dir / "x.partial").exists())
        self.ctl(USAGE, "convert", "w8", "--output", "x")
        _, err = self.ctl(USAGE, "plan", "w8", "--keep-codes")
        self.assertIn("keep_codes needs a format", err)
        for flag in ("--symmetric", "--allow-requantize", "--scheme=W4A16"):
            _, err = self.ctl(USAGE, "plan", "w8", "--keep-codes", "--format",
                              "gptq", flag)
            self.assertIn("can't be chosen with keep_codes", err)


class SideTensors(Case):
    def test_diff_counts_all_that_a_weight_is_stored_as(self):
        for scheme, bits in (("NF4", 4.5), ("NF4_DOUBLE", 4.3),
                             ("LLM_INT8", 8.2)):
            with self.subTest(scheme=scheme):
                self.ctl(OK, "quantize", MODEL, "--scheme", scheme, "--format",
                         "bitsandbytes", "--output", scheme, "--no-fsync")
                diff = self.json("diff", MODEL, scheme)
                total = 0
                for tensor in diff["tensors"]:
                    total += int(tensor["otherBytes"])
                    if tensor["otherType"] != "codes":
                        continue
                    count = 1
                    for size in tensor["shape"]:
                        count *= int(size)
                    stored = 8 * int(tensor["otherBytes"]) / count
                    self.assertGreater(stored, bits - 0.2, tensor)
                    self.assertLess(stored, bits + 0.2, tensor)
                self.assertEqual(total, int(diff["otherBytes"]))


class GgufOut(Case):
    """GGUF files as sources of everything else."""

    def setUp(self):
        super().setUp()
        self.quantize("BF16", "--format", "gguf")

    def quantize(self, scheme, *flags):
        self.ctl(OK, "quantize", MODEL, "--scheme", scheme, *flags, "--output",
                 scheme, "--no-fsync")
        return f"{scheme}/model-{scheme}.gguf"

    def perplexity(self, model):
        found = self.json("eval", model, "--evaluation", TOKENS)
        return found["perplexity"]

    def test_a_file_becomes_the_checkpoint_that_it_was(self):
        self.ctl(OK, "dequantize", "BF16", "--dtype", "BF16", "--output", "o",
                 "--no-fsync")
        self.ctl(OK, "verify", "o")
        self.assertEqual((self.dir / "o/model.safetensors").read_bytes(),
                         (MODEL / "model.safetensors").read_bytes())
        old = json.loads((MODEL / "config.json").read_text())
        new = json.loads((self.dir / "o/config.json").read_text())
        for key in set(old) & set(new):
            self.assertEqual(old[key], new[key], key)
        self.assertLessEqual(
            {"architectures", "model_type", "hidden_size", "rope_theta",
             "rms_norm_eps", "head_dim", "torch_dtype"}, set(old) & set(new))
        # The same numbers, so the same figure to the last digit.
        self.assertEqual(self.perplexity(MODEL), self.perplexity("o"))
        self.ctl(OK, "dequantize", "BF16", "--format", "gguf", "--output", "g",
                 "--no-fsync")
        self.assertTrue((self.dir / "g/model-F32.gguf").exists())

    def test_files_are_evaluated(self):
        source = self.perplexity(MODEL)
        self.assertEqual(self.perplexity("BF16/model-BF16.gguf"), source)
        eight = self.perplexity(self.quantize("Q8_0"))
        four = self.perplexity(self.quantize("Q4_K_M"))
        self.assertLess(abs(eight / source - 1), 1e-3)
        self.assertLess(abs(eight / source - 1), four / source - 1)
        self.assertLess(four / source, 1.02)

    def test_files_and_checkpoints_differ_by_their_codes(self):
        diff = self.json("diff", MODEL, "BF16")
        self.assertEqual(
            {t.get("differentCount", "0") for t in diff["tensors"]}, {"0"})
        self.assertFalse(diff.get("onlyInOther"))
        self.quantize("Q8_0")
        for pair in ([MODEL, "Q8_0"], ["Q8_0", MODEL], ["BF16", "Q8_0"]):
            diff = self.json("diff", *pair)
            self.assertGreater(diff["sqnrDb"], 40)
            self.assertEqual(len(diff["tensors"]), 39)
        types = {t["otherType"] for t in self.json("diff", MODEL,
                                                   "Q8_0")["tensors"]}
        self.assertEqual(types, {"Q8_0", "F32"})

    def test_what_is_in_a_file(self):
        info = self.json("inspect", self.quantize("Q4_K_M"), "--dtypes")
        self.assertEqual(info["architecture"], "llama")
        self.assertEqual(info["quantMethod"], "gguf Q4_K_M")
        self.assertEqual(info["parameters"], "4196608")
        self.assertEqual({f["totalCount"] for f in info["dtypes"]}, {"4196608"})
        plain = self.json("inspect", "BF16")
        self.assertNotIn("quantMethod", plain)

    def test_plans_say_what_a_file_does_not(self):
        plan = self.json("plan", "BF16", "--scheme", "W4A16")
        self.assertNotIn("notes", plan)
        data = (self.dir / "BF16/model-BF16.gguf").read_bytes()
        # Of the same length: a name that means nothing.
        (self.dir / "odd.gguf").write_bytes(data.replace(b"gpt-2", b"gpt-9"))
        plan = self.json("plan", "odd.gguf", "--scheme", "W4A16")
        self.assertIn("tokenizer.ggml.pre", plan["notes"][0])
        out, _ = self.ctl(OK, "plan", "odd.gguf", "--scheme", "W4A16")
        self.assertIn("note: no tokenizer.json", out)
        _, err = self.ctl(OK, "quantize", "odd.gguf", "--scheme", "W4A16",
                          "--output", "o", "--no-fsync")
        self.assertIn("note: no tokenizer.json", err)
        self.assertFalse((self.dir / "o/tokenizer.json").exists())

    def test_refusals(self):
        self.quantize("Q8_0")
        _, err = self.ctl(FAILED, "plan", "Q8_0", "--scheme", "W4A16")
        self.assertIn("allow to requantize", err)
        self.ctl(OK, "plan", "Q8_0", "--scheme", "W4A16", "--allow-requantize")
        data = (self.dir / "BF16/model-BF16.gguf").read_bytes()
        (self.dir / "odd.gguf").write_bytes(
            data.replace(b"llama", b"llamo", 1))
        _, err = self.ctl(USAGE, "dequantize", "odd.gguf", "--output", "o")
        self.assertIn('unknown architecture "llamo"', err)
        self.assertIn('did you mean "llama"', err)


if __name__ == "__main__":
    unittest.main()
