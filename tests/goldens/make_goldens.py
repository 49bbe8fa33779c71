"""Makes the goldens of tests/worker/torch/golden_test.cc: loss curves of plain PyTorch from Penstock's initial weights.

Run from the checkout's root, with a Python that has torch 2.11 and numpy (it is needed for nothing else):

    bazel build //tests/worker/torch:write_initial
    python3 tests/goldens/make_goldens.py bazel-bin/tests/worker/torch/write_initial [NAME...]

The networks are written out once more here, in PyTorch's own functions. Each curve stands beside others of the same
mathematics, which differ by rounding alone (`_others`: other micro-batchings, float64, another convolution library).
"""
import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F

STEPS, HERE = 12, pathlib.Path(__file__).parent


def load(folder):
    """All tensors of a checkpoint by name; safetensors is a length, a JSON header and bytes."""
    tensors = {}
    for path in sorted(folder.glob('*.safetensors')):
        raw = path.read_bytes()
        size, = struct.unpack('<Q', raw[:8])
        for name, entry in json.loads(raw[8:8 + size]).items():
            if name == '__metadata__' or name.startswith('optimizer.'):
                continue
            begin, end = entry['data_offsets']
            data = bytearray(raw[8 + size + begin:8 + size + end])
            tensors[name] = torch.frombuffer(data, dtype=torch.float32).view(entry['shape']).clone()
    return tensors


def heads(x, n):
    return x.view(x.shape[0], x.shape[1], n, -1).transpose(1, 2)


def attend(q, k, v):
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1)


def gpt(w, x, training):
    def norm(name, x):
        return F.layer_norm(x, x.shape[-1:], w[name + '.weight'], w[name + '.bias'])

    def linear(name, x):
        return F.linear(x, w[name + '.weight'], w[name + '.bias'])

    x = F.embedding(x, w['wte.weight']) + w['wpe.weight']
    for h in ('h.0', 'h.1'):
        q, k, v = linear(h + '.attn.qkv', norm(h + '.ln_1', x)).chunk(3, -1)
        x = x + linear(h + '.attn.proj', attend(heads(q, 4), heads(k, 4), heads(v, 4)))
        x = x + linear(h + '.mlp.proj', F.gelu(linear(h + '.mlp.fc', norm(h + '.ln_2', x)), approximate='tanh'))
    return F.linear(norm('ln_f', x), w['head.weight'])


def gpt_bf16(w, x, training):
    """The same in bfloat16 by explicit casts: each cast's gradient comes back to the float32 weight."""
    def norm(name, x):
        return F.layer_norm(x.float(), x.shape[-1:], w[name + '.weight'], w[name + '.bias']).bfloat16()

    def linear(name, x):
        return F.linear(x, w[name + '.weight'].bfloat16(), w[name + '.bias'].bfloat16())

    x = F.embedding(x, w['wte.weight'].bfloat16()) + w['wpe.weight'].bfloat16()
    for h in ('h.0', 'h.1'):
        q, k, v = linear(h + '.attn.qkv', norm(h + '.ln_1', x)).chunk(3, -1)
        x = x + linear(h + '.attn.proj', attend(heads(q, 4), heads(k, 4), heads(v, 4)))
        x = x + linear(h + '.mlp.proj', F.gelu(linear(h + '.mlp.fc', norm(h + '.ln_2', x)), approximate='tanh'))
    return F.linear(norm('ln_f', x), w['head.weight'].bfloat16()).float()


def rotate(x):
    half, time = x.shape[-1] // 2, torch.arange(x.shape[2], dtype=torch.float64)
    angle = torch.outer(time, 10000 ** -(torch.arange(half, dtype=torch.float64) / half))
    cos, sin = torch.cat([angle.cos()] * 2, -1).to(x.dtype), torch.cat([angle.sin()] * 2, -1).to(x.dtype)
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def llama(w, x, training):
    def norm(name, x):
        return F.rms_norm(x, x.shape[-1:], w[name + '.weight'], 1e-5)

    x = F.embedding(x, w['wte.weight'])
    for l in ('l.0', 'l.1'):
        n = norm(l + '.ln_1', x)
        q, k, v = (heads(F.linear(n, w[f'{l}.attn.{p}.weight']), c) for p, c in (('q', 4), ('k', 2), ('v', 2)))
        k, v = (t.repeat_interleave(2, 1) for t in (rotate(k), v))
        x = x + F.linear(attend(rotate(q), k, v), w[l + '.attn.o.weight'])
        n = norm(l + '.ln_2', x)
        hidden = F.silu(F.linear(n, w[l + '.mlp.gate.weight'])) * F.linear(n, w[l + '.mlp.up.weight'])
        x = x + F.linear(hidden, w[l + '.mlp.down.weight'])
    return F.linear(norm('norm', x), w['head.weight'])


