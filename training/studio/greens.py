"""Broccoli and mushroom."""

from __future__ import annotations

import math

import torch

from .forms import balls, displaced, join, rod
from .noise import layered, noise
from .product import Part, Skin, mix, rotate, step
from .turned import revolve


def broccoli(k) -> list[Part]:
    """A head of florets, each a rough ball, on branches that join in a thick stalk."""
    shift = k.rng.uniform(0, 7)
    centres, radii, branches = [(0, .70, 0)], [.24], []
    for ring, (count, r, y, size) in enumerate(((6, .25, .66, .165), (9, .37, .52, .145))):
        for i in range(count):
            a = 2 * math.pi * (i + .5 * ring) / count + shift + k.rng.uniform(-.12, .12)
            c = (r * math.sin(a), y + k.rng.uniform(-.03, .04), r * math.cos(a))
            centres.append(c)
            radii.append(size * k.vary(1, .12))
            if ring:
                branches.append(rod((0, .18, 0), (c[0] * .85, c[1] - .05, c[2] * .85), .09, .06))
    rough = lambda x, y, z: .020 * noise(x, y, z, 5.5, shift)[:, 0] + .013 * noise(x, y, z, 11, shift)[:, 0]
    paint = lambda x, y, z, base: mix(mix(base, (.42, .56, .20), .25 + .35 * noise(x, y, z, 5.5, shift)[:, 0]), (.10, .24, .08),
        step(-.2, -1.4, noise(x, y, z, 11, shift)[:, 0]) * .6)
    trunk = join([rod((0, .04, 0), (0, .40, 0), .135, .16), *branches], .05)
    return [Part(displaced(balls(centres, radii, .02), rough, .55), Skin(k.rgb, .15, .8, soft=.25, bump=.8, bump_scale=26, paint=paint)),
            Part(lambda x, y, z, fine: torch.maximum(trunk(x, y, z, fine), -y), Skin((.60, .70, .38), .3, .5, soft=.4, bump=.05))]


def mushroom(k) -> list[Part]:
    cap = [(0, .36), (.10, .37), (.20, .36), (.33, .31), (.40, .33), (.425, .42), (.38, .58), (.25, .72), (.10, .78), (0, .785)]
    stem = [(0, .0), (.12, .0), (.155, .03), (.15, .14), (.13, .30), (.14, .40), (0, .40)]
    shift = k.rng.uniform(0, 7)

    def paint(x, y, z, base):
        r = torch.sqrt(x * x + z * z)
        c = mix(base, (.60, .46, .32), layered(x, y, z, 3, shift, 3) * .22 + step(1.3, 2.0, noise(x, y, z, 10, shift)[:, 0]) * .25)
        gills = .5 + .5 * torch.sin(torch.atan2(x, z) * 70)
        under = step(.38, .34, y) * step(.40, .36, r)
        return mix(c, (.45, .30, .20), under * (.45 + .4 * gills))

    tilt = rotate("z", k.rng.uniform(-.12, .12)) @ rotate("x", k.rng.uniform(-.15, .1))
    if k.camera == "above" or k.rng.random() < .25:  # lying, so that its stem is visible
        tilt = rotate("y", k.rng.uniform(-.5, .5)) @ rotate("x", k.rng.uniform(-1.3, -1.0)) if k.camera == "above" else rotate("z",
            k.side() * k.rng.uniform(1.15, 1.3))
    return [Part(revolve(cap), Skin(k.rgb, .3, .55, soft=.45, bump=.06, bump_scale=12, paint=paint), tilt),
            Part(revolve(stem), Skin((.91, .87, .80), .25, .6, soft=.4, bump=.1, bump_scale=10), tilt)]


BUILDERS = {"broccoli": broccoli, "mushroom": mushroom}
