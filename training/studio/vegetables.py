"""Tomato, bell pepper, aubergine, cucumber, pumpkin, corn."""

from __future__ import annotations

import math

import torch

from .forms import displaced, join, leaf, rod
from .noise import layered, noise
from .product import Part, Skin, mix, rotate, shade_of, step
from .turned import revolve, ribs

GREEN = (0.26, 0.45, 0.12)
stalk_skin = Skin(GREEN, .35, .5, soft=.2)


def star(y: float, size: float, count: int, phase: float, droop: float = .5, width: float = .1) -> list[Part]:
    """A green calyx of narrow leaves."""
    return [Part(leaf(size, width, .012, droop, .3), stalk_skin, rotate("y", phase + 2 * math.pi * i / count) @ rotate("z", .22),
        (0, y, 0)) for i in range(count)]


def tomato(k) -> list[Part]:
    body = [(0, .02), (.2, .0), (.36, .09), (.465, .27), (.455, .42), (.36, .565), (.21, .615), (.09, .585), (0, .55)]
    shift = k.rng.uniform(0, 7)
    w = k.vary(1, .04)
    paint = lambda x, y, z, base: mix(mix(base, shade_of(k.rgb, 1.2), layered(x, y, z, 1.1, shift, 2) * .12), (.60, .62, .18),
        torch.exp(-(x * x + z * z) / .022) * step(.45, .6, y) * .6)
    parts = [Part(revolve([(r * w, y) for r, y in body], ribs(6, .028, shift, .15, .6)), Skin(k.rgb, 1.0, .08, soft=.4, paint=paint))]
    top = Part(join([rod((0, .56, 0), (.01, .66, 0), .025, .022), rod((.01, .66, 0), (.06 * k.side(), .76, 0), .022, .028)], .02),
        stalk_skin)
    return parts + star(.60, .29, 6, shift, .8, .085) + [top]


def bell_pepper(k) -> list[Part]:
    w = k.vary(1, .05)
    body = [(0, .07), (.09, .02), (.19, .0), (.28, .06), (.35, .27), (.41, .50), (.405, .63), (.32, .735), (.20, .735), (.10, .67),
        (0, .63)]
    shift = k.rng.uniform(0, 7)
    side = k.side()
    parts = [Part(revolve([(r * w, y) for r, y in body], ribs(4, .12, shift)), Skin(k.rgb, 1.0, .09, soft=.25, bump=.02, bump_scale=5)),
             Part(join([rod((0, .63, 0), (.02, .76, 0), .085, .036), rod((.02, .76, 0), (.08 * side, .93, 0), .036, .046)], .05),
                 stalk_skin)]
    return parts


def aubergine(k) -> list[Part]:
    body = [(0, -.56), (.13, -.545), (.245, -.44), (.285, -.26), (.26, -.05), (.195, .16), (.15, .34), (.12, .44), (.06, .48), (0, .485)]
    turn = rotate("y", .35 * k.side() + k.rng.uniform(-.2, .2)) @ rotate("z", -math.pi / 2 + .20)
    at = (-.06, .28, 0)
    cap = [(0, .27), (.152, .29), (.16, .32), (.150, .42), (.10, .50), (.048, .53), (.045, .62), (.052, .70), (.04, .72), (0, .72)]
    fade = lambda x, y, z, base: mix(base, (.46, .18, .38), step(.22, .36, y) * (.5 if k.colour == "purple" else .1))
    return [Part(revolve(body), Skin(k.rgb, 1.0, .07, paint=fade), turn, at),
            Part(revolve(cap, lambda a, y: 1 + .12 * torch.cos(5 * a) * step(.45, .30, y)), Skin(GREEN, .35, .5, bump=.1), turn, at)]


def cucumber(k) -> list[Part]:
    shift = k.rng.uniform(0, 7)

    def warts(x, y, z):
        return .010 * step(1.2, 2.2, noise(x, y, z, 9, shift)[:, 0])

    def paint(x, y, z, base):
        around = torch.atan2(z, y - .02)
        c = mix(base, (.44, .60, .22), step(.2, 1.0, torch.sin(around * 7 + layered(x, y, z, 1.2, shift, 2))) * .35)
        c = mix(c, (.62, .70, .34), step(.45, .72, x) * .55)
        return mix(c, (.46, .58, .28), step(1.2, 2.0, noise(x, y, z, 9, shift)[:, 0]) * .6)

    def form(x, y, z, fine):
        cy = .10 * x * x
        t = (x / .70).clamp(-1, 1)
        r = .150 * (1 - t.abs() ** 7 * .42)
        dx = (x.abs() - .60).clamp(min=0)
        return (torch.sqrt(dx * dx + (y - cy) ** 2 + z * z + 1e-9) - r) * .85

    turn = rotate("y", k.rng.uniform(-.4, .4))
    parts = [Part(displaced(form, warts, .8), Skin(k.rgb, .65, .28, bump=.12, bump_scale=12, paint=paint), turn, (0, .155, 0)),
             Part(rod((-.74, .055, 0), (-.80, .07, 0), .035, .03), stalk_skin, turn, (0, .155, 0))]
    if not k.many and k.rng.random() < .5:  # a few cut slices, lying in front of it
        def cut_face(x, y, z, base):
            r, a = torch.sqrt(x * x + z * z) / .155, torch.atan2(x, z)
            c = mix(base * 0 + torch.tensor([.66, .78, .42], device=x.device), (.84, .88, .62), step(.62, .45, r))
            seeds = torch.exp(-((torch.remainder(a * 9 / (2 * math.pi), 1) - .5) / .2) ** 2) * torch.exp(-((r - .36) / .12) ** 2)
            c = mix(c, (.93, .90, .70), step(.3, .6, seeds))
            return mix(c, k.rgb, step(.90, .94, r))
        for i, x in enumerate((-.36, -.02, .30)):
            lean = rotate("z", k.rng.uniform(-.12, .12)) @ rotate("x", k.rng.uniform(.0, .12))
            disc = lambda x, y, z, fine: torch.maximum(torch.sqrt(x * x + z * z + 1e-9) - .15, y.abs() - .025) - .005
            parts.append(Part(disc, Skin((.7, .8, .4), .5, .3, soft=.5, paint=cut_face), lean, (x, .035, .34 + .05 * (i % 2))))
    return parts


