"""Trained parts -> WORK: the inverse of export.py, so that training continues from existing parts.

    python take_up.py --work WORK --parts ../models/packshot-mini --steps 5000

Without a UNet in the folder it imports only the text encoder, the tokenizer and the autoencoder. The autoencoder and the
vocabulary stay unchanged; rendering, `pack.py` and `train_vae.py --encode` produce the latents. A UNet starts with the
existing weights, fresh momentum, and the rate of a training run after that many steps.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return {name: value.float() for name, value in load_file(file).items()}


def take_up(work: Path, parts: Path, steps: int) -> None:
    work.mkdir(parents=True, exist_ok=True)
    for name, part in (("text.pt", "text_encoder"), ("vae_final.pt", "vae")):
        torch.save({"model": weights(parts / part)}, work / name)
    shutil.copytree(parts / "tokenizer", work / "tokenizer", dirs_exist_ok=True)
    if (parts / "unet").exists():
        unet = weights(parts / "unet")
        torch.save({"model": unet, "ema": unet, "optimizer": None, "step": steps, "samples": 0, "spent": 0.0},
                   work / "unet.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--parts", type=Path, required=True, help="a folder that export.py wrote")
    parser.add_argument("--steps", type=int, default=0, help="that its UNet was trained for; see docs/packshot-mini.md")
    args = parser.parse_args()
    take_up(args.work, args.parts, args.steps)


if __name__ == "__main__":
    main()
