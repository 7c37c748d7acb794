"""GPTQ in torch, written after Frantar et al. 2022, Algorithm 1, as its users
run it: the peer of bench_gptq. Prints "hessian S" and "solve S" in seconds, the
least of some rounds, for int4, asymmetric, in groups of 128.

usage: gptq_torch.py ROWS COLUMNS [--tokens N] [--rounds N] [--threads N]
"""

import argparse
import time

import torch

LEVELS, GROUP, BLOCK, DAMPING = 15, 128, 128, 0.01


def hessian(x):
    """2 X^T X / tokens of x [tokens, columns], in one batch."""
    x = x * (2 / len(x)) ** 0.5
    return x.t() @ x


def grid(w):
    """Scale and zero point of every row of a group."""
    low = w.amin(1, keepdim=True).clamp(max=0)
    high = w.amax(1, keepdim=True).clamp(min=0)
    scale = ((high - low) / LEVELS).clamp(min=1e-9)
    return scale, torch.round(-low / scale)


def snap(w, scale, zero):
    q = torch.clamp(torch.round(w / scale) + zero, 0, LEVELS)
    return scale * (q - zero)


def inverse_factor(h):
    """The upper Cholesky factor of the damped Hessian's inverse."""
    h = h.clone()
    h.diagonal().add_(DAMPING * h.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    return torch.linalg.cholesky(inverse, upper=True)


def solve(w, h):
    w, out = w.clone(), torch.zeros_like(w)
    factor = inverse_factor(h)
    columns = w.shape[1]
    for first in range(0, columns, BLOCK):
        last = min(first + BLOCK, columns)
        block = w[:, first:last].clone()
        errors = torch.zeros_like(block)
        part = factor[first:last, first:last]
        for i in range(last - first):
            if (first + i) % GROUP == 0:
                scale, zero = grid(w[:, first + i:first + i + GROUP])
            column = block[:, i:i + 1]
            found = snap(column, scale, zero)
            out[:, first + i] = found[:, 0]
            error = (column - found) / part[i, i]
            block[:, i:] -= error @ part[i:i + 1, i:]
            errors[:, i] = error[:, 0]
        w[:, last:] -= errors @ factor[first:last, last:]
    return out


def least(rounds, work):
    seconds = []
    for _ in range(rounds):
        begin = time.monotonic()
        work()
        seconds.append(time.monotonic() - begin)
    return min(seconds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=int)
    parser.add_argument("columns", type=int)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    torch.manual_seed(1)
    x = torch.randn(options.tokens, options.columns)
    w = torch.randn(options.rows, options.columns) * 0.02
    print("hessian", least(options.rounds, lambda: hessian(x)))
    # As many tokens as make it regular.
    h = sum(hessian(torch.randn(options.columns, options.columns))
            for _ in range(2))
    nearest = torch.cat([snap(part, *grid(part))
                         for part in w.split(GROUP, 1)], 1)
    print("solve", least(options.rounds, lambda: solve(w, h)))
    made, plain = ((e @ h * e).sum().item()
                   for e in (solve(w[:64], h) - w[:64], nearest[:64] - w[:64]))
    if made >= plain:
        raise SystemExit("no better than rounding to nearest")


if __name__ == "__main__":
    main()
