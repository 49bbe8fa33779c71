"""Makes optimizers.json and lr_schedules.json: parameters and learning rates step by step, from plain PyTorch.

Run from the checkout's root, with a Python that has torch 2.11 (it is needed for nothing else):

    python3 tests/goldens/make_optimizer_goldens.py

Where torch.optim has the optimizer, it made the golden; Lion and TensorFlow's RMSProp are written out here from their
sources (Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, Algorithm 2; tf.compat.v1's
RMSPropOptimizer), in float64. Learning rates are those of torch.optim.lr_scheduler where it has them; WSD's decays are
those of Hu et al., "MiniCPM" (2024), and Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed
Training Durations" (2024).
"""
import json
import math
import pathlib

import torch

HERE, STEPS, LR = pathlib.Path(__file__).parent, 6, 0.02


def numbers(count, seed):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


class Lion:
    def __init__(self, groups, lr, betas):
        self.param_groups = [{'lr': lr, 'weight_decay': 0, **group} for group in groups]
        self.betas, self.averages = betas, {}

    def step(self):
        first, second = self.betas
        for group in self.param_groups:
            for p in group['params']:
                average = self.averages.get(p, torch.zeros_like(p))
                update = torch.sign(first * average + (1 - first) * p.grad)
                p.data = p.data * (1 - group['lr'] * group['weight_decay']) - group['lr'] * update
                self.averages[p] = second * average + (1 - second) * p.grad


class TensorFlowRmsProp:
    def __init__(self, groups, lr, decay, momentum, epsilon):
        self.param_groups = [{'lr': lr, 'weight_decay': 0, **group} for group in groups]
        self.decay, self.momentum, self.epsilon, self.state = decay, momentum, epsilon, {}

    def step(self):
        for group in self.param_groups:
            for p in group['params']:
                squares, velocity = self.state.get(p, (torch.ones_like(p), torch.zeros_like(p)))
                gradient = p.grad + group['weight_decay'] * p.data
                squares = self.decay * squares + (1 - self.decay) * gradient ** 2
                velocity = self.momentum * velocity + group['lr'] * gradient / torch.sqrt(squares + self.epsilon)
                p.data = p.data - velocity
                self.state[p] = (squares, velocity)


# Each: the options in the text form of v1.Optimizer, and the same for PyTorch. Two parameters: a matrix `a.weight`, and
# a bias `b.bias`, which decoupled decay spares.
def spared(decay, **rest):
    return lambda a, b: [{'params': [a], 'weight_decay': decay}, {'params': [b], 'weight_decay': 0, **rest}]


def both(decay):
    return lambda a, b: [{'params': [a, b], 'weight_decay': decay}]


CASES = {
    'sgd': ('name: SGD momentum: 0.9 weight_decay: 0.1', both(0.1),
            lambda g: torch.optim.SGD(g, LR, momentum=0.9)),
    'adam': ('name: ADAM beta1: 0.9 beta2: 0.95 eps: 1e-8 weight_decay: 0.1', both(0.1),
             lambda g: torch.optim.Adam(g, LR, betas=(0.9, 0.95))),
    'adamw': ('name: ADAMW beta1: 0.9 beta2: 0.95 eps: 1e-8 weight_decay: 0.1', spared(0.1),
              lambda g: torch.optim.AdamW(g, LR, betas=(0.9, 0.95))),
    'rmsprop': ('name: RMSPROP alpha: 0.9 eps: 1e-6 weight_decay: 0.1', both(0.1),
                lambda g: torch.optim.RMSprop(g, LR, alpha=0.9, eps=1e-6)),
    'rmsprop with momentum': ('name: RMSPROP alpha: 0.9 eps: 1e-6 momentum: 0.8', both(0),
                              lambda g: torch.optim.RMSprop(g, LR, alpha=0.9, eps=1e-6, momentum=0.8)),
    'rmsprop of tensorflow': ('name: RMSPROP alpha: 0.9 eps: 0.01 momentum: 0.8 weight_decay: 0.1 tensorflow: true',
                              both(0.1), lambda g: TensorFlowRmsProp(g, LR, 0.9, 0.8, 0.01)),
    'lion': ('name: LION beta1: 0.9 beta2: 0.99 weight_decay: 0.1', spared(0.1), lambda g: Lion(g, LR, (0.9, 0.99))),
    'adamw in groups': ('name: ADAMW beta1: 0.9 beta2: 0.95 eps: 1e-8 weight_decay: 0.1 '
                        'groups { match: "b.*" lr: 0.005 } groups { match: "*" weight_decay: 0.3 }',
                        spared(0.3, lr=0.005), lambda g: torch.optim.AdamW(g, LR, betas=(0.9, 0.95))),
    'sgd in groups': ('name: SGD weight_decay: 0.1 groups { match: "b.*" lr_factor: 0.25 weight_decay: 0.4 }',
                      lambda a, b: [{'params': [a], 'weight_decay': 0.1},
                                    {'params': [b], 'weight_decay': 0.4, 'lr': LR * 0.25}],
                      lambda g: torch.optim.SGD(g, LR)),
}


