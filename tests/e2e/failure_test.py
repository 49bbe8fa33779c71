"""What happens when processes die, ports are taken and files are bad: the first cause, the place, what to do next."""
import os
import pathlib
import signal
import socket
import subprocess
import unittest

import sandbox


class FailureTest(sandbox.Sandbox):

    def test_a_killed_worker_fails_the_job_with_the_root_cause_first_and_the_checkpoint_resumes(self):
        self.up(workers=3)
        self.penstock("submit", "-f", "job.yaml", "--detach", *sandbox.ENDLESS, "--set", "pipeline.stages=3")
        self.wait_for_step(25)
        stage_1 = next(s["worker"] for s in self.status()["stages"] if s["stage"] == 1)
        pid = next(w["pid"] for w in self.json("workers") if w["id"] == stage_1)
        os.kill(pid, signal.SIGKILL)
        self.wait_for_state("FAILED")
        job = self.status()
        for part in ("stage 1", stage_1, "signal 9"):
            self.assertIn(part, job["reason"])
        self.assertIn("signal 9", job["failure"][0])
        self.penstock("checkpoints", "@last", "--verify")
        self.assertGreaterEqual(len(self.processes()), 3)  # the coordinator and the other two live on

        self.penstock("submit", "-f", "job.yaml", "--detach", "--resume", "--set", "pipeline.stages=2",
                      *sandbox.ENDLESS)
        self.wait_for_step(job["step"] + 1)
        self.penstock("stop", "@last")
        self.wait_for_state("STOPPED")

    def test_a_worker_that_dies_under_run_is_exit_code_1_with_the_cause(self):
        run = self.start("run", "-f", "job.yaml", "--state-dir", self.state, *sandbox.ENDLESS)
        sandbox.wait_until("the job trains", lambda: list(self.state.glob("checkpoints/*/step-20")))
        worker = next(pid for pid, words in self.processes().items() if "penstock-worker" in words.split()[0])
        os.kill(worker, signal.SIGKILL)
        _, err = run.communicate(timeout=sandbox.TIMEOUT_S)
        self.assertEqual(run.returncode, 1, err)
        self.assertIn("signal 9", err)

    def test_ctrl_c_on_run_leaves_a_checkpoint_and_exits_75_and_resume_goes_on(self):
        run = self.start("run", "-f", "job.yaml", "--state-dir", self.state, *sandbox.ENDLESS)
        sandbox.wait_until("the job trains", lambda: list(self.state.glob("checkpoints/*/step-20")))
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=sandbox.TIMEOUT_S)
        self.assertEqual(run.returncode, 75, err)
        self.assertIn("--resume", err)
        stopped_at = self.summary()["step"]
        self.run_job("--resume", "--set", f"train.steps={stopped_at + 5}")
        self.assertEqual(self.summary()["step"], stopped_at + 5)

    def test_ctrl_c_before_the_coordinator_listens_leaves_no_process(self):
        # Until the coordinator listened, its process was not known to Ctrl-C: it went on by itself until it noticed that
        # it was alone.
        run = self.start("run", "-f", "job.yaml", "--state-dir", self.state)
        sandbox.wait_until("there is a coordinator", lambda: [
            words for words in self.processes().values() if "penstock-coordinator" in words.split()[0]])
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=sandbox.TIMEOUT_S)
        self.assertEqual(run.returncode, 130)
        sandbox.wait_until("every process has ended", lambda: not self.processes(), timeout_s=20)
        self.assertNotIn("signal 15", (self.state / "logs" / "coordinator.log").read_text())

    def test_a_second_run_leaves_the_first_one_s_files_as_they_are(self):
        # It wrote its own cluster.yaml over the first one's and its coordinator's words into the first one's log,
        # before that coordinator saw that the folder was not free.
        first = self.start("run", "-f", "job.yaml", "--state-dir", self.state, *sandbox.ENDLESS)
        sandbox.wait_until("the job trains", lambda: list(self.state.glob("checkpoints/*/step-20")))
        before = {name: (self.state / name).read_bytes() for name in ("cluster.yaml", "logs/coordinator.log")}
        second = self.run_job("--set", "pipeline.stages=1", check=1)
        self.assertIn(f"another coordinator has the state folder {self.state}", second.stderr)
        self.assertIn(f"--state-dir {self.state}-2", second.stderr)
        self.assertEqual((self.state / "cluster.yaml").read_bytes(), before["cluster.yaml"])
        # The first one may have said more in the meantime; nobody else has.
        log = (self.state / "logs/coordinator.log").read_bytes()
        self.assertTrue(log.startswith(before["logs/coordinator.log"]))
        self.assertEqual(log.count(b"resolved configuration"), 1)
        first.send_signal(signal.SIGINT)
        _, err = first.communicate(timeout=sandbox.TIMEOUT_S)
        self.assertEqual(first.returncode, 75, err)

    def test_a_killed_run_leaves_no_process(self):
        run = self.start("run", "-f", "job.yaml", "--state-dir", self.state, *sandbox.ENDLESS)
        sandbox.wait_until("the job trains", lambda: list(self.state.glob("checkpoints/*/step-20")))
        run.kill()
        run.communicate()
        sandbox.wait_until("every process has ended", lambda: not self.processes(), timeout_s=20)

    def test_a_killed_coordinator_takes_its_workers_with_it(self):
        self.up(workers=2)
        coordinator = next(pid for pid, words in self.processes().items() if "coordinator" in words.split()[0])
        os.kill(coordinator, signal.SIGKILL)
        sandbox.wait_until("every process has ended", lambda: not self.processes(), timeout_s=20)
        self.address = None

    def test_a_port_in_use_is_an_error_that_names_it(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            port = s.getsockname()[1]
            self.write("cluster.yaml", f"""\
version: 1
kind: cluster
coordinator: {{listen: "127.0.0.1:{port}", http: "127.0.0.1:0", state_dir: state}}
workers: [{{host: localhost, devices: [cpu]}}]
""")
            done = self.penstock("up", "-f", "cluster.yaml", check=None)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(str(port), done.stderr)
        self.assertIn("in use", done.stderr)

    def test_a_second_up_says_that_the_cluster_is_up_already(self):
        self.up(workers=2)
        before = (self.state / "logs/coordinator.log").read_text().count("resolved configuration")
        done = self.penstock("up", "-f", "cluster.yaml", check=1)
        self.assertIn(f"error: cluster e2e is up already, at {self.address} with 2 workers", done.stderr)
        self.assertIn("penstock down", done.stderr)
        self.assertEqual((self.state / "logs/coordinator.log").read_text().count("resolved configuration"), before)
        self.assertEqual(len(self.json("workers")), 2)

    def test_a_second_coordinator_on_the_same_state_folder_is_refused(self):
        self.up(workers=1)
        self.write("second.yaml", f"""\
version: 1
kind: cluster
coordinator: {{listen: "127.0.0.1:{sandbox.free_port()}", http: "127.0.0.1:0", state_dir: state}}
workers: [{{host: localhost, devices: [cpu]}}]
""")
        done = self.penstock("up", "-f", "second.yaml", check=None)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("state", done.stderr)

    def test_a_worker_with_a_known_id_is_refused_and_the_first_one_goes_on(self):
        self.up(workers=1)
        known = self.json("workers")[0]["id"]
        done = subprocess.run(
            [str(sandbox.BIN_DIR / "worker" / "penstock-worker"), "--coordinator", self.address, "--id", known,
             "--device", "cpu"], cwd=self.dir, capture_output=True, text=True, timeout=60, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(known, done.stderr)
        self.penstock("submit", "-f", "job.yaml", "--set", "pipeline.stages=1")

    def test_a_device_that_does_not_exist_is_named(self):
        done = subprocess.run(
            [str(sandbox.BIN_DIR / "worker" / "penstock-worker"), "--coordinator", "127.0.0.1:1", "--id", "a",
             "--device", "cuda:7"], cwd=self.dir, capture_output=True, text=True, timeout=60, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("cuda:7", done.stderr)

    def test_a_worker_out_of_memory_says_which_stage_and_which_limit(self):
        self.write("cluster.yaml", f"""\
version: 1
kind: cluster
coordinator: {{listen: "127.0.0.1:{sandbox.free_port()}", http: "127.0.0.1:0", state_dir: state}}
workers: [{{host: localhost, devices: [cpu], memory: 4MiB}}]
""")
        text = (self.dir / "cluster.yaml").read_text()
        self.address = text.split('listen: "')[1].split('"')[0]
        self.penstock("up", "-f", "cluster.yaml")
        done = self.penstock("submit", "-f", "job.yaml", "--set", "pipeline.stages=1", "--set", "train.batch_size=512",
                             check=5)
        self.assertRegex(done.stderr, "(?i)memory|does not fit")

    def test_a_damaged_checkpoint_is_refused_and_named(self):
        self.run_job()
        checkpoint = pathlib.Path(self.summary()["checkpoint"])
        file = next(checkpoint.glob("*.safetensors"))
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        done = self.penstock("checkpoints", str(checkpoint.parent), "--verify", check=None)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(file.name, done.stdout + done.stderr)
        file.write_bytes(content[:-100])
        self.assertNotEqual(self.penstock("hash", checkpoint, check=None).returncode, 0)


class BadInputTest(sandbox.Sandbox):

    def refused(self, old, new, *messages):
        self.write("bad.yaml", sandbox.GPT.replace(old, new))
        done = self.penstock("validate", "bad.yaml", check=2)
        for message in messages:
            self.assertIn(message, done.stderr)
        return done.stderr

    def test_a_good_file_is_ok(self):
        self.assertIn("ok", self.penstock("validate", "job.yaml").stdout)

    def test_an_unknown_key_names_the_nearest_known_one(self):
        self.refused("micro_batches: 4", "micro_batch: 4", "bad.yaml:17:", "unknown key 'micro_batch'",
                     "did you mean 'micro_batches'?")

    def test_all_errors_come_in_one_run(self):
        err = self.refused("stages: 2, micro_batches: 4, schedule: gpipe", "stages: 20, micro_batches: 11, schedule: gipe")
        self.assertGreaterEqual(err.count("error:"), 3, err)

    def test_layers_must_be_owned_exactly_once(self):
        self.refused("stages: 2,", "stages: 2, split: [3, 4],", "adds up to 7 layers", "has 8")

    def test_heads_that_do_not_divide_the_width_name_the_layer_and_its_line(self):
        self.refused("heads: 2", "heads: 3", "bad.yaml:10:", "gpt_block", "32")

    def test_a_missing_data_file_is_named(self):
        (self.dir / "text.txt").unlink()
        done = self.penstock("run", "-f", "job.yaml", "--state-dir", self.state, check=2)
        self.assertIn("text.txt", done.stderr)

    def test_a_checkpoint_folder_that_takes_no_files_is_refused_before_anything_starts(self):
        # validate called such a job good, and run started its workers before it was refused.
        for command in (["validate", "job.yaml"], ["run", "-f", "job.yaml", "--state-dir", self.state]):
            done = self.penstock(*command, "--set", "checkpoint.dir=text.txt/inside", check=2)
            self.assertIn(f"no checkpoint can be written to {self.dir}/text.txt/inside", done.stderr)
        self.assertFalse(self.state.exists())
        good = self.dir / "new" / "folder"
        self.penstock("validate", "job.yaml", "--set", f"checkpoint.dir={good}")
        self.assertFalse(good.parent.exists(), "validate changes nothing")

    def test_an_empty_data_file_is_refused_before_anything_starts(self):
        self.write("text.txt", b"")
        done = self.penstock("run", "-f", "job.yaml", "--state-dir", self.state, check=2)
        self.assertIn("text.txt", done.stderr)
        self.assertFalse((self.state / "runs").exists())

    def test_exit_codes_tell_what_went_wrong(self):
        self.penstock("no-such-command", check=2)
        self.penstock("validate", "nowhere.yaml", check=2)
        self.address = f"127.0.0.1:{sandbox.free_port()}"
        self.penstock("status", check=3)
        self.address = None
        self.up(workers=1)
        self.penstock("status", "no-such-job", check=4)
        self.penstock("hash", "no-such-checkpoint", check=4)


if __name__ == "__main__":
    unittest.main()
