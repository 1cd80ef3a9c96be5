"""More training for the decoder only: latents stay unchanged, so the UNet need not be retrained.

    python sharpen_vae.py --work WORK --steps 4000       by steps (repeatable), resumable, writes WORK/vae_sharp.pt
    python sharpen_vae.py --work WORK --minutes 9        the same by the clock (a GPU: --device cuda --batch 64)

Starts from WORK/vae_final.pt and the latents of WORK/latents.npy [n, 12, 16, 16]. A little
noise on the latents makes the decoder tolerate the UNet's errors: without it, small errors show as mottled paper.
The loss is that of train_vae.py. The finished result replaces vae_final.pt, which export.py reads.
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


def batch_of(pictures: np.ndarray, latents: np.ndarray, count: int, crop: int, rng: np.random.Generator, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents [count, c, crop / 16, crop / 16] and their pictures [count, 3, crop, crop] in -1..1."""
    xs, zs, side = [], [], crop // SCALE
    for i in rng.integers(HELD_OUT, len(latents), count):
        y, x = (int(np.clip(rng.normal((SIZE - crop) / 2, 34), 0, SIZE - crop)) // SCALE for _ in range(2))
        xs.append(pictures[i, y * SCALE:y * SCALE + crop, x * SCALE:x * SCALE + crop])
        zs.append(latents[i, :, y:y + side, x:x + side])
    return torch.from_numpy(np.stack(zs)).to(device, memory_format=layout(device)).float(), as_input(np.stack(xs), device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--whole", type=float, default=0.35, help="share at the end that uses whole pictures")
    parser.add_argument("--batch", type=int, default=8, help="crops per step; a quarter as many whole pictures")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    vae = make_vae()
    vae.load_state_dict(torch.load(args.work / "vae_final.pt", weights_only=True, map_location="cpu")["model"])
    vae.to(args.device, memory_format=layout(args.device))
    parts = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    optimizer = torch.optim.AdamW(parts, lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    path, step, spent = args.work / "vae_sharp.pt", 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True, map_location=args.device)
        vae.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]

    def save() -> None:
        torch.save({"model": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": time.time() - start}, path)

    (pictures, _), latents = packed(args.work), np.load(args.work / "latents.npy", mmap_mode="r")
    start, saved, sums = time.time() - spent, time.time(), torch.zeros(2, device=args.device)
    while (part := step / args.steps if args.steps else (time.time() - start) / (60 * args.minutes)) < 1:
        rng = np.random.default_rng(step)
        torch.manual_seed(step)
        crop, count = (SIZE, max(2, args.batch // 4)) if part > 1 - args.whole else (128, args.batch)
        z, x = batch_of(pictures, latents, count, crop, rng, args.device)
        z = z + LATENT_NOISE * torch.randn_like(z)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * part))
        with mixed(args.device):
            y = vae.decode(z).sample.float()
        pixel, edge = picture_loss(x, y)
        optimizer.zero_grad(set_to_none=True)
        (pixel + 1.5 * edge).backward()
        torch.nn.utils.clip_grad_norm_(parts, 1.0)
        optimizer.step()
        step, sums = step + 1, sums + torch.stack([pixel, edge]).detach()
        if step % 100 == 0:
            a, b = (sums / 100).tolist()
            print(f"step {step} crop {crop} pixel {a:.4f} edge {b:.4f} {part:.0%}", flush=True)
            sums = torch.zeros_like(sums)
        if time.time() - saved > 60:
            saved = time.time()
            save()
    save()
    torch.save({"model": vae.state_dict()}, args.work / "vae_final.pt")
    shutil.move(path, args.work / "vae_sharp_done.pt")


if __name__ == "__main__":
    main()
