"""The text encoder: learns what a caption says, then is frozen.

    python train_text.py --work WORK --steps 700       writes WORK/text.pt

Task: from the hidden state at <|endoftext|> and at every padding place after it (the UNet attends to all 77), tell kind,
colour, background and light of the scene; "nothing said" is a class of its own, for the empty text and for the words of
negative prompts. "a blue mug on a red background" and its converse get different labels, so colour has to bind.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import CLIPTokenizer

from model import TEXT_WIDTH, make_text_encoder
from scenes import BACKGROUNDS, COLOURS, KINDS, LIGHTS, caption, empty_caption, sample_scene

CLASSES = [[*KINDS], [*COLOURS], [*BACKGROUNDS], [*LIGHTS]]
WEIGHTS = (1.0, 1.0, 1.0, 0.2)


def examples(seed: int, count: int) -> tuple[list[str], torch.Tensor]:
    """Captions and their labels [count, 4]; the last class of each is "nothing said"."""
    rng, texts, labels = random.Random(seed), [], []
    for i in range(count):
        if rng.random() < 0.08:
            texts.append(empty_caption(rng))
            labels.append([len(c) for c in CLASSES])
        else:
            scene = sample_scene(1_000_000 + seed * count + i)
            texts.append(caption(scene, rng))
            labels.append([c.index(v) for c, v in zip(CLASSES, (scene.kind, scene.colour, scene.background, scene.light))])
    return texts, torch.tensor(labels)


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Token ids [n, 77], as the diffusers pipeline makes them."""
    return tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids


class Reader(torch.nn.Module):
    """The encoder with one linear head per question."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = make_text_encoder()
        self.heads = torch.nn.ModuleList(torch.nn.Linear(TEXT_WIDTH, len(c) + 1) for c in CLASSES)

    def forward(self, ids: torch.Tensor) -> list[torch.Tensor]:
        hidden = self.encoder(ids)[0]
        return [head(hidden) for head in self.heads]


def loss_and_accuracy(answers: list[torch.Tensor], labels: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, list[float]]:
    """Cross entropy over end and padding places, and the share of right answers at the last place."""
    after = (ids == ids[0, -1]).float()
    weight = after / after.sum(1, keepdim=True)
    loss, right = torch.zeros(()), []
    for i, answer in enumerate(answers):
        answer = answer.float()
        each = F.cross_entropy(answer.transpose(1, 2), labels[:, i:i + 1].expand(-1, ids.shape[1]), reduction="none")
        loss = loss + WEIGHTS[i] * (each * weight).sum(1).mean()
        right.append((answer[:, -1].argmax(-1) == labels[:, i]).float().mean().item())
    return loss, right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(args.work / "tokenizer")
    reader = Reader()
    optimizer = torch.optim.AdamW(reader.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=args.steps, pct_start=0.1)
    start = time.time()
    for step in range(args.steps):
        texts, labels = examples(step + 1, args.batch)
        ids = tokenize(tokenizer, texts)
        with torch.autocast("cpu", torch.bfloat16):
            answers = reader(ids)
        loss, right = loss_and_accuracy(answers, labels, ids)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 25 == 24:
            print(f"step {step + 1} loss {loss.item():.3f} right: kind {right[0]:.2f} colour {right[1]:.2f} background "
                  f"{right[2]:.2f} light {right[3]:.2f}, {time.time() - start:.0f} s", flush=True)
    with torch.inference_mode():
        texts, labels = examples(0, 512)
        ids = tokenize(tokenizer, texts)
        loss, right = loss_and_accuracy(reader.eval()(ids), labels, ids)
    print(f"held out: loss {loss.item():.3f} right: kind {right[0]:.3f} colour {right[1]:.3f} background {right[2]:.3f}")
    torch.save({"model": reader.encoder.state_dict()}, args.work / "text.pt")


if __name__ == "__main__":
    main()
