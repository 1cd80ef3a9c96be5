"""Apple, pear, cherry, grapes, strawberry."""

from __future__ import annotations

import math

import torch

from .forms import balls, displaced, join, leaf, rod, rods
from .noise import layered, noise
from .product import Part, Skin, mix, rotate, shade_of, step
from .turned import revolve, ribs

STEM, GREEN = (0.34, 0.24, 0.12), (0.24, 0.44, 0.12)
stem_skin = Skin(STEM, 0.2, 0.6)
leaf_skin = Skin(GREEN, 0.4, 0.4, soft=0.4)


def stem_and_leaf(k, y: float, long: float = 0.22, with_leaf: bool = True, thick: float = 0.017) -> list[Part]:
    side = k.side()
    top = (0.05 * side, y + long, 0.02)
    parts = [Part(join([rod((0, y - 0.03, 0), (0.015 * side, y + long * .5, 0), thick * .85, thick * .8),
        rod((0.015 * side, y + long * .5, 0), top, thick * .8, thick * 1.35)], .01), stem_skin)]
    if with_leaf:
        turn = rotate("y", 0.0 if side > 0 else math.pi) @ rotate("z", 0.45) @ rotate("x", k.rng.uniform(.35, .75))
        parts.append(Part(leaf(0.34, 0.17, 0.009, 0.7, 0.35), leaf_skin, turn, (0.02 * side, y + long * .55, 0)))
    return parts


def apple(k) -> list[Part]:
    w, tall = k.vary(1, .04), k.vary(1, .04)
    body = [(0, .085), (.07, .045), (.16, .0), (.27, .03), (.39, .19), (.445, .40), (.435, .56), (.36, .71), (.25, .775),
        (.15, .765), (.07, .70), (.02, .635), (0, .62)]
    shift, second = k.rng.uniform(0, 7), {"red": (.86, .62, .22), "green": (.72, .78, .32), "yellow": (.84, .28, .16)}[k.colour]
    amount = k.rng.uniform(0.1, 0.6)

    def paint(x, y, z, base):
        angle = torch.atan2(x, z)
        streaks = layered(torch.cos(angle) * 2.2, y * .35, torch.sin(angle) * 2.2, 2.5, shift, 2)
        side = torch.cos(angle - shift) * .5 + .2
        c = mix(base, second, (streaks * .30 + side - .25) * amount)
        dots = noise(x, y, z, 13, shift)[:, 0]
        c = mix(c, (.93, .86, .60), step(1.9, 2.5, dots) * .6)
        hollow = torch.exp(-((x * x + z * z) / .014)) * step(.5, .68, y)
        return mix(c, (.50, .42, .16), hollow * .85)

    skin = Skin(k.rgb, .85, .16, soft=.35, paint=paint)
    parts = [Part(revolve([(r * w, y * tall) for r, y in body], ribs(5, .018, 3 * shift)), skin)]
    return parts + stem_and_leaf(k, 0.63 * tall, .24, k.rng.random() < .6)


def pear(k) -> list[Part]:
    w = k.vary(1, .05)
    body = [(0, .05), (.10, 0), (.26, .03), (.385, .19), (.405, .36), (.345, .55), (.24, .74), (.185, .88), (.14, .99), (.07, 1.04),
        (0, 1.02)]
    shift = k.rng.uniform(0, 7)

    def paint(x, y, z, base):
        dots = noise(x, y, z, 16, shift)[:, 0]
        blush = layered(x, y, z, 1.2, shift, 2) * .3 + .5 * x
        c = mix(base, (.80, .32, .16), blush * .55)
        c = mix(c, (.50, .36, .14), step(1.6, 2.3, dots) * .55)
        return mix(c, (.52, .38, .16), step(.84, 1.04, y) * .45 + step(.06, .0, y) * .6)

    parts = [Part(revolve([(r * w, y) for r, y in body], ribs(3, .015, shift)), Skin(k.rgb, .55, .3, soft=.35, bump=.10,
        bump_scale=14, paint=paint))]
    return parts + stem_and_leaf(k, 1.0, .22, k.rng.random() < .35)


