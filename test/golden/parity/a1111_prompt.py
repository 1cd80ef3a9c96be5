"""What AUTOMATIC1111's web UI makes of a prompt: weights, windows of 75 tokens, embeddings, clip skip.

Written from its documented rules (wiki "Features: Attention/emphasis", "Infinite prompt length", "Clip skip"), not from
its code. Weighted states keep the mean that they had ("Original" emphasis).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import torch
from torch import Tensor

WINDOW = 75
BACKTRACK = 20
BREAK = ("BREAK", -1.0)


def parse_weights(prompt: str) -> list[tuple[str, float]]:
    """`a (red:1.4) [box]` -> [("a ", 1), ("red", 1.4), (" ", 1), ("box", 1 / 1.1)]; BREAK is a piece of its own."""
    pieces: list[list] = []
    open_at: dict[str, list[int]] = {"(": [], "[": []}

    def scale(begin: int, factor: float) -> None:
        for piece in pieces[begin:]:
            piece[1] *= factor

    at = 0
    while at < len(prompt):
        rest = prompt[at:]
        weight = re.match(r":\s*([+-]?[.\d]+)\s*\)", rest)
        if rest[0] == "\\" and rest[1:2] in tuple("()[]\\"):
            pieces.append([rest[1], 1.0])
            at += 2
            continue
        if weight and open_at["("]:
            scale(open_at["("].pop(), float(weight[1]))
            at += len(weight[0])
            continue
        if rest[0] in "([":
            open_at[rest[0]].append(len(pieces))
        elif rest[0] == ")" and open_at["("]:
            scale(open_at["("].pop(), 1.1)
        elif rest[0] == "]" and open_at["["]:
            scale(open_at["["].pop(), 1 / 1.1)
        else:
            plain = re.match(r"[^\\()\[\]:]+", rest)
            text = plain[0] if plain else rest[0]
            for number, part in enumerate(re.split(r"\s*\bBREAK\b\s*", text)):
                if number:
                    pieces.append(list(BREAK))
                pieces.append([part, 1.0])
            at += len(text)
            continue
        at += 1
    for begin in open_at["("]:
        scale(begin, 1.1)
    for begin in open_at["["]:
        scale(begin, 1 / 1.1)
    merged: list[list] = []
    for text, weight in pieces:
        if merged and merged[-1][1] == weight and (text, weight) != BREAK:
            merged[-1][0] += text
        else:
            merged.append([text, weight])
    return [(text, weight) for text, weight in merged] or [("", 1.0)]


@dataclass
class Window:
    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    vectors: dict[int, Tensor] = field(default_factory=dict)

    def add(self, ids: list[int], weight: float) -> None:
        self.ids += ids
        self.weights += [weight] * len(ids)


def lay_out(prompt: str, tokenizer: object, embeddings: dict[str, Tensor]) -> list[Window]:
    """Windows of at most 75 tokens, begun anew after the last comma if that lies at most 20 tokens back."""
    def ids_of(text: str) -> list[int]:
        return tokenizer(text, truncation=False, add_special_tokens=False, verbose=False).input_ids

    comma = tokenizer.convert_tokens_to_ids(",</w>")
    named = sorted(((ids_of(name), vectors) for name, vectors in embeddings.items()), key=lambda item: -len(item[0]))
    done: list[Window] = []
    window, last_comma = Window(), -1

    def close() -> None:
        nonlocal window, last_comma
        done.append(window)
        window, last_comma = Window(), -1

    for text, weight in parse_weights(prompt):
        if (text, weight) == BREAK:
            close()
            continue
        ids = ids_of(text)
        at = 0
        while at < len(ids):
            if ids[at] == comma:
                last_comma = len(window.ids)
            elif len(window.ids) == WINDOW and last_comma != -1 and WINDOW - last_comma <= BACKTRACK:
                cut = last_comma + 1
                moved = Window(window.ids[cut:], window.weights[cut:],
                               {place - cut: vector for place, vector in window.vectors.items() if place >= cut})
                window = Window(window.ids[:cut], window.weights[:cut],
                                {place: vector for place, vector in window.vectors.items() if place < cut})
                close()
                window = moved
            if len(window.ids) == WINDOW:
                close()
            name, vectors = next(((name, vectors) for name, vectors in named if ids[at:at + len(name)] == name), ([], None))
            if vectors is None:
                window.add([ids[at]], weight)
                at += 1
                continue
            if len(window.ids) + len(vectors) > WINDOW:
                close()
            window.vectors |= {len(window.ids) + i: vector for i, vector in enumerate(vectors)}
            window.add([0] * len(vectors), weight)
            at += len(name)
    if window.ids or not done:
        close()
    return done


def encode(prompt: str, tokenizer: object, encoder: torch.nn.Module, embeddings: dict[str, Tensor], clip_skip: int = 1) -> Tensor:
    """The states of all windows one after the other, [1, 77 * windows, hidden]."""
    states = []
    for window in lay_out(prompt, tokenizer, embeddings):
        padding = WINDOW - len(window.ids)
        ids = [tokenizer.bos_token_id, *window.ids, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * padding]
        weights = torch.tensor([1.0, *window.weights, *[1.0] * (padding + 1)])

        def place(_module: object, _args: object, words: Tensor) -> Tensor:
            for position, vector in window.vectors.items():
                words[0, 1 + position] = vector
            return words

        hook = encoder.get_input_embeddings().register_forward_hook(place)
        output = encoder(torch.tensor([ids]), output_hidden_states=True)
        hook.remove()
        norm = getattr(encoder, "text_model", encoder).final_layer_norm
        made = norm(output.hidden_states[-clip_skip])
        weighted = made * weights[None, :, None].to(made)
        # the mean is restored only where a weight changed it: A1111's factor is then 1 but for rounding
        states.append(weighted * (made.mean() / weighted.mean()) if (weights != 1).any() else made)
    return torch.cat(states, 1)
