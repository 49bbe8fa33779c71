"""A folder of its own for each test, the real programs, and what they leave behind."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN_DIR = pathlib.Path(os.environ.get("PENSTOCK_BIN_DIR", ROOT / "bazel-bin"))
PENSTOCK = BIN_DIR / "cli" / "penstock"
TIMEOUT_S = 120  # of any one command: far above what it needs, so that a hang is a failure and not a stuck run

# A GPT of 8 layers that trains in milliseconds a step: dropout and a tail of uneven micro-batches included.
GPT = """\
version: 1
kind: job
name: tiny
model:
  loss: cross_entropy
  layers:
    - embedding: {vocab: 256, dim: 32}
    - position_embedding: {context: 16}
    - repeat: 4
      block: [{gpt_block: {heads: 2, dropout: 0.1}}]
    - layer_norm
    - lm_head: {vocab: 256}
data:
  train: {format: text, path: text.txt, part: [0.0, 0.9]}
  eval: {format: text, path: text.txt, part: [0.9, 1.0]}
  seq_len: 16
pipeline: {stages: 2, micro_batches: 4, schedule: gpipe}
train:
  steps: 6
  batch_size: 10
  grad_clip: 0.5
  seed: 7
  optimizer: {name: adamw, lr: 0.003}
  lr_schedule: {name: cosine, warmup_steps: 2}
checkpoint: {every: 3, keep: 4}
log: {every: 1}
"""

# Runs until it is stopped.
ENDLESS = ["--set", "train.steps=1000000", "--set", "checkpoint.every=20"]


def text(length=20_000):
    """A text with something to learn: a sentence that repeats with numbers in it."""
    return "".join(f"The {n}th boat waits for the {n % 7}th tide. " for n in range(length // 30)).encode()


def wait_until(what, condition, timeout_s=60):
    """Returns the first true value of condition(); fails with `what` when it does not come in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain until {what}")
        time.sleep(0.02)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Sandbox(unittest.TestCase):
    """A test case with a temporary folder; fails if a process of the test is left over."""

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="penstock-e2e-"))
        self.state = self.dir / "state"
        self.address = None
        self.write("text.txt", text())
        self.write("job.yaml", GPT)

    def tearDown(self):
        if self.address:
            self.penstock("down", check=None)
        left = self.processes()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)
        self.assertEqual(left, {}, "processes were left behind")

    def write(self, name, content):
        path = self.dir / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def environment(self):
        env = {**os.environ, "NO_COLOR": "1", "XDG_STATE_HOME": str(self.dir / "xdg")}
        if self.address:
            env["PENSTOCK_ADDR"] = self.address
        return env

    def start(self, *args):
        """Starts a command and does not wait for it."""
        return subprocess.Popen([str(PENSTOCK), *map(str, args)], cwd=self.dir, env=self.environment(), text=True,
                                errors="replace",  # a byte-level model may write bytes that are no text
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def penstock(self, *args, check=0):
        """Runs a command to its end; check: the exit code it must have, None for any."""
        process = self.start(*args)
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            self.fail(f"penstock {' '.join(map(str, args))} hangs:\n{out}\n{err}")
        if check is not None:
            self.assertEqual(process.returncode, check, f"penstock {' '.join(map(str, args))}\n{out}\n{err}")
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def json(self, *args):
        return json.loads(self.penstock(*args, "-o", "json").stdout)

    def run_job(self, *args, job="job.yaml", check=0):
        return self.penstock("run", "-f", job, "--state-dir", self.state, *args, check=check)

    def summary(self, state=None):
        """summary.json of the newest job in a state folder."""
        paths = sorted(((state or self.state) / "runs").glob("*/summary.json"), key=lambda p: p.stat().st_mtime)
        self.assertTrue(paths, "no summary.json was written")
        return json.loads(paths[-1].read_text())

    def up(self, workers=3):
        """A cluster with free ports that lives until the test ends."""
        port = free_port()
        devices = ", ".join(["cpu"] * workers)
        self.write("cluster.yaml", f"""\
version: 1
kind: cluster
name: e2e
coordinator: {{listen: "127.0.0.1:{port}", http: "127.0.0.1:{free_port()}", state_dir: state}}
workers: [{{host: localhost, devices: [{devices}]}}]
""")
        self.address = f"127.0.0.1:{port}"
        self.penstock("up", "-f", "cluster.yaml")

    def status(self, job="@last"):
        return self.json("status", job)

    def wait_for_step(self, step, job="@last"):
        return wait_until(f"{job} has done step {step}", lambda: self.status(job)["step"] >= step)

    def wait_for_state(self, state, job="@last"):
        return wait_until(f"{job} is {state}", lambda: self.status(job)["state"] == state)

    def processes(self):
        """{pid: command line} of Penstock's processes that name this sandbox or a worker of it."""
        found = {}
        for proc in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (proc / "cmdline").read_bytes().split(b"\0")
                if not os.path.basename(words[0]).startswith(b"penstock"):
                    continue
                if str(self.dir).encode() in b" ".join(words) or os.readlink(proc / "cwd").startswith(str(self.dir)):
                    found[int(proc.name)] = b" ".join(words).decode()
        return found

    def worker_pids(self):
        return [w["pid"] for w in self.json("workers")]
