"""What a test run found, counted by test case."""

import dataclasses
import xml.etree.ElementTree as ElementTree


@dataclasses.dataclass
class Failure:
    name: str
    output: str


class Results:
    """Passed cases by number, failed ones by name with their output."""

    def __init__(self):
        self.passed = 0
        self.skipped = 0
        self.failures = []

    def add_pass(self, count: int = 1) -> None:
        self.passed += count

    def add_failure(self, name: str, output: str) -> None:
        self.failures.append(Failure(name, output.rstrip()))

    def last_line(self) -> str:
        return f"{self.passed} passed, {len(self.failures)} failed"

    def exit_code(self) -> int:
        """0 when something ran and nothing failed."""
        return 0 if self.passed > 0 and not self.failures else 1

    def report(self) -> None:
        """Prints each failure with its output, then all their names, then the counts."""
        for failure in self.failures:
            print(f"\n---- FAILED {failure.name}")
            print(failure.output)
        if self.failures:
            print("\nFailed:")
            for failure in self.failures:
                print(f"  {failure.name}")
        if self.skipped:
            print(f"({self.skipped} skipped)")
        if self.passed == 0 and not self.failures:
            print("no test ran")
        print(self.last_line(), flush=True)


def last_lines(text: str, count: int = 120) -> str:
    lines = text.rstrip().splitlines()
    if len(lines) <= count:
        return "\n".join(lines)
    return "\n".join([f"[... {len(lines) - count} lines ...]"] + lines[-count:])


def add_test_xml(results: Results, prefix: str, xml_text: str, log: str, target_passed: bool) -> None:
    """Counts the cases of one test program, from the XML that it, or Bazel for it, wrote.

    A program that failed although no case did (it crashed after them, or timed out) is
    one failure by the target's name, with its log.
    """
    failed = 0
    for case in ElementTree.fromstring(xml_text).iter("testcase"):
        if case.get("status") == "notrun":
            continue  # Disabled: it says so in its name.
        name = prefix + "/" + ".".join(part for part in (case.get("classname"), case.get("name")) if part)
        messages = [node for node in case if node.tag in ("failure", "error")]
        if messages:
            failed += 1
            texts = [node.get("message") or node.text or "" for node in messages]
            # Bazel's own XML, for a program that wrote none, has only the exit code.
            if any(node.tag == "error" for node in messages):
                texts.append(last_lines(log))
            results.add_failure(name, "\n".join(texts))
        elif case.get("result") == "skipped" or case.find("skipped") is not None:
            results.skipped += 1
        else:
            results.add_pass()
    if not target_passed and failed == 0:
        results.add_failure(prefix, last_lines(log))
