"""tools/setup.sh installs what is missing, once, and says what it can't install."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# In place of the system's programs. Each logs its call; FAKE_HAS names a file of installed packages.
FAKES = {
    "id": 'echo "$FAKE_UID"',
    "sudo": "exit 1",
    "dpkg-query": 'sed "s/$/ installed/" "$FAKE_HAS"',
    "apt-get": """
while (($#)); do [[ $1 == --no-install-recommends ]] && break; shift; done
(($#)) || exit 0
shift; printf '%s\\n' "$@" >>"$FAKE_HAS" """,
    "bible": "printf 'Ge1:1 In the beginning\\nGe1:2 And the earth\\nGe2:1 Thus\\n'",
    "python3": """
case "$*" in
  *install*) while [[ $1 != --target ]]; do shift; done; mkdir -p "$2/torch/lib" ;;
  *download*) ;;
  *) cat >/dev/null; echo p0,label ;;
esac""",
    "bazel": "", "protoc": "", "g++": "",
}


class SetupTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        base = pathlib.Path(folder.name).resolve()
        self.root, self.log, self.has = base / "checkout", base / "log", base / "has"
        self.cache = base / "cache" / "penstock"
        (self.root / "tools").mkdir(parents=True)
        (base / "bin").mkdir()
        for name in ("setup.sh", "paths.sh"):
            shutil.copy(ROOT / "tools" / name, self.root / "tools")
        for name, body in FAKES.items():
            program = base / "bin" / name
            program.write_text(f'#!/usr/bin/env bash\necho "{name} $*" >>"$FAKE_LOG"\n{body}\n')
            program.chmod(0o755)
        self.has.write_text("")
        self.environment = dict(os.environ, PATH=f"{base}/bin:{os.environ['PATH']}", FAKE_LOG=str(self.log),
                                FAKE_HAS=str(self.has), FAKE_UID="0", XDG_CACHE_HOME=str(base / "cache"))
        self.environment.pop("PENSTOCK_LIBTORCH", None)

    def run_it(self, *arguments, **environment):
        self.log.write_text("")
        return subprocess.run([str(self.root / "tools" / "setup.sh"), *arguments], text=True, check=False,
                              stdin=subprocess.DEVNULL, env=dict(self.environment, **environment),
                              capture_output=True)

    def calls(self, program: str) -> list:
        return re.findall(rf"^{program} .*", self.log.read_text(), re.M)

    @unittest.skipUnless("ID=debian" in pathlib.Path("/etc/os-release").read_text(), "apt is Debian's")
    def test_everything_is_installed_once_and_said_before(self):
        first = self.run_it()
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn("libgrpc++-dev", first.stderr)
        self.assertIn("torch==2.11.0", self.calls("python3")[0])
        self.assertEqual((self.root / "data" / "kjv.txt").read_text(), "In the beginning\nAnd the earth\n\nThus\n")
        self.assertIn(f"PENSTOCK_LIBTORCH={self.cache}/libtorch-2.11.0-cpu", (self.root / "user.bazelrc").read_text())
        second = self.run_it()
        self.assertEqual((second.returncode, second.stderr), (0, ""))
        self.assertEqual(self.calls("apt-get") + self.calls("python3"), [])

    @unittest.skipUnless("ID=debian" in pathlib.Path("/etc/os-release").read_text(), "apt is Debian's")
    def test_a_changed_script_runs_again_and_installs_only_what_is_new(self):
        self.run_it()
        with (self.root / "tools" / "setup.sh").open("a") as script:
            script.write("# a new version\n")
        self.has.write_text(self.has.read_text().replace("clang-14\n", ""))
        self.assertEqual(self.run_it().returncode, 0)
        self.assertEqual([call.split()[-1] for call in self.calls("apt-get")], ["update", "clang-14"])
        self.assertEqual(self.calls("python3"), [])

    def test_without_root_it_lists_what_is_missing_and_ends_with_2(self):
        done = self.run_it(FAKE_UID="1000")
        self.assertEqual(done.returncode, 2)
        self.assertIn("bazel-bootstrap", done.stderr)
        self.assertIn("apt-get install", done.stderr)
        self.assertEqual(self.calls("apt-get"), [])
        self.assertFalse((self.root / ".setup.stamp").exists())

    def test_check_installs_nothing(self):
        done = self.run_it("--check")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(self.calls("apt-get") + self.calls("python3"), [])

    @unittest.skipUnless("ID=debian" in pathlib.Path("/etc/os-release").read_text(), "apt is Debian's")
    def test_gpu_brings_every_library_and_is_kept(self):
        self.assertEqual(self.run_it("--gpu").returncode, 0)
        self.assertNotIn("--no-deps", self.calls("python3")[0])
        self.assertEqual(self.run_it().returncode, 0)
        self.assertEqual(self.calls("python3"), [])
        self.assertIn("libtorch-2.11.0-cuda", (self.root / "user.bazelrc").read_text())

    @unittest.skipUnless("ID=debian" in pathlib.Path("/etc/os-release").read_text(), "apt is Debian's")
    def test_a_named_libtorch_is_taken_if_it_is_one(self):
        wrong = self.run_it(PENSTOCK_LIBTORCH="/nowhere")
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("/nowhere holds no lib/libtorch_cpu.so", wrong.stderr)
        own = self.root / "own"
        (own / "lib").mkdir(parents=True)
        (own / "lib" / "libtorch_cpu.so").touch()
        self.assertEqual(self.run_it(PENSTOCK_LIBTORCH=str(own)).returncode, 0)
        self.assertIn(f"PENSTOCK_LIBTORCH={own}", (self.root / "user.bazelrc").read_text())
        self.assertFalse((self.cache / "libtorch-2.11.0-cpu").exists())

    def test_unknown_arguments_are_refused(self):
        self.assertEqual(self.run_it("--gpus").returncode, 2)


if __name__ == "__main__":
    unittest.main()
