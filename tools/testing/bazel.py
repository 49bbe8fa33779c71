"""Runs Bazel's tests and counts their cases from the build events."""

import json
import pathlib
import re
import subprocess
import tempfile
import urllib.parse

import results as results_module

QUIET = ["--noshow_progress", "--color=no", "--curses=no", "--show_result=0"]

ALL_TESTS = r'tests({all}) except attr(tags, "\bmanual\b", {all})'
# libtorch is not instrumented, so nothing that links it runs under a sanitizer.
# `nosan` keeps a test from all sanitizers, `notsan` from the race detector.
SANITIZED = r' except rdeps({{all}}, @libtorch//:libtorch) except attr(tags, "\b(nosan|no{config})\b", {{all}})'


def _run(root: pathlib.Path, arguments: list) -> subprocess.CompletedProcess:
    return subprocess.run(["bazel"] + arguments, cwd=root, text=True, errors="replace",
                          capture_output=True, stdin=subprocess.DEVNULL, check=False)


def _errors(output: str) -> str:
    """Bazel's output without what it says when all is well."""
    noise = re.compile(r"^(INFO|Loading|Analyzing|DEBUG|WARNING: Build options)\b|^\s*$")
    kept = [line for line in output.splitlines() if not noise.search(line)]
    return results_module.last_lines("\n".join(kept), 200)


def all_packages(root: pathlib.Path) -> list:
    """What //... means, without Bazel's own links, which it may follow when they are not this server's."""
    folders = sorted({file.relative_to(root).parts[0] for file in root.glob("[a-z]*/**/BUILD")})
    return [f"//{folder}/..." for folder in folders if not folder.startswith("bazel-")]


def query_tests(root: pathlib.Path, results, wanted: str, config: str = "") -> list:
    """Labels of the tests to run whose name contains `wanted`, sorted; a broken BUILD file is a failure.

    config: "tsan" or "asan" for those that run under that sanitizer.
    """
    expression = ALL_TESTS + (SANITIZED.format(config=config) if config else "")
    everything = "set(" + " ".join(all_packages(root)) + ")"
    done = _run(root, ["query", "--keep_going", "--noshow_progress", "--order_output=no",
                       expression.format(all=everything)])
    if done.returncode != 0:
        results.add_failure("bazel query", _errors(done.stderr))
    return sorted(label for label in done.stdout.split() if wanted in label)


def build(root: pathlib.Path, results, targets: list, what: str = "the tree") -> bool:
    """Builds `what`. One failure stands for all of it that does not compile."""
    if not targets:
        return True
    done = _run(root, ["build", "--keep_going"] + QUIET + ["--"] + targets)
    if done.returncode != 0:
        results.add_failure(f"build of {what}", _errors(done.stderr))
    return done.returncode == 0


def bin_dir(root: pathlib.Path) -> pathlib.Path:
    """Where the ordinary build puts its binaries; ends the run if Bazel can't say."""
    done = _run(root, ["info", "bazel-bin"])
    if done.returncode != 0:
        raise RuntimeError("bazel info failed:\n" + done.stderr)
    return pathlib.Path(done.stdout.strip())


def _read_events(path: pathlib.Path) -> list:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _read_uri(outputs: list, name: str) -> str:
    for output in outputs:
        if output.get("name") == name and output.get("uri", "").startswith("file://"):
            path = pathlib.Path(urllib.parse.unquote(output["uri"][len("file://"):]))
            if path.exists():
                return path.read_text(encoding="utf-8", errors="replace")
    return ""


def _count_test(results, prefix: str, event: dict) -> None:
    outcome = event["testResult"]
    outputs = outcome.get("testActionOutput", [])
    xml_text, log = _read_uri(outputs, "test.xml"), _read_uri(outputs, "test.log")
    passed = outcome.get("status") == "PASSED"
    try:
        results_module.add_test_xml(results, prefix, xml_text, log, passed)
    except results_module.ElementTree.ParseError:
        if passed:
            results.add_pass()
        else:
            text = results_module.last_lines(log)
            results.add_failure(prefix, f"{outcome.get('status')} without a readable test.xml\n{text}")


def run_tests(root: pathlib.Path, results, labels: list, config: str = "") -> None:
    """Runs the tests again, whatever Bazel remembers of them, and counts their cases."""
    if not labels:
        return
    with tempfile.TemporaryDirectory() as folder:
        events_file = pathlib.Path(folder) / "events.json"
        labels_file = pathlib.Path(folder) / "labels"
        labels_file.write_text("\n".join(labels) + "\n", encoding="utf-8")
        done = _run(root, ["test", "--keep_going", "--nocache_test_results", "--test_output=summary",
                           f"--build_event_json_file={events_file}", f"--target_pattern_file={labels_file}"]
                    + ([f"--config={config}"] if config else []) + QUIET)
        events = _read_events(events_file)
    tag = f"{config}:" if config else ""
    seen = set()
    for event in events:
        if "testResult" in event:
            label = event["id"]["testResult"]["label"]
            seen.add(label)
            _count_test(results, tag + label, event)
    unbuilt = [label for label in labels if label not in seen]
    for number, label in enumerate(unbuilt):
        text = _errors(done.stderr) if number == 0 else f"see {tag}{unbuilt[0]}"
        results.add_failure(tag + label, "it did not build or did not run:\n" + text)
    if done.returncode not in (0, 1, 3):
        results.add_failure(f"bazel test {tag}", _errors(done.stderr))
