"""Captions for scenes: many wordings of the same picture, all lower case.

The kind is always stated; colour, material, count, background, light and camera with the chances in `Chances`. A caption
without a background means white: all others are stated. The same scene and seed give the same caption.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from . import vocabulary as v
from .catalogue import KINDS
from .scenes import Scene


@dataclass(frozen=True)
class Chances:
    """How often a caption states each part, 0..1."""

    colour: float = 0.88
    only_colour: float = 0.35   # where a kind has one colour
    material: float = 0.5
    count_one: float = 0.12     # "one"; two and three are always stated
    arrangement: float = 0.55
    white: float = 0.45         # a white background
    light: float = 0.3
    hard_light: float = 0.6     # hard or top light, which change the picture more
    camera: float = 0.3
    above: float = 0.75
    size: float = 0.85          # small or large
    quality: float = 0.15
    synonym: float = 0.35       # a word other than the usual one
    general: float = 0.015      # "fruit" in place of "apple"


@dataclass
class Caption:
    text: str
    said: dict[str, str | int] = field(default_factory=dict)  # the scene's parts that the text states


def article(words: str) -> str:
    return ("an " if words[0] in "aeiou8" and not words.startswith(("one", "unif", "eu")) else "a ") + words


def pick(options: list[str], rng: random.Random, synonym: float) -> str:
    return options[0] if len(options) == 1 or rng.random() >= synonym else rng.choice(options)


def noun(scene: Scene, rng: random.Random, c: Chances) -> str:
    kind = KINDS[scene.kind]
    pair = (kind.name, kind.plural)
    if kind.others and rng.random() < c.synonym:
        pair = rng.choice(kind.others)
    if kind.group in v.GENERAL and rng.random() < c.general:
        pair = v.GENERAL[kind.group]
    return pair[scene.count > 1]


def adjectives(scene: Scene, rng: random.Random, c: Chances, said: dict) -> tuple[list[str], list[str]]:
    """(size and praise, colour and material), each in order of use."""
    kind, first, second = KINDS[scene.kind], [], []
    if v.SIZE_WORDS[scene.size] and rng.random() < c.size:
        first.append(pick(v.SIZE_WORDS[scene.size], rng, c.synonym))
        said["size"] = scene.size
    if kind.group in v.FRESH and rng.random() < 0.06:
        first.append(rng.choice(v.FRESH[kind.group]))
    if rng.random() < (c.colour if len(kind.colours) > 1 else c.only_colour):
        second.append(pick(v.COLOUR_WORDS[scene.colour], rng, c.synonym * 0.6))
        said["colour"] = scene.colour
    if v.MATERIAL_WORDS[scene.material] and rng.random() < c.material:
        second.append(pick(v.MATERIAL_WORDS[scene.material], rng, c.synonym))
        said["material"] = scene.material
    if rng.random() < 0.25:
        second.reverse()
    return first, second


def background(scene: Scene, rng: random.Random, c: Chances) -> tuple[str, str]:
    """The background as ("on a blue background", "blue background")."""
    if scene.background in v.SURFACE_WORDS and rng.random() < (0.75 if scene.background in ("wood", "marble") else 0.3):
        surface = pick(v.SURFACE_WORDS[scene.background], rng, 0.8)
        return f"on {surface}", f"on {surface}"
    paper = pick(v.PAPER_WORDS[scene.background], rng, c.synonym)
    thing = f"{paper} {pick(v.BACKDROPS, rng, c.synonym)}"
    roll = rng.random()
    if roll < 0.12:
        return f"on {paper}", f"on {paper}"
    if roll < 0.2:
        return f"in front of {article(paper)} wall", f"{paper} wall"
    where = rng.choice(("on", "on", "on", "against"))
    bare = thing.endswith("paper")
    return f"{where} {thing if bare else article(thing)}", thing


def thing_phrase(scene: Scene, rng: random.Random, c: Chances, said: dict) -> str:
    """The product with article or number and its adjectives, in one of several orders."""
    name = noun(scene, rng, c)
    first, second = adjectives(scene, rng, c, said)
    if scene.count > 1:
        number = pick(v.COUNT_WORDS[scene.count], rng, 0.4)
        said["count"] = scene.count
    elif rng.random() < c.count_one:
        number = pick(v.COUNT_WORDS[1], rng, 0.5)
        said["count"] = 1
    else:
        number = ""
    form = rng.random()
    if second and form < 0.07:  # "three mugs that are red"
        head, tail = " ".join([*first, name]), f" that {'are' if scene.count > 1 else 'is'} {' and '.join(second)}"
    elif second and form < 0.12:  # "a mug in red"
        head, tail = " ".join([*first, name]), f" in {' '.join(second[:1])}" + (f", {second[1]}" if len(second) > 1 else "")
        if second[0] not in [w for words in v.COLOUR_WORDS.values() for w in words]:
            head, tail = " ".join([*first, *second, name]), ""
    else:
        head, tail = " ".join([*first, *second, name]), ""
    if number:
        return f"{number} {head}{tail}"
    bare = scene.count > 1 or rng.random() < 0.22
    return (head if bare else article(head)) + tail


def keywords(scene: Scene, rng: random.Random, c: Chances, said: dict) -> list[str]:
    """The product as separate words: "mug", "red", "glossy"."""
    first, second = adjectives(scene, rng, c, said)
    name = noun(scene, rng, c)
    if scene.count > 1:
        name = f"{v.COUNT_WORDS[scene.count][0]} {name}"
        said["count"] = scene.count
    return [name, *second, *first]


def tell(scene: Scene, seed: int, chances: Chances = Chances()) -> Caption:
    """A caption together with the parts that it states."""
    rng, c = random.Random(f"caption-{scene.seed}-{seed}"), chances
    said: dict[str, str | int] = {"kind": scene.kind}
    listed = rng.random() < 0.12
    head = keywords(scene, rng, c, said) if listed else [thing_phrase(scene, rng, c, said)]
    extras: list[str] = []
    if scene.count > 1 and rng.random() < c.arrangement:
        extras.append(pick(v.ARRANGEMENT_WORDS[scene.arrangement], rng, 0.6))
        said["arrangement"] = scene.arrangement
    where = ("", "")
    if scene.background != "white" or rng.random() < c.white:
        where = background(scene, rng, c)
        said["background"] = scene.background
    if rng.random() < (c.light if scene.light == "soft" else c.hard_light):
        extras.append(pick(v.LIGHT_WORDS[scene.light], rng, 0.7))
        said["light"] = scene.light
    if rng.random() < (c.above if scene.camera == "above" else c.camera):
        extras.append(pick(v.CAMERA_WORDS[scene.camera], rng, 0.7))
        said["camera"] = scene.camera
    if rng.random() < c.quality:
        extras += rng.sample(v.QUALITY, rng.randint(1, 2))
    rng.shuffle(extras)
    if not listed and rng.random() < 0.35:
        opener = rng.choice(v.OPENERS)
        head = [f"{article(opener) if rng.random() < 0.5 else opener} {head[0]}"]
    return Caption(arranged(head, where, extras, listed, rng), said)


def arranged(head: list[str], where: tuple[str, str], extras: list[str], listed: bool, rng: random.Random) -> str:
    """All parts in one of the free orders."""
    if listed:
        pieces = head + ([where[1]] if where[1] else []) + extras
        if rng.random() < 0.4:
            rng.shuffle(pieces)
        return ", ".join(pieces)
    form = rng.random()
    if where[0] and form < 0.14:
        return ", ".join([where[rng.random() < 0.5], *head, *extras])
    if extras and form < 0.24:
        return ", ".join([*extras[:1], " ".join([*head, *where[:1]]).strip(), *extras[1:]])
    if where[0] and form < 0.44:
        tail = [where[1], *extras]
        rng.shuffle(tail)
        return ", ".join([*head, *tail])
    return ", ".join([" ".join([*head, *where[:1]]).strip(), *extras])


def caption(scene: Scene, seed: int, chances: Chances = Chances()) -> str:
    return tell(scene, seed, chances).text


def empty_caption(seed: int) -> str:
    """A caption for "nothing said": mostly the empty text, else quality words as found in negative prompts."""
    rng = random.Random(f"empty-{seed}")
    return "" if rng.random() < 0.75 else ", ".join(rng.sample(v.NEGATIVE, rng.randint(1, 5)))
