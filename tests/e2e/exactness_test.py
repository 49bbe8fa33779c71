"""One job, many plans: every plan ends with the same bits."""
import json
import unittest

import sandbox

# (stages, split, schedule)
PLANS = [
    (1, "auto", "gpipe"),
    (2, "auto", "gpipe"),
    (2, "[1, 7]", "1f1b"),
    (2, "[7, 1]", "gpipe"),
    (3, "uniform", "1f1b"),
    (3, "[2, 3, 3]", "gpipe"),
    (4, "min-variance", "1f1b"),
    (4, "[1, 2, 4, 1]", "gpipe"),
]

# Schedules, with the stages that a rank runs (chunks) and what else they need.
SCHEDULES = [
    ("gpipe", 1, []),
    ("gpipe", 1, ["pipeline.order=reverse"]),
    ("1f1b", 1, []),
    ("interleaved", 2, []),
    ("interleaved", 2, ["pipeline.group=4"]),
    ("zb-h1", 1, []),
    ("zb-h2", 1, []),
    ("zb-1p", 1, []),
    ("zb-2p", 1, []),
    ("zb-v", 2, []),
    ("v-half", 2, []),
    ("v-min", 2, []),
    ("dualpipe-v", 2, []),
    ("ready", 1, []),
    ("auto", 1, []),
]
RECOMPUTE = ["none", "boundary", "except-last", "[true, false, true, true, false, false, true, true]"]

CONV = """\
version: 1
kind: job
name: conv
model:
  loss: cross_entropy
  input: {features: [1, 4, 4]}
  layers:
    - conv2d: {out: 4, kernel: 3, padding: 1}
    - batch_norm
    - relu
    - residual: {block: [{conv2d: {out: 4, kernel: 3, padding: 1}}, batch_norm, silu]}
    - max_pool: {kernel: 2}
    - flatten
    - dropout: {p: 0.2}
    - linear: {out: 3}
data: {train: {format: csv, path: rows.csv, target: y}}
pipeline: {stages: 1, micro_batches: 3}
train: {steps: 5, batch_size: 8, optimizer: {name: sgd, lr: 0.05, momentum: 0.9}}
log: {every: 1, hash: true}
"""

# A tensor that three layers read, skips over most of the net, one of them from the model's input.
UNET = """\
version: 1
kind: job
name: unet
model:
  loss: cross_entropy
  input: {features: [1, 4, 4]}
  layers:
    - conv2d: {name: top, out: 4, kernel: 3, padding: 1}
    - batch_norm
    - relu: {name: a}
    - max_pool: {kernel: 2}
    - conv2d: {out: 6, kernel: 3, padding: 1}
    - relu: {name: b}
    - max_pool: {kernel: 2}
    - conv2d: {out: 6, kernel: 1}
    - conv_transpose2d: {out: 6, kernel: 2, stride: 2}
    - concat: {from: [b, -1]}
    - dropout: {p: 0.1}
    - conv2d: {out: 4, kernel: 3, padding: 1}
    - upsample: {scale: 2}
    - add: {from: [-1, a, top]}
    - concat: {from: [a, -1, input]}
    - flatten
    - linear: {out: 3}
data: {train: {format: csv, path: rows.csv, target: y}}
pipeline: {stages: 1, micro_batches: 8}
train: {steps: 3, batch_size: 18, optimizer: {name: sgd, lr: 0.05, momentum: 0.9}}
log: {every: 1}
"""

