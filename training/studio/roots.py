"""Carrot, potato, onion, garlic."""

from __future__ import annotations

import math

import torch

from .forms import displaced, ellipsoid, rods
from .noise import layered, noise
from .product import Part, Skin, mix, rotate, shade_of, step
from .turned import revolve, ribs


def carrot(k) -> list[Part]:
    body = [(0, -.66), (.018, -.63), (.06, -.40), (.105, -.08), (.145, .20), (.165, .32), (.135, .385), (.05, .40), (0, .395)]
    shift = k.rng.uniform(0, 7)
    turn = rotate("y", k.rng.uniform(-.1, .5)) @ rotate("z", -math.pi / 2 + .20)
    at = (-.12, .16, 0)

    def paint(x, y, z, base):
        lines = noise(x * .25, y * 4.5, z * .25, 5, shift)[:, 0]
        return mix(mix(base, shade_of(k.rgb, .55), step(1.1, 2.0, lines) * .7), (.50, .50, .16), step(.33, .41, y) * .6)

    creases = lambda x, y, z: -.006 * step(1.0, 2.0, noise(x * .25, y * 4.5, z * .25, 5, shift)[:, 0])
    parts = [Part(displaced(revolve(body), creases, .8), Skin(k.rgb, .45, .4, soft=.35, paint=paint), turn, at)]
    segments = []
    for i in range(7):
        a, b = (i - 3) * .16 + k.rng.uniform(-.05, .05), k.rng.uniform(-.25, .25)
        tip = (math.sin(a) * .42, .38 + .42 * math.cos(a) * k.vary(1, .15), b * .5)
        segments.append(((0, .37, 0), tip, .018, .012))
        for j in range(5):
            f = .45 + .13 * j
            p = tuple(o + (q - o) * f for o, q in zip((0, .37, 0), tip))
            for s in (-1, 1):
                segments.append((p, (p[0] + s * .07, p[1] + .06, p[2] + k.rng.uniform(-.06, .06)), .012, .017))
    return parts + [Part(rods(segments), Skin((.24, .46, .12), .25, .6, soft=.3), turn, at)]


def potato(k) -> list[Part]:
    shift = k.rng.uniform(0, 7)
    lumps = lambda x, y, z: .045 * noise(x, y, z, .9, shift)[:, 0] - .026 * step(1.25, 1.9, noise(x, y, z, 2.1, shift + 3)[:, 0])

    def paint(x, y, z, base):
        c = base * (1 + .10 * layered(x, y, z, 4, shift, 3))[:, None]
        c = mix(c, (.46, .32, .18), step(1.25, 1.9, noise(x, y, z, 2.1, shift + 3)[:, 0]) * .75)
        return mix(c, (.40, .27, .15), step(1.2, 2.0, noise(x, y, z, 12, shift)[:, 0]) * .55)

    form = displaced(ellipsoid(.52 * k.vary(1, .08), .33, .37), lumps, .72)
    return [Part(form, Skin(k.rgb, .18, .8, bump=.16, bump_scale=22, paint=paint), rotate("y", k.rng.uniform(-.6, .6)), (0, .33, 0))]


def onion(k) -> list[Part]:
    body = [(0, .03), (.06, .0), (.20, .05), (.36, .18), (.42, .34), (.39, .49), (.26, .63), (.12, .72), (.06, .83), (.035, .95),
        (.05, 1.02), (.03, 1.04), (0, 1.03)]
    shift = k.rng.uniform(0, 7)

    def paint(x, y, z, base):
        a = torch.atan2(x, z)
        lines = noise(torch.cos(a) * 2.2, y * .12, torch.sin(a) * 2.2, 4.5, shift)[:, 0]
        c = mix(base, shade_of(k.rgb, .55), step(.2, 1.8, lines) * .6)
        c = mix(c, shade_of(k.rgb, 1.3), step(.2, 1.8, -lines) * .45)
        return mix(c, (.80, .68, .45), step(.66, .92, y) * .7 + step(.06, .0, y) * .7)

    parts = [Part(revolve(body, ribs(9, .010, shift)), Skin(k.rgb, .75, .22, soft=.35, bump=.04, bump_scale=6, paint=paint))]
    wisps = [((0, .98, 0), (.06 * math.cos(a), 1.07 + .05 * (i % 2), .06 * math.sin(a)), .018, .005) for i,
        a in enumerate((0, 1.5, 3.1, 4.4))]
    return parts + [Part(rods(wisps), Skin((.70, .56, .34), .2, .7))]


def garlic(k) -> list[Part]:
    body = [(0, .04), (.10, .0), (.26, .04), (.385, .17), (.40, .28), (.34, .42), (.20, .54), (.10, .63), (.065, .76), (.055, .90),
        (.065, .94), (0, .94)]
    shift = k.rng.uniform(0, 7)

    def paint(x, y, z, base):
        a = torch.atan2(x, z)
        lines = noise(torch.cos(a) * 2, y * .15, torch.sin(a) * 2, 5, shift)[:, 0]
        c = mix(base, (.70, .52, .62), step(.3, 1.8, lines) * (.55 if k.colour == "purple" else .25))
        return mix(c, (.72, .62, .44), step(.74, .95, y) * .6 + step(.05, .0, y) * .8)

    return [Part(revolve(body, ribs(9, .075, shift, .95, .45, sharp=True), slow=.65), Skin(k.rgb, .35, .45, soft=.5, bump=.06,
        bump_scale=8, paint=paint))]


BUILDERS = {"carrot": carrot, "potato": potato, "onion": onion, "garlic": garlic}
