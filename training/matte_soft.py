"""Renders as the built-in model would paint them: through its autoencoder, with some noise on the latents. Drawn pictures are
softer than renders and smear small things, so the matting network learns from some of these (NUMBER.soft.png).

    python matte_soft.py --folder WORK/scenes --count 800
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from PIL import Image

from matte_pictures import opened

MODEL = Path(__file__).parent.parent / "models" / "packshot-mini"


@torch.inference_mode()
def painted(vae: AutoencoderKL, picture: torch.Tensor, seed: int) -> torch.Tensor:
    """uint8 [3, h, w] -> the same; the noise is up to half as strong as the latents are."""
    chance = torch.Generator().manual_seed(seed)
    latents = vae.encode(picture[None].float() / 127.5 - 1).latent_dist.mode()
    share = 0.5 * torch.rand(1, generator=chance).item() ** 1.5
    latents = latents + share * latents.std() * torch.randn(latents.shape, generator=chance)
    return (vae.decode(latents).sample[0] * 127.5 + 128).clamp(0, 255).byte()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--count", type=int, default=800)
    args = parser.parse_args()
    torch.set_num_threads(1)
    vae = AutoencoderKL.from_pretrained(MODEL / "vae").eval()
    files = sorted(file for file in args.folder.glob("[0-9]*.png") if file.name.count(".") == 1)
    for file in files[:: max(1, len(files) // args.count)]:
        soft = file.with_suffix(".soft.png")
        if soft.exists():
            continue
        half = soft.with_name(f".{soft.name}")
        Image.fromarray(painted(vae, opened(file), int(file.stem)).movedim(0, -1).numpy()).save(half, format="PNG")
        half.replace(soft)


if __name__ == "__main__":
    main()
