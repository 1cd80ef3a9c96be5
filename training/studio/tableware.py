"""Mug, paper cup, teapot, bowl."""

from __future__ import annotations

import math

import torch

from .cans import contrast, decoration
from .forms import cut, join, rod, torus
from .product import Part, Skin, mix, rotate, shade_of, step
from .turned import revolve

COFFEE, MILKY, TEA = (.14, .07, .035), (.62, .42, .26), (.46, .20, .05)


def drink(r: float, y: float, rgb) -> Part:
    disc = lambda x, yy, z, fine: torch.maximum(torch.sqrt(x * x + z * z + 1e-9) - r, (yy - y).abs() - .01)
    return Part(disc, Skin(rgb, 1.0, .04, paint=lambda x, yy, z, base: mix(base, shade_of(rgb, 1.5),
        step(.86 * r, r, torch.sqrt(x * x + z * z)) * .5)))


def mug(k) -> list[Part]:
    style = k.design.choice(("straight", "barrel", "tall"))
    r, h = {"straight": (.31, .66), "barrel": (.33, .60), "tall": (.27, .78)}[style]
    foot, mid = (r * .93, r) if style != "barrel" else (r * .72, r * 1.04)
    body = [(0, 0), (foot - .03, 0), (foot - .03, 0), (foot, .03), (mid, h * .42), (r, h - .015), (r - .012, h),
        (r - .026, h - .015), (mid - .035, h * .42), (foot - .04, .07), (foot - .09, .05), (0, .05)]
    ring = torus(.135, .038, .07 * h / .66)
    side, angle = k.side(), k.rng.uniform(-.3, .5)
    at = (r + .045, h * .5, 0)

    def handle(x, y, z, fine):
        """The ring outside the wall, flattened across."""
        d = ring(x, y, z * .8, fine)
        return torch.maximum(d, (r - .012) - torch.sqrt((x + at[0]) ** 2 + z * z + 1e-9))

    turn = rotate("y", (0 if side > 0 else math.pi) + angle * side)
    place = tuple((turn @ torch.tensor(at)).tolist())
    inside = shade_of(k.rgb, 1.0) if k.design.random() < .6 or k.material == "metal" else (.94, .93, .91)
    print_ = decoration(k, .12, h - .12, contrast(k.rgb)) if k.design.random() < .35 and k.material != "metal" else None

    def paint(x, y, z, base):
        c = print_(x, y, z, base) if print_ else base
        return mix(c, inside, step(.0, -.008, torch.sqrt(x * x + z * z) - (r - .02)) * step(h - .03, h - .008, y) + step(.0, -.008,
            torch.sqrt(x * x + z * z) - (mid - .03)) * step(.05, .06, y))

    parts = [Part(revolve(body), k.skin(paint=paint)), Part(handle, k.skin(), turn, place)]
    return parts + ([drink(r - .03, h * .86, k.design.choice((COFFEE, MILKY, TEA)))] if k.design.random() < .6 else [])


def paper_cup(k) -> list[Part]:
    """A cup to go: tapering, with a lid; some with a brown sleeve."""
    body = [(0, .0), (.20, .0), (.20, .0), (.285, .74), (.285, .74), (0, .74)]
    lid_rgb = k.design.choice(((.95, .95, .94), (.10, .10, .10))) if k.colour not in ("white", "black") else ((.10, .10,
        .10) if k.colour == "white" else (.95, .95, .94))
    lid = [(0, .73), (.305, .73), (.305, .73), (.312, .75), (.305, .775), (.285, .78), (.275, .84), (.265, .85), (.25, .83),
        (.25, .83), (0, .825)]
    style = k.design.choice(("plain", "sleeve", "print"))
    print_ = decoration(k, .12, .64, contrast(k.rgb))
    parts = [Part(revolve(body), Skin(k.rgb, .25, .6, paint=print_ if style == "print" else None)),
        Part(revolve(lid), Skin(lid_rgb, .7, .25))]
    if style == "sleeve":
        sleeve = [(0, .22), (.236, .22), (.236, .22), (.275, .56), (.275, .56), (0, .56)]
        flutes = lambda x, y, z, base: base * (.92 + .08 * torch.cos(60 * torch.atan2(x, z)))[:, None]
        parts.append(Part(revolve(sleeve), Skin((.62, .44, .28) if k.colour != "brown" else (.90, .86, .78), .15, .8, paint=flutes)))
    return parts


def teapot(k) -> list[Part]:
    body = [(0, .03), (.20, .0), (.24, .03), (.36, .14), (.42, .29), (.39, .45), (.28, .57), (.20, .60), (.19, .62), (0, .62)]
    lid = [(0, .58), (.195, .58), (.20, .61), (.17, .655), (.08, .69), (.035, .705), (.03, .725), (.055, .75), (.06, .78),
        (.04, .805), (0, .81)]
    side = k.side()
    turn = rotate("y", (0 if side > 0 else math.pi) + k.rng.uniform(-.2, .2))
    spout = join([rod((.34, .20, 0), (.52, .36, 0), .095, .062), rod((.52, .36, 0), (.60, .56, 0), .062, .042)], .05)
    spout = cut(spout, rod((.60, .58, 0), (.66, .72, 0), .035, .04))
    ring = torus(.155, .036, .03)

    def handle(x, y, z, fine):
        return torch.maximum(ring(x + .46, y - .33, z, fine), .37 - torch.sqrt(x * x + z * z * .6 + 1e-9) - .25 * (y - .3).abs())

    skin = k.skin()
    knob_rgb = k.design.choice((k.rgb, k.rgb, (.55, .36, .18))) if k.material != "metal" else k.rgb
    def top(x, y, z, base):
        return mix(base, knob_rgb, step(.70, .71, y))
    print_ = decoration(k, .12, .50, contrast(k.rgb)) if k.design.random() < .3 and k.material != "metal" else None
    return [Part(revolve(body), k.skin(paint=print_)), Part(revolve(lid), k.skin(paint=top)), Part(join([spout]), skin, turn),
        Part(handle, skin, turn)]


def bowl(k) -> list[Part]:
    deep = k.vary(1, .10)
    body = [(0, 0), (.19, 0), (.19, 0), (.195, .05), (.33, .14), (.46, .31), (.505, .455), (.49, .475), (.47, .455), (.42, .33),
        (.30, .19), (.14, .115), (0, .105)]
    inner = k.rgb if k.design.random() < .55 or k.material == "metal" else (.94, .93, .90)
    rim = k.design.random() < .3

    def paint(x, y, z, base):
        r = torch.sqrt(x * x + z * z)
        y = y / deep
        wall = r - (.30 + (y - .17) * .62).clamp(.1, .49)
        c = mix(base, inner, step(.0, -.02, wall) * step(.10, .11, y))
        return mix(c, contrast(k.rgb), (step(.40, .41, y) * step(.44, .43, y) * step(-.01, .02, wall)) * (1 if rim else 0))

    parts = [Part(revolve([(r, y * deep) for r, y in body]), k.skin(paint=paint))]
    if k.design.random() < .35:
        soup = k.design.choice(((.86, .42, .10), (.72, .14, .06), (.52, .58, .20)))
        parts.append(drink(.425, .36 * deep, soup))
        parts[-1].skin.rough = .2
    return parts


BUILDERS = {"mug": mug, "paper cup": paper_cup, "teapot": teapot, "bowl": bowl}
