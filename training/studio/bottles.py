"""Wine, water, juice and spray bottle, jam jar and honey jar: thin glass with its contents inside."""

from __future__ import annotations

import math

import torch

from .cans import contrast
from .forms import box, join, rod
from .noise import layered
from .product import Colour, Part, Skin, mix, rotate, shade_of, step
from .turned import Profile, revolve, ribs

CLEAR = Skin((.97, .985, .975), 1.0, .05, glass=True)


def shrunk(body: Profile, wall: float, top: float) -> Profile:
    """The profile of a vessel's contents up to the height `top`: inset by the wall's thickness, flat on top."""
    inner = [(max(r - wall, 0), max(y, 1.6 * wall)) for r, y in body if y < top]
    after = next(((r, y) for r, y in body if y >= top), body[-1])
    last = [p for p in body if p[1] < top][-1]
    f = (top - last[1]) / max(after[1] - last[1], 1e-6)
    edge = max(last[0] + (after[0] - last[0]) * f - wall, .01)
    return [*inner, (edge, top), (edge, top), (0, top)]


def label(k, body_r: float, low: float, high: float, around: float = 9.0, rgb: Colour | None = None) -> Part:
    """A paper label, `around` to either side of the front; plain, with bars or a spot in a second colour."""
    paper = rgb or k.design.choice(((.95, .93, .87), (.95, .93, .87), (.90, .82, .62)))
    ink = k.design.choice(((.62, .10, .12), (.12, .22, .42), (.70, .54, .22), (.16, .32, .18), (.12, .12, .13)))
    style, m, h = k.design.choice(("bars", "spot", "frame")), (low + high) / 2, high - low

    def paint(x, y, z, base):
        a = torch.atan2(x, z)
        v = (y - low) / h
        if style == "bars":
            on = step(.012, .008, (v - .82).abs() - .03) + step(.02, .015, (v - .30).abs() - .02) * step(.6, .55,
                a.abs()) + step(.02, .015, (v - .48).abs() - .05) * step(.45, .42, a.abs())
        elif style == "spot":
            on = step(.27, .26, torch.sqrt((x / h) ** 2 + (v - .55) ** 2)) + step(.02, .015, (v - .12).abs() - .02)
        else:
            edge = torch.minimum(torch.minimum(v, 1 - v), (min(around, 3.0) - a.abs()) * body_r / h)
            on = step(.05, .06, edge) * step(.10, .09, edge) + step(.20, .19, torch.sqrt((x / h) ** 2 + (v - .5) ** 2))
        return mix(base, ink, on)

    r = body_r + .004
    tube = lambda x, y, z, fine: torch.maximum(torch.maximum(torch.sqrt(x * x + z * z + 1e-9) - r, (y - m).abs() - h / 2),
        r - .012 - torch.sqrt(x * x + z * z + 1e-9))
    form = tube if around > 3 else lambda x, y, z, fine: torch.maximum(tube(x, y, z, fine),
        torch.sqrt(x * x + z * z + 1e-9) * (torch.atan2(x, z).abs() - around) * .8)
    return Part(form, Skin(paper, .2, .7, paint=paint))


def cap(r: float, low: float, high: float, rgb: Colour, **skin) -> Part:
    body = [(0, low), (r, low), (r, low), (r, high - .01), (r, high - .01), (r - .012, high), (r - .012, high), (0, high)]
    ridged = r < .2 and skin.get("metal", 0) == 0 and high - low < .2  # a screw lid
    return Part(revolve(body, ribs(40, .013) if ridged else None), Skin(rgb, **{**dict(gloss=.6, rough=.3), **skin}))


