"""Writes what prompts become: stretches of one weight, windows, and the text encoder's states.

    python make_prompt_golden.py --model tiny-sd --out prompt-golden.safetensors

The rules are AUTOMATIC1111's as prompt_rules.py tells them; the numbers are those of transformers' text encoder, in float32
and once more in float64 (make_golden.py). Two embeddings are drawn from a fixed seed and written to embeddings/ beside the
numbers. Beside the states by these rules stand those that diffusers' own pipeline makes with `load_textual_inversion` and
`clip_skip`.

    states.NAME           tokens, 32    of each case in the JSON (`cases`: prompt, clip skip, windows with ids and multipliers,
                                        and where each embedding's first vector stands), the windows one after another
    diffusers.clip skip   77, 32        diffusers' clip_skip=1 for the case "clip skip"
    diffusers.embedding   77, 32        diffusers' load_textual_inversion for the case "embedding"

`attention` in the JSON: prompts, and the stretches that they split into.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from make_golden import Golden, normal
from prompt_rules import WINDOW, Place, stretches, weighed, windows
from safetensors.torch import load_file, save_file
from torch import Tensor

ATTENTION = [
    "normal text", "", "an (important) word", "(unbalanced", "[unbalanced", "unbalanced)", "unbalanced] [[", "\\(literal\\]",
    "\\\\ and \\a", "trailing \\", "(unnecessary)(parens)", "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).", "((a))", "[[a]]",
    "(a:1.3)", "(a:1.)", "(a:.5)", "(a:+2)", "(a:-1)", "(a:0)", "a:1.3)", "[a:1.3]", "[(a:1.3)]", "([a)]", "(a [b) c]", "(a:b)", "(a: 1.3)",
    "(a : 1.3 )", "(a:\n1.3)", "time 12:30 (at noon)", "a BREAK b", "BREAK", "BREAK a", "a BREAK", "a BREAK BREAK b", "aBREAK b_BREAK cBREAKd",
    "a,BREAK,b", "a\n BREAK \n b", "(a BREAK b)", "a (b:1.2) BREAK c", "break Break", "éBREAK BREAKé", "()", "(:1.2)", "a()b", "(a)b(c)",
    "(a:1.1)(b)", "((((((((((a))))))))))", "a\\:b", "(a\\):1.2)",
]
TABLE = "a red apple and a green pear on a wooden table in soft morning light"
LIST = ", ".join(["red apple", "green pear", "yellow lemon", "wooden table", "soft light", "blurry dark box"] * 5)


@dataclass
class Case:
    prompt: str
    skip: int = 1


CASES = {
    "plain": Case("a red apple on a wooden table"),
    "empty": Case(""),
    "weighted": Case("a (red:1.4) apple, ((shiny)), [blurry] table"),
    "negative weight": Case("a (red:-0.5) apple (table:0)"),
    "escaped": Case("a red apple \\(close-up\\), [[soft\\]]]"),
    "long": Case(LIST),
    "long without commas": Case(" ".join([TABLE] * 11)),
    "long and weighted": Case(f"({LIST}:1.2), [table], (({TABLE}))"),
    "break": Case("a red apple BREAK a (blue:1.3) box BREAK"),
    "break in brackets": Case("(a red apple BREAK a blue box)"),
    "embedding": Case("a TinyStyle apple"),
    "embedding, weighted": Case("blurry, (tinystyle:1.3), [TINYSTYLE-WORSE]"),
    "embedding at the end of a window": Case(" ".join(["box"] * 70) + " tinystyle apple"),
    "embedding after a comma": Case(" ".join(["box"] * 60) + ", tinystyle " + " ".join(["apple"] * 20)),
    "clip skip": Case("a red apple on a wooden table", skip=2),
    "everything": Case(f"(tinystyle-worse:0.8) {LIST}, (shiny (red:1.2)) BREAK [tinystyle], {TABLE}", skip=2),
}
EMBEDDINGS = {"tinystyle": (8, torch.float16, "emb_params"), "tinystyle-worse": (1, torch.float32, "<tinystyle-worse>")}


def make_embeddings(folder: Path, width: int, spread: float) -> dict[str, Tensor]:
    """A1111's form in half precision, and diffusers' form: a single vector under the token's own name."""
    folder.mkdir(parents=True, exist_ok=True)
    read = {}
    for seed, (name, (count, dtype, key)) in enumerate(EMBEDDINGS.items()):
        vectors = (normal(100 + seed, count, width) * spread).to(dtype)
        file = folder / f"{name}.safetensors"
        save_file({key: vectors if count > 1 else vectors[0]}, file, {"format": "pt"})
        read[name] = load_file(file)[key].reshape(count, width).float()
    return read


