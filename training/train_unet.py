"""The denoiser, on latents computed beforehand and words encoded on the way.

    python train_unet.py --work WORK --steps 2400        resumable, writes WORK/unet.pt (weights, their average, optimizer)
    python train_unet.py --work WORK --minutes 40        the same by the clock (a busy machine: fewer steps, no repeat)

Velocity prediction (Salimans and Ho 2022) with soft min-SNR weights, gamma 5 (after Hang et al. 2023, plus 1: the noisiest
steps, where words decide kind and colour, keep their full weight), Stable Diffusion's noise schedule; one caption in ten says nothing, for classifier-free guidance (Ho and Salimans 2022); an exponential average
of the weights is what is exported.
"""

from __future__ import annotations

import argparse
import copy
import os
import random
import time
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPTokenizer

from model import make_text_encoder, make_unet
from scenes import caption, empty_caption, sample_scene
from train_text import tokenize

NOTHING_SAID, GAMMA = 0.10, 5.0
MIRRORED = 0.5  # mirror images in the first half only: a carrot that always points one way is easier to finish


def noise_levels() -> torch.Tensor:
    """Cumulative alphas of the scaled linear schedule, [1000]."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--processes", type=int, default=2, help="single-threaded processes that share each batch")
    args = parser.parse_args()
    torch.multiprocessing.spawn(train, (args,), args.processes)


def train(rank: int, args: argparse.Namespace) -> None:
    """One of `args.processes` equal processes: all hold the same weights and average their gradients."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{(args.work / f'meet-{os.getppid()}').resolve()}", rank=rank, world_size=args.processes)
    torch.manual_seed(0)
    work, share = args.work, args.batch // args.processes
    latents = torch.from_numpy(np.load(work / "latents.npy"))
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    text = make_text_encoder()
    text.load_state_dict(torch.load(work / "text.pt", weights_only=True)["model"])
    text.eval().requires_grad_(False)
    unet = make_unet().to(memory_format=torch.channels_last)
    average = copy.deepcopy(unet).requires_grad_(False)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=args.rate, betas=(0.9, 0.99), weight_decay=0.01)
    path, step, spent = work / "unet.pt", 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True)
        unet.load_state_dict(state["model"])
        average.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]

    def save() -> None:
        torch.save({"model": unet.state_dict(), "ema": average.state_dict(), "optimizer": optimizer.state_dict(),
                    "step": step, "spent": time.time() - start}, path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)

    def progress() -> float:
        return (step + 1) / args.steps if args.steps else (time.time() - start) / (60 * args.minutes)

    alphas, parameters = noise_levels(), list(unet.parameters())
    start = time.time() - spent
    saved, said, total = time.time(), time.time(), 0.0
    part = torch.tensor([progress()])  # averaged too, so that all processes stop at the same step
    while part < 1:
        rng = random.Random(step * args.processes + rank)
        chance = torch.Generator().manual_seed(step * args.processes + rank)
        index = torch.tensor([rng.randrange(len(latents)) for _ in range(share)])
        side = torch.tensor([rng.randrange(2) if part < MIRRORED else 0 for _ in range(share)])
        x = latents[index, side].float()
        words = [empty_caption(rng) if rng.random() < NOTHING_SAID else caption(sample_scene(i), rng) for i in index.tolist()]
        t = torch.randint(0, 1000, (share,), generator=chance)
        noise = torch.randn(x.shape, generator=chance)
        a = alphas[t][:, None, None, None]
        noisy, target = a.sqrt() * x + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * x
        snr = alphas[t] / (1 - alphas[t])
        weight = (snr.clamp(max=GAMMA) + 1) / (snr + 1)
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1, (step + 1) / 150) * (1 - 0.96 * max(0.0, part.item() - 0.4) / 0.6)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                context = text(tokenize(tokenizer, words))[0]
            guess = unet(noisy.contiguous(memory_format=torch.channels_last), t, context).sample.float()
        each = (guess - target).square().mean((1, 2, 3))
        loss = (each * weight).sum() / weight.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        gradients = [p.grad for p in parameters]
        together = torch.cat([g.reshape(-1) for g in gradients] + [loss.detach()[None], torch.tensor([progress()])])
        torch.distributed.all_reduce(together)
        *pieces, loss, part = (together / args.processes).split([g.numel() for g in gradients] + [1, 1])
        for gradient, piece in zip(gradients, pieces):
            gradient.copy_(piece.view_as(gradient))
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        step, total = step + 1, total + loss.item()
        with torch.no_grad():
            decay = min(0.998, (step + 1) / (step + 20))
            torch._foreach_lerp_(list(average.parameters()), list(unet.parameters()), 1 - decay)
        if step % 50 == 0 and rank == 0:
            print(f"step {step} loss {total / 50:.4f}, {50 * args.batch / (time.time() - said):.1f} samples/s, {part.item():.0%}", flush=True)
            said, total = time.time(), 0.0
        if time.time() - saved > 120 and rank == 0:
            saved = time.time()
            save()
    if rank == 0:
        save()


if __name__ == "__main__":
    main()
