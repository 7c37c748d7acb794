"""quantctl without a server: outputs, exit codes, interruption and resume."""

import filecmp
import json
import signal
import unittest

from harness import (
    DIGEST,
    FAILED,
    GATE,
    GEN_MODEL,
    INTERRUPTED,
    MODEL,
    NOT_FOUND,
    OK,
    UNAVAILABLE,
    USAGE,
    Case,
    subprocess,
    wait_for,
    write_model,
)


TOKENS = MODEL.parent / "tokens" / "tiny-own_sampled_eval.npy"


class Usage(Case):
    def test_mistakes_end_with_2_and_say_what_is_wrong(self):
        for arguments, text in [
            ([], "subcommand"),
            (["qantize"], 'did you mean "quantize"'),
            (["quantize"], "required"),
            (["quantize", MODEL, "--output", "o"], "--scheme"),
            (["plan", MODEL, "--scheme", "W4A61"], 'did you mean "W4A16"'),
            (["plan", MODEL, "--scheme", "W4A16", "--method", "rnt"], '"rtn"'),
            (["plan", MODEL, "--scheme", "W4A16", "--calibrate", "x"],
             "--calibrate"),
            (["plan", MODEL, "--scheme", "W4A16", "--method", "gptq"],
             "--calibration"),
            (["plan", MODEL, "--scheme", "W4A16", "--calibration", TOKENS],
             'methods "gptq", "awq", "smoothquant", schemes "FP8"'),
            (["plan", MODEL, "--scheme", "W4A16", "--method", "gptq",
              "--calibration", TOKENS, "--sequence-length", "257"],
             "takes 2 to 256"),
            (["plan", MODEL, "--scheme", "W4A16", "--method", "gptq",
              "--calibration", TOKENS, "--static-groups"], "act_order"),
            (["plan", MODEL, "--scheme", "W4A16", "--method", "awq",
              "--calibration", TOKENS, "--act-order"], "act_order: is nothing"),
            (["plan", MODEL, "--scheme", "W4A16", "--method", "awq",
              "--calibration", TOKENS, "--damping", "0.1"], "damping"),
            (["plan", MODEL, "--scheme", "W4A16", "--rule", "x"],
             "MATCH=SCHEME"),
            (["plan", MODEL, "--scheme", "W4A16", "--group-size", "0"],
             "--group-size"),
            (["plan", MODEL, "--scheme", "W4A16", "--gate", "size<=1"],
             "size_bytes"),
            (["plan", MODEL, "--scheme", "W4A16", "-o", "jsn"],
             '-o: unknown value "jsn"; did you mean "json"? known: json, name'),
            (["plan", MODEL, "--scheme", "W4A16", "--on-mismatch", "foo"],
             '--on-mismatch: unknown value "foo"; known: channel, fail, skip'),
            # Names stand for numbers, which are nobody's business.
            (["plan", MODEL, "--scheme", "W4A16", "--on-mismatch", "2"],
             'unknown value "2"'),
            (["plan", MODEL, "--scheme", "W4A16", "--nonfinite", "zerro"],
             '--nonfinite: unknown value "zerro"; did you mean "zero"?'),
            (["list", "--state", "fialed"], 'did you mean "failed"'),
            (["queue", "pasue"], 'action: unknown value "pasue"; did you mean'),
            (["quantize", MODEL, "--shceme", "W4A16", "--output", "o"],
             "--shceme: no such flag of quantctl quantize; did you mean "
             "--scheme?"),
            # Not that --output is required.
            (["quantize", MODEL, "--scheme", "W4A16", "--ouput=o"],
             "--ouput: no such flag of quantctl quantize; did you mean "
             "--output?"),
            (["health", "--verbosely"],
             "--verbosely: no such flag of quantctl health; see quantctl "
             "health --help"),
            (["--hlep"],
             "--hlep: no such flag of quantctl; did you mean --help?"),
            (["version", "\x1b[2J"], "not expected: \\x1b[2J; see quantctl "
             "version --help"),
            (["plan", MODEL, "--scheme", "W4A16", "--group-size", "-1"],
             '--group-size: "-1"; allowed'),
            (["wait", "x", "--timeout", "soon"], "soon"),
            (["tensor", "1,x", "--scheme", "W4A16"], '"x" is no number'),
            (["tensor", "1;2,3", "--scheme", "W4A16"], "a row of 2"),
            (["submit", MODEL, "--scheme", "W4A16", "--output", "o"], "--wait"),
        ]:
            with self.subTest(arguments=arguments):
                out, err = self.ctl(USAGE, *arguments)
                self.assertEqual(out, "")
                self.assertIn(text, err)

    def test_help_and_version_go_to_stdout(self):
        out, err = self.ctl(OK, "--help")
        self.assertIn("Exit codes: 0 ok", out)
        self.assertEqual(err, "")
        self.assertRegex(self.ctl(OK, "version")[0], r"^quantctl \d+\.\d+\.\d+\n$")

    def test_no_server(self):
        for command in (["health"], ["get", "x"], ["wait", "x"], ["list"]):
            _, err = self.ctl(UNAVAILABLE, *command, "--server", "127.0.0.1:1",
                              "--retry-for", "100ms")
            self.assertIn("server 127.0.0.1:1", err)

    def test_completion_knows_every_command_and_flag(self):
        for shell in ("bash", "zsh", "fish"):
            out, _ = self.ctl(OK, "completion", shell)
            for word in ("quantize", "download", "scheme", "cancel-on-interrupt"):
                self.assertIn(word, out)
        out, _ = self.ctl(OK, "completion", "bash")
        script = out + (
            "COMP_WORDS=(quantctl quantize --sch); COMP_CWORD=2; _quantctl;"
            'echo "${COMPREPLY[@]}"'
        )
        said = subprocess.run(["bash", "-c", script], capture_output=True,
                              text=True, check=True)
        self.assertEqual(said.stdout, "--scheme\n")