def train(make_groups, make_optimizer):
    dtype = torch.float64
    a, b = (numbers(size, seed).to(dtype).requires_grad_() for size, seed in ((35, 1), (7, 2)))
    optimizer = make_optimizer(make_groups(a, b))
    for step in range(STEPS):
        a.grad, b.grad = numbers(35, 100 + step).to(dtype), numbers(7, 200 + step).to(dtype)
        optimizer.step()
    return {'a.weight': a.tolist(), 'b.bias': b.tolist()}


def make_optimizers():
    return {
        'lr': LR,
        'start': {'a.weight': numbers(35, 1).tolist(), 'b.bias': numbers(7, 2).tolist()},
        'gradients': [{'a.weight': numbers(35, 100 + step).tolist(), 'b.bias': numbers(7, 200 + step).tolist()}
                      for step in range(STEPS)],
        'cases': [{'name': name, 'options': options, 'end': train(groups, optimizer)}
                  for name, (options, groups, optimizer) in CASES.items()],
    }


def rates(make_scheduler, steps, first):
    """The rates of steps 1 to `steps`; torch counts from 0, and step 1 is its `first`."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.8)
    scheduler = make_scheduler(optimizer)
    result = []
    for _ in range(first + steps):
        result.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    return result[first:]


def wsd(left, steps, warmup, decay, minimum):
    def rate(step):
        if step <= warmup:
            return 0.8 * step / warmup
        if step <= steps - decay:
            return 0.8
        return minimum + (0.8 - minimum) * left((step - (steps - decay)) / decay)
    return [rate(step) for step in range(1, steps + 1)]


def make_schedules():
    schedulers = torch.optim.lr_scheduler
    return [
        {'train': 'steps: 12 lr_schedule { name: STEP step_size: 5 gamma: 0.1 }',
         'rates': rates(lambda o: schedulers.StepLR(o, 5, 0.1), 12, 0)},
        {'train': 'steps: 12 lr_schedule { name: POLYNOMIAL power: 2 }',
         'rates': rates(lambda o: schedulers.PolynomialLR(o, 12, 2.0), 12, 1)},
        {'train': 'steps: 12 lr_schedule { name: POLYNOMIAL power: 0.5 }',
         'rates': rates(lambda o: schedulers.PolynomialLR(o, 12, 0.5), 12, 1)},
        {'train': 'steps: 12 lr_schedule { name: COSINE min_lr: 0.1 }',
         'rates': rates(lambda o: schedulers.CosineAnnealingLR(o, 12, 0.1), 12, 1)},
        {'train': 'steps: 20 lr_schedule { name: WSD warmup_steps: 4 decay_steps: 6 decay: DECAY_LINEAR min_lr: 0.2 }',
         'rates': wsd(lambda x: 1 - x, 20, 4, 6, 0.2)},
        {'train': 'steps: 20 lr_schedule { name: WSD decay_steps: 8 decay: DECAY_COSINE }',
         'rates': wsd(lambda x: (1 + math.cos(math.pi * x)) / 2, 20, 0, 8, 0)},
        {'train': 'steps: 20 lr_schedule { name: WSD warmup_steps: 2 decay_steps: 18 decay: DECAY_SQRT }',
         'rates': wsd(lambda x: 1 - math.sqrt(x), 20, 2, 18, 0)},
    ]


def main():
    torch.set_num_threads(1)
    (HERE / 'optimizers.json').write_text(json.dumps(make_optimizers()) + '\n')
    (HERE / 'lr_schedules.json').write_text(json.dumps(make_schedules(), indent=1) + '\n')


if __name__ == '__main__':
    main()