def wine_bottle(k) -> list[Part]:
    slope = k.design.random() < .4
    shoulder = [(.185, .80), (.150, .90), (.110, .99), (.078, 1.07)] if slope else [(.192, .81), (.160, .89), (.105, .95), (.074, 1.01)]
    body = [(0, .0), (.175, 0), (.175, 0), (.195, .02), (.197, .05), (.197, .74), *shoulder, (.064, 1.13), (.062, 1.30),
            (.062, 1.30), (.076, 1.31), (.076, 1.35), (.076, 1.35), (0, 1.35)]
    tint = {"green": (.20, .48, .16), "brown": (.46, .22, .06), "black": (.05, .055, .05), "white": (.90, .94, .88)}[k.colour]
    wine = {"white": (.93, .82, .42)}.get(k.colour, {"green": (.16, .26, .06), "brown": (.30, .10, .03)}.get(k.colour, (.10, .03, .04)))
    if k.colour == "green" and k.design.random() < .4:
        wine = (.74, .76, .28)
    foil = k.design.choice(((.50, .05, .08), (.10, .10, .11), (.80, .62, .26), (.12, .25, .14)))
    form = revolve(body)
    return [Part(form, Skin(tint, 1.0, .05, glass=True)),
            Part(revolve(shrunk(body, .016, 1.0)), Skin(wine, .3, .2, clear=.88)),
            label(k, .197, .18, .54, 1.9),
            cap(.0785, 1.10, 1.365, foil, rough=.3, gloss=.9)]


def water_bottle(k) -> list[Part]:
    body = [(0, .02), (.17, .0), (.20, .02), (.205, .07), (.205, .07), (.205, .30), (.185, .45), (.185, .50), (.205, .64),
        (.205, .74), (.18, .86), (.085, 1.0), (.065, 1.03), (.065, 1.10), (.065, 1.10), (0, 1.10)]
    tint = {"blue": (.62, .83, .96), "green": (.64, .90, .72), "white": (.96, .975, .98), "pink": (.97, .78, .84),
        "red": (.95, .55, .52)}[k.colour]
    rings = lambda a, y: 1 + .018 * torch.sin(y * 75) * step(.06, .10, y) * step(.30, .26, y)
    accent = shade_of(k.rgb, .95) if k.colour != "white" else (.14, .34, .72)
    return [Part(revolve(body, rings, slow=.7), Skin(tint, 1.0, .06, glass=True)),
            Part(revolve(shrunk(body, .014, .84)), Skin(shade_of(tint, 1.25), .5, .1, clear=.95)),
            label(k, .207, .50 + .09, .74, 9, rgb=accent),
            cap(.080, 1.035, 1.15, accent)]


def juice_bottle(k) -> list[Part]:
    body = [(0, .02), (.22, .0), (.25, .02), (.255, .07), (.255, .50), (.255, .50), (.235, .60), (.16, .72), (.13, .78),
        (.125, .86), (.125, .86), (0, .86)]
    juice = {"orange": (.96, .52, .06), "red": (.70, .06, .08), "yellow": (.97, .82, .22), "green": (.42, .62, .16),
        "purple": (.34, .08, .32), "pink": (.93, .42, .46)}[k.colour]
    lid = k.design.choice(((.95, .95, .94), (.10, .10, .11), shade_of(juice, .8)))
    return [Part(revolve(body), CLEAR), Part(revolve(shrunk(body, .014, .76)), Skin(juice, .4, .25, soft=.5, clear=.25)),
            *([label(k, .256, .14, .42, 1.3)] if k.design.random() < .7 else []), cap(.145, .80, .93, lid)]