SEEN = {}  # inputs of each BatchNorm during a step: its moving averages get the whole mini-batch's statistics at once


def batch_norm(w, name, x, training):
    if training:
        SEEN.setdefault(name, []).append(x.detach())
    return F.batch_norm(x, w[name + '.running_mean'].clone(), w[name + '.running_var'].clone(), w[name + '.weight'],
                        w[name + '.bias'], training)


def conv(w, x, training):
    x = F.conv2d(x, w['c.0.weight'], w['c.0.bias'], padding=1)
    x = F.max_pool2d(F.relu(batch_norm(w, 'bn.0', x, training)), 2)
    x = F.avg_pool2d(F.relu(batch_norm(w, 'bn.1', F.conv2d(x, w['c.1.weight'], padding=1), training)), 2)
    return F.linear(x.flatten(1), w['fc.weight'], w['fc.bias'])


def resnet(w, x, training):
    def block(name, x, stride):
        y = F.conv2d(x, w[name + '.conv1.weight'], stride=stride, padding=1)
        y = F.conv2d(F.relu(batch_norm(w, name + '.bn1', y, training)), w[name + '.conv2.weight'], padding=1)
        if stride > 1:
            x = batch_norm(w, name + '.down.1', F.conv2d(x, w[name + '.down.0.weight'], stride=stride), training)
        return F.relu(batch_norm(w, name + '.bn2', y, training) + x)

    x = F.relu(batch_norm(w, 'bn1', F.conv2d(x, w['conv1.weight'], padding=1), training))
    x = block('layer2.0', block('layer1.0', x, 1), 2)
    return F.linear(F.avg_pool2d(x, 4).flatten(1), w['fc.weight'], w['fc.bias'])


def unet(w, x, training):
    def layer(name, x):
        return F.relu(F.conv2d(x, w[name + '.weight'], w[name + '.bias'], padding=1))

    def up(name, x):
        return F.conv_transpose2d(x, w[name + '.weight'], w[name + '.bias'], stride=2)

    a = F.relu(batch_norm(w, 'bn', F.conv2d(x, w['c.0.weight'], w['c.0.bias'], padding=1), training))
    b = layer('c.1', F.max_pool2d(a, 2))
    c = layer('c.2', F.max_pool2d(b, 2))
    d = layer('c.3', torch.cat([b, up('up.1', c)], 1))
    e = layer('c.4', torch.cat([a, F.interpolate(d, scale_factor=2)], 1))
    return F.conv2d(e, w['head.weight'], w['head.bias']).mean((2, 3))


def cells(w, x, training):
    def convolve(name, x, **options):
        return batch_norm(w, name + '.bn', F.conv2d(F.relu(x), w[name + '.conv.weight'], **options), training)

    def normal(name, s0, s1):
        a, b = convolve(name + '.r0', s0), convolve(name + '.r1', s1)
        side = convolve(name + '.wide', b, padding=(0, 2))
        c = convolve(name + '.tall', side, padding=(2, 0)) + F.max_pool2d(a, 3, 1, 1)
        d = F.avg_pool2d(c, 3, 1, 1, count_include_pad=False) + convolve(name + '.part', a, padding=2, dilation=2,
                                                                         groups=2)
        return torch.cat([a, c, d], 1)

    def reduced(name, x):
        x = F.relu(x)
        x = torch.cat([F.conv2d(x, w[name + '.conv1.weight'], stride=2),
                       F.conv2d(F.pad(x[:, :, 1:, 1:], (0, 1, 0, 1)), w[name + '.conv2.weight'], stride=2)], 1)
        return batch_norm(w, name + '.bn', x, training)

    stem = batch_norm(w, 'stem.bn', F.conv2d(x, w['stem.conv.weight'], padding=1), training)
    first = normal('cell.0', stem, stem)
    second = normal('cell.1', first, stem)
    x = torch.cat([reduced('small.0', first), reduced('small.1', second)], 1)
    return F.linear(x.mean((2, 3)), w['fc.weight'], w['fc.bias'])


def commit_statistics(w):
    for name, parts in SEEN.items():
        x = torch.cat(parts)
        w[name + '.running_mean'].lerp_(x.mean((0, 2, 3)), 0.1)
        w[name + '.running_var'].lerp_(x.var((0, 2, 3)), 0.1)
    SEEN.clear()


def text_data(folder, length=32):
    raw = list((folder / 'text.txt').read_bytes())
    split = len(raw) * 9 // 10

    def batch(tokens, first, size):
        count = (len(tokens) - 1) // length
        at = [(first + i) % count * length for i in range(size)]
        return (torch.tensor([tokens[a:a + length] for a in at]),
                torch.tensor([tokens[a + 1:a + 1 + length] for a in at]))

    return (lambda step: batch(raw[:split], step * 10, 10)), batch(raw[split:], 0, 10)


