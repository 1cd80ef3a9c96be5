"""What is in a picture, and the words for it.

A `Scene` is everything the renderer needs, drawn from a seed; `captions` writes English for it. The three things that
words decide are kind, colour and background; the rest (camera, light, size, small changes of form) is left to chance,
so that different noise gives different pictures of the same words.

Rules of the language, kept by both the grammar and the pictures:
  - no background named  ->  white
  - no colour named      ->  the first of the kind's own colours (OWN_COLOURS)
"""

from __future__ import annotations

import random
from dataclasses import dataclass

# kind -> names for it, the usual one first
KINDS: dict[str, list[str]] = {
    "apple": ["apple"],
    "pear": ["pear"],
    "orange": ["orange", "tangerine", "orange fruit"],
    "lemon": ["lemon", "lime"],
    "tomato": ["tomato"],
    "banana": ["banana"],
    "carrot": ["carrot"],
    "aubergine": ["aubergine", "eggplant"],
    "bell pepper": ["bell pepper", "pepper", "sweet pepper"],
    "egg": ["egg", "chicken egg"],
    "doughnut": ["doughnut", "donut"],
    "bottle": ["bottle", "juice bottle", "plastic bottle"],
    "wine bottle": ["wine bottle", "bottle of wine"],
    "jar": ["jar", "jam jar", "glass jar"],
    "can": ["can", "tin", "tin can", "soda can"],
    "mug": ["mug", "coffee mug", "cup", "coffee cup"],
    "bowl": ["bowl", "soup bowl"],
    "box": ["box", "cardboard box", "package"],
    "milk carton": ["milk carton", "carton", "juice carton"],
}

# colour -> names, and the surface's sRGB
COLOURS: dict[str, tuple[list[str], tuple[float, float, float]]] = {
    "red": (["red", "scarlet", "crimson"], (0.80, 0.07, 0.07)),
    "orange": (["orange"], (0.95, 0.48, 0.05)),
    "yellow": (["yellow", "golden"], (0.96, 0.82, 0.10)),
    "green": (["green"], (0.22, 0.58, 0.14)),
    "blue": (["blue"], (0.10, 0.28, 0.76)),
    "purple": (["purple", "violet"], (0.44, 0.13, 0.60)),
    "pink": (["pink", "rose"], (0.95, 0.50, 0.66)),
    "brown": (["brown"], (0.45, 0.26, 0.12)),
    "white": (["white"], (0.93, 0.92, 0.90)),
    "black": (["black"], (0.07, 0.07, 0.08)),
}

# background -> names (used as "on a ___ background"), and the paper's sRGB
BACKGROUNDS: dict[str, tuple[list[str], tuple[float, float, float]]] = {
    "white": (["white", "plain white", "bright"], (0.94, 0.94, 0.94)),
    "grey": (["grey", "gray", "neutral grey"], (0.58, 0.58, 0.59)),
    "black": (["black", "dark", "dark"], (0.13, 0.13, 0.14)),
    "blue": (["blue", "light blue", "pastel blue"], (0.60, 0.77, 0.92)),
    "pink": (["pink", "light pink", "pastel pink"], (0.95, 0.74, 0.79)),
    "green": (["green", "light green", "pastel green"], (0.68, 0.85, 0.66)),
    "yellow": (["yellow", "light yellow", "pastel yellow"], (0.97, 0.89, 0.60)),
}

OWN_COLOURS: dict[str, list[str]] = {
    "apple": ["red", "green", "yellow"],
    "pear": ["green", "yellow"],
    "orange": ["orange"],
    "lemon": ["yellow", "green"],
    "tomato": ["red", "yellow", "green"],
    "banana": ["yellow", "green"],
    "carrot": ["orange", "purple"],
    "aubergine": ["purple", "black"],
    "bell pepper": ["red", "green", "yellow", "orange"],
    "egg": ["white", "brown"],
    "doughnut": ["pink", "brown", "white"],
    "bottle": ["green", "blue", "white"],
    "wine bottle": ["green", "black", "brown"],
    "jar": ["red", "orange", "brown"],
    "can": ["red", "blue", "green"],
    "mug": ["white", "blue", "black"],
    "bowl": ["white", "blue", "brown"],
    "box": ["brown", "white"],
    "milk carton": ["white", "blue", "red"],
}

LIGHTS = {"soft": ["soft light", "soft lighting"], "hard": ["hard light", "dramatic light", "dramatic lighting"]}
QUALITY = ["high quality", "studio light", "studio lighting", "sharp focus", "4k", "8k", "detailed", "professional photo",
           "realistic", "best quality", "photorealistic", "minimalist", "product shot", "catalogue photo"]
