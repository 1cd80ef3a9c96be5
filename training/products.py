"""The nineteen kinds of product: which parts each is put together from, and how big it stands in the picture."""

from __future__ import annotations

import math
from typing import Callable

import torch

from scenes import Scene
from shapes import (CREAM, GREEN, STEEL, STEM, Band, Part, Product, box, capsule, crescent, ellipsoid, gable, revolve,
                    rotate, surface_colour, torus)

Colour = tuple[float, float, float]


def stem_and_leaf(x: float, y: float, leaf: bool) -> list[Part]:
    parts = [Part(capsule((0, y, 0), (x, y + 0.2, 0), 0.016, 0.024), STEM, 0.2)]
    if leaf:
        side = 1 if x > 0 else -1
        parts.append(Part(ellipsoid(0.13, 0.012, 0.065), GREEN, 0.4, rotate("z", 0.35 * side) @ rotate("x", 0.5),
                          (x * 0.6 + 0.13 * side, y + 0.19, 0.02)))
    return parts


def calyx(y: float, size: float, count: int, phase: float, drop: float = 0.03) -> list[Part]:
    """A green star on top of a fruit."""
    tips = [(size * math.sin(phase + i * 2 * math.pi / count), y - drop, size * math.cos(phase + i * 2 * math.pi / count))
            for i in range(count)]
    return [Part(capsule((0, y, 0), tip, 0.035, 0.008), GREEN, 0.3) for tip in tips]


def apple(c: Colour, f: tuple[float, ...]) -> Product:
    w = 1 + 0.04 * f[0]
    body = [(0, .08), (.10, .03), (.20, 0), (.34, .08), (.43, .28), (.455, .47), (.40, .66), (.27, .76), (.14, .75), (.06, .68), (0, .62)]
    parts = [Part(revolve([(r * w, y) for r, y in body], 5, 0.015, 3 * f[1]), c, 0.6)]
    return Product(parts + stem_and_leaf(0.05 * (1 if f[2] > 0 else -1), 0.64, f[3] > -0.4), .5, .93, .5, 1.05)


def pear(c: Colour, f: tuple[float, ...]) -> Product:
    w = 1 + 0.05 * f[0]
    body = [(0, .04), (.12, 0), (.28, .05), (.39, .2), (.405, .36), (.33, .55), (.225, .74), (.18, .88), (.13, .99), (.06, 1.03), (0, 1.0)]
    parts = [Part(revolve([(r * w, y) for r, y in body]), c, 0.4)]
    return Product(parts + stem_and_leaf(0.06 * (1 if f[2] > 0 else -1), 1.0, False), .45, 1.24, .45, 0.92)


def orange(c: Colour, f: tuple[float, ...]) -> Product:
    ball = [(0, .0)] + [(.43 * math.sin(a), .42 - .42 * math.cos(a)) for a in [.4, .8, 1.2, 1.57, 1.95, 2.35, 2.75]] + [(0, .825)]
    parts = [Part(revolve(ball), c, 0.2, pores=1.0), Part(ellipsoid(.045, .02, .045), GREEN, 0.2, offset=(0, .83, 0))]
    return Product(parts, .46, .88, .46, 1.05)


def lemon(c: Colour, f: tuple[float, ...]) -> Product:
    body = [(0, -.57), (.045, -.56), (.075, -.51), (.14, -.46), (.28, -.29), (.345, 0), (.28, .29), (.15, .44), (.095, .50), (.065, .545), (0, .555)]
    turn = rotate("y", 0.5 * f[0]) @ rotate("z", math.pi / 2 - 0.12)
    return Product([Part(revolve(body), c, 0.25, turn, (0, .345, 0), pores=0.6)], .6, .75, .6, 1.0)


def tomato(c: Colour, f: tuple[float, ...]) -> Product:
    body = [(0, .02), (.2, .0), (.36, .09), (.47, .27), (.46, .42), (.36, .56), (.2, .61), (.08, .585), (0, .56)]
    parts = [Part(revolve(body, 6, 0.03, 3 * f[0], 0.2, 0.6), c, 0.85)] + calyx(.61, .27, 6, f[1], -0.01)
    return Product(parts + [Part(capsule((0, .58, 0), (.02, .74, 0), .026, .022), GREEN, 0.3)], .52, .78, .52, 1.08)


def banana(c: Colour, f: tuple[float, ...]) -> Product:
    turn = rotate("y", 0.3 * f[0]) @ rotate("x", -0.35)
    at = (0, .17, 0.05)
    parts = [Part(crescent(.62, .98 + .05 * f[1], .148, .04), c, 0.35, turn, at)]
    for side in (-1, 1):
        a = 0.98 + .05 * f[1]
        x, y = .62 * math.sin(a) * side, .62 - .62 * math.cos(a)
        dx, dy = math.cos(a) * side, math.sin(a)
        length = .10 if side > 0 else .03
        parts.append(Part(capsule((x, y, 0), (x + length * dx, y + length * dy, 0), .042, .034), STEM, 0.2, turn, at))
    return Product(parts, .68, .62, .5, 1.0)


