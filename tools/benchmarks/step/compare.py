"""Alternates steps of step_main and torch_step.py and prints the ratio of their times, median and interval.

    bazel build //tools/benchmarks/step:step_main
    PYTHON=…/bin/python python3 tools/benchmarks/step/compare.py bazel-bin/tools/benchmarks/step/step_main [PAIRS]

PYTHON names a Python that has torch 2.11. A second step_main may be given with --against to compare two builds.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys


class Stepper:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().strip() == 'ready', command

    def cpu_seconds(self):
        fields = pathlib.Path(f'/proc/{self.process.pid}/stat').read_text().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def step(self):
        """Wall and processor seconds of a step."""
        before = self.cpu_seconds()
        self.process.stdin.write('step\n')
        self.process.stdin.flush()
        return float(self.process.stdout.readline()), self.cpu_seconds() - before

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('step_main')
    parser.add_argument('pairs', type=int, nargs='?', default=15)
    parser.add_argument('--against')
    args = parser.parse_args()
    peer = pathlib.Path(__file__).with_name('torch_step.py')
    ours = Stepper([args.step_main])
    theirs = Stepper([args.against] if args.against else [os.environ.get('PYTHON', sys.executable), str(peer)])
    for _ in range(2):
        ours.step(), theirs.step()
    pairs = []
    for i in range(args.pairs):
        pairs.append((ours.step(), theirs.step()) if i % 2 else (theirs.step(), ours.step())[::-1])
    ours.close(), theirs.close()
    # Processor time is what counts on a host that is busy with other things.
    for kind, name in enumerate(('wall', 'processor')):
        mine, peers = [a[kind] for a, _ in pairs], [b[kind] for _, b in pairs]
        ratios = sorted(a / b for a, b in zip(mine, peers))
        low, high = ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]
        print(f'{name}: penstock {statistics.median(mine):.3f} s, peer {statistics.median(peers):.3f} s, '
              f'ratio {statistics.median(ratios):.3f} ({low:.3f} .. {high:.3f} for 8 of 10), {len(pairs)} pairs')


if __name__ == '__main__':
    main()
