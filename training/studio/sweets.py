"""Chocolate bar, lollipop, candy, macaron, ice cream."""

from __future__ import annotations

import math

import torch

from .forms import balls, box, displaced, ellipsoid, join, rod
from .noise import noise
from .product import Part, Skin, laid, mix, rotate, shade_of, step
from .turned import revolve

CHOCOLATE = {"brown": (.27, .13, .06), "white": (.93, .86, .70), "black": (.10, .05, .03)}


def chocolate_bar(k) -> list[Part]:
    """Four by six pieces; most bars are half in their wrapper and foil."""
    rgb, wrapped = CHOCOLATE[k.colour], k.rng.random() < .6

    def pieces(x, y, z, fine):
        d = box(.36, .05, .56, .012)(x, y + .03, z, fine)
        u, v = torch.remainder(x + .36, .18) - .09, torch.remainder(z + .56, .1867) - .0933
        edge = torch.maximum(u.abs() - .066, v.abs() - .069)
        bump = torch.maximum(torch.maximum(torch.maximum(edge + (y - .02) * .45, -y - .04), y - .062), torch.maximum(x.abs() - .345,
            z.abs() - .545)) * .85 - .006
        return torch.minimum(d, bump)

    stand = k.stands(.8)
    turn = rotate("y", k.rng.uniform(-.5, .5)) @ rotate("x", 1.18 if stand else .0)
    at = (0, .555 if stand else .08, 0)
    parts = [Part(pieces, Skin(rgb, .75, .28, soft=.15), turn, at)]
    if wrapped:
        paper = k.rng.choice(((.72, .10, .12), (.10, .22, .50), (.45, .15, .45), (.10, .36, .22), (.90, .70, .20)))
        sleeve = box(.375, .075, .30, .02)
        foil = box(.368, .069, .34, .015)
        crumple = lambda x, y, z: .010 * noise(x, y, z, 4.5, 1.0)[:, 0]
        paint = lambda x, y, z, base: mix(base, (.95, .90, .78), step(.10, .095, (z - .02).abs()) * step(.30, .29, x.abs()))
        back = turn @ torch.tensor([0, 0, .29])
        parts.append(Part(sleeve, Skin(paper, .6, .3, paint=paint), turn, tuple((torch.tensor(at) + back).tolist())))
        parts.append(Part(displaced(foil, crumple, .8), Skin((.82, .83, .85), 1, .22, metal=1.0, bump=.25, bump_scale=9), turn,
            tuple((torch.tensor(at) + turn @ torch.tensor([0, 0, .245])).tolist())))
    return parts


def lollipop(k) -> list[Part]:
    """A round swirl standing on its stick, or a ball."""
    flat = k.rng.random() < .7
    white, shift = (.97, .95, .93), k.rng.uniform(0, 7)
    lean = rotate("y", k.rng.uniform(-.3, .3)) @ rotate("z", k.rng.uniform(-.10, .10))
    top = (0, 1.02, 0)

    def swirl(x, y, z, base):
        r, a = torch.sqrt(x * x + y * y + 1e-9), torch.atan2(y, x)
        return mix(base, white, step(-.12, .12, torch.sin(a + r * 19 + shift)) * .92)

    def stripes(x, y, z, base):
        return mix(base, white, step(.3, .5, torch.sin(y * 16 + torch.atan2(x, z))) * .85)

    head = Part(ellipsoid(.38, .38, .115), Skin(k.rgb, 1.0, .07, soft=.4, paint=swirl), lean,
        tuple((lean @ torch.tensor(top)).tolist())) if flat else \
        Part(balls([(0, 0, 0)], [.30]), Skin(k.rgb, 1.0, .06, soft=.6, paint=stripes if k.rng.random() < .5 else None), lean,
            tuple((lean @ torch.tensor(top)).tolist()))
    stick = rod(tuple((lean @ torch.tensor([0, .0, 0])).tolist()), tuple((lean @ torch.tensor([0, .95, 0])).tolist()), .028, .028)
    parts = [head, Part(stick, Skin((.95, .94, .91), .3, .5))]
    return parts if k.camera != "above" else laid(parts, .65)


