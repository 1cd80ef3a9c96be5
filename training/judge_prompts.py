"""The prompts that the model is judged on: judge/prompts.json, each with what a correct picture of it must show.

    python judge_prompts.py

1000 prompts of combinations found in training pictures, 200 of combinations of kind x colour x background never found
there, and 20 for diversity, each with what its renders have in common.
"""

from __future__ import annotations

import json
from pathlib import Path

from studio.captions import Chances, tell
from studio.catalogue import KINDS
from studio.scenes import scene

CHANCES = Chances(colour=1.0, only_colour=0.5, general=0.0)
KNOWN, HELD, VARIED = (800_000_000, 1000), (810_000_000, 200), (820_000_000, 20)


def question(seed: int, held: bool) -> dict:
    s = scene(seed, held=held)
    told = tell(s, seed, CHANCES)
    must = {"kind": s.kind, "background": s.background}  # white by default
    if "colour" in told.said or len(KINDS[s.kind].colours) == 1:
        must["colour"] = s.colour
    must |= {part: told.said[part] for part in ("light", "camera") if part in told.said}
    must["count"] = s.count  # one by default
    return {"prompt": told.text, "must": must}


def main() -> None:
    questions = {name: [question(seed, name == "held_out") for seed in range(first, first + count)]
                 for name, (first, count) in {"known": KNOWN, "held_out": HELD, "varied": VARIED}.items()}
    folder = Path(__file__).parent / "judge"
    folder.mkdir(exist_ok=True)
    lines = ",\n".join(f'"{name}": [\n' + ",\n".join(json.dumps(q) for q in each) + "\n]" for name, each in questions.items())
    (folder / "prompts.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
