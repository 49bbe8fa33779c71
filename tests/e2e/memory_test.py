"""What a plan says that each rank will hold, beside what its worker's allocator counts."""
import unittest

import sandbox

# Wide enough that activations are most of what a rank holds.
JOB = sandbox.GPT.replace("dim: 32", "dim: 128").replace("context: 16", "context: 64").replace(
    "repeat: 4", "repeat: 8").replace("heads: 2, dropout: 0.1", "heads: 4").replace("seq_len: 16", "seq_len: 64").replace(
        "batch_size: 10", "batch_size: 64").replace("micro_batches: 4", "micro_batches: 8").replace(
            "checkpoint: {every: 3, keep: 4}\n", "")

# (schedule, stages, chunks, recompute) on four ranks
PLANS = [
    ("1f1b", 4, 1, "none"),
    ("gpipe", 4, 1, "boundary"),
    ("zb-h1", 4, 1, "none"),
    ("zb-v", 8, 2, "none"),
    ("interleaved", 8, 2, "except-last"),
]


class MemoryTest(sandbox.Sandbox):

    def test_every_rank_holds_what_the_plan_says_within_a_tenth(self):
        self.write("job.yaml", JOB)
        for schedule, stages, chunks, recompute in PLANS:
            plan = ["--set", f"pipeline.schedule={schedule}", "--set", f"pipeline.stages={stages}",
                    "--set", f"pipeline.chunks={chunks}", "--set", f"pipeline.recompute={recompute}",
                    "--set", "train.steps=3"]
            predicted = {rank["rank"]: rank for rank in self.json("plan", "-f", "job.yaml", *plan)["ranks"]}
            self.run_job(*plan)
            measured = self.summary()["ranks"]
            self.assertEqual(len(measured), 4)
            for rank in measured:
                with self.subTest(plan=plan, rank=rank["rank"]):
                    # Activations alone: the state is known to the byte.
                    expected = predicted[rank["rank"]]["peak_bytes"] - rank["state_bytes"]
                    held = rank["peak_bytes"] - rank["state_bytes"]
                    self.assertAlmostEqual(expected, held, delta=held / 10)


if __name__ == "__main__":
    unittest.main()