def spray_bottle(k) -> list[Part]:
    body = [(0, .0), (.21, .0), (.21, .0), (.235, .02), (.24, .06), (.24, .48), (.22, .60), (.11, .74), (.075, .78), (.07, .86),
        (.07, .86), (0, .86)]
    squash = lambda form: (lambda x, y, z, fine: form(x, y, z * 1.35, fine) * .74)
    nozzle = (.94, .94, .93) if min(k.rgb) < .8 else (.12, .35, .70)
    head = join([box(.20, .055, .065, .03), rod((-.16, .0, 0), (-.24, .01, 0), .035, .025)], .03)
    trigger = join([rod((-.10, -.04, 0), (-.16, -.15, 0), .028, .024), rod((-.16, -.15, 0), (-.15, -.24, 0), .024, .02)], .02)
    ink = contrast(k.rgb)
    plastic = Skin(nozzle, .5, .35)
    side = k.side()
    turn = rotate("y", 0 if side > 0 else math.pi)
    mark = lambda x, y, z, base: mix(base, ink, step(.165, .16, torch.sqrt(x * x + ((y - .28) * .9) ** 2)))
    return [Part(squash(revolve(body)), k.skin(paint=mark), turn), Part(head, plastic, turn, (-.02, .98, 0)), Part(trigger, plastic,
        turn, (-.02, .98, 0)),
            cap(.09, .80, .92, nozzle)]


def jar(k, body: Profile, top: float, contents: Skin, lid_rgb: Colour, metal: float, lid_r: float, low: float, high: float) -> list[Part]:
    return [Part(revolve(body), CLEAR), Part(revolve(shrunk(body, .018, top)), contents),
            cap(lid_r, low, high, lid_rgb, metal=metal, rough=.2, gloss=.9)]


def jam_jar(k) -> list[Part]:
    body = [(0, .015), (.27, .0), (.31, .02), (.32, .07), (.32, .48), (.30, .55), (.265, .60), (.26, .66), (.26, .66), (0, .66)]
    fruit = {"red": (.62, .03, .06), "orange": (.90, .42, .05), "purple": (.22, .04, .18), "yellow": (.93, .72, .16),
        "green": (.42, .52, .12)}[k.colour]
    shift = k.rng.uniform(0, 7)
    lumps = lambda x, y, z, base: mix(base, shade_of(fruit, 1.3), layered(x, y, z, 3.5, shift, 3) * .35)
    lid, metal = k.design.choice((((.84, .66, .32), 1.0), ((.80, .81, .83), 1.0), ((.93, .92, .90), 0.0), ((.70, .10, .12), 0.0)))
    parts = jar(k, body, .55, Skin(fruit, .6, .2, soft=.6, clear=.35, paint=lumps), lid, metal, .285, .60, .76)
    return parts + ([label(k, .321, .14, .42, .95)] if k.design.random() < .75 else [])


def honey_jar(k) -> list[Part]:
    """Bellied; the honey glows."""
    body = [(0, .015), (.22, .0), (.27, .02), (.345, .14), (.37, .28), (.345, .43), (.275, .54), (.25, .58), (.25, .64), (.25, .64),
        (0, .64)]
    honey = {"gold": (.93, .58, .07), "brown": (.60, .27, .04), "yellow": (.96, .70, .12)}[k.colour]
    lid, metal = k.design.choice((((.86, .66, .28), 1.0), ((.14, .12, .11), 0.0), ((.95, .90, .80), 0.0)))
    return jar(k, body, .53, Skin(honey, .6, .1, soft=.9, clear=.8), lid, metal, .275, .58,
        .73) + ([spot_label(k)] if k.design.random() < .6 else [])


def spot_label(k) -> Part:
    """A round paper label on the front of the belly."""
    disc = lambda x, y, z, fine: torch.maximum(torch.sqrt(x * x + (y - .28) ** 2 + 1e-9) - .145,
        ((torch.sqrt(x * x + z * z + 1e-9) - .374 + .9 * (y - .28) ** 2).abs() - .006)) * .7
    form = lambda x, y, z, fine: torch.where(z > 0, disc(x, y, z, fine), disc(x, y, z.abs(), fine) + .3)
    paint = lambda x, y, z, base: mix(base, (.80, .52, .10), step(.085, .08, torch.sqrt(x * x + (y - .28) ** 2)))
    return Part(form, Skin((.96, .93, .84), .2, .7, paint=paint))


BUILDERS = {"wine bottle": wine_bottle, "water bottle": water_bottle, "juice bottle": juice_bottle,
            "spray bottle": spray_bottle, "jam jar": jam_jar, "honey jar": honey_jar}