class Questions(Case):
    def test_methods(self):
        out, _ = self.ctl(OK, "methods")
        for word in ("W4A16", "rtn", "compressed-tensors", "min_sqnr_db"):
            self.assertIn(word, out)
        self.assertIn("W8A16\n", self.ctl(OK, "methods", "-o", "name")[0])

    def test_loaders(self):
        out, _ = self.ctl(OK, "loaders")
        for word in ("vllm", "llama.cpp", "PR 38288", "partly", "outputs"):
            self.assertIn(word, out)
        self.assertEqual(self.ctl(OK, "loaders", "vllm", "-o", "name")[0],
                         "vllm\n")
        loader = self.json("loaders", "tgi")["loaders"]
        self.assertEqual([l["name"] for l in loader], ["tgi"])
        self.assertTrue(all(r["source"] for r in loader[0]["rules"]))
        _, err = self.ctl(USAGE, "loaders", "vlm")
        self.assertIn('did you mean "vllm"', err)

    def test_plan_for_a_loader(self):
        plan = self.json("plan", MODEL, "--scheme", "W4A16", "--loader", "vllm")
        self.assertEqual(plan["outputs"][0]["loader"], "vllm")
        out, _ = self.ctl(OK, "plan", MODEL, "--scheme", "FP8_DYNAMIC",
                          "--loader", "vllm")
        self.assertIn("compute capability 8.9", out)
        for flags, code, text in [
            (["W4A16", "--loader", "vlm"], USAGE, 'did you mean "vllm"'),
            (["W4A16", "--loader", "llama.cpp"], USAGE, '"Q4_K_M"'),
            (["W3A16", "--loader", "vllm", "--format", "gptq"], USAGE,
             'the nearest that it takes is scheme "W4A16"'),
            (["W4A16", "--loader", "sglang", "--rule", "mlp.down=W8A16"],
             FAILED, "several schemes"),
            (["W4A16", "--loader", "vllm", "--tensor-parallel", "4"], FAILED,
             "o_proj"),
            (["W4A16", "--tensor-parallel", "4"], USAGE, "a loader is needed"),
        ]:
            with self.subTest(flags=flags):
                _, err = self.ctl(code, "plan", MODEL, "--scheme", *flags)
                self.assertIn(text, err)
                _, err = self.ctl(code, "quantize", MODEL, "--output", "o",
                                  "--scheme", *flags)
                self.assertIn(text, err)
                self.assertFalse((self.dir / "o").exists())

    def test_plan_says_what_a_conversion_drops(self):
        copy = self.dir / "tied"
        copy.mkdir()
        for file in MODEL.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        config = json.loads((copy / "config.json").read_text())
        config["tie_word_embeddings"] = True
        (copy / "config.json").write_text(json.dumps(config))
        flags = ["plan", copy, "--scheme", "Q8_0"]
        self.assertEqual([d["name"] for d in self.json(*flags)["dropped"]],
                         ["lm_head.weight"])
        out, _ = self.ctl(OK, *flags)
        self.assertRegex(out, r"DROPPED +REASON\nlm_head.weight +the embedding")

    def test_recipe_files_take_sizes_as_flags_do(self):
        (self.dir / "r.yaml").write_text("scheme: W4A16\ntarget_bytes: 3.4MB\n")
        by_file = self.json("plan", MODEL, "--recipe", "r.yaml")
        by_flag = self.json("plan", MODEL, "--scheme", "W4A16", "--target-size",
                            "3.4MB")
        self.assertEqual(by_file["fingerprint"], by_flag["fingerprint"])
        self.assertLessEqual(int(by_file["outputs"][0]["totalBytes"]), 3400000)

    def test_plan_promises_what_quantize_writes(self):
        flags = ["--scheme", "W4A16", "--rule", "re:.*down_proj=W8A16"]
        out, _ = self.ctl(OK, "plan", MODEL, *flags)
        for text in ("TENSOR", "skipped: lm_head", "W8A16", "memory bound:",
                     "bits per weight:"):
            self.assertIn(text, out)
        plan = self.json("plan", MODEL, *flags)
        self.ctl(OK, "quantize", MODEL, *flags, "--output", "out", "--no-fsync")
        for file in plan["outputs"][0]["files"]:
            size = (self.dir / "out" / file["path"]).stat().st_size
            self.assertEqual(size, int(file["sizeBytes"]), file["path"])

    def test_eval_reads_artifacts_as_the_values_they_stand_for(self):
        found = {}
        for form in ("compressed-tensors", "dequantized"):
            self.ctl(OK, "quantize", MODEL, "--scheme", "W4A16", "--method",
                     "hqq", "--format", form, "--output", form, "--no-fsync")
            found[form] = self.json(
                "eval", form, "--evaluation", TOKENS, "--sequence-length",
                "256", "--reference", MODEL)
        packed, plain = found.values()
        # They differ in the type of their scales.
        self.assertAlmostEqual(packed["klMean"], plain["klMean"], delta=5e-4)
        for figures in found.values():
            self.assertEqual(figures["windows"], "64")
            self.assertGreater(figures["perplexityRatio"], 1)
            self.assertLess(figures["klMean"], 0.01)
        _, said = self.ctl(USAGE, "eval", MODEL, "--evaluation", TOKENS,
                           "--sequence-length", "1")
        self.assertIn("sequence length: 1; 2 to", said)

    def test_text_is_tokenized_previewed_and_evaluated(self):
        text = self.dir / "text.txt"
        text.write_bytes("It was the best of caf\u00e9s.\n".encode() * 40)
        ids = [int(i) for i in self.ctl(OK, "tokenize", MODEL, text, "-o",
                                        "name")[0].split()]
        out, _ = self.ctl(OK, "tokenize", MODEL, text)
        self.assertIn('"<s>"', out)
        seen = self.json("calibrate", MODEL, "--data", text, "--seq-len", "32",
                         "--samples", "3", "--preview")
        self.assertEqual(seen["tokens"], str(len(ids)))
        self.assertEqual(seen["first"][1]["ids"], ids[32:64])
        self.assertIn("It was the best", seen["first"][0]["text"])
        self.assertEqual(len(seen["sha256"]), 64)
        found = self.json("eval", MODEL, "--evaluation", text,
                          "--sequence-length", "64")
        self.assertEqual(found["windows"], str(len(ids) // 64))
        for content, why in ((b"", "empty"), (b"PK\0\3", "binary"),
                             (b"short", "a sequence has 64"),
                             (b"caf\xe9", "not UTF-8")):
            text.write_bytes(content)
            _, said = self.ctl(USAGE, "calibrate", MODEL, "--data", text,
                               "--seq-len", "64", "--preview")
            self.assertIn(why, said)

    def test_formats_say_the_same(self):
        out, _ = self.ctl(OK, "plan", MODEL, "--scheme", "W4A16", "-o", "yaml")
        plan = self.json("plan", MODEL, "--scheme", "W4A16")
        self.assertIn(f'totalBytes: "{plan["outputs"][0]["totalBytes"]}"', out)
        name, _ = self.ctl(OK, "plan", MODEL, "--scheme", "W4A16", "-o", "name")
        self.assertEqual(name, plan["fingerprint"] + "\n")

    def test_recipe_file_and_flags_over_it(self):
        (self.dir / "r.yaml").write_text(
            "recipe:\n  scheme: W4A16\n  groupSize: 64\ngates:\n"
            '  - "size_bytes <= 1kB"\n'
        )
        file = self.json("plan", MODEL, "--recipe", "r.yaml")
        flag = self.json("plan", MODEL, "--scheme", "W4A16", "--group-size",
                         "64", "--gate", "size_bytes<=1kB")
        self.assertEqual(file["outputs"][0]["totalBytes"],
                         flag["outputs"][0]["totalBytes"])
        over = self.json("plan", MODEL, "--recipe", "r.yaml", "--scheme", "W8A16")
        self.assertEqual(over["outputs"][0]["name"], "W8A16")
        self.ctl(GATE, "quantize", MODEL, "--recipe", "r.yaml", "--output", "o")

    def test_inspect(self):
        out, _ = self.ctl(OK, "inspect", MODEL)
        self.assertIn("model.layers.0.self_attn.q_proj.weight", out)
        self.assertIn("LlamaForCausalLM", out)
        out, _ = self.ctl(OK, "inspect", MODEL, "--dtypes")
        for dtype in ("FP32", "BF16", "FP16", "FP8_E4M3", "INT8", "INT4"):
            self.assertIn(dtype, out)
        self.assertRegex(out, r"FP16 +16 +65504 ")

    def test_a_broken_config_is_named_with_its_byte(self):
        write_model(self.dir / "model.safetensors", {"a": ([1], [1])})
        (self.dir / "config.json").write_text('{"model_type": "llama",}')
        _, err = self.ctl(FAILED, "inspect", self.dir)
        self.assertIn(f"{self.dir}/config.json: byte 24: not JSON", err)

    def test_missing_models_and_manifests(self):
        self.ctl(NOT_FOUND, "inspect", "nowhere")
        self.ctl(NOT_FOUND, "verify", ".")

    def test_names_can_not_steer_the_terminal(self):
        write_model(self.dir / "m.safetensors", {"a\x1b[2Jb": ([1, 2], [1, 2])})
        out, _ = self.ctl(OK, "inspect", "m.safetensors")
        self.assertIn("a\\x1b[2Jb", out)
        self.assertNotIn("\x1b", out)


class Tensor(Case):
    def test_textbook_steps(self):
        # absmax 6.3 over 127.5 half steps... per channel int8 symmetric.
        found = self.json("tensor", "-6.375, 0, 3", "--scheme", "W8A16",
                          "--group-size", "channel")
        self.assertEqual(len(found["scales"]), 1)
        self.assertAlmostEqual(found["scales"][0], 6.375 / 127.5, places=6)
        self.assertEqual(found["codes"][1:], [0, 60])
        out, _ = self.ctl(OK, "tensor", "-6.375, 0, 3", "--scheme", "W8A16")
        for word in ("X_INT", "X_HAT", "SCALE", "mse:", "sqnr:"):
            self.assertIn(word, out)

    def test_numbers_that_look_like_flags(self):
        for array, values in (("-1,2", [-1, 2]), ("-.5;-1", [-0.5, -1])):
            found = self.json("tensor", array, "--scheme", "F32")
            self.assertEqual(found["dequantized"], values)

    def test_npy_round_trip(self):
        self.ctl(OK, "tensor", "1, -2; 3, 4", "--scheme", "F32",
                 "--dequantized", "a.npy")
        raw = (self.dir / "a.npy").read_bytes()
        self.assertEqual(raw[:8], b"\x93NUMPY\x01\x00")
        self.assertEqual((len(raw) - 16) % 64, 0)
        found = self.json("tensor", "a.npy", "--scheme", "F32")
        self.assertEqual(found["dequantized"], [1, -2, 3, 4])
        (self.dir / "cut.npy").write_bytes(raw[:-1])
        self.ctl(FAILED, "tensor", "cut.npy", "--scheme", "F32")

    def test_of_a_model(self):
        name = "model.norm.weight"
        found = self.json("tensor", f"{MODEL}:{name}", "--scheme", "BF16")
        self.assertEqual(found["mse"] if "mse" in found else 0, 0)
        _, err = self.ctl(USAGE, "tensor", f"{MODEL}:model.nrom.weight",
                          "--scheme", "W8A16")
        self.assertIn(f'did you mean "{name}"', err)


class Quantize(Case):
    def quantize(self, code, *flags, output="out"):
        return self.ctl(code, "quantize", MODEL, "--scheme", "W4A16",
                        "--output", output, "--no-fsync", *flags)

    def test_verify_finds_every_tampering(self):
        self.quantize(OK)
        out, _ = self.ctl(OK, "verify", "out")
        self.assertRegex(out, r"^out: OK, \d+ files")
        weights = self.dir / "out" / "model.safetensors"
        good = weights.read_bytes()
        weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        out, err = self.ctl(DIGEST, "verify", "out")
        self.assertIn("model.safetensors", err)
        self.assertIn("FAILED", out)
        weights.write_bytes(good)
        (self.dir / "out" / "extra.bin").write_text("x")
        self.ctl(DIGEST, "verify", "out")

    def test_output_is_never_overwritten_by_accident(self):
        self.quantize(OK)
        before = (self.dir / "out" / "manifest.json").read_bytes()
        _, err = self.quantize(USAGE, "--group-size", "32")
        self.assertIn("--overwrite", err)
        self.assertEqual((self.dir / "out" / "manifest.json").read_bytes(),
                         before)
        self.quantize(OK, "--group-size", "32", "--overwrite")
        self.assertNotEqual((self.dir / "out" / "manifest.json").read_bytes(),
                            before)
        self.ctl(OK, "verify", "out")

    def test_the_model_itself_is_no_output(self):
        copy = self.dir / "m"
        copy.mkdir()
        for file in MODEL.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        self.ctl(USAGE, "quantize", copy, "--scheme", "W4A16", "--output", copy,
                 "--overwrite")
        self.assertTrue((copy / "model.safetensors").exists())

    def test_two_outputs_from_one_read(self):
        out, _ = self.quantize(OK, "--scheme", "W8A16", "-o", "name")
        self.assertEqual(out, "out/W4A16\nout/W8A16\n")
        self.assertIn("W8A16: OK", self.ctl(OK, "verify", "out")[0])

    def test_a_failed_gate_keeps_the_result_apart(self):
        out, err = self.quantize(GATE, "--gate", "min_sqnr_db>=60", "-o", "json")
        job = json.loads(out)
        self.assertEqual(job["state"], "FAILED")
        self.assertEqual(job["stateReason"], "GATE_FAILED")
        self.assertIn("min_sqnr_db >= 60", err)
        self.assertFalse((self.dir / "out").exists())
        self.ctl(OK, "verify", "out.gate-failed")
        self.quantize(OK, "--gate", "min_sqnr_db>=10")

    def test_what_does_not_fit_is_refused_by_name(self):
        _, err = self.quantize(FAILED, "--group-size", "100")
        self.assertIn("down_proj", err)
        self.quantize(OK, "--group-size", "100", "--on-mismatch", "channel")

    def test_nan_is_named(self):
        write_model(self.dir / "m.safetensors",
                    {"a.weight": ([2, 4], [0x3F80] * 6 + [0x7FC0, 0])})
        flags = ["--scheme", "W8A16", "--group-size", "channel", "--output", "o"]
        _, err = self.ctl(FAILED, "quantize", "m.safetensors", *flags)
        self.assertIn("a.weight", err)
        self.ctl(OK, "quantize", "m.safetensors", *flags, "--nonfinite", "zero")

    def test_truncated_model(self):
        whole = (MODEL / "model.safetensors").read_bytes()
        (self.dir / "m.safetensors").write_bytes(whole[: len(whole) // 2])
        self.ctl(FAILED, "quantize", "m.safetensors", "--scheme", "W8A16",
                 "--output", "o")


class Interrupt(Case):
    def test_ctrl_c_and_the_same_command_again(self):
        subprocess.run([GEN_MODEL, "--output", self.dir / "big", "--bytes",
                        "200MB"], check=True, stdout=subprocess.DEVNULL)
        command = ["quantize", "big", "--scheme", "W4A16", "--no-fsync",
                   "--threads", "1", "--scale", "mse"]
        process = self.start(*command, "--output", "out")
        journal = self.dir / "out.partial"
        wait_for("a finished tensor", lambda: any(
            file.stat().st_size > 200 for file in journal.glob("journal*")))
        process.send_signal(signal.SIGINT)
        _, err = self.finish(process, INTERRUPTED)
        self.assertIn("the same command takes the work up again", err)
        self.assertFalse((self.dir / "out").exists())
        out, _ = self.ctl(OK, *command, "--output", "out")
        self.assertRegex(out, r"resumed: [1-9]\d* of \d+ tensors")
        self.assertFalse(journal.exists())
        self.ctl(OK, *command, "--output", "straight")
        match, mismatch, errors = filecmp.cmpfiles(
            self.dir / "out", self.dir / "straight",
            [f.name for f in (self.dir / "out").iterdir()], shallow=False)
        self.assertEqual((mismatch, errors), ([], []))
        self.assertGreater(len(match), 1)


if __name__ == "__main__":
    unittest.main()
