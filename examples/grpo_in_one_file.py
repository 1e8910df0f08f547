"""GRPO from end to end in one file, for reading.

A small Qwen3 learns to sort digits, from scratch, on a laptop:

    python examples/grpo_in_one_file.py --steps 80

What was left out, and where Palaestra has it: a key-value cache with shared prefill (trainer/engines), shared-prefix
training and micro-batches (trainer/learner), multi-turn rollouts (trainer/rollout), judges, checkpoints and resume.
Without a cache every sampled token runs the whole sequence again, which is slow and easy to follow.

Kept exactly: the group advantage with the unbiased standard deviation, log-probabilities recorded at sampling, the
clipped loss averaged over all sampled tokens of the step, no KL term. Axes: P prompts, G rollouts a prompt, B = P * G,
T positions.
"""

from __future__ import annotations

import argparse
import random
import time

import torch
from torch.nn.functional import cross_entropy, log_softmax
from transformers import Qwen3Config, Qwen3ForCausalLM

# ---- the task: "527140>" is answered by "012457" and the end token -------------------------------------------------

CHARACTERS = "0123456789>"
END = len(CHARACTERS)  # also used as padding; the mask tells the two apart
VOCABULARY = len(CHARACTERS) + 1


def encode(text: str) -> list[int]:
    return [CHARACTERS.index(c) for c in text]


def decode(ids: list[int]) -> str:
    return "".join(CHARACTERS[i] for i in ids if i != END)


def draw_tasks(rng: random.Random, count: int, digits: int, held_out: bool) -> list[str]:
    """Digit strings of one side of a split: those whose digit sum is divisible by five are held out."""
    tasks: list[str] = []
    while len(tasks) < count:
        task = "".join(rng.choice("0123456789") for _ in range(digits))
        if (sum(map(int, task)) % 5 == 0) == held_out:
            tasks.append(task)
    return tasks


def reward(task: str, response: str) -> float:
    return float(response == "".join(sorted(task)))


# ---- the policy -----------------------------------------------------------------------------------------------------


def make_policy(hidden: int = 64, layers: int = 2) -> Qwen3ForCausalLM:
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=160, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=2, head_dim=hidden // 2, max_position_embeddings=64,
        tie_word_embeddings=True, initializer_range=hidden**-0.5 / 2, bos_token_id=None, eos_token_id=END,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).float()


