"""The text encoder: learns the content of captions, then is frozen.

    python train_text.py --work WORK --steps 600       resumable, writes WORK/text.pt

Task: from the hidden state at <|endoftext|> and at every padding position after it (the UNet attends to all 77), predict
each part of the scene that the caption states. "Nothing said" is a separate class, for parts that a caption omits, the
empty text and the words of negative prompts. "a blue mug on a red background" and its converse get different labels, so
colours must bind to objects. A quarter of the captions have unknown words in between, which must change nothing.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import CLIPTokenizer

from model import TEXT_LENGTH, TEXT_WIDTH, make_text_encoder
from precision import mixed
from studio.backdrops import BACKGROUNDS
from studio.captions import empty_caption, tell
from studio.catalogue import COLOURS, KINDS
from studio.scenes import ARRANGEMENTS, CAMERAS, LIGHTS, SIZES, scene
from studio.vocabulary import MATERIAL_WORDS
from wording import unknown_word, with_unknown_words

PARTS: dict[str, list] = {
    "kind": list(KINDS), "colour": list(COLOURS), "background": list(BACKGROUNDS), "count": [1, 2, 3], "material": list(MATERIAL_WORDS),
    "camera": list(CAMERAS), "light": list(LIGHTS), "size": list(SIZES), "arrangement": list(ARRANGEMENTS)}
WEIGHTS = {"kind": 1.0, "colour": 1.0, "background": 1.0, "count": 0.7}  # others: 0.4
HELD_OUT_SEED, FIRST_SEED = 900_000_000, 100_000_000  # scenes that are in no picture
UNKNOWN, EMPTY = 0.25, 0.08


def example(seed: int) -> tuple[str, list[int]]:
    """A caption and its label for every part; the last class of each is "nothing said"."""
    rng = random.Random(f"text-{seed}")
    if rng.random() < EMPTY:
        text, said = empty_caption(seed) if rng.random() < 0.7 else unknown_word(rng), {}
    else:
        told = tell(scene(seed), seed)
        text, said = told.text, told.said
    if rng.random() < UNKNOWN:
        text = with_unknown_words(text, rng)
    return text, [values.index(said[part]) if part in said else len(values) for part, values in PARTS.items()]


def examples(first: int, count: int) -> tuple[list[str], torch.Tensor]:
    """Captions and their labels [count, parts]."""
    texts, labels = zip(*(example(first + i) for i in range(count)))
    return list(texts), torch.tensor(labels)


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Token ids [n, 77], as the diffusers pipeline makes them."""
    return tokenizer(texts, padding="max_length", max_length=TEXT_LENGTH, truncation=True, return_tensors="pt").input_ids


class Reader(torch.nn.Module):
    """The encoder with one linear head per part."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.encoder = make_text_encoder(vocabulary)
        self.heads = torch.nn.ModuleList(torch.nn.Linear(TEXT_WIDTH, len(values) + 1) for values in PARTS.values())

    def forward(self, ids: torch.Tensor) -> list[torch.Tensor]:
        hidden = self.encoder(ids)[0]
        return [head(hidden) for head in self.heads]


def loss_and_accuracy(answers: list[torch.Tensor], labels: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross entropy over end and padding positions, and the share of right answers at the last position."""
    after = (ids == ids[0, -1]).float()
    weight = after / after.sum(1, keepdim=True)
    loss, right = torch.zeros((), device=ids.device), {}
    for i, (part, answer) in enumerate(zip(PARTS, answers)):
        answer = answer.float()
        each = F.cross_entropy(answer.transpose(1, 2), labels[:, i:i + 1].expand(-1, ids.shape[1]), reduction="none")
        loss = loss + WEIGHTS.get(part, 0.4) * (each * weight).sum(1).mean()
        right[part] = (answer[:, -1].argmax(-1) == labels[:, i]).float().mean().item()
    return loss, right


def said(right: dict[str, float]) -> str:
    return ", ".join(f"{part} {share:.3f}" for part, share in right.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(args.work / "tokenizer")
    reader = Reader(len(tokenizer)).to(args.device)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=args.steps, pct_start=0.1)
    path, step, spent = args.work / "text-training.pt", 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True)
        reader.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        step, spent = state["step"], state["spent"]
    start = time.time() - spent
    while step < args.steps:
        texts, labels = examples(FIRST_SEED + step * args.batch, args.batch)
        ids, labels = tokenize(tokenizer, texts).to(args.device), labels.to(args.device)
        with mixed(args.device):
            answers = reader(ids)
        loss, right = loss_and_accuracy(answers, labels, ids)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        step += 1
        if step % 25 == 0:
            print(f"step {step} loss {loss.item():.3f} right: {said(right)}, {time.time() - start:.0f} s", flush=True)
        if step % 100 == 0:
            torch.save({"model": reader.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "step": step,
                        "spent": time.time() - start}, path)
    with torch.inference_mode():
        texts, labels = examples(HELD_OUT_SEED, 1024)
        ids = tokenize(tokenizer, texts).to(args.device)
        loss, right = loss_and_accuracy(reader.eval()(ids), labels.to(args.device), ids)
    print(f"held out: loss {loss.item():.3f} right: {said(right)}")
    torch.save({"model": reader.encoder.state_dict()}, args.work / "text.pt")


if __name__ == "__main__":
    main()
