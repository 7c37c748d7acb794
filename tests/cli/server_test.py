"""quantctl and a real quantd: jobs from submit to download, and how they end."""

import json
import signal
import struct
import unittest

from harness import (
    CANCELLED,
    DENIED,
    FAILED,
    GATE,
    INTERRUPTED,
    MODEL,
    NOT_FOUND,
    OK,
    TIMED_OUT,
    UNAVAILABLE,
    USAGE,
    ServerCase,
    wait_for,
    write_model,
    write_text,
)

SOURCE = f"server:{MODEL.name}"


class Jobs(ServerCase):
    def submit(self, *flags, source=SOURCE):
        out, _ = self.ctl(OK, "submit", source, "--scheme", "W4A16", *flags,
                          "-o", "name")
        return out.strip()

    def test_upload_wait_download_verify(self):
        out, err = self.ctl(OK, "submit", MODEL, "--scheme", "W4A16", "--wait",
                            "--output", "out", "-o", "json")
        job = json.loads(out)
        self.assertEqual(job["state"], "SUCCEEDED")
        self.assertIn("submitted jobs/", err)
        self.assertIn("SUCCEEDED", err)
        self.ctl(OK, "verify", "out")
        out, _ = self.ctl(OK, "upload", MODEL)
        self.assertRegex(out, r"files sent: +0\n")
        out, _ = self.ctl(OK, "download", job["name"], "--output", "two")
        self.assertIn("verified", out)
        self.ctl(OK, "verify", "two")
        # What a server made is what quantize makes.
        self.ctl(OK, "quantize", MODEL, "--scheme", "W4A16", "--output", "here")
        for file in (self.dir / "here").iterdir():
            self.assertEqual(file.read_bytes(),
                             (self.dir / "two" / file.name).read_bytes(),
                             file.name)

    def test_two_outputs_get_a_folder_each(self):
        self.ctl(OK, "submit", SOURCE, "--scheme", "W4A16", "--scheme", "W8A16",
                 "--wait", "--output", "out")
        self.assertIn("out/W8A16: OK", self.ctl(OK, "verify", "out")[0])

    def test_codes_are_kept(self):
        self.ctl(OK, "quantize", MODEL, "--scheme", "W4A16", "--output", "ct",
                 "--no-fsync")
        self.ctl(OK, "submit", "ct", "--keep-codes", "--format", "awq",
                 "--wait", "--output", "made")
        self.ctl(OK, "convert", "ct", "--to", "awq", "--output", "here")
        for file in (self.dir / "here").iterdir():
            self.assertEqual(file.read_bytes(),
                             (self.dir / "made" / file.name).read_bytes(),
                             file.name)
        _, err = self.ctl(3, "submit", MODEL, "--keep-codes", "--format",
                          "awq", "--wait")
        self.assertIn("holds no codes", err)

    def test_calibrated_it_gives_the_bytes_of_a_local_run(self):
        text = write_text(self.dir / "text.jsonl")
        for scheme, method in (("W4A16", "gptq"), ("W4A16", "awq"),
                               ("W8A8_STATIC", "smoothquant")):
            flags = ["--scheme", scheme, "--method", method, "--calibration",
                     text, "--sequence-length", "64",
                     "--calibration-sequences", "24", "--bos", "none"]
            out, here = self.dir / (method + "-out"), self.dir / method
            self.ctl(OK, "submit", MODEL, *flags, "--wait", "--output", out)
            self.ctl(OK, "quantize", MODEL, *flags, "--output", here)
            for file in here.iterdir():
                self.assertEqual(file.read_bytes(),
                                 (out / file.name).read_bytes(), file)
        text.write_text('{"text": "short"}')
        _, err = self.ctl(USAGE, "submit", MODEL, *flags)
        self.assertIn("a sequence has 64", err)

    def test_what_was_calibrated_once_serves_many_jobs(self):
        text = write_text(self.dir / "text.jsonl")
        cut = ["--seq-len", "64", "--samples", "24", "--bos", "none"]
        self.ctl(OK, "calibrate", MODEL, "--data", text, *cut, "--statistics",
                 "seen")
        for scheme, method in (("W4A16", "gptq"), ("W3A16", "gptq"),
                               ("FP8", "rtn")):
            flags = ["--scheme", scheme, "--method", method, "--calibration",
                     "seen"]
            out, here = self.dir / (scheme + "-out"), self.dir / scheme
            self.ctl(OK, "submit", MODEL, *flags, "--wait", "--output", out)
            self.ctl(OK, "quantize", MODEL, *flags, "--output", here)
            for file in here.iterdir():
                self.assertEqual(file.read_bytes(),
                                 (out / file.name).read_bytes(), file)
            self.assertIn("statistics.json",
                          (out / "manifest.json").read_text())
        # FP8 sees the source as it is, with text as without.
        self.ctl(OK, "quantize", MODEL, "--scheme", "FP8", "--calibration",
                 text, "--sequence-length", "64", "--calibration-sequences",
                 "24", "--bos", "none", "--output", "by-text")
        weights = "model.safetensors"
        self.assertEqual((self.dir / "by-text" / weights).read_bytes(),
                         (self.dir / "FP8" / weights).read_bytes())

    def test_gguf_with_an_importance_matrix(self):
        name = b"blk.0.attn_q.weight"
        matrix = self.dir / "own.imatrix"
        matrix.write_bytes(
            struct.pack("<ii", 1, len(name)) + name +
            struct.pack("<ii", 1, 256) +
            struct.pack("<256f", *(1.0 + i % 5 for i in range(256))))
        self.ctl(OK, "submit", MODEL, "--scheme", "Q4_K_M", "--imatrix", matrix,
                 "--wait", "--output", "out")
        self.ctl(OK, "verify", "out")
        self.ctl(OK, "quantize", MODEL, "--scheme", "Q4_K_M", "--imatrix",
                 matrix, "--output", "here")
        made = (self.dir / "out/model-Q4_K_M.gguf").read_bytes()
        self.assertEqual(made,
                         (self.dir / "here/model-Q4_K_M.gguf").read_bytes())
        self.assertIn(b"quantize.imatrix.file", made)
        # The artifact is a model again, for whoever wants its values.
        gguf = f"server:{self.dir}/out/model-Q4_K_M.gguf"
        _, err = self.ctl(3, "submit", gguf, "--scheme", "Q8_0", "--wait")
        self.assertIn("quantized already", err)
        self.ctl(OK, "submit", gguf, "--scheme", "Q8_0", "--allow-requantize",
                 "--wait")

    def test_gguf_becomes_a_checkpoint_as_it_does_here(self):
        self.ctl(OK, "quantize", MODEL, "--scheme", "F16", "--format", "gguf",
                 "--output", "g")
        file = self.dir / "g/model-F16.gguf"
        self.ctl(OK, "submit", f"server:{file}", "--scheme", "W4A16", "--wait",
                 "--output", "out")
        self.ctl(OK, "verify", "out")
        self.ctl(OK, "quantize", file, "--scheme", "W4A16", "--output", "here")
        names = sorted(p.name for p in (self.dir / "here").iterdir())
        self.assertEqual(names, sorted(p.name
                                       for p in (self.dir / "out").iterdir()))
        self.assertIn("tokenizer.json", names)
        for name in names:
            if name != "manifest.json":  # tells the recipe as it was given
                self.assertEqual((self.dir / "out" / name).read_bytes(),
                                 (self.dir / "here" / name).read_bytes(), name)

    def test_list_get_watch_delete(self):
        job = self.submit("--label", "team=\x1b[2Ja", "--request-id", "r1")
        self.assertEqual(self.submit("--label", "team=\x1b[2Ja", "--request-id",
                                     "r1"), job)
        self.ctl(USAGE, "submit", SOURCE, "--scheme", "W8A16", "--request-id",
                 "r1")
        out, _ = self.ctl(OK, "watch", job, "-o", "json")
        events = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(events[0]["kind"], "SNAPSHOT")
        self.assertEqual(events[-1]["kind"], "FINAL")
        self.assertEqual(events[-1]["job"]["state"], "SUCCEEDED")
        out, _ = self.ctl(OK, "list", "--state", "succeeded")
        self.assertIn(job, out)
        self.assertIn("team=\\x1b[2Ja", out)
        self.assertEqual(self.ctl(OK, "list", "--state", "failed", "-o",
                                  "name")[0], "")
        short = job.removeprefix("jobs/")
        self.assertEqual(self.json("get", short)["name"], job)
        self.ctl(OK, "delete", job)
        self.ctl(NOT_FOUND, "get", job)

    def test_errors_have_their_codes(self):
        self.ctl(NOT_FOUND, "get", "nope")
        self.ctl(NOT_FOUND, "wait", "nope")
        self.ctl(NOT_FOUND, "download", "artifacts/nope", "--output", "o")
        self.ctl(NOT_FOUND, "submit", "nowhere", "--scheme", "W4A16")
        self.ctl(DENIED, "submit", "server:/etc", "--scheme", "W4A16")
        _, err = self.ctl(USAGE, "submit", MODEL, "--scheme", "W4A61")
        self.assertIn('did you mean "W4A16"', err)
        self.assertNotIn("upload:", err, "names are checked before bytes move")
        _, err = self.ctl(USAGE, "submit", MODEL, "--scheme", "W4A16",
                          "--loader", "vlm")
        self.assertIn('did you mean "vllm"', err)
        self.assertNotIn("upload:", err)

    def test_what_the_loader_refuses_is_no_job(self):
        for flags, code, text in [
            (["W4A16", "--loader", "llama.cpp"], USAGE, '"Q4_K_M"'),
            (["W4A16", "--loader", "vlm"], USAGE, 'did you mean "vllm"'),
            (["W4A16", "--loader", "vllm", "--rule", "lm_head=W8A16"], FAILED,
             "lm_head.weight"),
        ]:
            _, err = self.ctl(code, "submit", SOURCE, "--scheme", *flags)
            self.assertIn(text, err)
        self.assertEqual(self.ctl(OK, "list", "-o", "name")[0], "")
        self.ctl(OK, "submit", SOURCE, "--scheme", "W4A16", "--loader", "vllm",
                 "--wait")

    def test_gate(self):
        out, _ = self.ctl(GATE, "submit", SOURCE, "--scheme", "W4A16", "--gate",
                          "min_sqnr_db>=60", "--wait", "--output", "out", "-o",
                          "json")
        job = json.loads(out)
        self.assertEqual(job["stateReason"], "GATE_FAILED")
        self.assertFalse((self.dir / "out").exists())
        _, err = self.ctl(OK, "download", job["name"], "--output", "look")
        self.assertIn("failed a gate", err)

    def test_evaluated_it_is_judged_as_it_is_here(self):
        text = MODEL.parent / "tokens" / "tiny-own_sampled_eval.npy"
        flags = ["--scheme", "W4A16", "--evaluate", text,
                 "--evaluation-sequences", "16", "--gate", "kl_mean<=1",
                 "--gate", "top1_agreement>=1"]
        out, err = self.ctl(GATE, "submit", SOURCE, *flags, "--wait", "-o",
                            "json")
        job = json.loads(out)
        self.assertEqual(job["stateReason"], "GATE_FAILED")
        self.assertEqual([g.get("passed", False) for g in job["gates"]],
                         [True, False])
        self.assertEqual(job["gates"][0]["value"], job["metrics"]["kl_mean"])
        self.assertIn("EVALUATING", err)
        self.ctl(OK, "download", job["name"], "--output", "out")
        self.ctl(GATE, "quantize", MODEL, *flags, "--output", "here")
        for file in (self.dir / "here.gate-failed").iterdir():
            self.assertEqual(file.read_bytes(),
                             (self.dir / "out" / file.name).read_bytes(),
                             file.name)
        _, err = self.ctl(USAGE, "submit", SOURCE, "--scheme", "W4A16",
                          "--gate", "kl_p99<=1")
        self.assertIn("--evaluate FILE", err)

    def test_a_bad_model_is_the_models_fault(self):
        write_model(self.dir / "nan.safetensors",
                    {"a.weight": ([2, 4], [0x3F80] * 7 + [0x7FC0])})
        _, err = self.ctl(3, "submit", f"server:{self.dir}/nan.safetensors",
                          "--scheme", "W8A16", "--group-size", "channel",
                          "--wait")
        self.assertIn("FAILED", err)

    def test_questions_to_the_server(self):
        local = self.json("plan", MODEL, "--scheme", "W4A16")
        remote = self.json("plan", SOURCE, "--scheme", "W4A16")
        self.assertEqual(remote["outputs"][0]["totalBytes"],
                         local["outputs"][0]["totalBytes"])
        self.assertEqual(self.json("inspect", SOURCE)["parameters"],
                         self.json("inspect", MODEL)["parameters"])
        self.assertEqual(self.json("tensor", "1,2", "--scheme", "W8A16"),
                         self.json("tensor", "1,2", "--scheme", "W8A16",
                                   "--remote"))
        self.assertEqual(self.ctl(OK, "methods", "-o", "name"),
                         self.ctl(OK, "methods", "--remote", "-o", "name"))
        self.assertEqual(self.ctl(OK, "loaders"),
                         self.ctl(OK, "loaders", "--remote"))
        self.assertEqual(self.ctl(OK, "health")[0], "SERVING\n")


