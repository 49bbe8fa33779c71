#!/usr/bin/env python3
"""Writes torch_schedules.txt: the tables of torch.distributed.pipelining, as cases of golden_test.cc.

    PYTHON_WITH_TORCH tests/coordinator/plan/testdata/make_torch_schedules.py

Made with torch 2.11. Only schedules whose rules are the same here and there: LoopedBFS runs its
backwards in descending order, InterleavedZeroBubble has W's of its own, and the last rank of 1F1B
starts with micro-batch 1 in the table that torch draws (not in the one that it runs).
"""

import pathlib

from torch.distributed.pipelining import schedules

CASES = (
    [(schedules.ScheduleGPipe, "gpipe", p, m, 1) for p, m in ((1, 3), (4, 2), (5, 7))]
    + [(schedules.ScheduleInterleaved1F1B, "interleaved", p, m, v)
       for p, m, v in ((1, 4, 2), (2, 2, 2), (2, 6, 3), (3, 6, 2), (3, 9, 4), (4, 3, 2), (4, 4, 3), (4, 10, 2),
                       (5, 5, 2), (6, 18, 2), (8, 16, 2))]
    + [(schedules.ScheduleZBVZeroBubble, "zb-v", p, m, 2)
       for p, m in ((1, 1), (1, 4), (2, 1), (2, 3), (2, 6), (3, 2), (3, 5), (3, 9), (4, 4), (4, 7), (5, 12), (6, 3),
                    (8, 16))]
    + [(schedules.ScheduleDualPipeV, "dualpipe-v", p, m, 2)
       for p, m in ((1, 2), (1, 5), (2, 4), (2, 7), (3, 6), (3, 8), (4, 11), (5, 10), (6, 13), (8, 20))]
)


def word(action) -> str:
    if action.sub_actions is not None:
        return "&".join(word(part) for part in action.sub_actions)
    return f"{action.stage_index}{action.computation_type.value}{action.microbatch_index}"


def table(schedule_class, p: int, m: int, v: int) -> list:
    """The lists of all ranks, without a process group: only the numbers that the rules ask for."""
    schedule = object.__new__(schedule_class)
    schedule._n_microbatches = m
    schedule._num_stages = schedule.num_stages = p * v
    schedule.pp_group_size = p
    schedule.n_local_stages = v
    schedule.number_of_rounds = max(1, m // p)
    schedule.microbatches_per_round = m // schedule.number_of_rounds
    if issubclass(schedule_class, schedules.PipelineScheduleSingle):
        lists = list(schedule._get_pipeline_order().values())
    else:
        lists = [schedule._calculate_single_rank_operations(rank) for rank in range(p)]
    compute = "FBIW"
    return [[word(a) for a in actions
             if a is not None and (a.sub_actions is not None or a.computation_type.value in compute)]
            for actions in lists]


def main() -> None:
    text = ("The tables of torch.distributed.pipelining, written by make_torch_schedules.py.\n")
    for schedule_class, name, p, m, v in CASES:
        text += f"\nschedule {name} ranks={p} chunks={v} micro_batches={m}\n----\n"
        for rank, words in enumerate(table(schedule_class, p, m, v)):
            text += f"  rank {rank}: {' '.join(words)}\n"
    pathlib.Path(__file__).with_name("torch_schedules.txt").write_text(text)


if __name__ == "__main__":
    main()
