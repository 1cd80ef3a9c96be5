"""Words that people add to a prompt and the model does not know, in any script.

The text encoder is trained to ignore them, so that "a vegan gluten-free croissant à la carte" is a croissant.
"""

from __future__ import annotations

import random

CONSONANTS, VOWELS = ["b", "c", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st", "tr", "ch", "sh", "z"], "aeiouy"
# Greek, Cyrillic, Hebrew, Arabic, Devanagari, Hangul, kana, Han, and what phones put between words
SCRIPTS = [(0x3B1, 0x3C9), (0x430, 0x44F), (0x5D0, 0x5EA), (0x627, 0x64A), (0x905, 0x939), (0xAC00, 0xD7A3), (0x3041, 0x30F6),
           (0x4E00, 0x9FA5), (0x1F300, 0x1F64F)]


def unknown_word(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.75:
        word = "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(1, 4)))
        return word + rng.choice(["", "", "", "n", "s", "r", "l", "t", "ed", "ing", "ly"])
    if kind < 0.85:
        return str(rng.randint(4, 9999))
    low, high = rng.choice(SCRIPTS)
    return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 6)))


def with_unknown_words(text: str, rng: random.Random) -> str:
    """The text with one to nine unknown words between its own."""
    words = text.split(" ") if text else []
    for _ in range(rng.randint(1, 3) if rng.random() < 0.8 else rng.randint(4, 9)):
        words.insert(rng.randint(0, len(words)), unknown_word(rng))
    return " ".join(words)