class Waiting(ServerCase):
    """Jobs that nobody works on: every end is the test's own doing."""

    flags = ("--workers", "0")

    def submit(self):
        return self.ctl(OK, "submit", SOURCE, "--scheme", "W4A16", "-o",
                        "name")[0].strip()

    def waiting(self, *flags):
        """`submit --wait`, once it follows its job."""
        process = self.start("submit", SOURCE, "--scheme", "W4A16", "--wait",
                             *flags)
        lines = []
        while "QUEUED" not in (lines[-1] if lines else ""):
            lines.append(process.stderr.readline())
            self.assertTrue(lines[-1], "".join(lines))
        job = next(l for l in lines if "submitted" in l).split()[-1]
        return process, job

    def test_timeout(self):
        job = self.submit()
        _, err = self.ctl(TIMED_OUT, "wait", job, "--timeout", "300ms")
        self.assertIn(f"quantctl wait {job}", err)
        self.assertEqual(self.json("get", job)["state"], "QUEUED")

    def test_priority_and_timeout(self):
        first = self.submit()
        urgent = self.json("submit", SOURCE, "--scheme", "W4A16",
                           "--priority", "urgent", "--timeout", "90m")
        self.assertEqual(urgent["spec"]["priority"], "URGENT")
        self.assertEqual(urgent["spec"]["timeout"], "5400s")
        self.assertEqual(urgent["queue"], {})
        self.assertEqual(self.json("get", first)["queue"]["position"], "1")
        out, _ = self.ctl(OK, "get", urgent["name"])
        self.assertRegex(out, r"priority: +URGENT\n")
        for flags, word in ((("--priority", "urgently"), "background"),
                            (("--timeout", "0.5"), "1 s to 30 days"),
                            (("--wait-timeout", "5"), "--wait")):
            _, err = self.ctl(USAGE, "submit", SOURCE, "--scheme", "W4A16",
                              *flags)
            self.assertIn(word, err)

    def test_the_queue_is_paused_and_resumed(self):
        self.assertEqual(self.ctl(OK, "queue", "show", "-o", "name")[0], "OPEN\n")
        job = self.submit()
        out, _ = self.ctl(OK, "queue", "pause")
        self.assertRegex(out, r"mode: +PAUSED\n(.|\n)*queued: +1\n")
        self.stop_server()
        self.start_server(*self.flags)
        self.assertEqual(self.json("queue", "show")["mode"], "PAUSED")
        self.assertIn("the queue is paused", self.ctl(OK, "get", job)[0])
        self.ctl(OK, "queue", "drain", "--wait", "--timeout", "5s")
        self.assertEqual(self.json("queue", "show")["mode"], "DRAINING")
        _, err = self.ctl(USAGE, "queue", "resume", "--wait")
        self.assertIn("--wait", err)
        self.ctl(USAGE, "queue", "stop")
        self.assertEqual(self.json("queue", "resume")["mode"], "OPEN")
        self.assertRegex(self.ctl(OK, "get", job)[0], r"queue: +0 before it\n")

    def test_cancel_and_retry(self):
        job = self.submit()
        self.ctl(OK, "cancel", job)
        self.ctl(CANCELLED, "wait", job)
        self.ctl(OK, "retry", job)
        self.assertEqual(self.json("get", job)["state"], "QUEUED")

    def test_ctrl_c_detaches(self):
        process, job = self.waiting()
        process.send_signal(signal.SIGINT)
        _, err = self.finish(process, INTERRUPTED)
        self.assertIn(f"quantctl wait {job}", err)
        self.assertEqual(self.json("get", job)["state"], "QUEUED")

    def test_ctrl_c_cancels_when_asked_to(self):
        process, job = self.waiting("--cancel-on-interrupt")
        process.send_signal(signal.SIGINT)
        self.finish(process, CANCELLED)
        self.assertEqual(self.json("get", job)["state"], "CANCELLED")

    def test_the_server_goes_away_for_good(self):
        process, _ = self.waiting("--retry-for", "500ms")
        self.stop_server(signal.SIGKILL)
        self.finish(process, UNAVAILABLE)

    def test_progress_of_a_pipe_is_lines(self):
        process, job = self.waiting()
        self.ctl(OK, "cancel", job)
        _, err = self.finish(process, CANCELLED)
        self.assertNotIn("\r", err)
        wait_for("the end", lambda: self.json("get", job)["state"] ==
                 "CANCELLED")


if __name__ == "__main__":
    unittest.main()
