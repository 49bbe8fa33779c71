#!/usr/bin/env python3
"""Checks the tree against the rules of docs/architecture.md and docs/style.md.

    tools/tree_check.py [ROOT]

Prints `file:line: what is wrong [rule]` for each finding; exit 1 if there is any.
Rules: sizes of files and functions, which room may include which, things that have one
home, no sleeps in tests, no path of somebody's machine.
"""

import ast
import pathlib
import re
import subprocess
import sys
from typing import Iterator, NamedTuple

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70

# Each room and the rooms it may include; its own files always. The longest prefix of a
# path names its room; what has no room here (tests/, tools/) may include anything.
_SHARED = ("common", "proto")
_COORDINATOR = tuple(
    f"coordinator/{part}" for part in ("jobs", "launch", "plan", "profiles", "records", "status"))
_WORKER = tuple(f"worker/{part}" for part in ("data", "device", "runtime", "torch"))
ROOMS = {
    "proto": (),
    "common": ("proto",),
    "model": _SHARED,
    "spec": ("coordinator/plan", "model") + _SHARED,
    "compiler": ("model",) + _SHARED,
    "coordinator/jobs": _SHARED,
    "coordinator/launch": _SHARED,
    "coordinator/plan": ("model",) + _SHARED,
    "coordinator/profiles": ("compiler",) + _SHARED,
    "coordinator/records": ("model",) + _SHARED,
    "coordinator/status": _SHARED,
    "coordinator": _COORDINATOR + ("compiler", "model", "spec") + _SHARED,
    "worker/data": _SHARED,
    "worker/device": _SHARED,
    "worker/runtime": ("model",) + _SHARED,
    "worker/torch": ("compiler", "model", "worker/data", "worker/device", "worker/runtime") + _SHARED,
    "worker": _WORKER + ("compiler", "model") + _SHARED,
    "cli": ("coordinator/jobs", "coordinator/launch", "coordinator/plan", "coordinator/records", "model",
            "spec") + _SHARED,
}

# The wall's own headers, which worker/device shares with worker/torch.
TORCH_WALL = ("worker/torch/torch.h", "worker/torch/torch_guard.h")


class Home(NamedTuple):
    """A thing with one home: code that matches may stand only in these places."""
    rule: str
    pattern: re.Pattern
    places: tuple  # path prefixes
    why: str


_TESTS = ("tests/",)
HOMES = (
    Home("torch", re.compile(r"#\s*include\s*<(torch|ATen|c10|caffe2)/"),
         ("worker/torch/", "worker/device/", "tests/worker/torch/", "tests/worker/device/",
          "tools/benchmarks/"), "torch is included only in worker/torch and worker/device"),
    Home("yaml", re.compile(r"#\s*include\s*<yaml-cpp/"),
         ("common/yaml",), "YAML is read through common/yaml.h"),
    Home("glog", re.compile(r"#\s*include\s*<glog/"),
         ("common/logging.", "worker/torch/torch.h"), "include common/logging.h"),
    Home("clock", re.compile(r"_clock::now\b|\babsl::(Now|GetCurrentTimeNanos)\s*\(|"
                             r"\b(std::|::)?time\s*\(\s*(nullptr|NULL|0)\s*\)|"
                             r"\b(gettimeofday|clock_gettime)\s*\("),
         ("common/clock.", "tools/benchmarks/") + _TESTS, "time comes from common/clock.h"),
    Home("catch", re.compile(r"\bcatch\s*\("),
         ("worker/torch/torch_guard.", "common/yaml", "coordinator/jobs/store", "cli/main.",
          "tools/benchmarks/") + _TESTS, "errors are absl::Status; exceptions end at a few known doors"),
    # Not a function's type: std::function<grpc::Status(...)>.
    Home("grpc-status", re.compile(r"(?<!<)\bgrpc::Status\s*[({]"),
         ("common/grpc_status.",) + _TESTS, "convert with common/grpc_status.h"),
    Home("mutex", re.compile(r"\bstd::(recursive_|shared_|timed_)*(mutex|condition_variable(_any)?)\b"),
         (), "absl::Mutex: annotated, and known to the race detector"),
)

SLEEP = re.compile(r"\b(sleep_for|sleep_until|SleepFor|usleep|nanosleep)\s*\(|(?<![\w.:>])sleep\s*\(")
MACHINE_PATH = re.compile(r"(?<![\w.$}/-])/(root|work)/\w")

CPP = (".cc", ".h")
SIZED = CPP + (".py", ".sh", ".bzl", ".proto")


class Finding(NamedTuple):
    path: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text} [{self.rule}]"


def blank_cpp(source: str) -> str:
    """C++ with comments, literals and preprocessor lines blanked; every line keeps its number."""
    token = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'
        r"(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'|^[ \t]*\#(?:\\\n|[^\n])*", re.S | re.M)
    return token.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), source)


