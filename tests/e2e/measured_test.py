"""Measured costs and what a plan predicted: `plan --measure`, `plan --compare`."""
import unittest

import sandbox

NOBODY = ("--addr", "127.0.0.1:1")  # no coordinator listens there


class MeasuredTest(sandbox.Sandbox):

    def plan(self, *args):
        return self.json("plan", "-f", "job.yaml", "--state-dir", self.state, *NOBODY, *args)

    def compare(self, job="@last", *args):
        return self.json("plan", "--compare", job, "--state-dir", self.state, *args)

    def assert_whole(self, comparison, ranks, steps):
        self.assertEqual(comparison["steps"], steps - 1, "the first step does not count")
        self.assertEqual([rank["rank"] for rank in comparison["ranks"]], list(range(ranks)))
        for rank in comparison["ranks"]:
            for figure in ("busy_seconds", "state_bytes", "peak_bytes"):
                self.assertGreater(rank[figure]["measured"], 0, (rank["rank"], figure))
                self.assertGreater(rank[figure]["predicted"], 0, (rank["rank"], figure))
            self.assertGreater(rank["peak_bytes"]["measured"], rank["state_bytes"]["measured"])
        for stage in comparison["stages"]:
            for figure in ("forward_seconds", "input_gradient_seconds", "weight_gradient_seconds"):
                self.assertGreater(stage[figure]["measured"], 0, (stage["stage"], figure))
        self.assertGreater(comparison["step_seconds"]["measured"], comparison["pass_seconds"]["measured"] * 0.5)
        self.assertLess(comparison["bubble"]["measured"], 1)
        self.assertTrue(comparison["verdict"])

    def test_what_is_measured_is_kept_for_the_plans_and_runs_that_follow(self):
        self.assertIn("estimated", self.plan()["cost_source"])
        measured = self.plan("--measure")
        self.assertIn("measured", measured["cost_source"])
        self.assertEqual(self.plan()["predicted"]["step_us"], measured["predicted"]["step_us"])
        self.run_job()
        comparison = self.compare("@last", *NOBODY)
        self.assertIn("measured", comparison["cost_source"])
        self.assert_whole(comparison, ranks=2, steps=6)
        # Other layers are not known: nothing is mixed.
        wider = self.plan("--set", "model.layers.0.embedding.dim=64")
        self.assertIn("estimated", wider["cost_source"])

    def test_a_run_is_compared_as_text_and_by_name_after_its_coordinator_is_gone(self):
        self.run_job()
        shown = self.penstock("plan", "--compare", "tiny", "--state-dir", self.state, *NOBODY).stdout
        for part in ("PREDICTED", "MEASURED", "bubble", "0 computes", "1 peak memory", "F forward", "The measured step"):
            self.assertIn(part, shown)
        missing = self.penstock("plan", "--compare", "nobody", "--state-dir", self.state, *NOBODY, check=4)
        self.assertIn("tiny-1", missing.stderr)

    def test_a_running_job_of_a_cluster_is_compared_and_its_workers_measure_when_idle(self):
        self.up(workers=2)
        measured = self.penstock("plan", "-f", "job.yaml", "--measure", "--state-dir", self.dir / "other").stderr
        self.assertIn("measured 5 distinct layers", measured)
        self.penstock("submit", "-f", "job.yaml", "--detach", *sandbox.ENDLESS)
        self.wait_for_step(5)
        busy = self.penstock("plan", "-f", "job.yaml", "--measure", "--state-dir", self.dir / "other", check=None)
        self.assertNotEqual(busy.returncode, 0)
        self.assertIn("no worker is idle", busy.stderr)
        comparison = self.compare("tiny", "--addr", self.address)
        self.assertIn("measured", comparison["cost_source"], "the cluster's store was used")
        self.assertGreater(comparison["steps"], 2)
        self.penstock("stop", "tiny")
        self.wait_for_state("STOPPED", "tiny")

    def test_a_job_that_has_done_one_step_has_measured_nothing(self):
        self.run_job("--set", "train.steps=1", "--set", "train.lr_schedule={name: constant}")
        refused = self.penstock("plan", "--compare", "@last", "--state-dir", self.state, *NOBODY, check=1)
        self.assertIn("has measured nothing yet", refused.stderr)


if __name__ == "__main__":
    unittest.main()
