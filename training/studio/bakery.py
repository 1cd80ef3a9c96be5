"""Bread loaf, croissant, doughnut, cupcake, cookie."""

from __future__ import annotations

import math

import torch

from .forms import balls, displaced, rods, torus
from .noise import layered, noise
from .product import Part, Skin, mix, rotate, shade_of, step
from .turned import revolve, ribs

DARK_CRUST, FLOUR, CRUMB = (0.40, 0.20, 0.07), (0.93, 0.88, 0.78), (0.93, 0.84, 0.64)


def crust(k, cuts=None, top: float = .5):
    """Baked dough: darker on top and in patches, pale where it was slashed, dusted with flour."""
    shift, dusting = k.rng.uniform(0, 7), k.rng.uniform(.0, .6)

    def paint(x, y, z, base):
        c = mix(base, (.90, .72, .42), step(top, 0, y) * .55)
        c = mix(c, DARK_CRUST, (layered(x, y, z, 2.4, shift, 3) * .30 + .20) * step(.2 * top, top, y))
        if cuts is not None:
            slash = cuts(x, y, z)
            c = mix(c, (.92, .76, .48), slash * .8)
        return mix(c, FLOUR, step(.6, 1.8, noise(x, y, z, 7, shift)[:, 0]) * dusting * step(.5 * top, top, y) * .7)
    return paint


def bread(k) -> list[Part]:
    """A tin loaf; half of them with two cut slices leaning against the end."""
    shift, sliced = k.rng.uniform(0, 7), k.rng.random() < .5

    def slab(x, y, z, half):
        """A loaf's outline in the zy plane (mushroom top), `half` long on either side along x."""
        lower = torch.sqrt((z.abs() - .20).clamp(min=0) ** 2 + ((y - .22).abs() - .14).clamp(min=0) ** 2 + 1e-9) - .08
        upper = torch.sqrt((z.abs() - .13).clamp(min=0) ** 2 + ((y - .42).abs() - .03).clamp(min=0) ** 2 + 1e-9) - .18
        h = (.5 + .5 * (upper - lower) / .05).clamp(0, 1)
        d = upper + (lower - upper) * h - .05 * h * (1 - h)
        e = x.abs() - half
        return torch.sqrt(d.clamp(min=0) ** 2 + e.clamp(min=0) ** 2 + 1e-9) + torch.maximum(d, e).clamp(max=0) - .03

    cuts = lambda x, y, z: step(.025, .012, (torch.remainder(x + .12 * z + .1, .24) - .12).abs()) * step(.50, .56, y)
    form = displaced(lambda x, y, z, fine: slab(x, y, z, .50), lambda x, y, z: .012 * noise(x, y, z, 1.6, shift)[:,
        0] - .02 * cuts(x, y, z), .8)
    inner = crust(k, cuts, .62)
    holes = lambda x, y, z: step(.9, 1.7, noise(x, y, z, 8, shift)[:, 0])

    def crumb(x, y, z, base):
        rim = slab(torch.zeros_like(x), y, z, .5)
        c = mix(base * 0 + torch.tensor(CRUMB, device=x.device) ** 2.2, (.80, .66, .42), holes(x, y, z) * .6 + .1 * layered(x, y, z,
            3, shift, 2))
        return mix(c, k.rgb, step(-.045, -.025, rim))

    if not sliced:
        return [Part(form, Skin(k.rgb, .35, .45, bump=.05, bump_scale=30, paint=inner), rotate("y", .35 * k.side()))]
    half_loaf = lambda x, y, z, fine: slab(x, y, z, .36)
    end_cut = lambda x, y, z, base: torch.where((x > .368)[:, None], crumb(x, y, z, base), inner(x, y, z, base))
    turn = rotate("y", -.75)
    parts = [Part(half_loaf, Skin(k.rgb, .3, .5, bump=.05, bump_scale=30, paint=end_cut), turn, (-.18, 0, -.1))]
    slice_form = lambda x, y, z, fine: slab(x, y, z, .02)
    for i in range(2):
        parts.append(Part(slice_form, Skin(k.rgb, .15, .7, bump=.12, bump_scale=20, paint=crumb),
            turn @ rotate("z", -.10 - .14 * i), (.16 + .13 * i, .0, .24 + .12 * i)))
    return parts


def croissant(k) -> list[Part]:
    """A bent, stepped roll: each turn of the dough is a bulge."""
    shift, half, radius = k.rng.uniform(0, 7), 1.75, .40

    def along(x, z):
        return torch.atan2(x, radius - z).clamp(-half, half)

    def form(x, y, z, fine):
        a = along(x, z)
        cx, cz = radius * torch.sin(a), radius - radius * torch.cos(a)
        t = (a / half).abs()
        bulge = 1 + .16 * (1 - (2 * torch.remainder(t * 4.2 + .5, 1) - 1).abs() ** 2.5) - .10
        r = (.230 * (1 - t ** 1.5 * .76)) * bulge
        return (torch.sqrt((x - cx) ** 2 + ((y - .21) * 1.08) ** 2 + (z - cz) ** 2 + 1e-9) - r) * .68

    def paint(x, y, z, base):
        t = (along(x, z) / half).abs()
        fold = torch.remainder(t * 4.2 + .5, 1)
        c = mix(base, (.93, .76, .42), step(.30, .02, (fold - .0).abs()) * .7 + step(.75, 1.0, fold) * .6)
        layers = noise(x * .6, y * 4, z * .6, 4.5, shift)[:, 0]
        c = mix(c, (.50, .24, .07), step(.2, 1.6, layers) * .45 + step(.25, .45, y) * .35)
        return mix(c, (.93, .80, .50), step(.12, .02, y) * .6)

    turn = rotate("y", k.rng.uniform(-.35, .35)) if k.rng.random() < .75 else rotate("y", math.pi + k.rng.uniform(-.35, .35))
    return [Part(form, Skin(k.rgb, .65, .28, soft=.2, bump=.14, bump_scale=9, paint=paint), turn, (0, 0, -.15))]