def cpp_functions(source: str) -> Iterator[tuple]:
    """Yields (first line, last line) of each outermost function of C++ source.

    By braces: an opening brace inside nothing but namespaces and classes belongs to a
    function when the text since the last statement has a parameter list.
    """
    container = re.compile(r"\b(namespace|extern)\b|^\s*(template\s*<.*>\s*)?(typedef\s+)?"
                           r"(class|struct|union|enum)\b[^()]*$|^\s*(class|struct)\b.*\b(final|:)", re.S)
    text = blank_cpp(source)
    outer = []   # open braces: True for a container
    begin = 0    # where the current statement begins
    start = 0    # where the current function begins
    for position, char in enumerate(text):
        if char == "{":
            head = text[begin:position]
            is_container = all(outer) and bool(container.search(head))
            if all(outer) and not is_container:
                start = begin + len(head) - len(head.lstrip()) if ")" in head else -1
            outer.append(is_container)
            begin = position + 1
        elif char == "}" and outer:
            if not outer.pop() and all(outer) and start >= 0:
                yield text.count("\n", 0, start) + 1, text.count("\n", 0, position) + 1
            begin = position + 1
        elif char == ";" and all(outer):
            begin = position + 1
        elif char == ":" and all(outer) and text[begin:position].strip() in ("public", "private", "protected"):
            begin = position + 1


def python_functions(source: str) -> Iterator[tuple]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.end_lineno


def shell_functions(source: str) -> Iterator[tuple]:
    start = None
    for number, line in enumerate(source.splitlines(), 1):
        if re.match(r"\w[\w-]*\(\) \{$", line):
            start = number
        elif line == "}" and start is not None:
            yield start, number
            start = None


def is_shell(path: str, source: str) -> bool:
    return path.endswith(".sh") or source.startswith("#!/usr/bin/env bash")


def check_sizes(path: str, source: str) -> Iterator[Finding]:
    shell = is_shell(path, source)
    if not shell and not path.endswith(SIZED):
        return
    lines = source.count("\n")
    if lines > MAX_FILE_LINES:
        yield Finding(path, MAX_FILE_LINES + 1, "file-size", f"{lines} lines, at most {MAX_FILE_LINES}")
    if path.endswith(CPP):
        functions = cpp_functions(source)
    elif path.endswith(".py"):
        functions = python_functions(source)
    else:
        functions = shell_functions(source) if shell else ()
    for first, last in functions:
        if last - first + 1 > MAX_FUNCTION_LINES:
            yield Finding(path, first, "function-size",
                          f"a function of {last - first + 1} lines, at most {MAX_FUNCTION_LINES}")


def room_of(path: str) -> str:
    """The room with the longest name that path lies in, or ''."""
    best = ""
    for room in ROOMS:
        if path.startswith(room + "/") and len(room) > len(best):
            best = room
    return best


def check_includes(path: str, source: str) -> Iterator[Finding]:
    room = room_of(path)
    if not room:
        return
    for number, line in enumerate(source.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
        if match is None:
            continue
        included = match.group(1)
        other = room_of(included)
        if other == room or other in ROOMS[room]:
            continue
        if room == "worker/device" and included in TORCH_WALL:
            continue
        if other:
            yield Finding(path, number, "include-graph", f"{room}/ may not include {other}/")
        elif included.startswith(("tests/", "tools/")):
            yield Finding(path, number, "include-graph", f"{room}/ may not include {included}")


def check_homes(path: str, source: str) -> Iterator[Finding]:
    # Includes are blanked with the other preprocessor lines, and read from the source itself.
    code = blank_cpp(source).splitlines()
    for number, line in enumerate(source.splitlines(), 1):
        searched = line if re.match(r"\s*#\s*include", line) else code[number - 1]
        for home in HOMES:
            if home.pattern.search(searched) and not path.startswith(home.places or ("\n",)):
                yield Finding(path, number, home.rule, home.why)
        if path.startswith("tests/") and SLEEP.search(searched):
            yield Finding(path, number, "sleep", "a test turns the fake clock, or waits for an event")


def check_machine_paths(path: str, source: str) -> Iterator[Finding]:
    for number, line in enumerate(source.splitlines(), 1):
        if MACHINE_PATH.search(line):
            yield Finding(path, number, "machine-path", "a path of one machine")


def check_file(path: str, source: str) -> list:
    """All findings in one file, given by its path from the root and its text."""
    findings = list(check_sizes(path, source)) + list(check_machine_paths(path, source))
    if path.endswith(CPP):
        findings += list(check_includes(path, source)) + list(check_homes(path, source))
    return findings


def files_of(root: pathlib.Path) -> list:
    """Paths from root of the project's files: what git knows or would add, else all but hidden ones."""
    try:
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True, check=False)
    except FileNotFoundError:
        listed = None  # No git on this machine.
    if listed and listed.returncode == 0:
        paths = listed.stdout.decode().split("\0")
    else:
        skipped = ("bazel-", ".", "data/", "runs/")
        paths = [str(path.relative_to(root)) for path in root.rglob("*")]
        paths = [path for path in paths if not path.startswith(skipped) and "__pycache__" not in path]
    return sorted(path for path in set(paths) if path and (root / path).is_file())


def check_tree(root: pathlib.Path) -> list:
    findings = []
    for path in files_of(root):
        try:
            source = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # Not text.
        except FileNotFoundError:
            continue  # Removed since it was listed.
        findings += check_file(path, source)
    return findings


def main(arguments: list) -> int:
    root = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).parent.parent).resolve()
    findings = check_tree(root)
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
