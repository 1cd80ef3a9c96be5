"""AUTOMATIC1111's rules for prompts, told a second time so that the engine's own are not compared with themselves.

`stretches` splits a prompt by weight, `windows` lays it out for the text encoder, `weighed` applies weights to its states.
Every function here is written from the rules, none is taken over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from torch import Tensor

WINDOW = 75
BACKTRACK = 20
NUMBER = re.compile(r":\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))\s*\)")


@dataclass
class Stretch:
    text: str
    weight: float = 1.0


def stretches(prompt: str) -> list[Stretch]:
    """Reads character by character; a stack for each kind of bracket holds where its content begins."""
    out: list[Stretch] = []
    open_at: dict[str, list[int]] = {"(": [], "[": []}
    plain = ""

    def flush() -> None:
        nonlocal plain
        if plain:
            for number, part in enumerate(re.split(r"\s*\bBREAK\b\s*", plain)):
                out.extend([Stretch("BREAK", -1.0)] if number else [])
                out.append(Stretch(part))
            plain = ""

    def close(kind: str, factor: float) -> None:
        for entry in out[open_at[kind].pop():]:
            entry.weight = entry.weight * factor

    at = 0
    while at < len(prompt):
        char = prompt[at]
        if char == "\\":
            flush()
            escaped = prompt[at + 1:at + 2] if prompt[at + 1:at + 2] in ("(", ")", "[", "]", "\\") else ""
            out.append(Stretch(escaped))
            at += 1 + len(escaped)
            continue
        if char in "([":
            flush()
            open_at[char].append(len(out))
        elif char == ":":
            # what follows a colon is looked at alone, so BREAK is not searched across it
            flush()
            number = NUMBER.match(prompt, at)
            if number and open_at["("]:
                close("(", float(number[1]))
                at = number.end()
                continue
            if number:
                out.append(Stretch(number[0]))
                at = number.end()
                continue
            out.append(Stretch(":"))
        elif char == ")" or char == "]":
            flush()
            kind, factor = ("(", 1.1) if char == ")" else ("[", 1 / 1.1)
            if open_at[kind]:
                close(kind, factor)
            else:
                out.append(Stretch(char))
        else:
            plain += char
        at += 1
    flush()
    for kind, factor in (("(", 1.1), ("[", 1 / 1.1)):
        # outermost first: the order of the products is part of the last digit
        for start in open_at[kind]:
            for entry in out[start:]:
                entry.weight *= factor
    together: list[Stretch] = []
    for entry in out:
        if together and together[-1].weight == entry.weight:
            together[-1].text += entry.text
        else:
            together.append(entry)
    return together or [Stretch("")]


@dataclass
class Place:
    """One of a window's 75 places: a token, or vector `vector` of an embedding."""

    token: int
    weight: float
    embedding: str | None = None
    vector: int = 0


@dataclass
class Window:
    places: list[Place] = field(default_factory=list)
    comma: int | None = None


def windows(prompt: str, tokenizer: object, embeddings: dict[str, int]) -> list[list[Place]]:
    """`embeddings` says how many vectors each name has. Each window has at most 75 places, begin and end are not among them."""

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids)

    names = sorted(((ids(name), name) for name in embeddings), key=lambda pair: -len(pair[0]))
    comma = ids(",")
    done: list[Window] = []
    now = Window()
    for stretch in stretches(prompt):
        if stretch.text == "BREAK" and stretch.weight == -1:
            done.append(now)
            now = Window()
            continue
        rest = ids(stretch.text)
        while rest:
            if [rest[0]] == comma:
                now.comma = len(now.places)
            elif len(now.places) == WINDOW and now.comma is not None and WINDOW - now.comma <= BACKTRACK:
                cut = now.comma + 1
                now, full = Window(now.places[cut:]), Window(now.places[:cut])
                done.append(full)
            if len(now.places) == WINDOW:
                done.append(now)
                now = Window()
            found = next((pair for pair in names if rest[:len(pair[0])] == pair[0]), None)
            if found is None:
                now.places.append(Place(rest.pop(0), stretch.weight))
                continue
            spelled, name = found
            if len(now.places) + embeddings[name] > WINDOW:
                done.append(now)
                now = Window()
            now.places += [Place(0, stretch.weight, name, vector) for vector in range(embeddings[name])]
            rest = rest[len(spelled):]
    if now.places or not done:
        done.append(now)
    return [window.places for window in done]


def weighed(states: Tensor, weights: Tensor) -> Tensor:
    """`states` [1, 77, width] of one window, `weights` [77]: emphasis "Original"."""
    before = states.mean()
    heavy = states * weights[None, :, None]
    return heavy * (before / heavy.mean())
