"""What AUTOMATIC1111's web UI conditions on: the states of a prompt's windows, by the rules of prompt_rules.py."""

from __future__ import annotations

import torch
from torch import Tensor

from prompt_rules import WINDOW, Place, weighed, windows


def encode(prompt: str, tokenizer: object, encoder: torch.nn.Module, embeddings: dict[str, Tensor], clip_skip: int = 1) -> Tensor:
    """The states of all windows one after the other, [1, 77 * windows, hidden]."""
    counts = {name: len(vectors) for name, vectors in embeddings.items()}
    return torch.cat([states_of(window, tokenizer, encoder, embeddings, clip_skip) for window in windows(prompt, tokenizer, counts)], 1)


def states_of(window: list[Place], tokenizer: object, encoder: torch.nn.Module, embeddings: dict[str, Tensor], clip_skip: int) -> Tensor:
    padding = WINDOW - len(window)
    ids = [tokenizer.bos_token_id, *[place.token for place in window], tokenizer.eos_token_id, *[tokenizer.pad_token_id] * padding]
    weights = torch.tensor([1.0, *[place.weight for place in window], *[1.0] * (padding + 1)])

    def put_vectors(_module: object, _args: object, words: Tensor) -> Tensor:
        for position, place in enumerate(window):
            if place.embedding is not None:
                words[0, 1 + position] = embeddings[place.embedding][place.vector]
        return words

    hook = encoder.get_input_embeddings().register_forward_hook(put_vectors)
    output = encoder(torch.tensor([ids]), output_hidden_states=True)
    hook.remove()
    norm = getattr(encoder, "text_model", encoder).final_layer_norm
    made = norm(output.hidden_states[-clip_skip])
    # the mean is restored only where a weight changed it: A1111's factor is then 1 but for rounding
    return weighed(made, weights.to(made)) if (weights != 1).any() else made
