"""Each rule of tools/tree_check.py finds what it is for, and lets the rest pass."""

import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))

import tree_check  # pylint: disable=wrong-import-position


def rules(path: str, source: str) -> list:
    return [finding.rule for finding in tree_check.check_file(path, source)]


def function(lines: int) -> str:
    return "int F(int x) {\n" + "  ++x;\n" * (lines - 3) + "  return x;\n}\n"


class Sizes(unittest.TestCase):

    def test_long_file_is_found(self):
        self.assertEqual(rules("common/a.cc", "int x;\n" * 401), ["file-size"])
        self.assertEqual(rules("common/a.cc", "int x;\n" * 400), [])
        self.assertEqual(rules("docs/a.md", "text\n" * 4000), [])

    def test_long_function_is_found_at_its_first_line(self):
        source = "namespace a {\nnamespace {\n\nint before = 0;\n\n" + function(71) + "\n}\n}\n"
        findings = tree_check.check_file("common/a.cc", source)
        self.assertEqual([(f.line, f.rule) for f in findings], [(6, "function-size")])
        self.assertEqual(rules("common/a.cc", source.replace(function(71), function(70))), [])

    def test_methods_are_functions_and_classes_are_not(self):
        method = "  int Get() const {\n" + "    Call();\n" * 30 + "  }\n"
        source = "class A final : public B<C> {\n public:\n" + method * 4 + " private:\n  int x_;\n};\n"
        self.assertEqual(rules("common/a.h", source), [])
        long_method = "  void Set() {\n" + "    Call();\n" * 80 + "  }\n"
        self.assertEqual(rules("common/a.h", source.replace(method, long_method, 1)), ["function-size"])

    def test_blocks_inside_a_function_count_as_one(self):
        body = "  if (x) {\n    Call([&] { return \"}\"; });\n  }\n" * 24
        self.assertEqual(rules("common/a.cc", "void F() {\n" + body + "}\n"), ["function-size"])

    def test_braces_in_comments_and_literals_do_not_count(self):
        source = "void F() {\n  // {\n  /* { */ char c = '{'; int n = 1'000;\n  s = R\"({{)\";\n}\n"
        self.assertEqual(list(tree_check.cpp_functions(source * 3)), [(1, 5), (6, 10), (11, 15)])

    def test_tables_are_not_functions(self):
        self.assertEqual(rules("model/a.cc", "const int kTable[] = {\n" + "  1,\n" * 90 + "};\n"), [])

    def test_python_and_shell_functions_are_measured(self):
        python = "def f():\n" + "    pass\n" * 71
        shell = "#!/usr/bin/env bash\nf() {\n" + "  true\n" * 71 + "}\n"
        self.assertEqual(rules("tools/a.py", python), ["function-size"])
        self.assertEqual(rules("tests/run", shell), ["function-size"])


class Includes(unittest.TestCase):

    def test_rooms_that_may_not_meet(self):
        for path, included in [
            ("coordinator/core.cc", "worker/runtime/mailbox.h"),
            ("worker/service.cc", "coordinator/core.h"),
            ("worker/device/a.cc", "worker/torch/stage.h"),
            ("worker/runtime/a.cc", "worker/torch/stage.h"),
            ("coordinator/plan/a.cc", "coordinator/core.h"),
            ("common/a.cc", "model/cost.h"),
            ("cli/a.cc", "coordinator/core.h"),
            ("model/a.cc", "tests/a.h"),
        ]:
            with self.subTest(path=path):
                self.assertEqual(rules(path, f'#include "{included}"\n'), ["include-graph"])

    def test_rooms_that_may(self):
        for path, included in [
            ("coordinator/core.cc", "coordinator/plan/planner.h"),
            ("worker/torch/a.cc", "worker/runtime/executor.h"),
            ("common/checkpoint/a.cc", "common/file.h"),
            ("spec/a.cc", "model/layer.h"),
            ("spec/a.cc", "coordinator/plan/validate.h"),
            ("worker/device/a.cc", "worker/torch/torch.h"),
            ("tests/worker/a_test.cc", "worker/torch/stage.h"),
            ("cli/a.cc", "absl/status/status.h"),
        ]:
            with self.subTest(path=path):
                self.assertEqual(rules(path, f'#include "{included}"\n'), [])


class Homes(unittest.TestCase):

    def test_each_thing_away_from_home_is_found(self):
        for line, rule in [
            ("#include <torch/types.h>", "torch"),
            ("#include <ATen/ops/ones.h>", "torch"),
            ("#include <yaml-cpp/yaml.h>", "yaml"),
            ("#include <glog/logging.h>", "glog"),
            ("auto t = std::chrono::steady_clock::now();", "clock"),
            ("auto t = absl::Now();", "clock"),
            ("srand(time(nullptr));", "clock"),
            ("} catch (const std::exception& e) {", "catch"),
            ("return grpc::Status(code, text);", "grpc-status"),
            ("std::mutex mu;", "mutex"),
            ("std::shared_mutex mu;", "mutex"),
        ]:
            with self.subTest(line=line):
                self.assertEqual(rules("coordinator/core.cc", line + "\n"), [rule])

    def test_at_home_and_in_comments_it_may_stand(self):
        for path, line in [
            ("worker/torch/stage.cc", "#include <torch/types.h>"),
            ("common/yaml.cc", "} catch (const YAML::Exception& e) {"),
            ("common/clock.cc", "return absl::Now();"),
            ("tests/common/a_test.cc", "const absl::Time start = absl::Now();"),
            ("model/a.cc", "// std::mutex would do; absl::Now() too"),
            ("model/a.cc", 'Print("catch (me)");'),
            ("model/a.cc", "grpc::Status Run(); forward_time(0);"),
            ("model/a.cc", "std::function<grpc::Status(int)> call;"),
        ]:
            with self.subTest(path=path, line=line):
                self.assertEqual(rules(path, line + "\n"), [])

    def test_sleep_in_a_test_is_found(self):
        self.assertEqual(rules("tests/common/a_test.cc", "absl::SleepFor(absl::Seconds(1));\n"), ["sleep"])
        self.assertEqual(rules("tests/common/a_test.cc", "executor.sleep(1);\n"), [])

    def test_path_of_one_machine_is_found(self):
        self.assertEqual(rules("docs/a.md", "see /" + "work/main/x\n"), ["machine-path"])
        self.assertEqual(rules("docs/a.md", "https://example.org/work/page, /home/you/work/x\n"), [])


class Tree(unittest.TestCase):

    def test_without_git_on_the_machine_the_folder_is_walked(self):
        with mock.patch.dict(os.environ, PATH="/nowhere"):
            self.test_outside_git_the_folder_is_walked()

    def test_outside_git_the_folder_is_walked(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "common").mkdir()
            (root / "data").mkdir()
            (root / "common" / "a.cc").write_text("std::mutex mu;\n")
            (root / "data" / "b.cc").write_text("std::mutex mu;\n")
            findings = tree_check.check_tree(root)
            self.assertEqual([str(f) for f in findings],
                             ["common/a.cc:1: absl::Mutex: annotated, and known to the race detector [mutex]"])
            self.assertEqual(tree_check.main([folder]), 1)

    def test_this_project_obeys_the_rules_about_rooms(self):
        root = pathlib.Path(__file__).resolve().parents[2]
        for room, allowed in tree_check.ROOMS.items():
            for other in allowed:
                self.assertIn(other, tree_check.ROOMS, room)
        self.assertTrue(tree_check.files_of(root))


if __name__ == "__main__":
    unittest.main()
