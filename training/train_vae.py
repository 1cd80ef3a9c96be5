"""The autoencoder: pictures [3, 256, 256] <-> latents [12, 16, 16].

    python train_vae.py --work WORK --steps 2350           trains, resumable, writes WORK/vae.pt
    python train_vae.py --work WORK --minutes 15           the same by the clock (busy machine: fewer steps, not reproducible)
    python train_vae.py --work WORK --minutes 2 --device cuda --batch 64 --start ../models/packshot-mini/vae
    python train_vae.py --work WORK --encode               writes WORK/vae_final.pt once, and latents.npy of all pictures
    python train_vae.py --work WORK --look FILE            originals over reconstructions

The loss is Charbonnier's (a smooth L1) on the pixels, in opponent colours so that hue weighs as much as lightness, and L1
on the differences of neighbouring pixels at three scales, which keeps edges crisp; a very small KL term keeps the latents
bounded (as in Rombach et al. 2022). Training uses crops of 128, at a quarter of the cost per step, and then whole
pictures. It starts from a thumbnail codec, or with `--start FOLDER` from an earlier autoencoder.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from PIL import Image

from model import LATENT_CHANNELS, LATENT_SIZE, SIZE, make_vae
from pack import packed, saved
from precision import layout, mixed
from vae_start import normalise_latents, start_as_earlier, start_as_thumbnail

KL_WEIGHT, LEARNING_RATE, HELD_OUT, LEAST = 1e-5, 5e-4, 32, 0.4
OPPONENT = torch.tensor([[0.5, 0.5, 0.5], [1.0, -1.0, 0.0], [0.5, 0.5, -1.0]])  # light, red-green, yellow-blue


def batch_of(pictures: np.ndarray, index: np.ndarray, crop: int, rng: np.random.Generator, device: str) -> torch.Tensor:
    """Random crops, flipped half the time, as [n, 3, crop, crop] in -1..1."""
    out = []
    for i in index:
        # biased towards the middle, where the product is
        y, x = (int(np.clip(rng.normal((SIZE - crop) / 2, 34), 0, SIZE - crop)) // 16 * 16 for _ in range(2))
        picture = pictures[i, y:y + crop, x:x + crop]
        out.append(picture[:, ::-1] if rng.random() < 0.5 else picture)
    return as_input(np.stack(out), device)


def as_input(pictures: np.ndarray, device: str) -> torch.Tensor:
    """uint8 [n, h, w, 3] -> [n, 3, h, w] in -1..1."""
    return torch.from_numpy(pictures.copy()).to(device).permute(0, 3, 1, 2).contiguous(memory_format=layout(device)).float() / 127.5 - 1


def picture_loss(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(pixel loss, edge loss) of two batches of pictures."""
    a, b = (torch.einsum("oc,nchw->nohw", OPPONENT.to(v.device), v) for v in (x, y))
    return torch.sqrt((b - a) ** 2 + 1e-4).mean(), gradient_loss(b, a)


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


