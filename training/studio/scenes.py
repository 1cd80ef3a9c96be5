"""The content of a picture, drawn from a seed.

`scene(seed)` is everything the renderer and the captions need. Combinations of kind, colour and background selected by
their hash (about one in twenty) are held out: `scene` leaves them out by default, so that a model's pictures of them show
whether it can combine.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import asdict, dataclass

from .backdrops import BACKGROUNDS
from .catalogue import KINDS

HELD_ONE_IN = 20
LIGHTS = ("soft", "hard", "top")
CAMERAS = ("front", "three-quarter", "above")
ARRANGEMENTS = ("single", "row", "cluster", "one in front")
SIZES = {"small": (0.42, 0.50), "normal": (0.62, 0.74), "large": (0.79, 0.86)}  # share of the frame's side


@dataclass(frozen=True)
class Scene:
    """One picture. Angles in radians; `fill` is the share of the frame that the products take, `shift` a part of it."""

    seed: int
    kind: str
    colour: str
    material: str
    count: int
    arrangement: str  # "single", "row", "cluster" or "one in front"
    background: str
    light: str
    camera: str
    size: str
    yaw: float
    pitch: float
    fill: float
    shift: tuple[float, float]
    light_azimuth: float
    light_height: float
    exposure: float

    def as_json(self) -> dict:
        return asdict(self)


def is_held_out(kind: str, colour: str, background: str) -> bool:
    digest = hashlib.sha256(f"{kind}|{colour}|{background}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % HELD_ONE_IN == 0


def held_out(scene: Scene) -> bool:
    return is_held_out(scene.kind, scene.colour, scene.background)


def combinations() -> list[tuple[str, str, str]]:
    return [(kind.name, colour, background) for kind in KINDS.values() for colour in kind.colours for background in BACKGROUNDS]


def held_out_combinations() -> list[tuple[str, str, str]]:
    return [c for c in combinations() if is_held_out(*c)]


def scene(seed: int, held: bool | None = False, **fixed) -> Scene:
    """The scene of a seed. held: False leaves held-out combinations out, True draws only those, None draws any.
    `fixed` overrides fields (kind="apple"); `held` is then ignored."""
    for attempt in range(10_000):
        rng = random.Random(f"studio-{seed}-{attempt}")
        drawn = draw(seed, rng, fixed)
        if fixed or held is None or held_out(drawn) == held:
            return drawn
    raise ValueError("no scene meets the demand")


def draw(seed: int, rng: random.Random, fixed: dict) -> Scene:
    kind = KINDS[fixed.get("kind") or rng.choice(list(KINDS))]
    colours = list(kind.colours)
    colour = colours[0] if rng.random() < 0.2 else rng.choice(colours)
    material = rng.choice(kind.materials)
    background = "white" if rng.random() < 0.3 else rng.choice(BACKGROUNDS[1:])
    light = rng.choices(LIGHTS, (0.66, 0.17, 0.17))[0]
    camera = rng.choices(CAMERAS, (0.42, 0.42, 0.16))[0]
    size = rng.choices(list(SIZES), (0.1, 0.8, 0.1))[0]
    count = fixed.get("count") or rng.choices((1, 2, 3), (0.76, 0.13, 0.11))[0]
    arrangement = "single" if count == 1 else rng.choice(("row", "one in front") if count == 2 else ("row", "cluster", "one in front"))
    light, camera, size = fixed.get("light", light), fixed.get("camera", camera), fixed.get("size", size)
    side = rng.choice((-1, 1))
    yaw = {"front": rng.uniform(-0.22, 0.22), "three-quarter": rng.choice((-1, 1)) * rng.uniform(0.45, 0.75),
           "above": rng.uniform(-0.6, 0.6)}[camera]
    pitch = {"front": rng.uniform(0.13, 0.24), "three-quarter": rng.uniform(0.34, 0.48), "above": rng.uniform(0.85, 1.15)}[camera]
    azimuth = {"soft": rng.uniform(0.5, 0.95), "hard": rng.uniform(1.0, 1.35), "top": rng.uniform(0.1, 0.6)}[light] * side
    height = {"soft": rng.uniform(0.70, 0.95), "hard": rng.uniform(0.45, 0.62), "top": rng.uniform(1.22, 1.42)}[light]
    if count > 1 and size != "large":
        size = "normal"
    values = dict(seed=seed, kind=kind.name, colour=colour, material=material, count=count, arrangement=arrangement,
                  background=background, light=light, camera=camera, size=size, yaw=yaw, pitch=pitch,
                  fill=rng.uniform(*SIZES[size]) + (0.11 if count > 1 and size == "normal" else 0), shift=(rng.uniform(-0.03, 0.03), rng.uniform(-0.02, 0.02)),
                  light_azimuth=azimuth, light_height=height, exposure=rng.uniform(0.95, 1.06))
    return Scene(**{**values, **fixed})