def pumpkin(k) -> list[Part]:
    body = [(0, .05), (.14, .0), (.32, .03), (.46, .17), (.50, .34), (.45, .52), (.31, .64), (.17, .65), (.07, .60), (0, .58)]
    shift = k.rng.uniform(0, 7)
    grooves = lambda x, y, z, base: mix(mix(base, shade_of(k.rgb, .55),
        step(.35, .02, (torch.atan2(x, z) * 5 + shift).cos().abs()) * .55), shade_of(k.rgb, 1.25), layered(x, y, z, 2, shift, 3) * .2)
    parts = [Part(revolve(body, ribs(10, .055, shift, sharp=True), slow=.7), Skin(k.rgb, .6, .3, soft=.2, bump=.10, bump_scale=10,
        paint=grooves))]
    s = k.side()
    stem = join([rod((0, .56, 0), (.02 * s, .72, 0), .085, .052), rod((.02 * s, .72, 0), (.13 * s, .86, 0), .052, .062)], .05)
    ridged = displaced(stem, lambda x, y, z: .010 * torch.cos(6 * torch.atan2(x, z)), .8)
    return parts + [Part(ridged, Skin((.44, .40, .20), .15, .7, bump=.3, bump_scale=12))]


def corn(k) -> list[Part]:
    """A cob lying down, husk folded back at its foot."""
    shift, rows = k.rng.uniform(0, 7), 15

    def cell(x, y, z):
        a = torch.atan2(y, z) / (2 * math.pi) * rows
        u, v = torch.remainder(a, 1) - .5, torch.remainder(x * 15 + .5 * torch.remainder(torch.floor(a), 2), 1) - .5
        return u, v

    def kernels(x, y, z):
        u, v = cell(x, y, z)
        return .022 * torch.sqrt(((1 - (2 * u) ** 4) * (1 - (2 * v) ** 4)).clamp(min=1e-4))

    def form(x, y, z, fine):
        t = ((x + .2) / .85).clamp(0, 1)
        r = .158 * (1 - t ** 3 * .75)
        dx = (x - .60).clamp(min=0) + (-.60 - x).clamp(min=0)
        return torch.sqrt(dx * dx + y * y + z * z + 1e-9) - r

    def paint(x, y, z, base):
        u, v = cell(x, y, z)
        edge = 2 * torch.maximum(u.abs(), v.abs())
        return mix(mix(base, (.98, .90, .50), layered(x, y, z, 6, shift, 1) * .25), (.70, .46, .08), step(.70, 1.0, edge) * .6)

    turn = rotate("y", k.rng.uniform(-.35, .35)) @ rotate("z", .05)
    husk = Skin((.48, .62, .26), .25, .6, soft=.4, paint=lambda x, y, z, base: mix(base, (.78, .82, .52), .3 + .15 * torch.sin(z * 90)))
    parts = [Part(displaced(form, kernels, .62), Skin(k.rgb, .75, .2, soft=.45, paint=paint), turn, (0, .18, 0))]
    for i, (a, long, up) in enumerate(((.0, .85, .10), (2.1, .80, .14), (4.2, .80, .12), (1.0, .55, .5), (5.2, .6, .4))):
        lean = turn @ rotate("x", a) @ rotate("z", up)
        start = turn @ torch.tensor([-.64, 0, 0]) + torch.tensor([0, .18, 0])
        parts.append(Part(leaf(long, .34, .010, -.10, -.55 if i < 3 else .3), husk, lean,
            tuple((start + turn @ rotate("x", a) @ torch.tensor([0, .12, 0])).tolist())))
    parts.append(Part(rod((-.60, 0, 0), (-.80, -.01, 0), .12, .05), husk, turn, (0, .18, 0)))
    return parts


BUILDERS = {"tomato": tomato, "bell pepper": bell_pepper, "aubergine": aubergine, "cucumber": cucumber,
    "pumpkin": pumpkin, "corn": corn}