@dataclass
class Text:
    """A pipeline's text encoder with the embeddings at its side."""

    pipeline: StableDiffusionPipeline
    embeddings: dict[str, Tensor]

    def lay_out(self, prompt: str) -> list[list[Place]]:
        return windows(prompt, self.pipeline.tokenizer, {name: len(vectors) for name, vectors in self.embeddings.items()})

    def ids(self, places: list[Place]) -> list[int]:
        tokenizer = self.pipeline.tokenizer
        padding = [tokenizer.pad_token_id] * (WINDOW - len(places))
        return [tokenizer.bos_token_id, *(place.token for place in places), tokenizer.eos_token_id, *padding]

    def weights(self, places: list[Place]) -> list[float]:
        return [1.0, *(place.weight for place in places), *[1.0] * (WINDOW + 1 - len(places))]

    def states(self, prompt: str, skip: int) -> Tensor:
        """[1, windows * 77, width]"""
        return torch.cat([self.of_window(places, skip) for places in self.lay_out(prompt)], 1)

    def of_window(self, places: list[Place], skip: int) -> Tensor:
        encoder = self.pipeline.text_encoder
        model = getattr(encoder, "text_model", encoder)
        table = model.embeddings.token_embedding

        def put(_module: object, _inputs: object, looked_up: Tensor) -> Tensor:
            out = looked_up.clone()
            for at, place in enumerate(places):
                if place.embedding is not None:
                    out[0, at + 1] = self.embeddings[place.embedding][place.vector].to(out.dtype)
            return out

        hook = table.register_forward_hook(put)
        told = encoder(torch.tensor([self.ids(places)]), output_hidden_states=True)
        hook.remove()
        states = told.last_hidden_state if skip == 1 else model.final_layer_norm(told.hidden_states[-skip])
        return weighed(states, torch.tensor(self.weights(places), dtype=states.dtype))


def add_case(golden: Golden, name: str, case: Case, single: Text, double: Text) -> dict[str, object]:
    golden.add(f"states.{name}", single.states(case.prompt, case.skip)[0], double.states(case.prompt, case.skip)[0])
    laid = single.lay_out(case.prompt)
    return {"name": name, **asdict(case), "windows": [{
        "ids": single.ids(places),
        "multipliers": single.weights(places),
        "inversions": [[at + 1, place.embedding] for at, place in enumerate(places) if place.embedding and place.vector == 0],
    } for places in laid]}


def add_diffusers(golden: Golden, folder: Path) -> None:
    """The same by diffusers' own loader and option; it counts skipped layers, so its number is one less."""
    pipeline = golden.single
    # transformers 5 has no `text_model`, which diffusers' clip_skip reaches for; past nn.Module, which would count it twice
    object.__setattr__(pipeline.text_encoder, "text_model", pipeline.text_encoder)
    encoded = pipeline.encode_prompt(CASES["clip skip"].prompt, "cpu", 1, False, clip_skip=1)[0]
    golden.add("diffusers.clip skip", encoded[0])
    for name in EMBEDDINGS:
        pipeline.load_textual_inversion(str(folder / f"{name}.safetensors"), token=name)
    encoded = pipeline.encode_prompt(CASES["embedding"].prompt.lower(), "cpu", 1, False)[0]
    golden.add("diffusers.embedding", encoded[0])


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a folder in diffusers layout")
    parser.add_argument("--out", type=Path, required=True, help="FILE.safetensors; FILE.json and embeddings/ are written beside it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    golden = Golden(arguments.model)
    folder = arguments.out.parent / "embeddings"
    table = golden.single.text_encoder.get_input_embeddings().weight
    embeddings = make_embeddings(folder, table.shape[1], float(table.std()))
    single, double = Text(golden.single, embeddings), Text(golden.double, embeddings)
    cases = [add_case(golden, name, case, single, double) for name, case in CASES.items()]
    add_diffusers(golden, folder)
    golden.write(arguments.out, arguments.model, {
        "attention": [{"prompt": prompt, "stretches": [[entry.text, entry.weight] for entry in stretches(prompt)]} for prompt in ATTENTION],
        "cases": cases,
    })


if __name__ == "__main__":
    main()
