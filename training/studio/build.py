"""Scene -> things: each product built with its own small variations of form and colour, and placed in the arrangement."""

from __future__ import annotations

import colorsys
import random
from dataclasses import dataclass
from typing import Callable

from . import bakery, bottles, cans, cartons, citrus, dairy, fruit, greens, roots, sweets, tableware, tropical, vegetables
from .catalogue import KINDS, Colour
from .product import Part, Skin, Thing
from .scenes import Scene


@dataclass
class Look:
    """Input of a builder: the colour's name, the surface's sRGB with a small deviation, material, and random generators."""

    colour: str
    rgb: Colour
    material: str
    rng: random.Random     # what differs between the products of one picture
    design: random.Random  # what they share: print, style, contents
    many: bool             # whether there are other products
    camera: str

    def vary(self, around: float = 1.0, by: float = 0.05) -> float:
        return around * (1 + self.rng.uniform(-by, by))

    def stands(self, chance: float) -> bool:
        """Whether a flat thing stands up: seen from above it must lie, or it would be invisible."""
        return self.camera != "above" and self.rng.random() < chance

    def side(self) -> int:
        return self.rng.choice((-1, 1))

    def skin(self, rgb: Colour | None = None, **more) -> Skin:
        """The ware's material: matte, glossy, metal, or what fits when none is named."""
        base = {"matte": dict(gloss=0.25, rough=0.75), "glossy": dict(gloss=1.0, rough=0.06), "metal": dict(metal=1.0, rough=0.16,
            gloss=1.0)}
        return Skin(rgb or self.rgb, **{**base.get(self.material, dict(gloss=0.6, rough=0.25)), **more})


BUILDERS: dict[str, Callable[[Look], list[Part]]] = {}
for module in (bakery, bottles, cans, cartons, citrus, dairy, fruit, greens, roots, sweets, tableware, tropical, vegetables):
    BUILDERS.update(module.BUILDERS)


def jitter(rgb: Colour, rng: random.Random, amount: float = 1.0) -> Colour:
    h, s, v = colorsys.rgb_to_hsv(*rgb)
    h = (h + rng.gauss(0, 0.006) * amount) % 1
    s = min(max(s * (1 + rng.gauss(0, 0.05) * amount), 0), 1)
    v = min(max(v * (1 + rng.gauss(0, 0.04) * amount), 0.03), 0.96)
    return colorsys.hsv_to_rgb(h, s, v)


def one(scene: Scene, rng: random.Random, rgb: Colour, yaw: float) -> Thing:
    natural = KINDS[scene.kind].group in ("fruit", "vegetable", "bakery", "dairy")
    look = Look(scene.colour, jitter(rgb, rng, 0.8 if natural else 0.15), scene.material, rng,
        random.Random(f"design-{scene.seed}"), scene.count > 1, scene.camera)
    scale = 1 + rng.uniform(-0.07, 0.07) * (1.0 if natural else 0.1)
    return Thing(BUILDERS[scene.kind](look), yaw, scale=scale)


def things_of(scene: Scene) -> list[Thing]:
    rng = random.Random(f"build-{scene.seed}")
    rgb = jitter(KINDS[scene.kind].colours[scene.colour], rng)
    natural = KINDS[scene.kind].group in ("fruit", "vegetable")
    turns = [scene.yaw + (rng.uniform(-0.5, 0.5) if natural else rng.uniform(-0.12, 0.12)) * (scene.count > 1) for _ in range(scene.count)]
    things = [one(scene, rng, rgb, yaw) for yaw in turns]
    place(things, scene, rng)
    return things


def place(things: list[Thing], scene: Scene, rng: random.Random) -> None:
    """Places the things side by side, in a cluster, or one in front of the others, without overlapping boxes."""
    if len(things) == 1:
        return
    wide = max(t.high[0] - t.low[0] for t in things)
    deep = max(t.high[2] - t.low[2] for t in things)
    gap = rng.uniform(0.03, 0.12)
    w, d = wide + gap, deep + gap
    if scene.arrangement == "row":
        spots = [((i - (len(things) - 1) / 2) * w, rng.uniform(-0.04, 0.04)) for i in range(len(things))]
        if wide > 1.6 * deep and scene.camera != "front":  # long things lie one behind another: side by side they would make too thin a strip
            aside = 0.0 if scene.camera == "above" else 0.3 * wide * rng.choice((-1, 1))  # or the first would hide the next
            spots = [((i - (len(things) - 1) / 2) * aside, (i - (len(things) - 1) / 2) * d) for i in range(len(things))]
    elif scene.arrangement == "cluster":
        flip = rng.choice((-1, 1))
        spots = [(-0.5 * w, -0.2 * d * flip), (0.5 * w, -0.3 * d * flip), (rng.uniform(-0.12, 0.12) * w, 0.68 * d * flip)]
    else:
        lean = rng.choice((-1, 1))
        back = [(-0.52 * w, -0.4 * d), (0.52 * w, -0.4 * d)] if len(things) == 3 else [(-0.42 * w * lean, -0.5 * d)]
        spots = back + [(0.30 * w * lean if len(things) == 3 else 0.42 * w * lean, 0.62 * d)]
    for thing, (x, z) in zip(things, spots):
        thing.move(x, z)
