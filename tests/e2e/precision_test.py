"""Jobs in 16 bits and with frozen parameters, by the real programs: the same bits for every plan."""
import json
import unittest

import sandbox


class PrecisionTest(sandbox.Sandbox):

    def lines(self):
        """The lines of the newest run's metrics.jsonl, without those of evaluations."""
        run = sorted((self.state / "runs").iterdir(), key=lambda p: p.stat().st_mtime)[-1]
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [line for line in lines if "loss" in line]

    def train(self, stages, *settings):
        """The hash, and each stage's bytes sent, of a job with so many stages."""
        words = [word for setting in (f"pipeline.stages={stages}", *settings) for word in ("--set", setting)]
        self.run_job(*words)
        summary = self.summary()
        return summary["sha256"], [stage["bytes_sent"] for stage in summary["stages"]]

    def test_bf16_ends_with_the_same_bits_for_every_number_of_stages_and_sends_half_the_bytes(self):
        whole, _ = self.train(1, "train.precision=bf16")
        self.assertEqual({self.train(n, "train.precision=bf16", f"pipeline.schedule={s}")[0]
                          for n, s in ((2, "gpipe"), (2, "1f1b"), (3, "1f1b"))}, {whole})
        self.assertLess(self.lines()[-1]["loss"], self.lines()[0]["loss"])
        _, half = self.train(2, "train.precision=bf16")
        full_hash, full = self.train(2)
        self.assertNotEqual(full_hash, whole)
        for stage in (0, 1):
            # Frames have headers, which stay.
            self.assertLess(half[stage], 0.6 * full[stage])

    def test_fp16_skips_overflowing_steps_alike_for_every_number_of_stages(self):
        settings = ["train.precision=fp16", "train.loss_scale={initial: 16777216, growth_interval: 50}",
                    "train.steps=24", "checkpoint.every=0", "log.every=1"]
        whole, _ = self.train(1, *settings)
        lines = self.lines()
        skipped = [line["step"] for line in lines if line["skipped"]]
        self.assertGreater(len(skipped), 0, "nothing overflowed")
        self.assertLess(len(skipped), len(lines) - 5, "too little was trained")
        self.assertEqual(self.summary()["skipped_steps"], len(skipped))
        for line, after in zip(lines, lines[1:]):
            self.assertEqual(after["loss_scale"], line["loss_scale"] / (2 if line["skipped"] else 1))
            self.assertEqual(line["grad_norm"] is None, line["skipped"])
        self.assertEqual(self.train(2, *settings)[0], whole)
        self.assertEqual([line["step"] for line in self.lines() if line["skipped"]], skipped)

    def test_an_fp16_job_goes_on_from_a_checkpoint_with_its_scale_and_its_skipped_steps(self):
        settings = ["train.precision=fp16", "train.loss_scale={initial: 16777216, growth_interval: 8}",
                    "train.lr_schedule={name: constant}", "checkpoint.dir=kept"]
        words = [word for setting in settings for word in ("--set", setting)]
        self.run_job(*words, "--set", "train.steps=26", "--set", "checkpoint.dir=whole")
        whole = self.summary()
        self.run_job(*words, "--set", "train.steps=20")
        self.run_job(*words, "--set", "train.steps=26", "--set", "pipeline.stages=1", "--resume")
        resumed = self.summary()
        for key in ("sha256", "skipped_steps", "loss_scale"):
            self.assertEqual(resumed[key], whole[key], key)

    def test_frozen_parameters_keep_their_values_and_nothing_below_the_lowest_trained_one_comes_back(self):
        settings = ["train.freeze=['embedding_*', 'position_embedding_*', 'gpt_block_2.*', 'gpt_block_3.*']",
                    "pipeline.split=uniform"]
        whole, _ = self.train(1, *settings)
        halves, sent = self.train(2, *settings)
        self.assertEqual(halves, whole)
        checkpoint = self.summary()["checkpoint"]
        tensors = self.json("hash", checkpoint)["tensors"]
        self.assertIn("gpt_block_2.ln_1.weight", tensors)
        self.assertNotIn("optimizer.exp_avg.gpt_block_2.ln_1.weight", tensors)
        self.assertIn("optimizer.exp_avg.gpt_block_4.ln_1.weight", tensors)
        initial, _ = self.train(1, "train.steps=0", *settings)
        before = self.json("hash", self.summary()["checkpoint"])["tensors"]
        for name, value in tensors.items():
            frozen = name.startswith(("embedding_", "position_embedding_", "gpt_block_2.", "gpt_block_3."))
            self.assertEqual(value == before[name], frozen, name)
        # The first four layers are the first stage: it sends activations and gets nothing back.
        self.assertGreater(sent[0], 0)
        self.assertEqual(sent[1], 0)


if __name__ == "__main__":
    unittest.main()
