"""The peer: one run of torch.distributed.pipelining on gloo, one thread a rank. Prints seconds a step (median).

The network is step_time/run's: an embedding of tokens and positions, pre-norm GPT blocks, a norm and a head, the blocks
spread evenly over the stages; schedules with two stages a rank place them round robin.
"""
import argparse
import os
import statistics
import sys
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
import torch.nn.functional as F
from torch.distributed.pipelining import (PipelineStage, Schedule1F1B, ScheduleGPipe, ScheduleInterleaved1F1B,
                                          ScheduleInterleavedZeroBubble)

VOCAB, CONTEXT, DIM, HEADS = 1024, 128, 256, 4
SCHEDULES = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B, "interleaved": ScheduleInterleaved1F1B,
             "zero-bubble": ScheduleInterleavedZeroBubble}
CHUNKS = {"interleaved": 2, "zero-bubble": 2}  # stages a rank


class Embed(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, DIM)
        self.positions = nn.Embedding(CONTEXT, DIM)

    def forward(self, ids):
        return self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.qkv, self.attn_proj = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.fc, self.mlp_proj = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(b, t, 3, HEADS, d // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d)
        x = x + self.attn_proj(y)
        return x + self.mlp_proj(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.out = nn.LayerNorm(DIM), nn.Linear(DIM, VOCAB, bias=False)

    def forward(self, x):
        return self.out(self.norm(x))


def loss_of(out, target):
    return F.cross_entropy(out.reshape(-1, VOCAB), target.reshape(-1))


def batch_of(args, step):
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(0, VOCAB, (args.batch, CONTEXT + 1), generator=generator)
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def rank_main(rank, args, queue):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(args.port), GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dist.init_process_group("gloo", rank=rank, world_size=args.ranks)
    layers = [Embed()] + [Block() for _ in range(args.blocks)] + [Head()]
    chunks = CHUNKS.get(args.schedule, 1)
    count = chunks * args.ranks
    each = args.blocks // count
    modules, stages = [], []
    for number in range(rank, count, args.ranks):
        begin = 0 if number == 0 else 1 + number * each
        end = len(layers) if number == count - 1 else 1 + (number + 1) * each
        modules.append(nn.Sequential(*layers[begin:end]))
        stages.append(PipelineStage(modules[-1], number, count, torch.device("cpu")))
    optimizer = torch.optim.AdamW([p for module in modules for p in module.parameters()], lr=1e-3)
    schedule = SCHEDULES[args.schedule](stages if chunks > 1 else stages[0], args.micro_batches, loss_fn=loss_of)
    seconds = []
    for step in range(args.steps):
        inputs, targets = batch_of(args, step)
        dist.barrier()
        start = time.perf_counter()
        last = {"target": targets, "losses": []} if rank == args.ranks - 1 else {}
        schedule.step(*([inputs] if rank == 0 else []), **last)
        optimizer.step()
        optimizer.zero_grad()
        dist.barrier()
        seconds.append(time.perf_counter() - start)
    if rank == 0:
        queue.put(statistics.median(seconds[1:]))
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("ranks", 2), ("micro-batches", 8), ("batch", 32), ("blocks", 8), ("steps", 8), ("port", 29650)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--schedule", choices=SCHEDULES, default="gpipe")
    args = parser.parse_args()
    queue = mp.get_context("spawn").SimpleQueue()
    mp.spawn(rank_main, (args, queue), nprocs=args.ranks)
    print(queue.get())


if __name__ == "__main__":
    sys.exit(main())
