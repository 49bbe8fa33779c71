"""Runs tests/**/*_test.py, each file in a process of its own, and counts their cases."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import results as results_module

# A file with real processes over real sockets takes a minute or two; this ends one that hangs.
TIMEOUT_S = 900
CHILD = pathlib.Path(__file__).with_name("run_unittest.py")


def files(root: pathlib.Path, wanted: str) -> list:
    found = [str(path.relative_to(root)) for path in sorted((root / "tests").rglob("*_test.py"))]
    return [path for path in found if wanted in path]


def _run(root: pathlib.Path, path: str, environment: dict, result_file: pathlib.Path) -> tuple:
    """Returns (exit code or None after the timeout, output)."""
    # Output goes to a file: a process that the test left behind may keep a pipe open.
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [sys.executable, str(CHILD), path, str(result_file)], cwd=root, env=environment,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = child.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = None
        try:
            os.killpg(child.pid, signal.SIGKILL)  # What it started and left.
        except ProcessLookupError:
            pass
        child.wait()
        output.seek(0)
        return code, output.read().decode(errors="replace")


def run(root: pathlib.Path, results, path: str, bin_dir: pathlib.Path) -> None:
    environment = dict(os.environ, PENSTOCK_BIN_DIR=str(bin_dir), PYTHONDONTWRITEBYTECODE="1")
    with tempfile.TemporaryDirectory() as folder:
        result_file = pathlib.Path(folder) / "results"
        code, output = _run(root, path, environment, result_file)
        lines = result_file.read_text(encoding="utf-8").splitlines() if result_file.exists() else []
    failed = 0
    for case in map(json.loads, lines):
        name = f"{path}/{case['name']}"
        if case["outcome"] == "passed":
            results.add_pass()
        elif case["outcome"] == "skipped":
            results.skipped += 1
        else:
            failed += 1
            results.add_failure(name, results_module.last_lines(case["output"]))
    if code is None:
        results.add_failure(path, f"it did not end in {TIMEOUT_S} s:\n" + results_module.last_lines(output))
    elif code != 0 and failed == 0:
        results.add_failure(path, f"exit {code}:\n" + results_module.last_lines(output))
