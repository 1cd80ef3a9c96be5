"""More training for the decoder alone: latents stay what they are, so the UNet need not learn anew.

    python sharpen_vae.py --work WORK --steps 4000       by steps (repeatable), resumable, writes WORK/vae_sharp.pt
    python sharpen_vae.py --work WORK --minutes 9        the same by the clock

Starts from WORK/vae_final.pt and the latents of WORK/latents.npy [n, 12, 16, 16]. A little
noise on the latents teaches the decoder to forgive the UNet's: without it, small errors show as mottled paper.
The loss is that of train_vae.py. When it is done it takes the place of vae_final.pt, which export.py reads.
"""

from __future__ import annotations

import argparse
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch

from model import SIZE, make_vae
from pack import packed
from precision import layout, mixed
from train_vae import HELD_OUT, as_input, picture_loss

LEARNING_RATE, LATENT_NOISE, SCALE = 6e-4, 0.08, 16


def batch_of(pictures: np.ndarray, latents: np.ndarray, count: int, crop: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents [count, c, crop / 16, crop / 16] and their pictures [count, 3, crop, crop] in -1..1."""
    xs, zs, side = [], [], crop // SCALE
    for i in rng.integers(HELD_OUT, len(latents), count):
        y, x = (int(np.clip(rng.normal((SIZE - crop) / 2, 34), 0, SIZE - crop)) // SCALE for _ in range(2))
        xs.append(pictures[i, y * SCALE:y * SCALE + crop, x * SCALE:x * SCALE + crop])
        zs.append(latents[i, :, y:y + side, x:x + side])
    return torch.from_numpy(np.stack(zs)).float(), as_input(np.stack(xs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--whole", type=float, default=0.35, help="share at the end that sees whole pictures")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    vae = make_vae()
    vae.load_state_dict(torch.load(args.work / "vae_final.pt", weights_only=True, map_location="cpu")["model"])
    vae.to(args.device, memory_format=layout(args.device))
    parts = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    optimizer = torch.optim.AdamW(parts, lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    path, step, spent = args.work / "vae_sharp.pt", 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True)
        vae.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]

    def save() -> None:
        torch.save({"model": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": time.time() - start}, path)

    (pictures, _), latents = packed(args.work), np.load(args.work / "latents.npy", mmap_mode="r")
    start, saved, sums = time.time() - spent, time.time(), np.zeros(2)
    while (part := step / args.steps if args.steps else (time.time() - start) / (60 * args.minutes)) < 1:
        rng = np.random.default_rng(step)
        torch.manual_seed(step)
        crop, count = (SIZE, 2) if part > 1 - args.whole else (128, 8)
        z, x = batch_of(pictures, latents, count, crop, rng)
        z = (z + LATENT_NOISE * torch.randn_like(z)).to(args.device, memory_format=layout(args.device))
        x = x.to(args.device)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * part))
        with mixed(args.device):
            y = vae.decode(z).sample.float()
        pixel, edge = picture_loss(x, y)
        optimizer.zero_grad(set_to_none=True)
        (pixel + 1.5 * edge).backward()
        torch.nn.utils.clip_grad_norm_(parts, 1.0)
        optimizer.step()
        step, sums = step + 1, sums + [pixel.item(), edge.item()]
        if step % 100 == 0:
            print(f"step {step} crop {crop} pixel {sums[0] / 100:.4f} edge {sums[1] / 100:.4f} {part:.0%}", flush=True)
            sums = np.zeros(2)
        if time.time() - saved > 60:
            saved = time.time()
            save()
    save()
    torch.save({"model": vae.state_dict()}, args.work / "vae_final.pt")
    shutil.move(path, args.work / "vae_sharp_done.pt")


if __name__ == "__main__":
    main()