OPENERS = ["a photo of", "studio photo of", "a studio photo of", "product photo of", "a product photo of", "photo of",
           "packshot of", "a packshot of", "picture of", "a picture of", "an image of", "close-up of"]
# What people write into the negative field; taught as "nothing said".
NEGATIVE = ["blurry", "low quality", "worst quality", "bad quality", "ugly", "deformed", "distorted", "noise", "noisy",
            "watermark", "text", "logo", "cropped", "out of frame", "jpeg artifacts", "lowres", "low resolution", "bad",
            "duplicate", "people", "person", "hands", "nsfw", "cartoon", "drawing", "painting", "grainy", "dark shadows"]


@dataclass(frozen=True)
class Scene:
    """One picture. Angles in radians, lengths in units of about the object's size; `form` feeds the shape's own changes."""

    seed: int
    kind: str
    colour: str
    background: str
    light: str
    yaw: float
    pitch: float
    zoom: float
    shift: tuple[float, float]
    light_azimuth: float
    light_height: float
    tint: tuple[float, float, float]
    form: tuple[float, ...]


def sample_scene(seed: int) -> Scene:
    """The scene of a seed. Kinds are equally frequent; a third of the pictures have one of the kind's own colours."""
    rng = random.Random(f"packshot-{seed}")
    kind = rng.choice(list(KINDS))
    colour = rng.choice(OWN_COLOURS[kind]) if rng.random() < 0.33 else rng.choice(list(COLOURS))
    background = "white" if rng.random() < 0.34 else rng.choice(list(BACKGROUNDS)[1:])
    return Scene(
        seed=seed, kind=kind, colour=colour, background=background,
        light="hard" if rng.random() < 0.2 else "soft",
        yaw=rng.uniform(-0.45, 0.45), pitch=rng.uniform(0.24, 0.36), zoom=rng.uniform(0.95, 1.06),
        shift=(rng.uniform(-0.03, 0.03), rng.uniform(-0.02, 0.02)),
        light_azimuth=rng.choice([-1, 1]) * rng.uniform(0.55, 0.95), light_height=rng.uniform(0.75, 1.0),
        tint=(rng.gauss(0, 0.02), rng.gauss(0, 0.06), rng.gauss(0, 0.05)),
        form=tuple(rng.uniform(-1, 1) for _ in range(6)),
    )


def article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def caption(scene: Scene, rng: random.Random) -> str:
    """One caption in lower case, true to the scene. Bare ones ("red apple", "a red apple") are the most frequent."""
    names = KINDS[scene.kind]
    kind = names[0] if rng.random() < 0.75 else rng.choice(names)
    if scene.kind == "lemon" and kind == "lime" and scene.colour != "green":
        kind = "lemon"
    colour_names = COLOURS[scene.colour][0]
    colour = colour_names[0] if rng.random() < 0.85 else rng.choice(colour_names)
    unnamed = scene.colour == OWN_COLOURS[scene.kind][0] and kind != "lime" and rng.random() < 0.25
    thing = kind if unnamed else f"{colour} {kind}"
    background = rng.choice(BACKGROUNDS[scene.background][0])
    say_background = scene.background != "white" or rng.random() < 0.3

    opener = rng.random()
    if opener < 0.2:
        text = thing
    elif opener < 0.6:
        text = article(thing)
    elif opener < 0.9:
        text = f"{rng.choice(OPENERS)} {article(thing)}"
    elif opener < 0.95 and not unnamed:
        text = f"{article(kind)} that is {colour}"
    elif not unnamed:
        text = f"{kind}, {colour}"
    else:
        text = f"one {kind}"

    if say_background:
        form = rng.random()
        if form < 0.4:
            text = f"{text} on {article(background)} background"
        elif form < 0.6:
            text = f"{text} on {background}"
        elif form < 0.75:
            text = f"{text}, {background} background"
        elif form < 0.85:
            text = f"{text} in front of {article(background)} wall"
        elif form < 0.93:
            text = f"on {article(background)} background, {text}"
        else:
            text = f"{background} background, {text}"
    if rng.random() < (0.4 if scene.light == "hard" else 0.1):
        text = f"{text}, {rng.choice(LIGHTS[scene.light])}"
    if rng.random() < 0.15:
        extras = rng.sample(QUALITY, rng.randint(1, 3))
        text = f"{text}, {', '.join(extras)}" if rng.random() < 0.8 else f"{', '.join(extras)}, {text}"
    return text


def empty_caption(rng: random.Random) -> str:
    """What stands for "nothing said": mostly the empty text, sometimes quality words as found in a negative prompt."""
    if rng.random() < 0.75:
        return ""
    return ", ".join(rng.sample(NEGATIVE, rng.randint(1, 5)))
