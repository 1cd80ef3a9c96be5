"""A contact sheet of every kind, eight to a row.

    python -m studio.sheet --out sheet.png            one picture per kind, with random background, light and camera
    python -m studio.sheet --out sheet.png --plain    white, soft light, one product each
    python -m studio.sheet --out sheet.png --kinds apple,mug --each 8
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from .catalogue import KINDS
from .picture import render
from .scenes import scene

COLUMNS, LABEL = 8, 14


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--each", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--plain", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    wanted = [kind for kind in args.kinds.split(",") for _ in range(args.each)]
    rows = -(-len(wanted) // COLUMNS)
    columns = min(COLUMNS, len(wanted))
    sheet = Image.new("RGB", (columns * args.tile, rows * (args.tile + LABEL)), "white")
    draw, font, start = ImageDraw.Draw(sheet), ImageFont.load_default(10), time.process_time()
    for i, kind in enumerate(wanted):
        plain = dict(background="white", light="soft", count=1, size="normal",
            camera=("front", "three-quarter")[i % 2]) if args.plain else {}
        s = scene(args.seed + i, kind=kind, **plain)
        picture = Image.fromarray(render(s, args.size, args.device).numpy())
        x, y = i % columns * args.tile, i // columns * (args.tile + LABEL)
        sheet.paste(picture.resize((args.tile - 2, args.tile - 2), Image.Resampling.LANCZOS), (x + 1, y + 1))
        words = f"{s.count} {s.colour} {s.material} {s.kind}, {s.background}, {s.light}, {s.camera}"
        draw.text((x + 3, y + args.tile), " ".join(words.split())[:50], fill="black", font=font)
    sheet.save(args.out)
    print(f"{len(wanted)} pictures, {(time.process_time() - start) / len(wanted):.2f} s of processor time each")


if __name__ == "__main__":
    main()
