"""The counting behind tests/run: nothing that failed may look as if it passed."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

TESTING = pathlib.Path(__file__).resolve().parents[2] / "tools" / "testing"
sys.path.insert(0, str(TESTING))

# pylint: disable=wrong-import-position
import python_tests
import results as results_module
import thread_safety

GTEST_XML = """<testsuites><testsuite name="ATest">
<testcase name="Passes" status="run" result="completed" classname="ATest"/>
<testcase name="Fails" status="run" result="completed" classname="ATest">
  <failure message="a.cc:3&#10;Expected: 1"/><failure message="and more"/></testcase>
<testcase name="Skips" status="run" result="skipped" classname="ATest"><skipped message=""/></testcase>
<testcase name="DISABLED_It" status="notrun" result="suppressed" classname="ATest"/>
</testsuite></testsuites>"""


def names(results) -> list:
    return [failure.name for failure in results.failures]


class CountingTest(unittest.TestCase):

    def setUp(self):
        self.results = results_module.Results()

    def test_cases_of_a_program_are_counted_one_by_one(self):
        results_module.add_test_xml(self.results, "//a:t", GTEST_XML, "log", False)
        self.assertEqual(self.results.last_line(), "1 passed, 1 failed")
        self.assertEqual(names(self.results), ["//a:t/ATest.Fails"])
        self.assertIn("Expected: 1", self.results.failures[0].output)
        self.assertEqual(self.results.skipped, 1)

    def test_a_program_that_fails_after_its_last_case_is_a_failure(self):
        xml = '<testsuites><testsuite><testcase name="A" classname="B"/></testsuite></testsuites>'
        results_module.add_test_xml(self.results, "//a:t", xml, "leak found", False)
        self.assertEqual(self.results.last_line(), "1 passed, 1 failed")
        self.assertIn("leak found", self.results.failures[0].output)

    def test_a_crash_shows_the_log(self):
        xml = '<testsuites><testsuite><testcase name="a/t"><error message="exit 66"/></testcase></testsuite></testsuites>'
        results_module.add_test_xml(self.results, "//a:t", xml, "WARNING: data race", False)
        self.assertEqual(self.results.last_line(), "0 passed, 1 failed")
        self.assertIn("data race", self.results.failures[0].output)

    def test_exit_code_is_0_only_if_something_ran_and_all_passed(self):
        self.assertEqual(self.results.exit_code(), 1)
        self.results.add_pass()
        self.assertEqual(self.results.exit_code(), 0)
        self.results.add_failure("x", "")
        self.assertEqual(self.results.exit_code(), 1)


class PythonFileTest(unittest.TestCase):

    def run_file(self, source: str):
        results = results_module.Results()
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "a_test.py").write_text(source)
            python_tests.run(pathlib.Path(folder), results, "a_test.py", pathlib.Path("bin"))
        return results

    def test_each_case_counts_once(self):
        results = self.run_file("""
import os, unittest
class A(unittest.TestCase):
    def test_pass(self): self.assertEqual(os.environ["PENSTOCK_BIN_DIR"], "bin")
    def test_fail(self): self.fail("as it should")
    def test_parts(self):
        for n in range(3):
            with self.subTest(n=n): self.assertEqual(n, 9)
    @unittest.skip("why")
    def test_skip(self): pass
class B(unittest.TestCase):
    def tearDown(self): raise ValueError("late")
    def test_twice_bad(self): self.fail("early")
""")
        self.assertEqual(results.last_line(), "1 passed, 3 failed")
        self.assertEqual(results.skipped, 1)
        self.assertEqual(names(results), ["a_test.py/a_test.A.test_fail", "a_test.py/a_test.A.test_parts",
                                          "a_test.py/a_test.B.test_twice_bad"])
        self.assertIn("late", results.failures[2].output)

    def test_a_file_that_does_not_load_is_a_failure(self):
        self.assertEqual(self.run_file("import nothing_of_this_name\n").last_line(), "0 passed, 1 failed")

    def test_a_class_that_can_not_be_set_up_is_a_failure(self):
        results = self.run_file("""
import unittest
class A(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise ValueError("no")
    def test_a(self): pass
""")
        self.assertEqual(results.last_line(), "0 passed, 1 failed")

    def test_a_process_that_dies_keeps_what_was_counted(self):
        results = self.run_file("""
import os, unittest
class A(unittest.TestCase):
    def test_a(self): pass
    def test_b(self): os._exit(3)
""")
        self.assertEqual(results.last_line(), "1 passed, 1 failed")
        self.assertIn("exit 3", results.failures[0].output)


class ThreadSafetyTest(unittest.TestCase):

    def test_an_unguarded_access_is_found_and_torch_is_left_out(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "common").mkdir()
            (root / "common" / "a.h").write_text(
                '#include "absl/synchronization/mutex.h"\n'
                "struct A { absl::Mutex mu; int x ABSL_GUARDED_BY(mu) = 0; };\n")
            (root / "common" / "good.cc").write_text(
                '#include "common/a.h"\nint F(A& a) { absl::MutexLock lock(&a.mu); return a.x; }\n')
            (root / "common" / "torch.cc").write_text('#include "common/a.h"\n#include <torch/torch.h>\n')
            (root / "common" / "plain.cc").write_text("int x;\n")
            self.assertEqual(list(thread_safety.files_to_check(root)), ["common/good.cc"])
            self.assertEqual(thread_safety.check(root, root, root / "cache"), (1, []))
            (root / "common" / "bad.cc").write_text('#include "common/a.h"\nint F(A& a) { return a.x; }\n')
            looked, said = thread_safety.check(root, root, root / "cache")
            self.assertEqual((looked, len(said)), (2, 1))
            self.assertIn("requires holding mutex", said[0])


class CommandLineTest(unittest.TestCase):

    def test_help_says_what_there_is(self):
        done = subprocess.run([sys.executable, str(TESTING / "run_tests.py"), "--help"],
                              capture_output=True, text=True, check=True)
        self.assertIn("--quick", done.stdout)
        self.assertEqual(done.stderr, "")


if __name__ == "__main__":
    unittest.main()
