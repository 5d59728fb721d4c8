"""Trains the tiny model and writes `tiny.gguf`. Without arguments it makes the committed file; see README.md.

The first part of training is in f32. From `--round-from` on, every step rounds the weights to the file's block
formats and the activations to int8 (straight-through gradients), so the model learns on the grid it will live on.
"""

import argparse
import concurrent.futures
import os
import pathlib
import random
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from corpus import Conversation, conversation, drill, follow_up_drill
from evaluate import held_out_accuracy, print_transcripts
from export import write_gguf
from model import Shape, forward, logits, new_weights, rounded_weights
from optimizer import MixedOptimizer
from vocabulary import Example, Vocabulary, plain_texts

FOLDER = pathlib.Path(__file__).parent
BATCH_TOKENS = 2048
# By default glibc hands large buffers back to the kernel after every operation; the page faults double a step's time.
MEMORY_SETTINGS = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "8000000000", "MALLOC_TOP_PAD_": "268435456", "MALLOC_ARENA_MAX": "1"}
VOCABULARY_TEXTS = 20_000
GROUP_TOKENS = 500
GRADIENT_NORM_MAX = 1.0


@dataclass(frozen=True)
class Stage:
    """Which share of the examples, from a step on, is not drawn from the full mix of conversations."""

    first_step: int
    sums: float
    follow_ups: float


# The mix teaches the form of every reply at once; then plain sums bring the most arithmetic for the fewest tokens;
# then follow-ups, which need both; in the end the mix makes up half.
STAGES = [Stage(0, 0.0, 0.0), Stage(400, 0.8, 0.0), Stage(700, 0.2, 0.4), Stage(1000, 0.35, 0.15)]

# (step, share of the full learning rate), straight lines between: warm-up, constant, decay.
RATE_KNOTS = [(-1, 0.0), (59, 1.0), (900, 1.0), (1000, 5 / 7), (1310, 0.0)]


def main() -> None:
    arguments = parse_arguments()
    restart_with_memory_settings()
    torch.set_num_threads(arguments.threads)
    shape = Shape()
    state = starting_state(arguments, shape)
    if not arguments.evaluate:
        train(arguments, shape, state)
        write_gguf(FOLDER / "tiny.gguf", state["weights"], shape, state["vocabulary"])
    rounded = rounded_weights(state["weights"], shape)
    held_out_accuracy(rounded, shape, state["vocabulary"])
    print_transcripts(rounded, shape, state["vocabulary"])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--steps", type=int, default=RATE_KNOTS[-1][0], help="optimizer steps")
    parser.add_argument("--round-from", type=int, default=950, help="first step on rounded weights and activations")
    parser.add_argument("--muon-rate", type=float, default=0.02, help="learning rate of the layers' matrices")
    parser.add_argument("--adam-rate", type=float, default=3e-3, help="learning rate of everything else")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", type=pathlib.Path, default=FOLDER / "checkpoint.pt", help="resumed from when it exists")
    parser.add_argument("--checkpoint-every", type=int, default=100)
    parser.add_argument("--evaluate", action="store_true", help="no training: measure the checkpoint")
    return parser.parse_args()


def restart_with_memory_settings() -> None:
    """glibc reads its settings only when the process starts."""
    if not MEMORY_SETTINGS.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | MEMORY_SETTINGS)


def starting_state(arguments: argparse.Namespace, shape: Shape) -> dict:
    """The checkpoint's state, or a fresh one: vocabulary, weights, optimizer moments, steps done."""
    if arguments.checkpoint.exists():
        state = torch.load(arguments.checkpoint, weights_only=False)
        return state | {"vocabulary": Vocabulary.from_json(state["vocabulary"])}
    texts = [text for index in range(VOCABULARY_TEXTS) for text in plain_texts(conversation(random.Random(f"vocabulary {index}")))]
    return {"vocabulary": Vocabulary.trained(texts, shape.vocabulary), "weights": new_weights(shape, arguments.seed), "optimizer": None, "step": 0}


