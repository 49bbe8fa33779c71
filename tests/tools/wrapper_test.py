"""./penstock builds when it must, only then, and passes everything on."""

import os
import pathlib
import pty
import shutil
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# In place of Bazel: counts its calls and "builds" programs that print what they were given.
FAKE_BAZEL = """#!/usr/bin/env bash
echo "$@" >>"$FAKE_LOG"
if [[ -e $FAKE_LOG.slow ]]; then
  echo "[1,234 / 4,567] 2 actions running"; echo "    Compiling a.cc; 3s local"
  while [[ ! -e $FAKE_LOG.go ]]; do sleep 0.05; done
fi
if [[ -e $FAKE_LOG.fail ]]; then echo "a.cc:1: error: no" >&2; exit 1; fi
mkdir -p "$FAKE_OUT"/{cli,coordinator,worker}
printf '#!/usr/bin/env bash\\necho "$PWD|$#|$1"\\n' >"$FAKE_OUT/cli/penstock"
cp "$FAKE_OUT/cli/penstock" "$FAKE_OUT/coordinator/penstock-coordinator"
cp "$FAKE_OUT/cli/penstock" "$FAKE_OUT/worker/penstock-worker"
chmod +x "$FAKE_OUT"/*/*
ln -sfn "$FAKE_OUT" bazel-bin
"""


class WrapperTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        base = pathlib.Path(folder.name).resolve()
        self.root, self.log = base / "checkout", base / "log"
        for path in ("bin", "checkout/tools", "checkout/cli", "checkout/data"):
            (base / path).mkdir(parents=True)
        shutil.copy(ROOT / "penstock", self.root)
        shutil.copy(ROOT / "tools" / "paths.sh", self.root / "tools")
        for path, text in [("bin/bazel", FAKE_BAZEL), ("checkout/tools/setup.sh", "#!/bin/sh\nexit 0\n")]:
            (base / path).write_text(text)
            (base / path).chmod(0o755)
        for path in ("WORKSPACE", "cli/main.cc", "data/kjv.txt", "data/digits.csv"):
            (self.root / path).write_text("text\n")
        self.environment = dict(os.environ, PATH=f"{base}/bin:{os.environ['PATH']}",
                                FAKE_LOG=str(self.log), FAKE_OUT=str(base / "out"))
        self.environment.pop("PENSTOCK_LIBTORCH", None)
        self.base = base

    def run_it(self, *arguments, cwd="/", command=None, **environment):
        return subprocess.run([command or str(self.root / "penstock"), *arguments], cwd=cwd, text=True,
                              env=dict(self.environment, **environment), capture_output=True, check=False)

    def builds(self) -> int:
        return self.log.read_text().count("build ") if self.log.exists() else 0

    def test_arguments_and_folder_are_the_users(self):
        self.assertEqual(self.run_it("a b", "c", cwd="/usr").stdout, "/usr|2|a b\n")
        link = self.base / "link"
        link.symlink_to(self.root / "penstock")
        self.assertEqual(self.run_it("x", command=str(link)).stdout, "/|1|x\n")

    def test_it_builds_once(self):
        first = self.run_it()
        self.assertIn("building for the first time", first.stderr)
        second = self.run_it()
        self.assertEqual((second.stderr, self.builds()), ("", 1))

    def build_slowly(self, stderr):
        (self.base / "log.slow").touch()
        return subprocess.Popen([str(self.root / "penstock"), "x"], cwd="/", text=True, env=self.environment,
                                stdout=subprocess.PIPE, stderr=stderr)

    def test_a_build_shows_how_far_it_is_in_plain_lines(self):
        # Ten minutes went by without a word, and the log was a file that nobody knew of.
        build = self.build_slowly(subprocess.PIPE)
        lines = []
        for line in build.stderr:
            lines.append(line)
            if "1,234 of 4,567 actions" in line:
                break
        (self.base / "log.go").touch()
        out, rest = build.communicate(timeout=60)
        self.assertEqual(out, "/|1|x\n")
        self.assertIn(f"log: {self.root}/.build.log", "".join(lines))
        self.assertRegex(lines[-1], r"^penstock: building: 1,234 of 4,567 actions, 0m0\ds$")
        self.assertRegex(rest, r"penstock: built in 0m\d\ds\n$")
        self.assertIn("Compiling a.cc", (self.root / ".build.log").read_text())

    def test_a_build_draws_one_line_over_itself_on_a_terminal(self):
        terminal, ours = pty.openpty()
        build = self.build_slowly(ours)
        os.close(ours)
        shown = b""
        while b"1,234 of 4,567 actions" not in shown:
            shown += os.read(terminal, 4096)
        (self.base / "log.go").touch()
        self.assertEqual(build.communicate(timeout=60)[0], "/|1|x\n")
        self.assertIn(b"\r\x1b[Kpenstock: building: 1,234 of 4,567 actions", shown)
        os.close(terminal)

    def test_a_newer_source_a_removed_one_and_a_missing_program_are_built_again(self):
        self.run_it()
        later = time.time() + 10
        os.utime(self.root / "cli" / "main.cc", (later, later))
        self.run_it()
        self.assertEqual(self.builds(), 2)
        os.utime(self.root / "cli" / "main.cc", (1, 1))
        os.utime(self.root / "cli", (1, 1))
        self.run_it()
        self.assertEqual(self.builds(), 2)
        os.utime(self.root / "cli", (later, later))  # As removing a file does.
        self.run_it()
        self.assertEqual(self.builds(), 3)
        os.utime(self.root / "cli", (1, 1))
        (self.base / "out" / "worker" / "penstock-worker").unlink()
        self.run_it()
        self.assertEqual(self.builds(), 4)

    def test_another_libtorch_and_a_moved_checkout_are_built_again(self):
        self.run_it()
        self.run_it(PENSTOCK_LIBTORCH="/elsewhere")
        self.assertEqual(self.builds(), 2)
        moved = self.base / "moved"
        self.root.rename(moved)
        self.run_it(command=str(moved / "penstock"), PENSTOCK_LIBTORCH="/elsewhere")
        self.assertEqual(self.builds(), 3)

    def test_a_missing_link_to_the_programs_does_not_matter(self):
        self.run_it()
        (self.root / "bazel-bin").unlink()
        self.assertEqual(self.run_it("x").stdout, "/|1|x\n")
        self.assertEqual(self.builds(), 1)

    def test_a_failed_build_shows_why_runs_nothing_and_is_tried_again(self):
        (self.base / "log.fail").touch()
        failed = self.run_it()
        self.assertEqual((failed.returncode, failed.stdout), (1, ""))
        self.assertIn("a.cc:1: error: no", failed.stderr)
        self.assertIn(f"the build failed; its whole log: {self.root}/.build.log", failed.stderr)
        (self.base / "log.fail").unlink()
        self.assertEqual(self.run_it().returncode, 0)


if __name__ == "__main__":
    unittest.main()
