"""Trains the matting network on renders alone. Resumable: WORK/matte.pt.

    python train_matte.py --work WORK --minutes 60
    python train_matte.py --work WORK --export ../models/matte/packshot-matte.onnx

Reads WORK/scenes, WORK/scenes-128 and WORK/scenes-384 (`studio.render --apart`; README.md has the commands); renders that are
added meanwhile are picked up.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F

from matte_model import Matte, export
from matte_pictures import Renders, example
from muon import Muon
from precision import mixed

RATE, KEEP = 2e-3, 0.998
SMALL, SMALL_SIDES, SIDES = 0.45, (128, 128, 160), (256, 192, 256, 320)  # share of the time with the small sides, which come first
FOLDERS = ("scenes", "scenes-128", "scenes-384")


def batch_of(renders: Renders, step: int, size: int, part: float, rank: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures [n, 3, side, side] and alpha [n, 1, side, side] of a step. Sides go round, with the same number of pixels: what a
    product is, is learnt from many small pictures; then its edges."""
    sides = SMALL_SIDES if part < SMALL else SIDES
    side = sides[step % len(sides)]
    count = max(1, size * 256**2 // side**2)
    pairs = [example(renders, side, (step * 8 + rank) * 1000 + i) for i in range(count)]
    return torch.stack([picture for picture, _ in pairs]), torch.stack([alpha for _, alpha in pairs])


def slopes(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def largest(x: torch.Tensor, side: int) -> torch.Tensor:
    """Of a square around each place; a row first, then a column: a pool of a whole square takes as long as a training step."""
    return F.max_pool2d(F.max_pool2d(x, (1, side), 1, (0, side // 2)), (side, 1), 1, (side // 2, 0))


def loss_of(logits: torch.Tensor, hints: list[torch.Tensor], alpha: torch.Tensor) -> torch.Tensor:
    """Cross entropy, which tells what is product; absolute difference and that of slopes at three sizes, for the edges. Counted
    more: edges, holes, and the ground close to the product, where shadows and reflections are. The levels' hints must be right too:
    without, six hundred steps went by before the coarse levels were used at all."""
    coarse = largest(F.max_pool2d(alpha, 8), 7)
    close = F.interpolate(coarse, scale_factor=8, mode="nearest") * (1 - alpha)
    edge = largest(alpha, 5) + largest(-alpha, 5)
    # holes and bays: what is ground after all in the smallest shape without them
    closed = -largest(-largest(F.avg_pool2d(alpha, 4), 13), 13)
    hole = F.interpolate(closed, scale_factor=4, mode="nearest") * (1 - alpha)
    weight = 1 + 2 * close + 3 * edge + 6 * hole
    found = torch.sigmoid(logits)
    loss = (weight * F.binary_cross_entropy_with_logits(logits, alpha, reduction="none")).mean()
    for hint in hints:
        truth = F.avg_pool2d(alpha, alpha.shape[-1] // hint.shape[-1])
        loss = loss + 0.4 * F.binary_cross_entropy_with_logits(hint.float(), truth)
    loss = loss + 2 * (weight * (found - alpha).abs()).mean()
    for _ in range(3):
        for a, b in zip(slopes(found), slopes(alpha)):
            loss = loss + 4 * (a - b).abs().mean()
        found, alpha = F.avg_pool2d(found, 2), F.avg_pool2d(alpha, 2)
    return loss


class Averaged:
    """The mean of the last thousand steps' weights, with the norms' statistics."""

    def __init__(self, matte: Matte) -> None:
        self.matte = Matte()
        self.matte.load_state_dict(matte.state_dict())

    @torch.no_grad()
    def update(self, matte: Matte, step: int) -> None:
        keep = min(KEEP, (1 + step) / (10 + step))
        for mean, value in zip(self.matte.state_dict().values(), matte.state_dict().values()):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)


def together(gradients: list[torch.Tensor], part: float) -> float:
    """Averages over the processes. @returns the mean of part"""
    if not dist.is_initialized():
        return part
    flat = torch.cat([*(g.reshape(-1) for g in gradients), torch.tensor([part])])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for g, mean in zip(gradients, flat[:-1].split([g.numel() for g in gradients])):
        g.copy_(mean.view_as(g))
    return flat[-1].item()


def train(rank: int, args: argparse.Namespace, processes: int) -> None:
    torch.set_num_threads(args.threads)
    if processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{args.work}/meeting", rank=rank, world_size=processes)
    torch.manual_seed(0)
    renders = Renders([args.work / name for name in FOLDERS])
    matte = Matte().to(memory_format=torch.channels_last)
    averaged = Averaged(matte)
    optimizer = Muon(matte, RATE, ends=("stem", "edges", "out.", "hints"))
    path, step, spent = args.work / "matte.pt", 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True)
        matte.load_state_dict(state["model"])
        averaged.matte.load_state_dict(state["mean"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    start, saved, shown = time.time() - spent, time.time(), []
    so_far = lambda: step / args.steps if args.steps else (time.time() - start) / (60 * args.minutes)

    def save() -> None:
        state = {"model": matte.state_dict(), "mean": averaged.matte.state_dict(), "optimizer": optimizer.state_dict()}
        half = path.with_suffix(".half")
        torch.save({**state, "step": step, "spent": time.time() - start}, half)
        half.replace(path)

    with ThreadPoolExecutor(1) as pool:
        part = so_far()
        then = lambda n: n / args.steps if args.steps else part
        ahead = pool.submit(batch_of, renders, step, args.batch, part, rank)
        while part < 1 and step < args.until:
            pictures, alpha = ahead.result()
            ahead = pool.submit(batch_of, renders, step + 1, args.batch, then(step + 1), rank)
            hints: list[torch.Tensor] = []
            with mixed("cpu"):
                logits = matte.train().logits(pictures.contiguous(memory_format=torch.channels_last), hints)
            loss = loss_of(logits.float(), hints, alpha)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            part = together([p.grad for p in matte.parameters()], so_far())
            torch.nn.utils.clip_grad_norm_(matte.parameters(), 2.0)
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(1, (step + 1) / 50) * min(1, (1 - min(part, 1)) / 0.35)
            optimizer.step()
            averaged.update(matte, step)
            step += 1
            part = then(step)
            shown.append((loss.item(), (torch.sigmoid(logits.float()) - alpha).abs().mean().item()))
            if step % 50 == 0:
                renders.look()
                means = [sum(values) / len(values) for values in zip(*shown)]
                if rank == 0:
                    print(f"step {step}, {part:.0%}, loss {means[0]:.3f}, difference {means[1]:.4f}, {len(renders)} renders, "
                          f"{(time.time() - start) / step:.2f} s a step", flush=True)
                shown = []
            if rank == 0 and time.time() - saved > 60:
                saved = time.time()
                save()
    if rank == 0:
        save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0, help="in all")
    parser.add_argument("--minutes", type=float, default=0, help="in all")
    parser.add_argument("--until", type=float, default=float("inf"), help="end before that, after so many steps")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1, help="more are slower on a busy machine")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--export", type=Path)
    args = parser.parse_args()
    if bool(args.steps) + bool(args.minutes) + bool(args.export) != 1:
        parser.error("give --steps, --minutes or --export")
    if args.export:
        matte = Matte()
        matte.load_state_dict(torch.load(args.work / "matte.pt", weights_only=True)["mean"])
        export(matte, args.export)
        return
    if args.processes == 1:
        train(0, args, 1)
        return
    (args.work / "meeting").unlink(missing_ok=True)
    torch.multiprocessing.spawn(train, (args, args.processes), nprocs=args.processes)


if __name__ == "__main__":
    main()
