"""Soda can."""

from __future__ import annotations

import torch

from .forms import cut, ellipsoid
from .product import Part, Skin, mix, rotate, shade_of, step
from .turned import revolve

STEEL = (0.80, 0.81, 0.83)


def contrast(c: tuple[float, float, float]) -> tuple[float, float, float]:
    """A print colour that reads on c: cream on dark, deep on light."""
    return (.95, .93, .88) if .3 * c[0] + .6 * c[1] + .1 * c[2] < .62 else shade_of(tuple(v * .45 for v in c), .9)


def decoration(k, low: float, high: float, accent: tuple[float, float, float]):
    """A print around a turned ware between two heights: band, stripes, wave, dots or disc. Returns a Paint."""
    style, phase = k.design.choice(("band", "stripes", "wave", "dots", "disc", "plain")), k.rng.uniform(-.3, .3)
    m, h = (low + high) / 2, high - low

    def paint(x, y, z, base):
        angle = torch.atan2(x, z) + phase
        if style == "band":
            on = step(m - .22 * h, m - .20 * h, y) * step(m + .22 * h, m + .20 * h, y)
        elif style == "stripes":
            on = step(.42, .50, torch.sin((y - low) / h * 25)) * step(low, low + .01, y) * step(high, high - .01, y)
        elif style == "wave":
            v = y - m - .13 * h * torch.sin(angle * 2)
            on = step(-.17 * h, -.15 * h, v) * step(.17 * h, .15 * h, v)
        elif style == "dots":
            u, v = torch.remainder(angle * 2.2, 1) - .5, torch.remainder((y - low) / h * 4, 1) - .5
            on = step(.30, .25, torch.sqrt(u * u * 1.0 + v * v * 1.1)) * step(low, low + .01, y) * step(high, high - .01, y)
        elif style == "disc":
            r = torch.sqrt((x / .8) ** 2 + (y - m) ** 2)
            on = step(.30 * h, .28 * h, r) * (z > 0)
        else:
            on = torch.zeros_like(y)
        return mix(base, accent, on)
    return paint


def soda_can(k) -> list[Part]:
    body = [(0, .05), (.12, .04), (.185, .012), (.185, .012), (.20, 0), (.215, .012), (.215, .012), (.268, .085), (.268, .085),
        (.268, .76), (.268, .76), (.255, .80), (.226, .86), (.226, .86)]
    lid = [(0, .845), (.19, .845), (.19, .845), (.205, .85), (.212, .875), (.222, .885), (.232, .878), (.230, .86), (.230, .86),
        (.2, .83), (0, .83)]
    print_ = decoration(k, .10, .74, contrast(k.rgb) if k.colour not in ("silver", "gold") else (.12, .2, .45))
    metal = k.material == "metal"
    rough = .14 if metal else .5

    skin = Skin(k.rgb, 1.0, rough, metal=1.0 if k.colour in ("silver", "gold") else 0.0, paint=print_)
    if metal and skin.metal == 0:
        skin.metal, skin.rough, skin.colour = 1.0, .22, shade_of(k.rgb, 1.12)
    steel = Skin(STEEL, 1.0, .18, metal=1.0)
    tab = cut(ellipsoid(.055, .012, .095), ellipsoid(.03, .03, .03))
    return [Part(revolve(body + [(.22, .835), (0, .835)]), skin), Part(revolve(lid), steel), Part(tab, steel, rotate("x", -.08),
        (0, .868, .06))]


BUILDERS = {"soda can": soda_can}
