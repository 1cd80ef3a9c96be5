"""Captions of the packed scenes -> WORK/tokens.npy, int16 [n, 32, 77]: 32 wordings of each scene, as token ids.

    python tokens.py --work WORK        after pack.py; run it again when there are more pictures

One in ten is empty, for classifier-free guidance (Ho and Salimans 2022); one in twenty has unknown words in between.
"""

from __future__ import annotations

import argparse
import functools
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from transformers import CLIPTokenizer

from model import TEXT_LENGTH
from pack import saved
from studio.captions import caption, empty_caption
from studio.scenes import scene
from train_text import tokenize
from wording import with_unknown_words

WORDINGS, NOTHING_SAID, UNKNOWN = 32, 0.10, 0.05


def wordings(seed: int) -> list[str]:
    rng, shown, texts = random.Random(f"wordings-{seed}"), scene(seed), []
    for _ in range(WORDINGS):
        dice, chance = rng.random(), rng.getrandbits(30)
        text = empty_caption(chance) if dice < NOTHING_SAID else caption(shown, chance)
        texts.append(with_unknown_words(text, rng) if dice > 1 - UNKNOWN else text)
    return texts


@functools.cache
def tokenizer_in(folder: Path) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(folder)


def tokens_of(folder: Path, seeds: list[int]) -> np.ndarray:
    texts = [text for seed in seeds for text in wordings(seed)]
    return tokenize(tokenizer_in(folder), texts).numpy().astype(np.int16).reshape(len(seeds), WORDINGS, TEXT_LENGTH)


def write(work: Path) -> None:
    file, seeds = work / "tokens.npy", np.load(work / "seeds.npy").tolist()
    known = np.load(file) if file.exists() else np.empty((0, WORDINGS, TEXT_LENGTH), np.int16)
    parts = [seeds[i:i + 100] for i in range(len(known), len(seeds), 100)]
    with ProcessPoolExecutor() as pool:
        saved(file, np.concatenate([known, *pool.map(functools.partial(tokens_of, work / "tokenizer"), parts)]))
    print(f"{len(seeds) - len(known)} new scenes, {len(seeds)} in all")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    write(parser.parse_args().work)