def train(args: argparse.Namespace) -> None:
    if (args.work / "vae_final.pt").exists():
        raise SystemExit(f"{args.work}/vae_final.pt exists: latents.npy and the UNet depend on it. For a different autoencoder, train in "
                         "a different folder, followed by a new UNet")
    torch.manual_seed(0)
    vae = make_vae()
    start_as_thumbnail(vae)
    if args.start:
        start_as_earlier(vae, AutoencoderKL.from_pretrained(args.start, torch_dtype=torch.float32))
    vae.to(args.device, memory_format=layout(args.device))
    optimizer = torch.optim.AdamW(vae.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    path, step, spent = args.work / "vae.pt", 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True, map_location=args.device)
        vae.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]

    def save() -> None:
        torch.save({"model": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": time.time() - start},
                   path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)

    start, kept, said, sums = time.time() - spent, time.time(), time.time(), torch.zeros(3, device=args.device)
    pictures, _ = packed(args.work)
    while (part := step / args.steps if args.steps else (time.time() - start) / (60 * args.minutes)) < 1:
        rng = np.random.default_rng(step)
        torch.manual_seed(step)
        if step % 500 == 499:
            pictures, _ = packed(args.work)  # there may be more by now
        crop = SIZE if part > 1 - args.whole else 128
        n = args.batch if crop == 128 else max(2, args.batch // 4)
        x = batch_of(pictures, rng.integers(HELD_OUT, len(pictures), n), crop, rng, args.device)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / 100) * (1 - 0.97 * max(0.0, part - 0.35) / 0.65)
        with mixed(args.device):
            y, kl = reconstruct(vae, x, noise=True)
        pixel, edge = picture_loss(x, y)
        loss = pixel + 1.5 * edge + KL_WEIGHT * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step, sums = step + 1, sums + torch.stack([pixel, edge, kl]).detach()
        if step % 50 == 0:
            a, b, c = (sums / 50).tolist()
            rate, said = 50 / (time.time() - said), time.time()
            print(f"step {step} crop {crop} pixel {a:.4f} edge {b:.4f} kl {c:.2f} {rate:.2f} steps/s {part:.0%}", flush=True)
            sums = torch.zeros_like(sums)
        if time.time() - kept > 60:
            kept = time.time()
            save()
    save()


def trained(work: Path, name: str, device: str) -> AutoencoderKL:
    vae = make_vae()
    vae.load_state_dict(torch.load(work / name, weights_only=True, map_location="cpu")["model"])
    return vae.to(device, memory_format=layout(device)).eval()


def deviations(vae: AutoencoderKL, pictures: torch.Tensor) -> torch.Tensor:
    """The target deviation of each channel of normalised latents: 1 for the channel that most of the picture depends on,
    less for the others, but at least LEAST. At any noise level the picture's large structures then emerge before its details,
    and the UNet's loss weighs them more; this is the geometric mean of equal deviations and the pixels' own shares."""
    latents = vae.encode(pictures).latent_dist.mean

    def error(z: torch.Tensor) -> torch.Tensor:
        return (vae.decode(z).sample - pictures).square().mean()

    whole, worse = error(latents), []
    for channel in range(LATENT_CHANNELS):
        without = latents.clone()
        without[:, channel] = 0
        worse.append((error(without) - whole).clamp(min=0))
    return (torch.stack(worse) / max(worse)).pow(0.25).clamp(min=LEAST)


@torch.inference_mode()
def encode(work: Path, device: str) -> None:
    """Posterior means of all pictures, fp16 [n, 12, 16, 16], of mean 0 and `deviations` per channel. The first call
    folds that scaling into the autoencoder and writes WORK/vae_final.pt; later calls only append latents."""
    pictures, _ = packed(work)
    some = 4 if device == "cpu" else 64

    def means(vae: AutoencoderKL, first: int, last: int) -> torch.Tensor:
        out = [torch.empty(0, *vae_shape)]
        for i in range(first, last, some):
            with mixed(device):
                out.append(vae.encode(as_input(pictures[i:min(i + some, last)], device)).latent_dist.mean.float().cpu())
        return torch.cat(out)

    vae_shape = (LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)
    if not (work / "vae_final.pt").exists():
        vae = trained(work, "vae.pt", device)
        first = means(vae, 0, min(2000, len(pictures)))
        mean, std = first.mean((0, 2, 3)).to(device), first.std((0, 2, 3)).to(device)
        normalise_latents(vae, mean, std)
        wanted = deviations(vae, as_input(pictures[:HELD_OUT], device))
        normalise_latents(vae, torch.zeros_like(mean), 1 / wanted)
        print(f"mean per channel {mean.tolist()}, deviation {std.tolist()}, scaled to {wanted.tolist()}")
        torch.save({"model": vae.state_dict()}, work / "vae_final.pt")
    file = work / "latents.npy"
    known = np.load(file) if file.exists() else np.empty((0, *vae_shape), np.float16)
    fresh = means(trained(work, "vae_final.pt", device), len(known), len(pictures)).half().numpy()
    saved(file, np.concatenate([known, fresh]))
    print(f"{len(fresh)} new latents, {len(pictures)} in all")


@torch.inference_mode()
def look(work: Path, file: Path, device: str) -> None:
    x = as_input(packed(work)[0][:HELD_OUT], device)
    name = "vae_final.pt" if (work / "vae_final.pt").exists() else "vae.pt"
    y = reconstruct(trained(work, name, device), x, noise=False)[0]
    print(f"held-out L1 {(x - y).abs().mean() / 2 * 255:.2f} of 255, PSNR {-10 * torch.log10(((x - y) / 2).square().mean()):.1f} dB")
    rows = [torch.cat(list(v[i:i + 8]), 2) for i in range(0, HELD_OUT, 8) for v in (x, y)]
    sheet = ((torch.cat(rows, 1).permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).byte().cpu().numpy()
    Image.fromarray(sheet).save(file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--whole", type=float, default=0.2, help="share of the training on whole pictures")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--start", type=Path, help="a folder with an AutoencoderKL of these widths to start from")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--encode", action="store_true")
    parser.add_argument("--look", type=Path)
    args = parser.parse_args()
    if args.look:
        look(args.work, args.look, args.device)
    elif args.encode:
        encode(args.work, args.device)
    else:
        train(args)
