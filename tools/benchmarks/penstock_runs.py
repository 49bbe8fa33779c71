"""What the benchmarks share: running a job and reading its summary, and medians with their intervals."""
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOBODY = "127.0.0.1:1"  # where no coordinator listens: a benchmark asks none but its own


def run_job(job_yaml, files=None, compare=False, measure=False):
    """Runs a job with `penstock run` in a folder of its own.

    Args:
      job_yaml: the text of job.yaml.
      files: {name: bytes or str}, data files that lie beside it.
      compare: asks `penstock plan --compare` afterwards.
      measure: measures the layers first, so that the plan uses measured costs.
    Returns: {"summary": dict, "metrics": [dict, ...], "comparison": dict or None}.
    Raises: RuntimeError with the command's output when the job fails.
    """
    folder = pathlib.Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    try:
        for name, content in (files or {}).items():
            mode = "wb" if isinstance(content, bytes) else "w"
            with open(folder / name, mode) as f:
                f.write(content)
        (folder / "job.yaml").write_text(job_yaml)
        place = ["--state-dir", str(folder / "state")]
        if measure:
            _plan(["-f", "job.yaml", "--measure", *place, "--addr", NOBODY], folder)
        done = subprocess.run(
            [str(ROOT / "penstock"), "run", "-f", "job.yaml", *place],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "NO_COLOR": "1"}, check=False)
        runs = list((folder / "state" / "runs").glob("*/summary.json"))
        if done.returncode != 0 or len(runs) != 1:
            raise RuntimeError(f"penstock run exited with {done.returncode}:\n{done.stdout[-4000:]}")
        lines = (runs[0].parent / "metrics.jsonl").read_text().splitlines()
        comparison = json.loads(_plan(["--compare", "@last", *place, "--addr", NOBODY], folder)) if compare else None
        return {"summary": json.loads(runs[0].read_text()), "metrics": [json.loads(line) for line in lines],
                "comparison": comparison}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _plan(arguments, folder):
    """`penstock plan ... -o json`; returns what it prints."""
    done = subprocess.run([str(ROOT / "penstock"), "plan", *arguments, "-o", "json"], cwd=folder,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"penstock plan exited with {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout


def median_with_interval(values, confidence=0.95, draws=4000):
    """Median and its bootstrap percentile interval, (median, low, high); the draws are seeded."""
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(draws))
    tail = (1 - confidence) / 2
    return statistics.median(values), medians[int(tail * draws)], medians[int((1 - tail) * draws) - 1]


def pytorch_python(setup=True):
    """A Python that can import torch 2.11: $PENSTOCK_PYTORCH, or a virtual environment made in the cache folder."""
    given = os.environ.get("PENSTOCK_PYTORCH")
    if given:
        return given
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "penstock" / "pytorch"
    python = cache / "bin" / "python"
    probe = [str(python), "-c", "import torch, numpy; assert torch.__version__.startswith('2.11')"]
    if not (python.exists() and subprocess.run(probe, capture_output=True, check=False).returncode == 0):
        if not setup:
            raise RuntimeError("no Python with torch 2.11; name one in PENSTOCK_PYTORCH")
        print(f"installing torch 2.11.0 for the peer into {cache} (4.6 GB)", flush=True)
        subprocess.run(["/usr/bin/python3", "-m", "venv", str(cache)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "torch==2.11.0", "numpy==2.3.5"], check=True)
    return str(python)