def carrot(c: Colour, f: tuple[float, ...]) -> Product:
    body = [(0, -.62), (.02, -.60), (.07, -.35), (.115, -.05), (.15, .22), (.165, .32), (.13, .385), (.05, .40), (0, .395)]
    turn = rotate("y", 0.35 + 0.2 * f[0]) @ rotate("z", -math.pi / 2 + 0.13)
    at = (-.06, .155, 0)
    parts = [Part(revolve(body), c, 0.3, turn, at, [Band(y, y + .008, tuple(v * .75 for v in c), 0.2) for y in (-.3, -.12, .03, .17, .26)])]
    for i, angle in enumerate((-.5, -.15, .2, .55)):
        parts.append(Part(capsule((0, .37, 0), (math.sin(angle) * .30, .37 + .30 * math.cos(angle), .06 * (i % 2 * 2 - 1)), .018, .04), GREEN, 0.2, turn, at))
    return Product(parts, .75, .5, .5, 1.0)


def aubergine(c: Colour, f: tuple[float, ...]) -> Product:
    body = [(0, -.56), (.13, -.54), (.24, -.44), (.275, -.26), (.25, -.05), (.19, .16), (.145, .34), (.12, .44), (.06, .48), (0, .485)]
    turn = rotate("y", 0.4 + 0.2 * f[0]) @ rotate("z", -math.pi / 2 + 0.22)
    at = (-.06, .27, 0)
    cap = [(0, .28), (.155, .30), (.155, .30), (.165, .33), (.15, .42), (.10, .50), (.045, .53), (.045, .53), (.04, .62), (.045, .66), (0, .66)]
    parts = [Part(revolve(body), c, 0.95, turn, at), Part(revolve(cap, 5, .10, f[1]), GREEN, 0.3, turn, at)]
    return Product(parts, .72, .62, .55, 1.0)


def bell_pepper(c: Colour, f: tuple[float, ...]) -> Product:
    w = 1 + 0.05 * f[0]
    body = [(0, .06), (.1, .02), (.2, .0), (.29, .07), (.36, .28), (.415, .50), (.41, .63), (.32, .73), (.19, .735), (.09, .66), (0, .62)]
    parts = [Part(revolve([(r * w, y) for r, y in body], 4, 0.085, 0.6 * f[1]), c, 0.9),
             Part(capsule((0, .62, 0), (.02, .76, 0), .06, .035), GREEN, 0.3),
             Part(capsule((.02, .76, 0), (.07 * (1 if f[2] > 0 else -1), .93, 0), .035, .045), GREEN, 0.3)]
    return Product(parts, .5, 1.0, .5, 1.03)


def egg(c: Colour, f: tuple[float, ...]) -> Product:
    body = [(0, 0), (.13, .02), (.27, .13), (.345, .33), (.335, .50), (.27, .70), (.17, .85), (.08, .915), (0, .93)]
    return Product([Part(revolve([(r * (1 + .03 * f[0]), y) for r, y in body]), c, 0.2)], .4, .96, .4, 1.0)


def doughnut(c: Colour, f: tuple[float, ...]) -> Product:
    turn = rotate("y", 0.3 * f[0]) @ rotate("x", -0.55)
    at = (0, .42, 0)
    dough = Part(torus(.31, .178), (0.80, 0.56, 0.28), 0.2, turn, at)
    icing = Part(torus(.31, .166), c, 0.8, turn, (at[0], at[1] + .028, at[2] + .042))
    return Product([dough, icing], .52, .9, .5, 1.05)


def bottle(c: Colour, f: tuple[float, ...]) -> Product:
    h = 1 + 0.04 * f[0]
    body = [(0, 0), (.24, 0), (.24, 0), (.265, .03), (.265, .03), (.265, .58), (.265, .58), (.23, .74), (.11, .89), (.095, .93), (.095, .93), (.095, 1.0), (.095, 1.0), (0, 1.0)]
    cap = [(0, .97), (.125, .97), (.125, .97), (.125, 1.11), (.125, 1.11), (.11, 1.125), (0, 1.125)]
    cap_colour = (.12, .12, .13) if min(c) > 0.6 else (.93, .93, .93)
    parts = [Part(revolve([(r, y * h) for r, y in body]), c, 0.95), Part(revolve([(r, y * h) for r, y in cap]), cap_colour, 0.5)]
    return Product(parts, .3, 1.13 * h, .3, 0.98)


def wine_bottle(c: Colour, f: tuple[float, ...]) -> Product:
    body = [(0, 0), (.19, 0), (.19, 0), (.205, .02), (.205, .02), (.205, .76), (.205, .76), (.18, .87), (.09, .98), (.07, 1.06), (.07, 1.06), (.068, 1.32), (.068, 1.32), (.08, 1.33), (.08, 1.38), (.08, 1.38), (0, 1.38)]
    foil = (.55, .10, .12) if sum(c) < 1.0 and c[0] < 0.3 else (.15, .14, .15)
    bands = [Band(.20, .56, CREAM, 0.15, 1.15), Band(1.12, 1.5, foil, 0.5)]
    return Product([Part(revolve(body), c, 0.98, bands=bands)], .24, 1.4, .24, 0.88)