def csv_data(folder):
    rows = [[int(c) for c in line.split(',')] for line in (folder / 'images.csv').read_text().splitlines()[1:]]

    def batch(rows, first, size):
        chosen = [rows[(first + i) % len(rows)] for i in range(size)]
        return (torch.tensor([r[:64] for r in chosen]).view(-1, 1, 8, 8) * 0.0625,
                torch.tensor([r[64] for r in chosen]))

    return (lambda step: batch(rows[:160], step * 18, 18)), batch(rows[160:], 0, 18)


def cosine(step):
    if step <= 3:
        return 0.003 * step / 3
    return 0.0003 + (0.003 - 0.0003) * (1 + math.cos(math.pi * (step - 3) / (STEPS - 3))) / 2


def linear_rate(step):
    return 0.003 * step / 2 if step <= 2 else 0.003 + (0.0001 - 0.003) * (step - 2) / (STEPS - 2)


def adamw(w):
    matrices = [p for n, p in w.items() if p.dim() > 1]
    rest = [p for n, p in w.items() if p.dim() <= 1]
    return torch.optim.AdamW([{'params': matrices, 'weight_decay': 0.1}, {'params': rest, 'weight_decay': 0}],
                             betas=(0.9, 0.95), eps=1e-8)


# BatchNorm depends on the micro-batches; these networks don't.
SAME = [{'micro_batches': m} for m in (1, 2, 5)] + [{'dtype': torch.float64}]
NOT_SAME = [{'dtype': torch.float64}, {'mkldnn': False}]


def sgd(w):
    return torch.optim.SGD(w.values(), 1, momentum=0.9, weight_decay=0.001)


JOBS = {
    'gpt': (gpt, text_data, adamw, cosine, 0.7, SAME),
    'gpt_bf16': (gpt_bf16, text_data, adamw, cosine, 0.7, SAME[:3]),
    'llama': (llama, text_data, lambda w: torch.optim.Adam(w.values(), weight_decay=0.01), linear_rate, 0,
              SAME),
    'conv': (conv, csv_data, sgd, lambda step: 0.05, 0, NOT_SAME),
    'resnet': (resnet, csv_data, sgd, lambda step: 0.02, 0, NOT_SAME),
    'unet': (unet, csv_data, sgd, lambda step: 0.02, 0, NOT_SAME),
    'cells': (cells, csv_data, sgd, lambda step: 0.02, 0, NOT_SAME),
}


def train(folder, name, micro_batches=4, dtype=torch.float32, mkldnn=True):
    torch.backends.mkldnn.set_flags(mkldnn)
    network, data, make_optimizer, rate, clip, _ = JOBS[name]
    w = {n: t.to(dtype) for n, t in load(folder / name / 'step-0').items()}
    parameters = {n: t.requires_grad_() for n, t in w.items() if 'running' not in n}
    optimizer, (batches, held_out) = make_optimizer(parameters), data(folder)

    def loss_of(x, y, training):
        out = network(w, x.to(dtype) if x.is_floating_point() else x, training)
        return F.cross_entropy(out.reshape(-1, out.shape[-1]), y.reshape(-1)), out

    curves = {'loss': [], 'grad_norm': []}
    for step in range(1, STEPS + 1):
        x, y = batches(step - 1)
        total = 0.0
        for xs, ys in zip(x.tensor_split(micro_batches), y.tensor_split(micro_batches)):
            loss = loss_of(xs, ys, True)[0] * (len(xs) / len(x))
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), clip or 1e30).item()
        for group in optimizer.param_groups:
            group['lr'] = rate(step)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            commit_statistics(w)
        curves['loss'].append(total)
        curves['grad_norm'].append(norm)
    with torch.no_grad():
        loss, out = loss_of(*held_out, False)
    curves['eval_loss'] = [loss.item()]
    curves['eval_correct'] = int((out.argmax(-1) == held_out[1]).sum())
    return curves


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.argv[1], scratch], check=True)
        for name, job in JOBS.items():
            if sys.argv[2:] and name not in sys.argv[2:]:
                continue
            golden = train(pathlib.Path(scratch), name)
            others = [train(pathlib.Path(scratch), name, **change) for change in job[-1]]
            for curve in ('loss', 'grad_norm', 'eval_loss'):
                golden[curve + '_others'] = [other[curve] for other in others]
            (HERE / f'{name}.json').write_text(json.dumps(golden, indent=1) + '\n')
            print(name, golden['loss'][-1], golden['eval_loss'], golden['eval_correct'])


if __name__ == '__main__':
    main()
