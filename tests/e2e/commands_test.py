"""The road of the README: a cluster that stays, jobs submitted to it, and what the commands say."""
import json
import unittest
import urllib.request

import sandbox


class CommandsTest(sandbox.Sandbox):

    def test_run_trains_in_one_go_and_says_where_things_are(self):
        done = self.run_job("--set", "eval.every=3", "--set", "eval.batches=2",
                            "--set", "eval.sample={prompt: The, tokens: 5}")
        summary = self.summary()
        self.assertEqual(summary["state"], "SUCCEEDED")
        self.assertEqual(summary["step"], 6)
        for key in ("step_seconds", "loss", "eval_loss", "sha256", "checkpoint"):
            self.assertTrue(summary[key], key)
        said = done.stdout + done.stderr
        for part in ("summary.json", summary["checkpoint"], "penstock generate"):
            self.assertIn(part, said)
        self.assertNotIn("\r", said)

    def test_metrics_have_a_line_for_every_step_at_full_precision(self):
        self.run_job()
        (run,) = (self.state / "runs").iterdir()
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        steps = [line for line in lines if "loss" in line]
        self.assertEqual([line["step"] for line in steps], [1, 2, 3, 4, 5, 6])
        self.assertEqual([line["lr"] for line in steps[:2]], [0.0015, 0.003])
        self.assertTrue(all(line["grad_norm"] > 0 for line in steps))
        self.assertLess(steps[-1]["loss"], steps[0]["loss"])

    def test_a_cluster_takes_jobs_one_after_the_other_and_goes_down_whole(self):
        self.up(workers=2)
        workers = self.json("workers")
        self.assertEqual([w["state"] for w in workers], ["idle", "idle"])
        self.assertEqual(len({w["self_test"] for w in workers}), 1)

        self.penstock("submit", "-f", "job.yaml", "--detach", *sandbox.ENDLESS)
        self.penstock("submit", "-f", "job.yaml", "--detach", "--set", "name=second")
        self.wait_for_step(3, "tiny")
        waiting = self.status("second")
        self.assertEqual(waiting["state"], "PENDING")
        self.assertIn("tiny-1", waiting["reason"])
        self.assertIn("tiny-1", self.penstock("status").stdout)
        # It may be at one of its checkpoints just now.
        self.assertRegex(self.penstock("status", "tiny").stdout, "RUNNING|CHECKPOINTING")

        self.penstock("stop", "tiny")
        self.wait_for_state("STOPPED", "tiny")
        self.wait_for_state("SUCCEEDED", "second")
        # Log lines travel with heartbeats: the last ones may come after the job's end.
        sandbox.wait_until("the job's log is there", lambda: self.penstock("logs", "second").stdout.strip())
        self.assertIn("step-6", self.penstock("checkpoints", "second", "--verify").stdout)
        self.penstock("down")
        self.assertEqual(self.processes(), {})
        self.penstock("status", check=3)

    def test_a_job_that_runs_when_the_cluster_goes_down_leaves_a_checkpoint_to_resume_from(self):
        self.up(workers=2)
        self.penstock("submit", "-f", "job.yaml", "--detach", *sandbox.ENDLESS)
        self.wait_for_step(3)
        self.penstock("down")
        self.up(workers=2)
        self.penstock("submit", "-f", "job.yaml", "--resume", "--set", "train.steps=1000000", "--detach")
        self.assertGreater(self.wait_for_step(5) and self.status()["step"], 4)
        self.penstock("stop", "@last", "--no-checkpoint")
        self.wait_for_state("STOPPED")

    def test_the_status_endpoint_answers_people_and_programs(self):
        self.up(workers=2)
        self.penstock("submit", "-f", "job.yaml")
        http = self.json("status")["http_address"]

        def get(path, **headers):
            request = urllib.request.Request(f"http://{http}{path}", headers=headers)
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.read().decode()

        self.assertIn("tiny-1", get("/statusz"))
        self.assertTrue(get("/statusz").lstrip().lower().startswith("<!doctype html"))
        self.assertEqual(json.loads(get("/statusz?format=json"))["jobs"][0]["state"], "SUCCEEDED")
        self.assertEqual(json.loads(get("/statusz", Accept="application/json"))["jobs"][0]["step"], 6)
        self.assertIn("tiny-1", get("/jobs/tiny-1"))
        self.assertIn("penstock_", get("/metrics"))
        for path in ("/livez", "/readyz", "/healthz", "/version"):
            self.assertTrue(get(path))

    def test_a_plan_file_can_be_edited_and_given_back(self):
        plan = self.penstock("plan", "-f", "job.yaml", "-o", "yaml").stdout
        self.write("plan.yaml", plan)
        self.run_job()
        expected = self.summary()["sha256"]
        job = sandbox.GPT.replace("pipeline: {stages: 2, micro_batches: 4, schedule: gpipe}",
                                  "pipeline: {plan: plan.yaml}")
        self.write("planned.yaml", job)
        self.run_job(job="planned.yaml")
        self.assertEqual(self.summary()["sha256"], expected)

    def test_generate_goes_on_with_a_prompt_from_a_checkpoint_alone_or_through_a_cluster(self):
        self.run_job()
        checkpoint = self.summary()["checkpoint"]
        ask = ["generate", checkpoint, "--prompt", "The ", "--tokens", "6", "--seed", "3"]
        alone = self.penstock(*ask).stdout
        self.up(workers=2)
        self.assertEqual(self.penstock(*ask).stdout, alone)

    def test_generate_that_fails_prints_its_error_alone(self):
        # The prompt was printed before it was known whether anything would follow it.
        self.up(workers=1)
        done = self.penstock("generate", "no-such-job", "--prompt", "The ", check=4)
        self.assertEqual(done.stdout, "")
        self.assertIn("no-such-job", done.stderr)

    def test_plan_prints_a_row_for_every_stage(self):
        text = self.penstock("plan", "-f", "job.yaml").stdout
        self.assertIn("STAGE", text)
        plan = self.json("plan", "-f", "job.yaml")
        self.assertEqual(len(plan["stages"]), 2)


if __name__ == "__main__":
    unittest.main()