# Cells that read the two before them.
CELLS = """\
version: 1
kind: job
name: cells
model:
  loss: cross_entropy
  input: {features: [1, 4, 4]}
  layers:
    - conv2d: {name: stem, out: 6, kernel: 3, padding: 1}
    - batch_norm: {name: cell_0}
    - graph:
        name: cell_1
        from: [-1, stem]
        block: &cell
          - relu
          - conv2d: {out: 6, kernel: 1}
          - batch_norm: {name: n}
          - conv2d: {name: g, from: input.1, out: 6, kernel: 3, padding: 1, groups: 3}
          - add: {from: [n, g, input.1]}
          - concat: {from: [-1, input.0]}
          - conv2d: {out: 6, kernel: 1}
    - repeat: 7
      block: [{graph: {name: cell, from: [-1, -2], block: *cell}}]
    - flatten
    - linear: {out: 3}
data: {train: {format: csv, path: rows.csv, target: y}}
pipeline: {stages: 1, micro_batches: 8}
train: {steps: 3, batch_size: 18, optimizer: {name: sgd, lr: 0.05, momentum: 0.9}}
log: {every: 1}
"""

# (stages, chunks, schedule, recompute): of networks whose cuts several tensors cross.
GRAPH_PLANS = [
    (2, 1, "gpipe", "none"),
    (3, 1, "1f1b", "boundary"),
    (4, 1, "gpipe", "except-last"),
    (4, 1, "zb-h1", "none"),
    (4, 2, "zb-v", "boundary"),
    (8, 2, "zb-v", "none"),
    (8, 2, "interleaved", "none"),
    (8, 2, "v-half", "except-last"),
    (8, 2, "dualpipe-v", "none"),
    (4, 1, "ready", "none"),
    (4, 1, "auto", "none"),
]


def rows(count=40):
    lines = [",".join([f"x{i}" for i in range(16)] + ["y"])]
    for r in range(count):
        lines.append(",".join([f"{((r * 7 + i * 3) % 11) / 11:.4f}" for i in range(16)] + [str(r % 3)]))
    return "\n".join(lines) + "\n"