def train(arguments: argparse.Namespace, shape: Shape, state: dict) -> None:
    weights = state["weights"]
    for weight in weights.values():
        weight.requires_grad_(True)
    optimizer = MixedOptimizer(weights)
    if state["optimizer"] is not None:
        optimizer.restore(state["optimizer"])
    # Whole groups of rows go to each thread: threads that share one operation wait for each other at every
    # operation, which is slow on a machine that does other work too.
    torch.set_num_threads(1)
    pool = concurrent.futures.ThreadPoolExecutor(arguments.threads)
    tokens, loss_mean, since = 0, 0.0, time.monotonic()
    for step in range(state["step"], arguments.steps):
        examples = batch_at(step, arguments.seed, state["vocabulary"])
        loss = accumulate_gradients(pool, weights, shape, examples, on_grid=step >= arguments.round_from)
        torch.nn.utils.clip_grad_norm_(weights.values(), GRADIENT_NORM_MAX)
        share = rate_share(step)
        optimizer.step(pool, arguments.muon_rate * share, arguments.adam_rate * share)
        tokens += sum(len(example.ids) for example in examples)
        loss_mean += loss / 20
        if (step + 1) % 20 == 0:
            print(f"step {step + 1} loss {loss_mean:.5f} rate {share:.3f} tokens/s {tokens / (time.monotonic() - since):.0f}", flush=True)
            tokens, loss_mean, since = 0, 0.0, time.monotonic()
        if (step + 1) % arguments.checkpoint_every == 0 or step + 1 == arguments.steps:
            save(arguments.checkpoint, state | {"optimizer": optimizer.state(), "step": step + 1})
            held_out_accuracy(rounded_weights(weights, shape), shape, state["vocabulary"], pairs_max=60)
            since = time.monotonic()


def rate_share(step: int) -> float:
    """Share of the full learning rate."""
    steps, shares = zip(*RATE_KNOTS)
    return float(np.interp(step, steps, shares))


def batch_at(step: int, seed: int, vocabulary: Vocabulary) -> list[Example]:
    """The same examples for the same step and seed, wherever training was resumed."""
    rng = random.Random(f"{seed} {step}")
    stage = next(stage for stage in reversed(STAGES) if stage.first_step <= step)
    examples, tokens = [], 0
    while tokens < BATCH_TOKENS:
        examples.append(vocabulary.example(drawn_from(stage, rng)))
        tokens += len(examples[-1].ids)
    return examples


def drawn_from(stage: Stage, rng: random.Random) -> Conversation:
    drills = stage.sums + stage.follow_ups
    draw = rng.random() if drills > 0 else 1.0
    if draw < stage.sums:
        return drill(rng)
    return follow_up_drill(rng) if draw < drills else conversation(rng)


def accumulate_gradients(
    pool: concurrent.futures.Executor, weights: dict[str, torch.Tensor], shape: Shape, examples: list[Example], on_grid: bool
) -> float:
    """Sets the weights' gradients to those of the mean loss per reply token; returns that loss."""
    used = rounded_weights(weights, shape) if on_grid else {name: weight.detach() for name, weight in weights.items()}
    for weight in used.values():
        weight.requires_grad_(True)
    targets = sum(len(example.ids) - example.target_start for example in examples)

    def gradients_of(rows: list[Example]) -> tuple[float, tuple[torch.Tensor, ...]]:
        loss = reply_loss(used, shape, rows, on_grid) / targets
        return loss.item(), torch.autograd.grad(loss, list(used.values()))

    # Added in the order of the groups, so that the sum does not depend on which thread was faster.
    total = 0.0
    for weight in weights.values():
        weight.grad = torch.zeros_like(weight)
    for loss, gradients in pool.map(gradients_of, rows_of_like_length(examples)):
        total += loss
        # Straight through: the gradient at the rounded weight is taken as the weight's own.
        for weight, gradient in zip(weights.values(), gradients):
            weight.grad += gradient
    return total


def rows_of_like_length(examples: list[Example]) -> list[list[Example]]:
    """Groups that waste little on padding and share work evenly between threads; the longest come first."""
    groups: list[list[Example]] = []
    for example in sorted(examples, key=lambda example: -len(example.ids)):
        longest = len(groups[-1][0].ids) if groups else 0
        if groups and len(example.ids) * 1.4 >= longest and longest * len(groups[-1]) < GROUP_TOKENS:
            groups[-1].append(example)
        else:
            groups.append([example])
    return groups


def reply_loss(weights: dict[str, torch.Tensor], shape: Shape, rows: list[Example], int8_activations: bool) -> torch.Tensor:
    """Summed cross entropy over the reply tokens of all rows."""
    longest = max(len(example.ids) for example in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    is_target = torch.zeros(len(rows), longest, dtype=torch.bool)
    for row, example in enumerate(rows):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        is_target[row, example.target_start : len(example.ids)] = True
    hidden = forward(weights, shape, ids[:, :-1], int8_activations)
    wanted = is_target[:, 1:]
    return functional.cross_entropy(logits(weights, hidden[wanted]), ids[:, 1:][wanted], reduction="sum")


def save(path: pathlib.Path, state: dict) -> None:
    """Whole or not at all: a stop in the middle leaves the file before."""
    fresh = path.with_suffix(".new")
    torch.save(state | {"vocabulary": state["vocabulary"].to_json()}, fresh)
    fresh.replace(path)


if __name__ == "__main__":
    main()
