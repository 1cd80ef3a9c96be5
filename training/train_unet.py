"""The denoiser, trained on latents and captions prepared beforehand; captions are encoded during training.

    python train_unet.py --work WORK --steps 12000             resumable: writes WORK/unet.pt (weights, average, optimizer)
    python train_unet.py --work WORK --minutes 40              continues for that long
    python train_unet.py --work WORK --minutes 7 --device cuda --batch 512 --cool 0.5

More steps give better pictures, and any number may be added later: the rate falls with the square root of the steps
made, and the export is an average of the weights over about the last tenth of the steps (a power function's profile,
Karras et al. 2024, equation 127), so no schedule needs a planned end. `--cool 0.2` lets the rate fall to zero over the
last fifth of a run; the next run begins at the full rate again. Pictures that are packed, encoded and captioned meanwhile
are added.

Velocity prediction (Salimans and Ho 2022) on Stable Diffusion's noise schedule. A step's noise is drawn by its logarithm
(as in Karras et al. 2022, table 1): a third of the schedule's own thousand steps are so noisy that latents of 16 x 16
show nothing, since noise averages out over fewer positions than in Stable Diffusion's 64 x 64. The optimizer is Muon: it
reached a held-out loss of 0.466 after 8000 samples, AdamW 0.521 (each at its rate here, batches of 32).
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from pathlib import Path

import numpy as np
import torch

from model import make_text_encoder, make_unet
from muon import Muon
from precision import attention, layout, mixed
from tokens import WORDINGS

NOISE_MEAN, NOISE_SPREAD = -0.1, 1.25  # of the noise level's logarithm
WARM_UP, FLAT = 200, 3000  # in steps: until the rate is full, until it falls
PROFILE = 6.94             # the average's width is a tenth of the steps made
HELD_OUT, BATCH = 64, 48   # pictures that are not trained on; samples per step
FRESH = 500                # steps between checks for more pictures


def noise_levels() -> torch.Tensor:
    """Cumulative alphas of the scaled linear schedule, [1000]."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).float()


def share_of_rate(step: int) -> float:
    return min(1.0, step / WARM_UP) * min(1.0, (FLAT / max(1, step)) ** 0.5)


