"""One of two processes that send each other tensors over torch.distributed's gloo, for tools/benchmarks/wire/run.

    gloo_peer.py RANK PORT

Takes the commands "throughput BYTES COUNT" and "latency BYTES COUNT" on stdin and answers as wire_bench does. Tensors
are sent as gloo does it best: without waiting, up to eight under way.
"""
import collections
import json
import sys
import time

import torch
import torch.distributed as dist

QUEUED = 8


def throughput(rank, size, count):
    tensors = [torch.full((size,), 7, dtype=torch.uint8) for _ in range(QUEUED)]
    token, under_way = torch.zeros(1, dtype=torch.uint8), collections.deque()
    start = 0.0
    for number in range(count + QUEUED):
        if number == QUEUED:  # the first ones warm up
            finish(rank, token, under_way)
            start = time.perf_counter()
        if len(under_way) == QUEUED:
            under_way.popleft().wait()
        move = dist.isend if rank == 0 else dist.irecv
        under_way.append(move(tensors[number % QUEUED], 1 - rank))
    finish(rank, token, under_way)
    seconds = time.perf_counter() - start
    return {"gb_per_s": size * count / seconds / 1e9, "us_per_tensor": seconds * 1e6 / count} if rank == 0 else {}


def finish(rank, token, under_way):
    """Returns when the receiver has taken everything."""
    while under_way:
        under_way.popleft().wait()
    (dist.recv if rank == 0 else dist.send)(token, 1 - rank)


def latency(rank, size, count):
    there, back = (torch.full((size,), 7, dtype=torch.uint8) for _ in range(2))
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        if rank == 0:
            dist.send(there, 1)
        dist.recv(back, 1 - rank)
        if rank == 1:
            dist.send(there, 0)
        seconds.append(time.perf_counter() - start)
    seconds = sorted(seconds[count // 10:])
    if rank == 1:
        return {}
    return {"one_way_us": seconds[len(seconds) // 2] * 5e5, "p99_us": seconds[len(seconds) * 99 // 100] * 5e5}


def main():
    rank, port = int(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    print("ready", flush=True)
    commands = {"throughput": throughput, "latency": latency}
    for line in sys.stdin:
        command, size, count = line.split()
        print(json.dumps(commands[command](rank, int(size), int(count))), flush=True)


if __name__ == "__main__":
    main()