class ExactnessTest(sandbox.Sandbox):

    def final_hash(self, *args, job="job.yaml"):
        self.run_job(*args, job=job)
        summary = self.summary()
        printed = self.penstock("hash", summary["checkpoint"]).stdout.strip()
        self.assertEqual(printed, summary["sha256"])
        return printed

    def test_every_plan_of_a_gpt_ends_with_the_same_bits_and_was_really_cut(self):
        hashes = {}
        for stages, split, schedule in PLANS:
            hashes[stages, split, schedule] = self.final_hash(
                "--set", f"pipeline.stages={stages}", "--set", f"pipeline.split={split}",
                "--set", f"pipeline.schedule={schedule}")
            rows_of_stages = self.summary()["stages"]
            self.assertEqual(len(rows_of_stages), stages)
            self.assertEqual(len({row["worker"] for row in rows_of_stages}), stages)
            for row in rows_of_stages:
                self.assertGreater(row["parameter_bytes"], 0)
                # Micro-batches x steps x neighbours; the figures may come from before the last step's end.
                sends = 4 * 5 * ((row["stage"] > 0) + (row["stage"] < stages - 1))
                self.assertGreaterEqual(row["frames_sent"], sends)
                self.assertGreaterEqual(row["frames_received"], sends)
        self.assertEqual(len(set(hashes.values())), 1, json.dumps({str(k): v for k, v in hashes.items()}, indent=1))

    def test_every_schedule_on_two_and_four_ranks_with_and_without_recompute_ends_with_the_same_bits(self):
        # Eight micro-batches of an uneven batch: what dualpipe-v needs on four ranks.
        job = ["--set", "train.batch_size=18", "--set", "pipeline.micro_batches=8", "--set", "train.steps=3"]
        self.state = self.dir / "alone"
        one = self.final_hash(*job, "--set", "pipeline.stages=1")
        self.up(workers=4)
        hashes = {}
        for ranks in (2, 4):
            for number, (schedule, chunks, more) in enumerate(SCHEDULES):
                # Each schedule meets two of the four: without recompute, and one that changes from row to row.
                for recompute in ("none", RECOMPUTE[1 + (number + ranks // 4) % 3]):
                    plan = [f"pipeline.schedule={schedule}", f"pipeline.stages={ranks * chunks}",
                            f"pipeline.chunks={chunks}", f"pipeline.recompute={recompute}", *more]
                    self.penstock("submit", "-f", "job.yaml", *job, *(w for key in plan for w in ("--set", key)))
                    status = self.status()
                    hashes[" ".join(plan)] = status["sha256"]
                    rows_of_stages = status["stages"]
                    if schedule != "auto":  # which chooses its chunks
                        self.assertEqual(len(rows_of_stages), ranks * chunks, plan)
                    self.assertEqual(len({row["worker"] for row in rows_of_stages}), ranks, plan)
                    for row in rows_of_stages:
                        self.assertGreater(row["parameter_bytes"], 0, plan)
                        self.assertGreater(row["frames_sent"] + row["frames_received"], 0, plan)
        different = {plan: value for plan, value in hashes.items() if value != one}
        self.assertEqual(different, {}, f"without a pipeline: {one}")

    def test_batch_norm_and_momentum_have_the_same_bits_after_every_step(self):
        self.write("rows.csv", rows())
        self.write("conv.yaml", CONV)
        recorded = []
        for stages in (1, 2, 4):
            self.run_job("--set", f"pipeline.stages={stages}", job="conv.yaml")
            run = sorted((self.state / "runs").iterdir(), key=lambda p: p.stat().st_mtime)[-1]
            lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            recorded.append([line["sha256"] for line in lines if "sha256" in line])
        self.assertEqual(len(recorded[0]), 5)
        self.assertEqual(len(set(recorded[0])), 5)
        self.assertEqual(recorded[1], recorded[0])
        self.assertEqual(recorded[2], recorded[0])

    def test_networks_whose_layers_skip_end_with_the_same_bits_under_every_schedule(self):
        self.write("rows.csv", rows())
        self.up(workers=4)
        for name, text in (("unet.yaml", UNET), ("cells.yaml", CELLS)):
            self.write(name, text)
            self.penstock("submit", "-f", name)
            one = self.status()["sha256"]
            hashes, most_frames = {}, 0
            for stages, chunks, schedule, recompute in GRAPH_PLANS:
                plan = [f"pipeline.stages={stages}", f"pipeline.chunks={chunks}", f"pipeline.schedule={schedule}",
                        f"pipeline.recompute={recompute}"]
                self.penstock("submit", "-f", name, *(w for key in plan for w in ("--set", key)))
                status = self.status()
                hashes[" ".join(plan)] = status["sha256"]
                self.assertEqual(len({row["worker"] for row in status["stages"]}), stages // chunks, plan)
                most_frames = max(most_frames, *(row["frames_sent"] for row in status["stages"]))
            different = {plan: value for plan, value in hashes.items() if value != one}
            self.assertEqual(different, {}, f"{name} without a pipeline: {one}")
            # Micro-batches x steps x neighbours is what a chain would send at most, by a stage and by a rank of two.
            self.assertGreater(most_frames, 8 * 3 * 2 * 2, name)

    def test_a_job_resumed_at_another_number_of_stages_ends_like_an_undisturbed_one(self):
        steps = ["--set", "train.steps=300", "--set", "checkpoint.every=100"]
        undisturbed = self.final_hash(*steps)
        self.state = self.dir / "second"
        self.up(workers=4)
        self.penstock("submit", "-f", "job.yaml", "--detach", *steps)
        self.wait_for_step(5)
        self.penstock("stop", "@last")
        self.wait_for_state("STOPPED")
        self.assertLess(self.status()["step"], 300)
        self.penstock("submit", "-f", "job.yaml", "--resume", "--set", "pipeline.stages=4",
                      "--set", "pipeline.schedule=1f1b", *steps)
        self.assertEqual(self.status()["sha256"], undisturbed)

    def test_steps_0_writes_the_initial_checkpoint(self):
        one = self.final_hash("--set", "train.steps=0", "--set", "pipeline.stages=1")
        three = self.final_hash("--set", "train.steps=0", "--set", "pipeline.stages=3")
        self.assertEqual(one, three)


if __name__ == "__main__":
    unittest.main()
