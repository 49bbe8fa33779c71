"""Clang's check that fields are touched under their lock (-Wthread-safety).

GCC compiles Penstock and ignores ABSL_GUARDED_BY; only Clang reads it. It looks at each file
that has a lock and does not include torch (whose headers take it half a minute a file).
"""

import concurrent.futures
import hashlib
import os
import pathlib
import re
import subprocess

ROOMS = ("common", "model", "spec", "compiler", "coordinator", "worker", "cli", "tests")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<((?:torch|ATen|c10|caffe2)/[^>]+)>)', re.M)
LOCK = re.compile(r"\bABSL_GUARDED_BY\b|\babsl::Mutex\b|\bABSL_EXCLUSIVE_LOCKS_REQUIRED\b")
FLAGS = ["-std=c++20", "-fsyntax-only", "-Wno-everything", "-Wthread-safety", "-Werror"]
COMPILERS = ("clang++-14", "clang++")


class Closure:
    """What a file of ours includes, of ours, directly or not."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.text = {}
        self.includes = {}

    def _load(self, path: str) -> None:
        if path in self.text:
            return
        file = self.root / path
        self.text[path] = file.read_text(encoding="utf-8") if file.is_file() else ""
        self.includes[path] = [own or "<torch>" for own, _ in INCLUDE.findall(self.text[path])]

    def of(self, path: str) -> set:
        """All files reached from path, itself included; "<torch>" stands for libtorch's."""
        reached, open_paths = set(), [path]
        while open_paths:
            current = open_paths.pop()
            if current in reached:
                continue
            reached.add(current)
            if current != "<torch>":
                self._load(current)
                open_paths += self.includes[current]
        return reached


def files_to_check(root: pathlib.Path) -> dict:
    """Path of each file to look at -> hash of all the text of ours that decides its verdict."""
    closure = Closure(root)
    chosen = {}
    for room in ROOMS:
        for file in sorted((root / room).rglob("*.cc")):
            path = str(file.relative_to(root))
            reached = closure.of(path)
            if "<torch>" in reached:
                continue
            texts = [closure.text[each] for each in sorted(reached)]
            if any(LOCK.search(text) for text in texts):
                chosen[path] = hashlib.sha256("\0".join(FLAGS + texts).encode()).hexdigest()
    return chosen


def _find_compiler() -> str:
    for name in COMPILERS:
        if subprocess.run(["which", name], capture_output=True, check=False).returncode == 0:
            return name
    raise FileNotFoundError("clang-14 is not installed: run tools/setup.sh")


def check(root: pathlib.Path, bin_dir: pathlib.Path, cache: pathlib.Path) -> tuple:
    """Returns (files looked at, what Clang said about the bad ones).

    bin_dir holds the generated headers. cache remembers files that were good: the same
    text is not looked at twice.
    """
    compiler = _find_compiler()
    cache.mkdir(parents=True, exist_ok=True)
    chosen = files_to_check(root)

    def look(item: tuple) -> str:
        path, digest = item
        good = cache / digest
        if good.exists():
            return ""
        done = subprocess.run([compiler] + FLAGS + ["-I.", "-isystem", str(bin_dir), path],
                              cwd=root, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            return done.stdout + done.stderr
        good.touch()
        return ""

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        said = [text for text in pool.map(look, chosen.items()) if text]
    return len(chosen), said
