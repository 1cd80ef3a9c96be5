"""The judge: a small classifier of what a picture shows. It learns only from renders, never from the model.

    python train_judge.py --work WORK --minutes 60                 resumable, writes WORK/judge.pt
    python train_judge.py --work WORK --minutes 2 --device cuda --batch 256
    python train_judge.py --work WORK --export                     measures it, writes judge/judge.onnx and judge.json

It learns from the packed pictures and from WORK/held, renders of combinations that the model has not seen (only the model
must not), and is measured on WORK/unseen and WORK/unseen-held; README.md has the commands. [n, 3, 128, 128] in 0..1 ->
scores of kind, colour, background, count, light, camera. A fifth of its training pictures are grey, so that it recognizes
kinds by their shapes.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import torch
import torch.nn.functional as F
from onnxruntime import InferenceSession
from PIL import Image
from torch import nn

from pack import packed
from precision import mixed
from studio.backdrops import BACKGROUNDS
from studio.catalogue import COLOURS, KINDS
from studio.picture import render
from studio.scenes import CAMERAS, LIGHTS, Scene, scene

JUDGE = Path(__file__).parent / "judge"
SIDE, CHANNELS, RATE, GREY = 128, (24, 48, 80, 112, 144), 3e-3, 0.2
PARTS: dict[str, list] = {"kind": list(KINDS), "colour": list(COLOURS), "background": list(BACKGROUNDS), "count": [1, 2, 3],
                          "light": list(LIGHTS), "camera": list(CAMERAS)}
WEIGHTS = {"kind": 1.0, "colour": 1.0, "background": 1.0}  # others: 0.2


class Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut (He et al. 2016)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(outside), nn.BatchNorm2d(outside)
        self.short = nn.Conv2d(inside, outside, 1, bias=False)
        self.stride = stride
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm2(self.second(F.silu(self.norm1(self.first(x)))))
        return F.silu(y + self.short(F.avg_pool2d(x, self.stride)))


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS[0], 3, 2, 1)
        pairs = zip(CHANNELS, CHANNELS[1:])
        self.blocks = nn.Sequential(*(Block(a, b, 2) for a, b in pairs), Block(CHANNELS[-1], CHANNELS[-1], 1))
        self.drop = nn.Dropout(0.2)
        self.heads = nn.ModuleList(nn.Linear(2 * CHANNELS[-1], len(values)) for values in PARTS.values())

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.blocks(F.silu(self.stem(pictures * 2 - 1)))
        x = self.drop(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        return tuple(head(x) for head in self.heads)


def labels_of(scenes: list[Scene]) -> torch.Tensor:
    """[n, parts]"""
    return torch.tensor([[values.index(getattr(s, part)) for part, values in PARTS.items()] for s in scenes])


def varied(x: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    """Shifted, larger or smaller, mirrored, a little blurred and noisy, brighter or darker: all that a generated picture may
    be and still be correct."""
    n = len(x)
    zoom, right, down, flip, soft, bright, noisy = torch.rand(7, n, 1, generator=chance, device=x.device)
    zoom, flip = 0.85 + 0.3 * zoom, torch.where(flip < 0.5, -1, 1)
    nothing = torch.zeros_like(zoom)
    moves = torch.stack([torch.cat([zoom * flip, nothing, 0.3 * right - 0.15], 1), torch.cat([nothing, zoom, 0.3 * down - 0.15], 1)], 1)
    grid = F.affine_grid(moves, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    sigma = torch.where(soft < 0.5, 0.2 + 2.6 * soft, 0.1)  # half of them blurred, by up to one and a half pixels
    line = torch.exp(-torch.arange(-3.0, 4, device=x.device) ** 2 / (2 * sigma**2))
    line = (line / line.sum(1, keepdim=True))[:, :, None, None, None]
    x = F.pad(x, (3, 3, 3, 3), mode="replicate")
    x = sum(line[:, k] * x[:, :, k:k + SIDE] for k in range(7))
    x = sum(line[:, k] * x[..., k:k + SIDE] for k in range(7))
    noise = torch.randn(x.shape, generator=chance, device=x.device)
    return (x * (0.94 + 0.12 * bright)[..., None, None] + 0.02 * noisy[..., None, None] * noise).clamp(0, 1)


def opened(file: Path) -> np.ndarray:
    """uint8 [side, side, 3]"""
    return np.asarray(Image.open(file).convert("RGB"))


def shrunk(pictures: np.ndarray, side: int, device: str = "cpu") -> torch.Tensor:
    """uint8 [..., h, h, 3] -> [..., 3, side, side] in 0..255, each pixel the mean of those it replaces."""
    planes = torch.from_numpy(pictures.copy()).to(device).movedim(-1, -3).float()
    return F.avg_pool2d(planes, planes.shape[-1] // side)


def rendered(folder: Path, held: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures, uint8 [n, 3, 128, 128], and their labels [n, parts]."""
    files = sorted(folder.glob("[0-9]*.png"))
    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(lambda file: shrunk(opened(file), SIDE).round().byte(), files))
    return torch.stack(pictures), labels_of([scene(int(f.stem), held=held) for f in files])


