"""Renders scenes into a folder: one PNG per seed, and captions.jsonl with the content and the captions of each.

    python -m studio.render --seed 0 --count 100 --out folder [--size 256] [--device cpu] [--part 0 --parts 2] [--apart]

With --apart each picture gets two more files: NUMBER.product.png has the products alone, their colour and true alpha,
and NUMBER.plate.png the background alone, with shadows and reflections.
Existing pictures are skipped: run it again and it continues where it stopped. A picture depends only on its seed, so
several processes (--part of --parts) can share the work in one folder; each writes its own lines.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch
from PIL import Image

from .captions import caption
from .picture import render, render_apart
from .scenes import Scene, held_out, scene

WORDINGS = 4


def line(s: Scene, name: str) -> str:
    return json.dumps({"file": name, "captions": [caption(s, i) for i in range(WORDINGS)], "held_out": held_out(s), "scene": s.as_json()})


def told(path: Path) -> set[str]:
    """File names that are already in captions.jsonl; a line cut short by a stop is dropped."""
    if not path.exists():
        return set()
    good, names = [], set()
    for text in path.read_text().splitlines():
        try:
            names.add(json.loads(text)["file"])
            good.append(text)
        except (json.JSONDecodeError, KeyError):
            continue
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text("".join(f"{text}\n" for text in good))
    fresh.replace(path)
    return names


def save(pixels: torch.Tensor, path: Path) -> None:
    """Written atomically."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    Image.fromarray(pixels.numpy()).save(half, format="PNG")
    half.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="the first scene's")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=256, help="a multiple of 16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--apart", action="store_true", help="also the products and the background alone")
    parser.add_argument("--held", action="store_true", help="only combinations that are held out of training")
    args = parser.parse_args()
    if args.size % 16 or args.size < 16:
        parser.error(f"--size must be a multiple of 16, got {args.size}")
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    listing = args.out / ("captions.jsonl" if args.parts == 1 else f"captions-{args.part}.jsonl")
    known, start, made = told(listing), time.time(), 0
    with listing.open("a") as lines:
        for seed in range(args.seed + args.part, args.seed + args.count, args.parts):
            name = f"{seed:07d}.png"
            s = scene(seed, held=args.held)
            apart = {part: args.out / f"{seed:07d}.{part}.png" for part in ("product", "plate")} if args.apart else {}
            files = {**apart, "picture": args.out / name}
            if not all(file.exists() for file in files.values()):
                parts = render_apart(s, args.size, args.device) if apart else {"picture": render(s, args.size, args.device)}
                for part, file in files.items():
                    save(parts[part], file)
                made += 1
            if name not in known:
                lines.write(line(s, name) + "\n")
                lines.flush()
            if made and made % 100 == 0:
                print(f"{seed - args.seed + 1} of {args.count}, {(time.time() - start) / made:.2f} s per picture", flush=True)
    print(f"{made} pictures in {time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