def candy(k) -> list[Part]:
    """A twisted wrapper: round middle, two pleated fans."""
    stripe = k.rng.random() < .6

    def fan(x, y, z, fine):
        t = ((x.abs() - .27) / .30).clamp(0, 1)
        r = .05 + .24 * t
        a = torch.atan2(z, y)
        r = r * (1 + .10 * torch.cos(9 * a))
        flat = torch.sqrt(y * y + (z * 1.7) ** 2 + 1e-9)
        d = (flat - r).abs() - .012
        return torch.maximum(d, (x.abs() - .42).abs() - .15) * .40

    def paint(x, y, z, base):
        a = torch.atan2(z, y)
        return mix(base, (.97, .95, .92) if k.colour != "white" else (.85, .2, .25),
            step(-.1, .1, torch.sin(a * 3 + x * 9)) * (.95 if stripe else 0))

    turn = rotate("y", k.rng.uniform(-.5, .5)) @ rotate("z", k.rng.uniform(-.06, .06)) @ rotate("x", k.rng.uniform(-.3, .3))
    gold = 1.0 if k.colour == "gold" else 0.0
    skin = Skin(k.rgb, 1.0, .14, metal=gold, soft=.2, bump=.05, bump_scale=7, paint=paint if not gold else None)
    solid = join([ellipsoid(.33, .245, .245), lambda x, y, z, fine: torch.maximum(torch.sqrt(y * y + z * z + 1e-9) - .055,
        x.abs() - .40)], .05)
    return [Part(solid, skin, turn, (0, .25, 0)), Part(fan, skin, turn, (0, .25, 0))]


def macaron(k) -> list[Part]:
    shell = [(0, .19), (.36, .185), (.40, .19), (.425, .215), (.42, .25), (.41, .265), (.42, .28), (.405, .34), (.33, .405),
        (.18, .44), (0, .45)]
    shift = k.rng.uniform(0, 7)
    frill = lambda x, y, z: .020 * noise(x, y, z, 7, shift)[:, 0].clamp(-1, 1) * step(.29, .25, y)
    form = displaced(revolve(shell), frill, .7)
    skin = Skin(k.rgb, .35, .5, soft=.5, paint=lambda x, y, z, base: mix(base, shade_of(k.rgb, 1.35), step(.115, .085, y) * .6))
    cream = [(0, .10), (.36, .10), (.39, .16), (.36, .22), (0, .22)]
    filling = k.rng.choice(((.97, .93, .84), shade_of(k.rgb, 1.4), shade_of(k.rgb, .7)))
    stand = k.stands(.35)
    turn = rotate("y", k.rng.uniform(-.5, .5)) @ (rotate("x", math.pi / 2 - .25) if stand else rotate("z", k.rng.uniform(-.03, .03)))
    at = torch.tensor([0, .43, 0]) if stand else torch.tensor([0.0, .29, 0])
    down = lambda form_, by: (lambda x, y, z, fine: form_(x, y + by, z, fine))
    upper = down(form, .16)
    flip = rotate("z", math.pi)
    return [Part(upper, skin, turn, tuple(at.tolist())), Part(upper, skin, turn @ flip, tuple(at.tolist())),
            Part(down(revolve(cream), .16), Skin(filling, .4, .4, soft=.5), turn, tuple(at.tolist()))]


def ice_cream(k) -> list[Part]:
    """Scoops in a wafer cone, which stands on its cut point."""
    shift, scoops = k.rng.uniform(0, 7), k.rng.choice((1, 1, 2))
    cone = [(0, .0), (.055, .0), (.055, .0), (.235, .60), (.25, .62), (.25, .66), (.235, .67), (0, .67)]

    def waffle(x, y, z, base):
        a = torch.atan2(x, z)
        u, v = torch.remainder(a * 1.9 + y * 7, 1) - .5, torch.remainder(a * 1.9 - y * 7, 1) - .5
        groove = torch.maximum(step(.36, .48, u.abs()), step(.36, .48, v.abs())) * step(.62, .60, y)
        return mix(base, (.56, .30, .09), groove * .75)

    parts = [Part(revolve(cone), Skin((.86, .60, .28), .25, .6, paint=waffle))]
    rough = lambda x, y, z: .016 * noise(x, y, z, 2.6, shift)[:, 0] + .006 * noise(x, y, z, 8, shift)[:, 0]
    heights = (.80,) if scoops == 1 else (.80, 1.10)
    for y, size in zip(heights, (.285, .25)):
        skirt = [(.25 * math.sin(a), y - .15 + .02 * math.sin(3 * a), .25 * math.cos(a)) for a in (i * .7 for i in range(9))]
        form = balls([(0, y, 0), *skirt], [size, *[.055] * 9], .02)
        parts.append(Part(displaced(form, rough, .7), Skin(k.rgb, .35, .45, soft=.6, bump=.12, bump_scale=14)))
    return parts if k.camera != "above" else laid(parts, .65)


BUILDERS = {"chocolate bar": chocolate_bar, "lollipop": lollipop, "candy": candy, "macaron": macaron, "ice cream": ice_cream}