def known(work: Path, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The packed pictures and those of WORK/held, and their labels."""
    pictures, seeds = packed(work)
    small = [shrunk(pictures[i:i + 100], SIDE, device).round().byte() for i in range(0, len(pictures), 100)]
    held, labels = rendered(work / "held", held=True)
    labels = torch.cat([labels_of([scene(seed) for seed in seeds.tolist()]), labels])
    return torch.cat([*small, held.to(device)]), labels.to(device)


def shares_right(judge: InferenceSession, pictures: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    scores = np.concatenate([judge.run(None, {"pictures": x.float().numpy() / 255})[0] for x in pictures.split(64)])
    parts = np.split(scores, np.cumsum([len(values) for values in PARTS.values()])[:-1], 1)
    return {part: round(float((each.argmax(1) == y.numpy()).mean()), 4) for part, each, y in zip(PARTS, parts, labels.T)}


@torch.inference_mode()
def diversity_of_renders(work: Path) -> float:
    """How much renders of the same prompt differ: over pairs of 16 renders of each of the "varied" prompts, the mean of the
    root mean square difference (0..255) at 64 x 64. scripts/judge/diversity.ts does the same for the model's pictures."""
    folder, found = work / "varied", []
    folder.mkdir(exist_ok=True)
    for i, question in enumerate(json.loads((JUDGE / "prompts.json").read_text())["varied"]):
        pictures = []
        for j in range(16):
            file = folder / f"{i:02d}-{j:02d}.png"
            if not file.exists():
                Image.fromarray(render(scene(830_000_000 + 16 * i + j, **question["must"])).numpy()).save(file)
            pictures.append(shrunk(opened(file), 64))
        found += [(a - b).square().mean().sqrt().item() for k, a in enumerate(pictures) for b in pictures[:k]]
    return round(sum(found) / len(found), 3)


def measured(work: Path) -> dict:
    """The accuracy of the exported judge on renders that it has not seen."""
    judge, found = InferenceSession(JUDGE / "judge.onnx"), {"diversity": diversity_of_renders(work)}
    for name, held in (("unseen", False), ("unseen-held", True)):
        pictures, labels = rendered(work / name, held)
        found[name] = {"pictures": len(labels), **shares_right(judge, pictures, labels)}
    return found


class InOne(nn.Module):
    """All scores in one row, in the order of PARTS."""

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = judge

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.cat(self.judge(pictures), 1)


def in_bytes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Stores large weights as bytes with one scale per output, widened when the graph is loaded: a quarter of the file size.
    63 steps to either side are enough, and compress better than 127. Inputs and sums stay float32."""
    for weight in list(model.graph.initializer):
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size <= 1000:
            continue
        scales = (np.abs(values).reshape(len(values), -1).max(1) / 63).astype(np.float32).clip(1e-12)
        steps = np.round(values / scales.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
        model.graph.initializer.remove(weight)
        model.graph.initializer.extend([onnx.numpy_helper.from_array(steps, weight.name + ".steps"),
                                        onnx.numpy_helper.from_array(scales, weight.name + ".scales")])
        model.graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", [weight.name + ".steps", weight.name + ".scales"], [weight.name], axis=0))
    return model


def export(judge: Judge, work: Path) -> None:
    file = JUDGE / "judge.onnx"
    torch.onnx.export(InOne(judge).eval().to("cpu"), (torch.zeros(2, 3, SIDE, SIDE),), file, input_names=["pictures"],
                      output_names=["scores"], dynamic_axes={"pictures": {0: "n"}, "scores": {0: "n"}}, dynamo=False)
    onnx.save(in_bytes(onnx.load(file)), file)
    facts = {"side": SIDE, "parts": PARTS, "measured": measured(work)}
    (JUDGE / "judge.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts["measured"], indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0, help="in all")
    parser.add_argument("--minutes", type=float, default=0, help="in all")
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--export", action="store_true")
    args = parser.parse_args()
    if bool(args.steps) + bool(args.minutes) + args.export != 1:
        parser.error("give --steps, --minutes or --export")
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    judge = Judge().to(args.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=RATE, weight_decay=0.02)
    path, step, spent = args.work / "judge.pt", 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True, map_location=args.device)
        judge.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    if args.export:
        export(judge, args.work)
        return
    torch.backends.cudnn.benchmark = True
    pictures, labels = known(args.work, args.device)
    start, saved = time.time() - spent, time.time()

    def save() -> None:
        torch.save({"model": judge.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": time.time() - start}, path)

    while (part := step / args.steps if args.steps else (time.time() - start) / (60 * args.minutes)) < 1:
        chance = torch.Generator(args.device).manual_seed(step)
        index = torch.randint(len(pictures), (args.batch,), generator=chance, device=args.device)
        x, y = varied(pictures[index].float() / 255, chance), labels[index]
        grey = torch.rand(args.batch, generator=chance, device=args.device) < GREY
        x = torch.where(grey[:, None, None, None], x.mean(1, keepdim=True), x).contiguous(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 200) * (1 - part)
        with mixed(args.device):
            scores = judge.train()(x)
        loss = torch.zeros((), device=args.device)
        for i, (name, score) in enumerate(zip(PARTS, scores)):
            each = F.cross_entropy(score.float(), y[:, i], reduction="none")
            counts = ~grey if name in ("colour", "background") else torch.ones_like(grey)
            loss += WEIGHTS.get(name, 0.2) * (each * counts).sum() / counts.sum().clamp(min=1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(judge.parameters(), 2.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            right = ", ".join(f"{name} {(s.argmax(-1) == y[:, i]).float().mean():.2f}" for i, (name, s) in enumerate(zip(PARTS, scores)))
            print(f"step {step}, {part:.0%}, loss {loss.item():.3f}, {right}, {(time.time() - start) / step * 1000:.0f} ms a step", flush=True)
        if time.time() - saved > 60:
            saved = time.time()
            save()
    save()


if __name__ == "__main__":
    main()
