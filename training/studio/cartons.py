"""Milk carton, cereal box: printed card."""

from __future__ import annotations

import math

import torch

from .cans import contrast
from .forms import box, gable
from .product import Part, Skin, mix, rotate, shade_of, step


def print_on(k, low: float, high: float, half_width: float):
    """A print on all four sides between two heights: foot band, waves, disc, stripes or a slanted field. Returns a Paint."""
    ink, style = contrast(k.rgb), k.design.choice(("foot", "wave", "disc", "stripes", "slant"))
    second = k.design.choice(((.95, .75, .20), (.85, .25, .20), (.25, .55, .80), (.35, .62, .30)))
    h = high - low

    def paint(x, y, z, base):
        v = (y - low) / h
        u = torch.where(z.abs() > x.abs(), x, z) / half_width  # the side's own across, -1..1
        r = torch.sqrt(u * u * half_width**2 + (y - low - .55 * h) ** 2)
        if style == "foot":
            c = mix(base, ink, step(.27, .26, v))
            return mix(c, second, step(.33, .32, v) * step(.28, .29, v) + step(.56 * half_width, .54 * half_width,
                torch.sqrt((u * half_width) ** 2 + (y - low - .66 * h) ** 2)))
        if style == "wave":
            w = v - .30 - .07 * torch.sin(u * 3.2)
            c = mix(base, ink, step(.01, -.01, w))
            return mix(c, second, step(.01, -.01, w + .10) * step(-.11, -.09, w + .10))
        if style == "disc":
            c = mix(base, ink, step(.80 * half_width, .78 * half_width, r))
            return mix(c, second, step(.52 * half_width, .50 * half_width, r))
        if style == "stripes":
            return mix(base, ink, step(.50, .60, torch.sin(u * 9.4)) * step(.10, .11, v) * step(.90, .89, v))
        w = v - .30 - .18 * u
        return mix(mix(base, ink, step(.01, -.01, w)), second, step(.0, .01, w) * step(.09, .08, w))
    return paint


def milk_carton(k) -> list[Part]:
    turn = rotate("y", .42 * k.side())
    paint = print_on(k, .0, .80, .25)
    skin = k.skin(paint=lowered(paint, .40))
    roof = k.skin(shade_of(k.rgb, .97))
    parts = [Part(box(.25, .40, .25, .012), skin, turn, (0, .40, 0)), Part(gable(.238, .238, .26), roof, turn, (0, .79, 0)),
             Part(box(.25, .065, .018, .008), roof, turn, (0, 1.10, 0))]
    if k.design.random() < .6:
        at = turn @ torch.tensor([0, .925, .135])
        disc = lambda x, y, z, fine: torch.maximum(torch.sqrt(x * x + z * z + 1e-9) - .075, y.abs() - .05) - .006
        tint = (.90, .92, .95) if k.colour in ("red", "blue", "green", "black", "purple") else (.14, .35, .72)
        parts.append(Part(disc, Skin(tint, .6, .3), turn @ rotate("x", math.atan2(.26, .238)), tuple(at.tolist())))
    return parts


def lowered(paint, by: float):
    """A Paint whose zero height is `by` below the part's middle."""
    return lambda x, y, z, base: paint(x, y + by, z, base)


def cereal_box(k) -> list[Part]:
    """Tall, thin, with a bowl-like round picture on the front and a bar without letters in place of a name."""
    turn = rotate("y", .38 * k.side())
    tall, wide = k.vary(.50, .03), k.vary(.35, .04)
    ink, second = contrast(k.rgb), k.design.choice(((.95, .75, .20), (.80, .50, .20), (.93, .92, .88), (.35, .62, .30)))
    side_bars = k.design.random() < .6

    def paint(x, y, z, base):
        front = (z.abs() > .115)
        v, u = y / tall, x / wide
        bar = step(.16, .15, (v - .58 - .06 * torch.cos(u * 2)).abs()) * step(.80, .78, u.abs())
        dish = step(.62, .60, torch.sqrt(u * u + ((v + .42) * tall / wide * 1.0) ** 2))
        rim = step(.52, .50, torch.sqrt(u * u + ((v + .42) * tall / wide) ** 2))
        flakes = step(-.1, .3, torch.sin(x * 75 + 3 * torch.sin(y * 31)) * torch.sin(y * 67 + 2 * torch.sin(x * 37)))
        c = mix(base, ink, (bar + dish) * front)
        c = mix(c, second, rim * front)
        c = mix(c, (.85, .58, .22), rim * front * flakes * .8)
        lines = step(-.1, .1, torch.sin(v * 34)) * step(.07, .065, z.abs()) * step(.45, .4, (v + .1).abs()) * (~front)
        return mix(c, ink, lines * (.8 if side_bars else 0) * (x.abs() > wide * .9))
    return [Part(box(wide, tall, .12, .008), k.skin(paint=paint), turn, (0, tall, 0))]


BUILDERS = {"milk carton": milk_carton, "cereal box": cereal_box}
