"""Banana and pineapple."""

from __future__ import annotations

import math

import torch

from .forms import crescent, displaced, leaf, rod
from .noise import layered, noise
from .product import Part, Skin, mix, rotate, step
from .turned import revolve


def banana(k) -> list[Part]:
    shift = k.rng.uniform(0, 7)
    half, radius = k.vary(.98, .06), .62
    green_tip = (.55, .62, .16)

    def paint(x, y, z, base):
        a = torch.atan2(x, radius - y) / half
        c = mix(base, green_tip, step(.72, 1.0, a.abs()) * .5)
        spots = step(1.5, 2.1, noise(x, y, z, 9, shift)[:, 0]) * .6 + step(1.9, 2.3, noise(x, y, z, 21, shift)[:, 0]) * .6
        c = mix(c, (.34, .20, .08), spots * (.9 if k.colour == "yellow" else .2))
        return mix(c, (.20, .14, .07), step(.985, 1.03, a.abs()))

    def fruit(turn, at):
        parts = [Part(crescent(radius, half, .145, .045, 4.0, .035), Skin(k.rgb, .45, .4, soft=.3, paint=paint), turn, at)]
        for s in (-1, 1):
            x, y = radius * math.sin(half) * s, radius - radius * math.cos(half)
            dx, dy = math.cos(half) * s, math.sin(half)
            long = .13 if s > 0 else .035
            parts.append(Part(rod((x, y, 0), (x + long * dx, y + long * dy, 0), .040, .032 if s > 0 else .026),
                Skin((.46, .42, .14) if s > 0 else (.16, .11, .06), .3, .6), turn, at))
        return parts

    lie = rotate("y", k.rng.uniform(-.4, .4)) @ rotate("x", -k.rng.uniform(.35, .75))
    return fruit(lie, (0, .17, 0))


def pineapple(k) -> list[Part]:
    body = [(0, .0), (.17, .0), (.27, .05), (.335, .22), (.345, .42), (.31, .64), (.23, .78), (.10, .83), (0, .83)]
    shift, turns, rows = k.rng.uniform(0, 7), 8, 6.2

    def cell(x, y, z):
        """Diamond cells between two families of spirals: distance from the cell's middle, 0..1."""
        a = torch.atan2(x, z) / (2 * math.pi)
        u, v = torch.remainder(a * turns + y * rows, 1) - .5, torch.remainder(a * turns - y * rows, 1) - .5
        return u, v

    def raised(x, y, z):
        u, v = cell(x, y, z)
        return .030 * torch.sqrt(((1 - (2 * u) ** 2) * (1 - (2 * v) ** 2)).clamp(min=1e-4)) + .018 * torch.exp(-(u * u + v * v) / .012)

    def paint(x, y, z, base):
        u, v = cell(x, y, z)
        edge = 2 * torch.maximum(u.abs(), v.abs())
        c = mix(base, (.36, .38, .12), step(.70, .98, edge) * .75)
        c = mix(c, (.95, .78, .36), step(.55, .25, edge) * .3)
        c = mix(c, (.28, .17, .08), torch.exp(-(u * u + v * v) / .010) * .85)
        return mix(c, (.38, .46, .14), (layered(x, y, z, 1.5, shift, 2) + step(.3, .9, y) - .3) * .35)

    parts = [Part(displaced(revolve(body), raised, .62), Skin(k.rgb, .45, .35, soft=.2, paint=paint))]
    for ring, (count, long, lean, y) in enumerate(((8, .42, .75, .80), (7, .52, 1.05, .83), (5, .58, 1.3, .85))):
        green = Skin((.20 + .03 * ring, .38 + .04 * ring, .20), .45, .4, bump=.1, paint=lambda x, y, z,
            base: mix(base, (.46, .58, .36), step(.1, .6, x) * .3))
        for i in range(count):
            turn = rotate("y", 2 * math.pi * (i + .5 * ring) / count + shift + k.rng.uniform(-.15, .15)) @ rotate("z",
                lean * k.vary(1, .08))
            parts.append(Part(leaf(long * k.vary(1, .1), .12, .010, .55, .55), green, turn, (0, y, 0)))
    return parts


BUILDERS = {"banana": banana, "pineapple": pineapple}
