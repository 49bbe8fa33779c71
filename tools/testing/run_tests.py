#!/usr/bin/env python3
"""Runs Penstock's tests; called by tests/run, which has set the machine up.

    run_tests.py [--quick] [FILTER]

Order: the tree's rules and the tools' own tests, the build, unit tests, end-to-end tests
(real processes), Clang's lock check, then the tests that do not link libtorch again under the
race detector and under the address and undefined-behaviour sanitizers.
"""

import argparse
import os
import pathlib
import signal
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

# pylint: disable=wrong-import-position
import bazel
import python_tests
import results as results_module
import thread_safety

ROOT = pathlib.Path(__file__).resolve().parents[2]
END_TO_END = "tests/e2e/"
PROGRAMS = ["//cli:penstock", "//coordinator:penstock-coordinator", "//worker:penstock-worker"]


class Run:
    """One run: what is asked for, and what was found so far."""

    def __init__(self, quick: bool, wanted: str):
        self.quick = quick
        self.wanted = wanted
        self.results = results_module.Results()
        self._began = time.monotonic()

    def say(self, what: str) -> None:
        print(f"[{time.monotonic() - self._began:5.0f} s] {what}", flush=True)

    def count_line(self) -> str:
        return self.results.last_line() + " so far"


def check_tree(run: Run) -> None:
    if run.wanted not in "tools/tree_check.py":
        return
    sys.path.insert(0, str(ROOT / "tools"))
    import tree_check  # pylint: disable=import-outside-toplevel
    findings = tree_check.check_tree(ROOT)
    if findings:
        run.results.add_failure("tools/tree_check.py", "\n".join(map(str, findings)))
    else:
        run.results.add_pass()


def check_thread_safety(run: Run, bin_dir: pathlib.Path) -> None:
    if run.wanted not in "clang -Wthread-safety":
        return
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    looked, said = thread_safety.check(ROOT, bin_dir, cache / "penstock" / "thread-safety")
    if said:
        run.results.add_failure("clang -Wthread-safety", results_module.last_lines("\n".join(said), 200))
    elif looked:
        run.results.add_pass()


def run_tool_tests(run: Run, bin_dir: pathlib.Path) -> None:
    for path in python_tests.files(ROOT, run.wanted):
        if not path.startswith(END_TO_END):
            python_tests.run(ROOT, run.results, path, bin_dir)


def run_end_to_end(run: Run, bin_dir: pathlib.Path) -> None:
    paths = [path for path in python_tests.files(ROOT, run.wanted) if path.startswith(END_TO_END)]
    # Old programs must not stand in for new ones that do not compile.
    if not paths or not bazel.build(ROOT, run.results, PROGRAMS, what="the programs"):
        return
    for path in paths:
        run.say(path)
        python_tests.run(ROOT, run.results, path, bin_dir)


def run_all(run: Run) -> None:
    """Everything, in order of how soon it can fail."""
    run.say("tree and tools")
    check_tree(run)
    bin_dir = bazel.bin_dir(ROOT)
    run_tool_tests(run, bin_dir)

    labels = bazel.query_tests(ROOT, run.results, run.wanted)
    run.say(f"building, for {len(labels)} test programs (from nothing: 10 minutes on two cores)")
    bazel.build(ROOT, run.results, labels if run.wanted else bazel.all_packages(ROOT))
    run.say("unit tests")
    bazel.run_tests(ROOT, run.results, labels)
    run.say(run.count_line())
    run_end_to_end(run, bin_dir)
    run.say("locks, as Clang sees them")
    check_thread_safety(run, bin_dir)
    if run.quick:
        return
    for config, what in [("tsan", "race detector"), ("asan", "address and undefined-behaviour sanitizers")]:
        labels = bazel.query_tests(ROOT, run.results, run.wanted, config)
        run.say(f"{what}: {len(labels)} test programs ({run.count_line()})")
        bazel.run_tests(ROOT, run.results, labels, config)
    run.say("done")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/run", description="Runs Penstock's tests.")
    parser.add_argument("--quick", action="store_true", help="without the sanitizers")
    parser.add_argument("filter", nargs="?", default="", metavar="FILTER",
                        help="only tests whose Bazel label, file or check has this in its name")
    arguments = parser.parse_args()
    run = Run(arguments.quick, arguments.filter)
    # Ended from outside, it still says what it found.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run_all(run)
    except KeyboardInterrupt:
        run.results.add_failure("tests/run", "interrupted")
    except Exception:  # pylint: disable=broad-except
        run.results.add_failure("tests/run", traceback.format_exc())
    run.results.report()
    return run.results.exit_code()


if __name__ == "__main__":
    sys.exit(main())