def jar(c: Colour, f: tuple[float, ...]) -> Product:
    body = [(0, 0), (.29, 0), (.29, 0), (.33, .04), (.335, .1), (.335, .46), (.32, .54), (.265, .60), (.26, .66), (.26, .66), (0, .66)]
    lid = [(0, .62), (.295, .62), (.295, .62), (.295, .765), (.295, .765), (.28, .78), (0, .78)]
    metal = (.80, .66, .34) if f[0] > 0 else STEEL
    parts = [Part(revolve(body), c, 0.95, bands=[Band(.14, .42, CREAM, 0.15, 0.75)]), Part(revolve(lid), metal, 0.9)]
    return Product(parts, .36, .8, .36, 1.2)


def can(c: Colour, f: tuple[float, ...]) -> Product:
    body = [(0, .03), (.19, .03), (.19, .03), (.21, 0), (.225, 0), (.27, .06), (.27, .06), (.27, .76), (.27, .76), (.235, .84), (.235, .87), (.235, .87), (.215, .87), (.215, .87), (.21, .835), (.21, .835), (0, .835)]
    parts = [Part(revolve(body), c, 0.85, bands=[Band(.77, .9, STEEL, 1.0), Band(-.1, .05, STEEL, 1.0)]),
             Part(ellipsoid(.05, .01, .085), STEEL, 1.0, offset=(0, .85, .06))]
    return Product(parts, .3, .89, .3, 1.18)


def mug(c: Colour, f: tuple[float, ...]) -> Product:
    body = [(0, 0), (.27, 0), (.27, 0), (.30, .04), (.31, .2), (.31, .645), (.297, .66), (.283, .645), (.275, .1), (.25, .06), (.25, .06), (0, .06)]
    side, angle = (1 if f[0] > -0.5 else -1), 0.4 * f[1]
    ring = torus(.13, .042, .07)

    def handle(x, y, z, fine):  # the part of the ring outside the mug
        return torch.maximum(ring(x, y, z, fine), .29 - torch.sqrt((x + .36 * side) ** 2 + z * z))

    at = (.36 * side * math.cos(angle), .34, -.36 * side * math.sin(angle))
    return Product([Part(revolve(body), c, 0.8), Part(handle, c, 0.8, rotate("y", angle), at)], .60, .68, .45, 1.25)


def bowl(c: Colour, f: tuple[float, ...]) -> Product:
    body = [(0, 0), (.19, 0), (.19, 0), (.195, .05), (.33, .14), (.46, .31), (.505, .455), (.49, .475), (.47, .455), (.42, .33), (.30, .19), (.14, .115), (0, .105)]
    return Product([Part(revolve(body), c, 0.8)], .54, .5, .54, 1.05)


def package(c: Colour, f: tuple[float, ...]) -> Product:
    hx, hy, hz = .44 + .04 * f[0], .33 + .04 * f[1], .36
    tape = tuple(v * .72 for v in c) if min(c) > .5 else tuple(min(1, v * .6 + .35) for v in c)
    turn = rotate("y", (0.55 + 0.12 * f[2]) * (1 if f[3] > 0 else -1))
    return Product([Part(box(hx, hy, hz, .018), c, 0.15, turn, (0, hy, 0), [Band(-9, 9, tape, 0.5, half_width=.06)])], .62, .78, .62, 1.0)


def milk_carton(c: Colour, f: tuple[float, ...]) -> Product:
    turn = rotate("y", (0.5 + 0.1 * f[2]) * (1 if f[3] > 0 else -1))
    light = min(c) > .55
    stripe = (.25, .45, .75) if light else CREAM
    parts = [Part(box(.25, .40, .25, .015), c, 0.25, turn, (0, .40, 0), [Band(-.16, .10, stripe, 0.25)]),
             Part(gable(.238, .238, .27), c, 0.25, turn, (0, .79, 0)),
             Part(box(.25, .07, .022, .012), c, 0.25, turn, (0, 1.10, 0))]
    return Product(parts, .38, 1.2, .38, 0.95)


BUILDERS: dict[str, Callable[[Colour, tuple[float, ...]], Product]] = {
    "apple": apple, "pear": pear, "orange": orange, "lemon": lemon, "tomato": tomato, "banana": banana, "carrot": carrot,
    "aubergine": aubergine, "bell pepper": bell_pepper, "egg": egg, "doughnut": doughnut, "bottle": bottle,
    "wine bottle": wine_bottle, "jar": jar, "can": can, "mug": mug, "bowl": bowl, "box": package,
    "milk carton": milk_carton,
}


def build(scene: Scene) -> Product:
    return BUILDERS[scene.kind](surface_colour(scene), scene.form)