def cherry(k) -> list[Part]:
    body = [(0, .05), (.10, .0), (.22, .05), (.30, .18), (.325, .32), (.29, .47), (.19, .55), (.09, .545), (.03, .51), (0, .50)]
    ball = revolve(body)
    skin = Skin(k.rgb, 1.0, .06, soft=.45)
    lean = k.rng.uniform(-.08, .08)
    side = k.side()
    knee, top = (.05 * side, .82, 0), (.30 * side + lean, 1.12, 0)
    stalk = join([rod((0, .49, 0), knee, .016, .013), rod(knee, top, .013, .018)], .02)
    parts = [Part(ball, skin, rotate("y", k.rng.uniform(0, 6))), Part(stalk, Skin((.38, .46, .16), .3, .5))]
    parts.append(Part(rod((top[0] - .02, 1.11, 0), (top[0] + .035 * side, 1.15, 0), .026, .032), stem_skin))
    if k.rng.random() < .6:
        parts.append(Part(leaf(.5, .26, .009, .55, .3), leaf_skin, rotate("y", 0 if side < 0 else math.pi) @ rotate("z",
            .1) @ rotate("x", .8), (top[0], 1.12, 0)))
    return parts


def grapes(k) -> list[Part]:
    """A bunch lying on its side: berries in shrinking rings around the stalk."""
    centres, radii = [], []
    for row, (x, count, ring) in enumerate(((-.46, 5, .17), (-.26, 7, .235), (-.05, 6, .22), (.14, 5, .17), (.32, 3, .10), (.49, 1, .0))):
        for i in range(count):
            a = 2 * math.pi * (i + .5 * (row % 2)) / max(count, 1) + k.rng.uniform(-.1, .1)
            centres.append((x + k.rng.uniform(-.03, .03), .30 + ring * math.sin(a) * .78 - .02 * row, ring * math.cos(a) * 1.15))
            radii.append(.132 * k.vary(1, .07))
    shift = k.rng.uniform(0, 7)
    paint = lambda x, y, z, base: mix(base, shade_of(k.rgb, 1.35), .22 + layered(x, y, z, 2.2, shift, 2) * .30)
    stalk = rods([((-.5, .32, 0), (-.66, .40, .02), .022, .02), ((-.66, .40, .02), (-.78, .38, .05), .02, .028),
        ((-.66, .4, .02), (-.72, .5, -.05), .018, .022)])
    return [Part(balls(centres, radii), Skin(k.rgb, .75, .14, soft=.7, paint=paint)), Part(stalk, Skin((.40, .38, .16), .2, .6))]


def strawberry(k) -> list[Part]:
    """Lies on its side, leaves to the left or right."""
    body = [(0, 0), (.09, .02), (.21, .17), (.33, .42), (.395, .64), (.36, .80), (.22, .87), (.08, .855), (0, .84)]
    shift = k.rng.uniform(0, 7)
    rows = 11

    def seeds(x, y, z):
        angle = torch.atan2(x, z) / (2 * math.pi)
        v = y * rows
        row = torch.floor(v)
        count = torch.round(5 + 11 * torch.sin(((row + .5) / rows).clamp(0, 1) * 2.5).clamp(0))
        u = angle * count + .5 * torch.remainder(row, 2)
        du, dv = torch.remainder(u, 1) - .5, torch.remainder(v, 1) - .5
        r = torch.sqrt(x * x + z * z)
        return torch.exp(-((du * r * 2 * math.pi / count.clamp(min=3)) ** 2 / .00042 + (dv / rows) ** 2 / .0011))

    def paint(x, y, z, base):
        c = mix(base, (.94, .55, .40), step(.72, .90, y) * .55)
        return mix(c, (.93, .76, .34), step(.35, .75, seeds(x, y, z)))

    form = displaced(revolve(body), lambda x, y, z: -.016 * seeds(x, y, z), .75)
    tilt = rotate("z", k.side() * k.rng.uniform(1.05, 1.3))
    crown = [Part(leaf(.34, .15, .010, -.2 + .9 * (i % 2), .2), leaf_skin, tilt @ rotate("y", i * math.pi / 4 + shift),
        tuple((tilt @ torch.tensor([0, .865, 0])).tolist())) for i in range(8)]
    skin = Skin(k.rgb, .8, .14, soft=.45, paint=paint)
    tip = tuple((tilt @ torch.tensor([.04, 1.02, .0])).tolist())
    stalk = Part(rod(tuple((tilt @ torch.tensor([0, .85, 0])).tolist()), tip, .022, .018), Skin((.45, .55, .2), .3, .5))
    return [Part(form, skin, tilt), stalk, *crown]


BUILDERS = {"apple": apple, "pear": pear, "cherry": cherry, "grapes": grapes, "strawberry": strawberry}