def doughnut(k) -> list[Part]:
    shift, stand = k.rng.uniform(0, 7), k.stands(.75)
    turn = rotate("y", k.rng.uniform(-.25, .25)) @ rotate("x", -.25 if stand else -math.pi / 2)
    at = (0, .48, 0) if stand else (0, .175, 0)
    edge = lambda x, y: .035 * torch.sin(torch.atan2(x, y) * 7 + shift) + .02 * torch.sin(torch.atan2(x, y) * 11 + 2 * shift)
    dough = Part(torus(.31, .175), Skin((.83, .56, .26), .35, .5, soft=.3, bump=.08, bump_scale=14,
                                        paint=lambda x, y, z, base: mix(base, (.95, .82, .55),
                                            step(.09, .03, (z + .02).abs()) * .6)), turn, at)
    ring = torus(.31, .184)
    icing = Part(lambda x, y, z, fine: torch.maximum(ring(x, y, z, fine), .015 + edge(x, y) - z) * .8 - .008,
        Skin(k.rgb, .95, .12, soft=.3), turn, at)
    parts = [dough, icing]
    if k.rng.random() < .6:
        pieces: dict[int, list] = {0: [], 1: [], 2: []}
        for i in range(34):
            a, b = k.rng.uniform(0, 2 * math.pi), k.rng.uniform(-1.0, 1.0)
            r, z = .31 + .20 * math.sin(b), .20 * math.cos(b)
            c, d = (r * math.cos(a), r * math.sin(a), z), k.rng.uniform(0, math.pi)
            e = (.026 * math.cos(d), .026 * math.sin(d), 0)
            pieces[i % 3].append((tuple(p - q for p, q in zip(c, e)), tuple(p + q for p, q in zip(c, e)), .011, .011))
        for tint, segments in zip(k.rng.sample([(.95, .25, .30), (.98, .85, .20), (.25, .55, .90), (.97, .97, .95),
            (.35, .75, .35)], 3), pieces.values()):
            parts.append(Part(rods(segments), Skin(tint, .6, .3), turn, at))
    return parts


def cupcake(k) -> list[Part]:
    """A pleated paper cup, a swirl of cream, sometimes a cherry."""
    cup = [(0, 0), (.25, 0), (.25, 0), (.27, .02), (.36, .38), (.36, .38), (0, .40)]
    paper = k.rng.choice(((.93, .90, .84), (.35, .20, .12), shade_of(k.rgb, .75)))
    pleats = Part(revolve(cup, ribs(26, .026)), Skin(paper, .2, .7, paint=lambda x, y, z,
        base: base * (.88 + .12 * torch.cos(26 * torch.atan2(x, z)))[:, None]))
    cream = [(0, .36), (.37, .36), (.40, .42), (.37, .50), (.30, .62), (.22, .74), (.13, .85), (.05, .95), (0, .98)]

    def swirl(angle, y):
        v = angle / (2 * math.pi) + y * 4.6 + 4
        return 1 + .16 * (torch.sqrt(1.0 - (2 * torch.remainder(v, 1) - 1) ** 2 + 1e-3) - .7) + .03 * torch.cos(angle * 8 + y * 12)

    parts = [pleats, Part(revolve(cream, swirl, slow=.5), Skin(k.rgb, .45, .35, soft=.5))]
    topping = k.rng.random()
    if topping < .45:
        parts.append(Part(balls([(0, 1.02, 0)], [.105]), Skin((.68, .02, .06), 1.0, .06, soft=.3)))
        parts.append(Part(rods([((0, 1.10, 0), (.05, 1.28, .0), .010, .013)]), Skin((.35, .32, .12), .3, .5)))
    return parts


def cookie(k) -> list[Part]:
    shift, stand = k.rng.uniform(0, 7), k.stands(.75)
    disc = [(0, .0), (.36, .0), (.44, .03), (.46, .075), (.42, .115), (.30, .14), (.15, .15), (0, .15)]
    turn = rotate("y", k.rng.uniform(-.3, .3)) @ rotate("x", math.pi / 2 - .28 if stand else 0)
    at = (0, .46, 0) if stand else (0, 0, 0)
    rough = lambda x, y, z: .006 * noise(x, y, z, 2.2, shift)[:, 0] + .004 * noise(x, y, z, 6, shift)[:, 0]
    cracks = lambda x, y, z, base: mix(mix(base, shade_of(k.rgb, .5), step(.5, 1.6, layered(x, y, z, 3.5, shift, 3)) * .45),
        shade_of(k.rgb, 1.3), step(.38, .2, torch.sqrt(x * x + z * z)) * .25)
    spots = []
    while len(spots) < 11:
        x, z = k.rng.uniform(-.36, .36), k.rng.uniform(-.36, .36)
        if x * x + z * z < .125 and all((x - a) ** 2 + (z - b) ** 2 > .016 for a, _, b in spots):
            spots.append((x, .132 - .14 * (x * x + z * z), z))
    chip = (.93, .88, .78) if k.colour == "black" else (.17, .08, .04)
    chips = balls(spots, [.044 * k.vary(1, .3) for _ in spots])
    return [Part(displaced(revolve(disc), rough, .75), Skin(k.rgb, .2, .7, bump=.10, bump_scale=30, paint=cracks), turn, at),
            Part(chips, Skin(chip, .6, .3), turn, at)]


BUILDERS = {"bread": bread, "croissant": croissant, "doughnut": doughnut, "cupcake": cupcake, "cookie": cookie}