class Denoising:
    """The loss of a UNet on latents [n, c, h, w] and contexts [n, 77, width], on one device."""

    def __init__(self, device: str) -> None:
        alphas = noise_levels()
        self.device, self.alphas = device, alphas.to(device)
        self.levels = (1 / self.alphas - 1).log() / 2  # of every step, rising

    def loss(self, unet: torch.nn.Module, latents: torch.Tensor, context: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
        wanted = NOISE_MEAN + NOISE_SPREAD * torch.randn(len(latents), generator=chance, device=chance.device).to(self.device)
        t = torch.searchsorted(self.levels, wanted).clamp(max=999)
        noise = torch.randn(latents.shape, generator=chance, device=chance.device).to(self.device)
        a = self.alphas[t][:, None, None, None]
        noisy, target = a.sqrt() * latents + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * latents
        with mixed(self.device), attention(self.device):
            guess = unet(noisy.contiguous(memory_format=layout(self.device)), t, context).sample.float()
        return (guess - target).square().mean()


class Examples:
    """Latents [n, c, h, w] of the packed pictures and contexts [n, 77, width] of their captions, on one device."""

    def __init__(self, work: Path, device: str) -> None:
        self.work, self.device = work, device
        self.latents = self.tokens = torch.empty(0)
        self.read()
        words = torch.load(work / "text.pt", weights_only=True)["model"]
        self.encoder = make_text_encoder(len(words["embeddings.token_embedding.weight"]))
        self.encoder.load_state_dict(words)
        self.encoder.eval().requires_grad_(False).to(device)

    def read(self) -> None:
        """Adds the pictures that are ready; one that is encoded but has no captions yet is left for the next time."""
        latents, tokens = (np.load(self.work / name, mmap_mode="r") for name in ("latents.npy", "tokens.npy"))
        n = min(len(latents), len(tokens))
        if n > len(self.latents):
            self.latents, self.tokens = (torch.from_numpy(each[:n].copy()).to(self.device) for each in (latents, tokens))

    def of(self, index: torch.Tensor, wording: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        index, wording = index.to(self.device), wording.to(self.device)
        with torch.no_grad(), mixed(self.device), attention(self.device):
            context = self.encoder(self.tokens[index, wording].long())[0]
        return self.latents[index].float(), context

    def drawn(self, count: int, chance: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        index = torch.randint(HELD_OUT, len(self.latents), (count,), generator=chance, device=chance.device)
        return self.of(index, torch.randint(WORDINGS, (count,), generator=chance, device=chance.device))

    def held_out(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Four wordings of each picture that is not trained on."""
        return self.of(torch.arange(HELD_OUT).repeat(4), torch.arange(4).repeat_interleave(HELD_OUT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0, help="in all")
    parser.add_argument("--minutes", type=float, default=0, help="from now")
    parser.add_argument("--cool", type=float, default=0, help="share of this run over which the rate falls to zero")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--rate", type=float, default=2.4e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=2, help="on the CPU: single-threaded processes that split each batch")
    parser.add_argument("--name", default="unet.pt")
    args = parser.parse_args()
    if bool(args.steps) == bool(args.minutes):
        parser.error("give --steps or --minutes")
    if args.device != "cpu" or args.processes == 1:
        train(0, args, 1)
    else:
        torch.multiprocessing.spawn(train, (args, args.processes), args.processes)


def train(rank: int, args: argparse.Namespace, processes: int) -> None:
    """One of equal processes: all hold the same weights and average their gradients."""
    if processes > 1:
        torch.set_num_threads(1)
        meeting = (args.work / f"meet-{os.getppid()}").resolve()
        torch.distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=processes)
    torch.manual_seed(0)
    device, share = args.device, args.batch // processes
    torch.backends.cudnn.benchmark = True
    examples, denoising = Examples(args.work, device), Denoising(device)
    unet = make_unet().to(device, memory_format=layout(device))
    average = copy.deepcopy(unet).requires_grad_(False)
    parameters = list(unet.parameters())
    optimizer = Muon(unet, args.rate)
    path, step, samples, spent = args.work / args.name, 0, 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True, map_location=device)
        unet.load_state_dict(state["model"])
        average.load_state_dict(state["ema"])
        if state["optimizer"]:
            optimizer.load_state_dict(state["optimizer"])
        step, samples, spent = state["step"], state["samples"], state["spent"]
    start, begun, log = time.time(), step, path.with_suffix(".jsonl")

    def save() -> None:
        torch.save({"model": unet.state_dict(), "ema": average.state_dict(), "optimizer": optimizer.state_dict(), "step": step,
                    "samples": samples, "spent": spent + time.time() - start}, path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)

    def held_out_loss() -> float:
        with torch.no_grad():  # with the CPU's noise, so that the figure is comparable across devices
            return denoising.loss(average, *examples.held_out(), torch.Generator().manual_seed(0)).item()

    def part() -> float:
        """The share of this run that is done with this step."""
        return (step + 1 - begun) / (args.steps - begun) if args.steps else (time.time() - start) / (60 * args.minutes)

    saved, said, done = time.time(), time.time(), torch.tensor(float(0 < args.steps <= step))
    total = torch.zeros((), device=device)
    while done < 1:
        chance = torch.Generator(device).manual_seed(step * processes + rank)
        if step % FRESH == 0:
            examples.read()
        for group in optimizer.param_groups:
            group["lr"] = args.rate * share_of_rate(step) * (min(1, (1 - done.item()) / args.cool) if args.cool else 1)
        loss = denoising.loss(unet, *examples.drawn(share, chance), chance)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        loss, done = loss.detach(), torch.tensor(part())
        if processes > 1:
            pieces = [p.grad for p in parameters] + [loss, done]  # all have to stop at the same step
            together = torch.cat([p.reshape(-1) for p in pieces])
            torch.distributed.all_reduce(together)
            for piece, mean in zip(pieces, (together / processes).split([p.numel() for p in pieces])):
                piece.copy_(mean.view_as(piece))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step, samples, total = step + 1, samples + share * processes, total + loss
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), parameters, 1 - (1 - 1 / step) ** (PROFILE + 1))
        if step % 50 == 0 and rank == 0:
            facts = {"step": step, "samples": samples, "pictures": len(examples.latents), "loss": round(total.item() / 50, 4),
                     "samples_per_second": round(50 * share * processes / (time.time() - said), 1)}
            if step % 250 == 0:
                facts["held_out_loss"] = round(held_out_loss(), 4)
            print(json.dumps(facts), flush=True)
            with log.open("a") as lines:
                lines.write(json.dumps(facts) + "\n")
            said, total = time.time(), torch.zeros_like(total)
        if time.time() - saved > 120 and rank == 0:
            saved = time.time()
            save()
    if rank == 0:
        save()


if __name__ == "__main__":
    main()