def warm_start(policy: Qwen3ForCausalLM, rng: random.Random, digits: int, target: float, max_steps: int) -> int:
    """Supervised learning on solutions until the policy solves some held-out tasks but not most; returns the steps."""
    optimiser = torch.optim.AdamW(policy.parameters(), lr=2e-3, betas=(0.9, 0.99), weight_decay=0.0)
    for step in range(1, max_steps + 1):
        tasks = draw_tasks(rng, 256, digits, held_out=False)
        rows = torch.tensor([[*encode(task + ">" + "".join(sorted(task))), END] for task in tasks])
        logits_BTV = policy(rows[:, :-1]).logits[:, digits:]  # position `digits` is ">", the first that predicts
        loss = cross_entropy(logits_BTV.flatten(0, 1), rows[:, digits + 1 :].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 0 and evaluate(policy, rng, digits)[0] >= target:
            return step
    return max_steps


# ---- rollouts: ids, log-probabilities and masks exactly as sampled ---------------------------------------------------


@torch.no_grad()
def sample(policy: Qwen3ForCausalLM, tasks: list[str], group_size: int, max_new: int, greedy: bool = False):
    """Continue every task `group_size` times.

    Returns:
        ids [B, prompt + T], log-probabilities of the sampled ids [B, T], mask [B, T] which is 1 on sampled tokens, the
        end token included; what follows the end is padding.
    """
    ids = torch.tensor([encode(task + ">") for task in tasks for _ in range(group_size)])
    logps, masks = [], []
    alive = torch.ones(len(ids), dtype=torch.bool)
    for _ in range(max_new):
        logp_BV = log_softmax(policy(ids).logits[:, -1], dim=-1)
        next_B = logp_BV.argmax(-1) if greedy else torch.multinomial(logp_BV.exp(), 1).squeeze(1)
        next_B = torch.where(alive, next_B, END)
        logps.append(logp_BV.gather(1, next_B[:, None]).squeeze(1))
        masks.append(alive.float())
        ids = torch.cat([ids, next_B[:, None]], dim=1)
        alive = alive & (next_B != END)
        if not alive.any():
            break
    return ids, torch.stack(logps, 1), torch.stack(masks, 1)


def evaluate(policy: Qwen3ForCausalLM, rng: random.Random, digits: int, count: int = 256) -> tuple[float, float]:
    """Held-out pass@1 at temperature 1, and the greedy share of right answers beside it."""
    tasks = draw_tasks(rng, count, digits, held_out=True)
    shares = []
    for greedy in (False, True):
        ids, _, _ = sample(policy, tasks, 1, digits + 1, greedy)
        right = [reward(task, decode(row)) for task, row in zip(tasks, ids[:, digits + 1 :].tolist(), strict=True)]
        shares.append(sum(right) / count)
    return shares[0], shares[1]


# ---- the objective --------------------------------------------------------------------------------------------------


def group_advantages(rewards_PG: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    """(r - mean of the group) / (unbiased standard deviation of the group + eps); a group of equal rewards gives 0."""
    centred_PG = rewards_PG - rewards_PG.mean(dim=1, keepdim=True)
    return centred_PG / (rewards_PG.std(dim=1, keepdim=True) + eps)


def token_logprobs(policy: Qwen3ForCausalLM, ids: torch.Tensor, prompt: int) -> torch.Tensor:
    """Log-probabilities [B, T] of everything after the prompt, with gradient."""
    logp_BTV = log_softmax(policy(ids[:, :-1]).logits[:, prompt - 1 :], dim=-1)
    return logp_BTV.gather(2, ids[:, prompt:, None]).squeeze(2)


def grpo_loss(
    logp_BT: torch.Tensor,
    logp_old_BT: torch.Tensor,
    advantages_B: torch.Tensor,
    mask_BT: torch.Tensor,
    clip: float = 0.2,
) -> torch.Tensor:
    """-min(rho A, clip(rho) A), averaged over all sampled tokens."""
    ratio_BT = (logp_BT - logp_old_BT).exp()
    a_BT = advantages_B[:, None]
    surrogate_BT = torch.minimum(ratio_BT * a_BT, ratio_BT.clamp(1 - clip, 1 + clip) * a_BT)
    return -(surrogate_BT * mask_BT).sum() / mask_BT.sum()


# ---- the loop -------------------------------------------------------------------------------------------------------


def train(args: argparse.Namespace) -> tuple[float, float]:
    """Warm start, then GRPO; returns held-out pass@1 before and after."""
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    policy = make_policy()
    steps = warm_start(policy, rng, args.digits, target=0.4, max_steps=args.warmup_steps)
    before, greedy = evaluate(policy, rng, args.digits)
    print(f"after {steps} supervised steps: pass@1 {before:.3f} (greedy {greedy:.3f}) on 256 held-out tasks")

    optimiser = torch.optim.AdamW(policy.parameters(), lr=args.lr, betas=(0.9, 0.99), weight_decay=0.0)
    # Without a warm-up the first steps of Adam, whose second moments know nothing yet, destroy the policy.
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, (step + 1) / 20))
    started = time.perf_counter()
    for step in range(1, args.steps + 1):
        tasks = draw_tasks(rng, args.prompts, args.digits, held_out=False)
        ids, logp_old_BT, mask_BT = sample(policy, tasks, args.group_size, args.digits + 1)
        responses = [decode(row) for row in ids[:, args.digits + 1 :].tolist()]
        rewards_PG = torch.tensor(
            [reward(tasks[b // args.group_size], response) for b, response in enumerate(responses)]
        ).view(args.prompts, args.group_size)
        advantages_B = group_advantages(rewards_PG).flatten()
        for _ in range(args.inner_steps):
            loss = grpo_loss(token_logprobs(policy, ids, args.digits + 1), logp_old_BT, advantages_B, mask_BT)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimiser.step()
        schedule.step()
        if step % 10 == 0 or step == args.steps:
            live = (rewards_PG.std(dim=1) > 0).float().mean()
            print(f"step {step:4d}  reward {rewards_PG.mean():.3f}  groups with a signal {live:.2f}")
    after, greedy = evaluate(policy, rng, args.digits)
    seconds = time.perf_counter() - started
    print(f"after {args.steps} GRPO steps: pass@1 {after:.3f} (greedy {greedy:.3f}), {seconds:.0f} s")
    return before, after


def main(argv: list[str] | None = None) -> tuple[float, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=int, default=6, help="length of the strings to sort")
    parser.add_argument("--steps", type=int, default=80, help="GRPO steps")
    parser.add_argument("--warmup-steps", type=int, default=200, help="most supervised steps")
    parser.add_argument("--prompts", type=int, default=64, help="tasks a step")
    parser.add_argument("--group-size", type=int, default=8, help="rollouts a task")
    parser.add_argument("--inner-steps", type=int, default=2, help="optimiser steps on one batch of rollouts")
    parser.add_argument("--lr", type=float, default=3e-4, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    return train(parser.parse_args(argv))


if __name__ == "__main__":
    main()
