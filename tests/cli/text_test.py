"""quantctl and texts: calibration, evaluation, gates on it, escalation."""

import json
import os
import shutil
import struct
import unittest

from harness import (
    GATE,
    MODEL,
    OK,
    USAGE,
    Case,
    wait_for,
    write_ids,
    write_text,
)

TOKENS = MODEL.parent / "tokens" / "tiny-own_sampled_eval.npy"


def dataset_ids(case, jsonl, count):
    """The first ids of a file of texts, by quantctl tokenize."""
    ids, part = [], case.dir / "part.txt"
    for line in jsonl.read_text().splitlines():
        part.write_text(json.loads(line)["text"])
        out, _ = case.ctl(OK, "tokenize", MODEL, part, "-o", "name")
        ids += map(int, out.split())
        if len(ids) >= count:
            return ids[:count]
    raise AssertionError(f"only {len(ids)} ids")


class Calibrated(Case):
    FLAGS = ["--scheme", "W4A16", "--method", "gptq", "--calibration",
             TOKENS.with_name("tiny-own_sampled_calib.npy"),
             "--sequence-length", "128", "--calibration-sequences", "24"]

    def test_gptq_names_its_text_and_is_nearer_than_rounding(self):
        self.ctl(OK, "quantize", MODEL, *self.FLAGS, "--act-order", "--output",
                 "gptq")
        self.ctl(OK, "verify", "gptq")
        manifest = json.loads((self.dir / "gptq/manifest.json").read_text())
        self.assertIn("tiny-own_sampled_calib.npy",
                      [source["name"] for source in manifest["sources"]])
        self.ctl(OK, "quantize", MODEL, "--scheme", "W4A16", "--output", "rtn")
        kl = []
        for artifact in ("gptq", "rtn"):
            out, _ = self.ctl(OK, "eval", artifact, "--reference", MODEL,
                              "--evaluation", TOKENS, "-o", "json")
            kl.append(json.loads(out)["klMean"])
        self.assertLess(kl[0], 0.7 * kl[1])

    def test_text_is_cut_by_the_models_tokenizer(self):
        text = write_text(self.dir / "text.jsonl")
        flags = ["--sequence-length", "64", "--calibration-sequences", "24"]
        job = ["quantize", MODEL, "--scheme", "W4A16", "--method", "gptq",
               *flags, "--output"]
        self.ctl(OK, *job, "text", "--calibration", text)
        source = json.loads((self.dir / "text/manifest.json").read_text())
        source = source["sources"][-1]
        seen = self.json("calibrate", MODEL, "--data", text, *flags, "--preview")
        self.assertEqual(source["name"], "text.jsonl")
        self.assertEqual(source["dataset"],
                         {"use": "calibration", "sequences": 24,
                          "sequence_length": 64, "sha256": seen["sha256"]})
        # The same ids from a file of ids: the same artifact.
        write_ids(self.dir / "ids.npy", dataset_ids(self, text, 24 * 64))
        self.ctl(OK, *job, "ids", "--calibration", "ids.npy")
        for name in ("model.safetensors", "config.json"):
            self.assertEqual((self.dir / "text" / name).read_bytes(),
                             (self.dir / "ids" / name).read_bytes())
        manifest = json.loads((self.dir / "ids/manifest.json").read_text())
        self.assertEqual(manifest["sources"][-1]["dataset"], source["dataset"])

    def test_text_that_can_not_be_used_is_refused_before_any_work(self):
        text = self.dir / "text.txt"
        for content, why in ((b"", "empty"), (b"PK\0\3", "binary"),
                             (b"short", "a sequence has 64"),
                             (b"caf\xe9", "not UTF-8")):
            text.write_bytes(content)
            _, said = self.ctl(USAGE, "quantize", MODEL, "--scheme", "W4A16",
                               "--method", "gptq", "--calibration", text,
                               "--sequence-length", "64", "--output", "o")
            self.assertIn(why, said)
            self.assertIn("calibration: ", said)
            self.assertEqual(os.listdir(self.dir), ["text.txt"])

    def test_weights_that_met_too_little_are_named(self):
        flags = list(self.FLAGS)
        flags[-1] = "9"  # 1152 tokens: fewer than two for each of 768 columns
        out, err = self.ctl(OK, "quantize", MODEL, *flags, "--output", "out")
        self.assertRegex(out, r"calibration_fallbacks +4\n")
        self.assertIn("layers.3.mlp.down_proj.weight: met 1152 tokens", err)

    def test_importance_for_gguf(self):
        self.ctl(OK, "calibrate", MODEL, *self.FLAGS[4:], "--output", "m.gguf")
        self.ctl(USAGE, "calibrate", MODEL)
        out, _ = self.ctl(OK, "quantize", MODEL, "--scheme", "Q4_K_M",
                          "--imatrix", "m.gguf", "--output", "out")
        self.ctl(OK, "verify", "out")
        _, err = self.ctl(USAGE, "calibrate", MODEL, *self.FLAGS[4:], "--output",
                          "m.gguf")
        self.assertIn("--overwrite", err)


