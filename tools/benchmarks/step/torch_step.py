"""The step that step_main.cc times, in plain PyTorch: one process, one thread. The same protocol on stdin and stdout."""
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

DIM, HEADS, TIME, VOCAB, BLOCKS, BATCH, MICRO_BATCHES = 256, 4, 128, 1024, 8, 32, 8


class Embed(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCAB, DIM), nn.Embedding(TIME, DIM)

    def forward(self, ids):
        return self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.qkv, self.proj = nn.LayerNorm(DIM), nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.ln_2, self.fc, self.out = nn.LayerNorm(DIM), nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)

    def forward(self, x):
        batch, length, dim = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(batch, length, 3, HEADS, dim // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(batch, length, dim))
        return x + self.out(F.gelu(self.fc(self.ln_2(x)), approximate='tanh'))


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(Embed(), *[Block() for _ in range(BLOCKS)], nn.LayerNorm(DIM), nn.Linear(DIM, VOCAB, bias=False))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    print('ready', flush=True)
    for _ in sys.stdin:
        tokens = torch.randint(0, VOCAB, (BATCH, TIME + 1))
        begin = time.monotonic()
        for part in tokens.chunk(MICRO_BATCHES):
            out = model(part[:, :-1].contiguous())
            (F.cross_entropy(out.view(-1, VOCAB), part[:, 1:].reshape(-1)) / MICRO_BATCHES).backward()
        optimizer.step()
        optimizer.zero_grad()
        print(time.monotonic() - begin, flush=True)


if __name__ == '__main__':
    main()
