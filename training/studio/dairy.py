"""Cheese wedge and egg."""

from __future__ import annotations

import math

import torch

from .forms import balls
from .noise import layered
from .product import Part, Skin, mix, rotate, shade_of, step
from .turned import revolve


def cheese(k) -> list[Part]:
    """A wedge cut from a wheel: point towards the camera's left, rind at the back, holes in the faces."""
    half, r, high = .42, 1.0, .40
    holes, radii = [], []
    while len(holes) < 13:
        t, a = k.rng.uniform(.25, .88), k.rng.choice((-1, 1)) * half
        y = k.rng.uniform(.06, high - .06)
        if k.rng.random() < .35:
            a, y = k.rng.uniform(-half, half) * .8, high
        c = (t * r * math.cos(a), y, t * r * math.sin(a))
        size = k.rng.uniform(.035, .085)
        if all(sum((p - q) ** 2 for p, q in zip(c, o)) > (size + s + .03) ** 2 for o, s in zip(holes, radii)):
            holes.append(c)
            radii.append(size)
    bubbles = balls(holes, radii)
    s, c = math.sin(half), math.cos(half)

    def wedge(x, y, z, fine):
        sides = torch.maximum(z * c - x * s, -z * c - x * s)
        d = torch.maximum(torch.maximum(sides, torch.sqrt(x * x + z * z + 1e-9) - r), (y - high / 2).abs() - high / 2)
        d = d - .012
        return torch.maximum(d, -bubbles(x, y, z, fine)) if k.colour != "white" else d

    rind = shade_of(k.rgb, .62) if k.colour != "white" else (.96, .95, .92)

    def paint(x, y, z, base):
        q = torch.sqrt(x * x + z * z)
        c_ = base * (1 + .04 * layered(x, y, z, 3, .5, 2))[:, None]
        return mix(c_, rind, step(r - .05, r - .02, q) + (step(high - .02, high, y) * .9 if k.colour == "white" else 0))

    turn = rotate("y", math.pi + .55 * k.side() + k.rng.uniform(-.2, .2))
    shift = turn @ torch.tensor([-.6, 0, 0])
    return [Part(wedge, Skin(k.rgb, .45, .35, soft=.6, paint=paint), turn, tuple(shift.tolist()))]


def egg(k) -> list[Part]:
    body = [(0, 0), (.13, .02), (.27, .13), (.345, .33), (.335, .50), (.27, .70), (.17, .85), (.08, .915), (0, .93)]
    shift, w = k.rng.uniform(0, 7), k.vary(1, .03)
    speckle = k.rng.uniform(0, .3) if k.colour == "brown" else 0
    paint = lambda x, y, z, base: mix(base, shade_of(k.rgb, .6), step(1.0, 2.0, layered(x, y, z, 12, shift, 2)) * speckle)
    form = revolve([(r * w, y) for r, y in body])
    skin = Skin(k.rgb, .4, .45, soft=.45, bump=.015, bump_scale=30, paint=paint)
    if k.rng.random() < .45:
        turn = rotate("y", k.rng.uniform(-.7, .7)) @ rotate("z", math.pi / 2 - .06)
        return [Part(lambda x, y, z, fine: form(x, y + .45, z, fine), skin, turn, (0, .345, 0))]
    return [Part(form, skin)]


BUILDERS = {"cheese": cheese, "egg": egg}