class Evaluated(Case):
    FLAGS = ["--evaluate", TOKENS, "--evaluation-sequences", "16"]

    def ids(self, windows):
        raw = TOKENS.read_bytes()
        start = 10 + struct.unpack("<H", raw[8:10])[0]
        return struct.unpack_from(f"<{windows * 256}i", raw, start)

    def figures_of(self, artifact):
        """Of the same windows, by quantctl eval."""
        text = self.dir / "first.npy"
        write_ids(text, self.ids(16))
        return self.json("eval", artifact, "--reference", MODEL,
                         "--evaluation", text)

    def test_figures_are_those_of_eval_and_gates_judge_them(self):
        gates = ["--gate", "perplexity_ratio<=1.2", "--gate", "kl_mean<=1e-9"]
        out, err = self.ctl(GATE, "quantize", MODEL, "--scheme", "W4A16",
                            *self.FLAGS, *gates, "--output", "o", "-o", "json")
        job = json.loads(out)
        self.assertEqual(job["stateReason"], "GATE_FAILED")
        self.assertIn("gate failed: kl_mean <= 1e-09 on W4A16: ", err)
        self.assertIn("EVALUATING", err)
        self.assertFalse((self.dir / "o").exists())
        kept = self.dir / "o.gate-failed"
        figures = self.figures_of(kept)
        manifest = json.loads((kept / "manifest.json").read_text())
        for name, key in (("perplexity", "perplexity"), ("kl_p99", "klP99"),
                          ("reference_perplexity", "referencePerplexity"),
                          ("perplexity_delta", "perplexityDelta"),
                          ("top1_agreement", "top1Agreement")):
            self.assertEqual(job["metrics"][name], figures[key], name)
            self.assertEqual(manifest["evaluation"][name], figures[key], name)
        self.assertEqual(
            manifest["gates"],
            [{"gate": "perplexity_ratio <= 1.2", "passed": True,
              "value": figures["perplexityRatio"]},
             {"gate": "kl_mean <= 1e-09", "passed": False,
              "value": figures["klMean"]}])
        self.assertEqual(manifest["sources"][-1]["dataset"]["use"],
                         "evaluation")
        self.ctl(OK, "verify", kept)

    def test_refused_before_any_work(self):
        flags = ["quantize", MODEL, "--scheme", "W4A16", "--output", "o"]
        _, err = self.ctl(USAGE, *flags, "--gate", "perplexity_ratio<=1.03")
        self.assertIn("--evaluate FILE", err)
        (self.dir / "t.txt").write_text("short")
        _, err = self.ctl(USAGE, *flags, "--evaluate", "t.txt")
        self.assertIn("evaluation: t.txt: ", err)
        (self.dir / "t.jsonl").write_text('{"text": "fine"}\n{"text": \n')
        _, err = self.ctl(USAGE, *flags, "--evaluate", "t.jsonl")
        self.assertIn("evaluation: t.jsonl: line 2: ", err)
        other = self.dir / "other"
        shutil.copytree(MODEL, other)
        config = json.loads((other / "config.json").read_text())
        config["architectures"] = ["BloomForCausalLM"]
        (other / "config.json").write_text(json.dumps(config))
        _, err = self.ctl(USAGE, "quantize", other, "--scheme", "W4A16",
                          "--output", "o", *self.FLAGS)
        self.assertIn("BloomForCausalLM", err)
        self.assertFalse((self.dir / "o").exists())
        self.assertFalse((self.dir / "o.partial").exists())

    def test_reports_are_part_of_the_artifact(self):
        self.ctl(OK, "quantize", MODEL, "--scheme", "Q4_K_M", *self.FLAGS,
                 "--gate", "kl_p99<=9", "--output", "o")
        report = json.loads((self.dir / "o/report.json").read_text())
        manifest = json.loads((self.dir / "o/manifest.json").read_text())
        self.assertEqual(report["evaluation"], manifest["evaluation"])
        self.assertEqual(report["gates"], manifest["gates"])
        figures = self.figures_of("o")
        self.assertEqual(manifest["evaluation"]["kl_mean"], figures["klMean"])
        self.assertLessEqual({"report.json", "report.html"},
                             {f["path"] for f in manifest["files"]})
        page = (self.dir / "o/report.html").read_text()
        for text in ("<svg", "kl_p99 &lt;= 9", "attention.q, layer 3", "Q4_K"):
            self.assertIn(text, page)
        self.assertNotRegex(page, r"https?:|src=|<script|url\(")
        self.ctl(OK, "verify", "o")
        self.ctl(OK, "quantize", MODEL, "--scheme", "W8A16", "--output", "p")
        self.assertFalse((self.dir / "p/report.json").exists())
        self.ctl(OK, "quantize", MODEL, "--scheme", "W8A16", "--report",
                 "--output", "q")
        self.assertTrue((self.dir / "q/report.html").exists())

    def test_a_recipe_file_says_all_that_flags_say(self):
        recipes = self.dir / "recipes"
        recipes.mkdir()
        shutil.copy(TOKENS, recipes / "eval.npy")
        (recipes / "r.yaml").write_text(
            "recipe: {scheme: W2A16}\n"
            "evaluation: {path: eval.npy, sequences: 8, sequence_length: 64}\n"
            "gates: [perplexity_ratio<=1.05]\non_gate_failure: escalate\n")
        out, _ = self.ctl(OK, "quantize", MODEL, "--recipe", "recipes/r.yaml",
                          "--output", "o", "-o", "json")
        self.assertTrue(json.loads(out)["escalation"])
        manifest = json.loads((self.dir / "o/manifest.json").read_text())
        data = manifest["sources"][-1]["dataset"]
        self.assertEqual((data["sequences"], data["sequence_length"]), (8, 64))
        self.assertTrue((self.dir / "o/report.html").exists())
        # A flag goes before the file.
        self.ctl(GATE, "quantize", MODEL, "--recipe", "recipes/r.yaml",
                 "--on-gate-failure", "fail", "--output", "p")
        (recipes / "r.yaml").write_text("recipe: {scheme: W2A16}\n"
                                        "on_gate_failure: retry\n")
        _, err = self.ctl(USAGE, "plan", MODEL, "--recipe", "recipes/r.yaml")
        self.assertIn('"retry"; allowed are fail and escalate', err)

    def test_escalates_until_it_passes(self):
        flags = ["quantize", MODEL, "--scheme", "W2A16", *self.FLAGS, "--gate",
                 "perplexity_ratio<=1.05", "-o", "json"]
        out, _ = self.ctl(GATE, *flags, "--output", "plain")
        first = json.loads(out)
        self.assertNotIn("escalation", first)
        out, _ = self.ctl(OK, *flags, "--on-gate-failure", "escalate",
                          "--output", "o")
        job = json.loads(out)
        steps = job["escalation"]
        self.assertEqual(steps[0]["gates"][0]["value"],
                         first["gates"][0]["value"])
        self.assertTrue(all(not s["gates"][0].get("passed", False)
                            for s in steps))
        self.assertTrue(job["gates"][0]["passed"])
        self.assertEqual(steps[0]["tensors"][0]["from"], "W2A16")
        self.assertEqual(steps[0]["tensors"][0]["to"], "W3A16")
        self.assertLess(job["metrics"]["bits_per_weight"], 8)
        manifest = json.loads((self.dir / "o/manifest.json").read_text())
        self.assertEqual(len(manifest["escalation"]), len(steps))
        self.assertEqual(manifest["escalation"][0]["raised"][0]["tensor"],
                         steps[0]["tensors"][0]["name"])
        self.ctl(OK, "verify", "o")

    def test_escalates_until_nothing_is_left(self):
        flags = ["quantize", MODEL, "--scheme", "W3A16", "--target-size",
                 "3.6MB", "--gate", "min_sqnr_db>=40", "--on-gate-failure",
                 "escalate", "-o", "json"]
        out, err = self.ctl(GATE, *flags, "--output", "o")
        job = json.loads(out)
        self.assertLessEqual(job["metrics"]["size_bytes"], 3.6e6)
        self.assertFalse(job["gates"][0].get("passed", False))
        self.assertIn("gate failed: min_sqnr_db >= 40", err)
        self.ctl(OK, "verify", "o.gate-failed")
        _, err = self.ctl(USAGE, "quantize", MODEL, "--scheme", "W4A16",
                          "--gate", "size_bytes<=1GB", "--on-gate-failure",
                          "escalate", "--output", "x")
        self.assertIn("to escalate needs a gate", err)

    def test_killed_it_goes_on_to_the_same_numbers(self):
        # Enough windows for two parts.
        write_ids(self.dir / "long.npy", self.ids(64) * 3)
        flags = ["quantize", MODEL, "--scheme", "W4A16", "--no-fsync",
                 "--evaluate", "long.npy", "--output"]
        process = self.start(*flags, "o")
        part = self.dir / "o.partial/evaluated/W4A16/part-0"
        wait_for("the first part", part.exists)
        process.kill()
        process.communicate()
        again = self.start(*flags, "o")
        out, _ = self.finish(again, OK)
        self.assertRegex(out, r"resumed: (\d+) of \1 tensors")
        self.ctl(OK, *flags, "whole")
        self.assertEqual((self.dir / "o/manifest.json").read_bytes(),
                         (self.dir / "whole/manifest.json").read_bytes())


if __name__ == "__main__":
    unittest.main()
