"""The autoencoder: pictures [3, 256, 256] <-> latents [8, 16, 16].

    python train_vae.py --work WORK --steps 2350           trains, resumable, writes WORK/vae.pt
    python train_vae.py --work WORK --minutes 15           the same by the clock (a busy machine: fewer steps, no repeat)
    python train_vae.py --work WORK --encode               writes WORK/latents.npy and WORK/vae_final.pt
    python train_vae.py --work WORK --look FILE            originals over reconstructions

The loss is Charbonnier's (a smooth L1) on the pixels, in opponent colours so that hue weighs as much as light, and L1 on the differences of neighbouring pixels at three scales,
which is what keeps edges crisp; a very small KL term keeps the latents in bounds (as in Rombach et al. 2022). Training
uses crops of 128, because a step costs a quarter of a whole picture's, and then whole pictures.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from model import SIZE, make_vae
from vae_start import normalise_latents, start_as_thumbnail

KL_WEIGHT, LEARNING_RATE, HELD_OUT = 1e-5, 5e-4, 32
OPPONENT = torch.tensor([[0.5, 0.5, 0.5], [1.0, -1.0, 0.0], [0.5, 0.5, -1.0]])  # light, red-green, yellow-blue


def rendered(work: Path) -> np.ndarray:
    """The pictures that exist so far, uint8 [n, 256, 256, 3], not read into memory."""
    pictures = np.load(work / "pictures" / "pictures.npy", mmap_mode="r")
    missing = np.flatnonzero(~pictures[:, SIZE // 2, SIZE // 2].any(-1))
    return pictures[: missing[0]] if len(missing) else pictures


def batch_of(pictures: np.ndarray, index: np.ndarray, crop: int, rng: np.random.Generator) -> torch.Tensor:
    """Random crops, flipped half the time, as [n, 3, crop, crop] in -1..1."""
    out = []
    for i in index:
        # towards the middle, where the product is
        y, x = (int(np.clip(rng.normal((SIZE - crop) / 2, 34), 0, SIZE - crop)) // 16 * 16 for _ in range(2))
        picture = pictures[i, y:y + crop, x:x + crop]
        out.append(picture[:, ::-1] if rng.random() < 0.5 else picture)
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).float() / 127.5 - 1


def gradient_loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    loss = 0.0
    for scale in range(3):
        d = a - b
        loss = loss + (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return loss / 3


def reconstruct(vae: AutoencoderKL, pictures: torch.Tensor, noise: bool) -> tuple[torch.Tensor, torch.Tensor]:
    posterior = vae.encode(pictures).latent_dist
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    z = mean + torch.randn_like(mean) * torch.exp(0.5 * logvar) if noise else mean
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    return vae.decode(z).sample.float(), kl


def train(work: Path, steps: int, minutes: float, whole: float, batch: int) -> None:
    """`whole` is the share, at the end, that sees whole pictures in place of crops."""
    torch.manual_seed(0)
    vae = make_vae().to(memory_format=torch.channels_last)
    start_as_thumbnail(vae)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    path, step, spent = work / "vae.pt", 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True)
        vae.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    start, saved, said, sums = time.time() - spent, time.time(), time.time(), np.zeros(3)
    pictures = rendered(work)
    while (part := step / steps if steps else (time.time() - start) / (60 * minutes)) < 1:
        rng = np.random.default_rng(step)
        torch.manual_seed(step)
        crop = SIZE if part > 1 - whole else 128
        n = batch if crop == 128 else max(2, batch // 4)
        if step % 500 == 499:
            pictures = rendered(work)
        x = batch_of(pictures, rng.integers(HELD_OUT, len(pictures), n), crop, rng).to(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / 100) * (1 - 0.97 * max(0.0, part - 0.35) / 0.65)
        with torch.autocast("cpu", torch.bfloat16):
            y, kl = reconstruct(vae, x, noise=True)
        x, y = (torch.einsum("oc,nchw->nohw", OPPONENT, v) for v in (x, y))
        pixel, edge = torch.sqrt((y - x) ** 2 + 1e-4).mean(), gradient_loss(y, x)
        loss = pixel + 1.5 * edge + KL_WEIGHT * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step, sums = step + 1, sums + [pixel.item(), edge.item(), kl.item()]
        if step % 50 == 0:
            a, b, c = sums / 50
            rate, said = 50 / (time.time() - said), time.time()
            print(f"step {step} {len(pictures)} pictures crop {crop} pixel {a:.4f} edge {b:.4f} kl {c:.2f} {rate:.2f} steps/s {part:.0%}", flush=True)
            sums = np.zeros(3)
        if time.time() - saved > 60:
            saved = time.time()
            torch.save({"model": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": saved - start}, path)
    torch.save({"model": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": time.time() - start}, path)


def trained(work: Path, name: str = "vae.pt") -> AutoencoderKL:
    vae = make_vae()
    vae.load_state_dict(torch.load(work / name, weights_only=True)["model"])
    return vae.to(memory_format=torch.channels_last).eval()


def encode(work: Path) -> None:
    """Posterior means of all pictures and of their mirror images, fp16 [n, 2, 8, 16, 16], brought to mean 0 and
    deviation 1 per channel; the autoencoder that gives just these is written to WORK/vae_final.pt."""
    vae, pictures, out = trained(work), rendered(work), []
    with torch.inference_mode():
        for i in range(0, len(pictures), 16):
            x = torch.from_numpy(pictures[i:i + 16].copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
            with torch.autocast("cpu", torch.bfloat16):
                both = [vae.encode(v.contiguous(memory_format=torch.channels_last)).latent_dist.mean.float() for v in (x, x.flip(-1))]
            out.append(torch.stack(both, 1))
    latents = torch.cat(out)
    mean, std = latents.mean((0, 1, 3, 4)), latents.std((0, 1, 3, 4))
    print(f"{len(latents)} pictures, mean per channel {mean.tolist()}, deviation {std.tolist()}")
    normalise_latents(vae, mean, std)
    torch.save({"model": vae.state_dict()}, work / "vae_final.pt")
    np.save(work / "latents.npy", ((latents - mean[:, None, None]) / std[:, None, None]).half().numpy())


@torch.inference_mode()
def look(work: Path, file: Path) -> None:
    from PIL import Image
    x = torch.from_numpy(rendered(work)[:24].copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    y = reconstruct(trained(work), x, noise=False)[0]
    print(f"held-out L1 {(x - y).abs().mean() / 2 * 255:.2f} of 255, PSNR {-10 * torch.log10(((x - y) / 2).square().mean()):.1f} dB")
    rows = [torch.cat(list(v[i:i + 8]), 2) for i in range(0, 24, 8) for v in (x, y)]
    sheet = ((torch.cat(rows, 1).permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).byte().numpy()
    Image.fromarray(sheet).save(file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--whole", type=float, default=0.2, help="share of the training on whole pictures")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--encode", action="store_true")
    parser.add_argument("--look", type=Path)
    args = parser.parse_args()
    if args.look:
        look(args.work, args.look)
    elif args.encode:
        encode(args.work)
    else:
        train(args.work, args.steps, args.minutes, args.whole, args.batch)
