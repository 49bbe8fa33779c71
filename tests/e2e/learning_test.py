"""Networks learn: the digits example reaches its aim on digits it has not seen."""
import pathlib
import unittest

import sandbox


class LearningTest(sandbox.Sandbox):

    @unittest.skipUnless((sandbox.ROOT / "data" / "digits.csv").exists(), "data/digits.csv is made by tools/setup.sh")
    def test_a_small_convolutional_net_reads_held_out_digits(self):
        config = pathlib.Path(sandbox.ROOT / "configs" / "digits.yaml")
        self.penstock("run", "-f", config, "--state-dir", self.state)
        self.assertGreaterEqual(self.summary()["eval_accuracy"], 0.95)


if __name__ == "__main__":
    unittest.main()
