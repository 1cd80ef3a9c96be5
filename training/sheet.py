"""A contact sheet of the exported model, made by diffusers: one labelled tile per prompt, fixed seeds.

    python sheet.py --model ../models/packshot-mini --out ../docs/packshot-mini.png
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont

PROMPTS = """
a red apple|a green apple|a yellow pear|an orange|a lemon|a red tomato|a banana|a carrot
an aubergine|a green bell pepper|a white egg|a pink doughnut|a blue bottle|a green wine bottle|a jar|a red can
a blue mug|a white bowl|a brown box|a milk carton|a blue apple|a purple banana|a black mug|a pink egg
a red apple on a dark background|a yellow mug on a blue background|a white bowl on a pink background|a blue can on a yellow background|a red bottle on a grey background|a green pear on a pink background|an orange jar on a green background|a brown doughnut on a blue background
studio photo of a blue mug on white|product photo of a purple box|a photo of a green bottle on a dark background|packshot of a pink milk carton|black bowl, grey background|wine bottle, red|a can that is green|on a pink background, a white egg
red apple|yellow pepper|orange bowl|purple aubergine on a yellow background|blue eggplant|golden pear on black|a violet cup|a crimson jar on light blue
""".strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--guidance", type=float, default=3.5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--tile", type=int, default=176)
    parser.add_argument("--rows", type=int, default=6)
    args = parser.parse_args()
    pipeline = StableDiffusionPipeline.from_pretrained(args.model, safety_checker=None, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    rows = [line.split("|") for line in PROMPTS.splitlines()][: args.rows]
    label, font = 26, ImageFont.load_default(10)
    sheet = Image.new("RGB", (args.tile * 8, (args.tile + label) * len(rows)), "white")
    draw, start, seed = ImageDraw.Draw(sheet), time.time(), 0
    for y, row in enumerate(rows):
        noise = [torch.Generator("cpu").manual_seed(seed + i) for i in range(len(row))]
        seed += len(row)
        pictures = pipeline(row, num_inference_steps=args.steps, guidance_scale=args.guidance, generator=noise).images
        for x, (prompt, picture) in enumerate(zip(row, pictures)):
            left, top = x * args.tile, y * (args.tile + label)
            sheet.paste(picture.resize((args.tile - 2, args.tile - 2), Image.Resampling.LANCZOS), (left + 1, top + 1))
            words, lines = prompt.split(), [""]
            for word in words:
                if draw.textlength(f"{lines[-1]} {word}", font) > args.tile - 6:
                    lines.append("")
                lines[-1] = f"{lines[-1]} {word}".strip()
            draw.multiline_text((left + 4, top + args.tile), "\n".join(lines[:2]), fill="black", font=font, spacing=1)
    print(f"{seed} pictures in {time.time() - start:.1f} s")
    sheet.save(args.out, optimize=True)


if __name__ == "__main__":
    main()
