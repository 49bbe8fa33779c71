#!/usr/bin/env python3
"""Runs the unittest cases of one file and writes what became of each as JSON lines.

    run_unittest.py TEST_FILE RESULT_FILE

A line has "name", "outcome" (passed, failed or skipped) and "output".
"""

import importlib.util
import json
import pathlib
import sys
import unittest


class _Recorder(unittest.TextTestResult):
    """One line for each test, however many of its parts (subtests, tearDown) fail."""

    def __init__(self, file):
        super().__init__(unittest.runner._WritelnDecorator(sys.stderr), descriptions=False, verbosity=2)
        self._file = file
        self._outcome = "passed"
        self._output = ""

    def _write(self, test, outcome, output):
        # At once, so that a later crash loses none.
        self._file.write(json.dumps({"name": test.id(), "outcome": outcome, "output": output}) + "\n")
        self._file.flush()

    def _fail(self, output):
        self._outcome = "failed"
        self._output += output + "\n"

    def startTest(self, test):
        super().startTest(test)
        self._outcome, self._output = "passed", ""

    def stopTest(self, test):
        super().stopTest(test)
        self._write(test, self._outcome, self._output)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._fail(self._exc_info_to_string(err, test))

    def addError(self, test, err):
        super().addError(test, err)
        text = self._exc_info_to_string(err, test)
        if isinstance(test, unittest.TestCase):
            self._fail(text)
        else:
            self._write(test, "failed", text)  # setUpClass and the like: no test was started.

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._fail(f"{subtest}\n{self._exc_info_to_string(err, test)}")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._fail("it was expected to fail")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if self._outcome == "passed":
            self._outcome, self._output = "skipped", reason


def main(arguments: list) -> int:
    path, result_path = pathlib.Path(arguments[0]).resolve(), pathlib.Path(arguments[1])
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    with result_path.open("w", encoding="utf-8") as file:
        recorder = _Recorder(file)
        unittest.defaultTestLoader.loadTestsFromModule(module).run(recorder)
    return 0 if recorder.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
