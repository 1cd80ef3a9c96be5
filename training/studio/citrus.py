"""Orange, lemon, lime, kiwi, watermelon, avocado."""

from __future__ import annotations

import math

import torch

from .forms import ellipsoid, half_space, keep, leaf
from .fruit import leaf_skin
from .noise import layered, noise
from .product import Part, Skin, mix, rotate, step
from .turned import revolve, ribs


def ball(r: float, squash: float = 1.0, middle: float | None = None):
    m = r * squash if middle is None else middle
    return [(0, m - r * squash)] + [(r * math.sin(a), m - r * squash * math.cos(a)) for a in (.35, .75, 1.15, 1.57, 2.0, 2.4,
        2.8)] + [(0, m + r * squash)]


def orange(k) -> list[Part]:
    shift = k.rng.uniform(0, 7)
    form = revolve(ball(.42, k.vary(.96, .03)), ribs(6, .008, shift))
    paint = lambda x, y, z, base: mix(base * (1 + .10 * layered(x, y, z, 1.5, shift, 2))[:, None], (.80, .34, .02),
        step(1.1, 2.2, noise(x, y, z, 22, shift)[:, 0]) * .4)
    turn = rotate("z", k.rng.uniform(-.3, .3)) @ rotate("x", k.rng.uniform(-.1, .35))
    top = tuple((turn @ torch.tensor([0, .40, 0]) + torch.tensor([0, .42, 0])).tolist())
    parts = [Part(lambda x, y, z, fine: form(x, y + .42, z, fine), Skin(k.rgb, .75, .28, soft=.3, bump=.11, bump_scale=44,
        paint=paint), turn, (0, .42, 0)),
             Part(ellipsoid(.05, .022, .05), Skin((.36, .42, .18), .2, .7), turn, top)]
    if k.rng.random() < .45:
        parts.append(Part(leaf(.40, .2, .009, .6, .3), leaf_skin, turn @ rotate("y", k.rng.uniform(-.9, .9)) @ rotate("z", .3), top))
    return parts


def lemon(k) -> list[Part]:
    body = [(0, -.585), (.05, -.575), (.085, -.52), (.15, -.46), (.29, -.29), (.35, 0), (.29, .29), (.16, .44), (.105, .50),
        (.07, .535), (0, .545)]
    shift, turn = k.rng.uniform(0, 7), rotate("y", k.rng.uniform(-.5, .5)) @ rotate("z", math.pi / 2 - .10)
    paint = lambda x, y, z, base: mix(base * (1 + .07 * layered(x, y, z, 1.6, shift, 2))[:, None], (.70, .72, .14),
        step(.40, .58, y.abs()) * .45)
    return [Part(revolve(body, ribs(5, .012, shift)), Skin(k.rgb, .8, .24, soft=.35, bump=.08, bump_scale=40, paint=paint), turn,
        (0, .35, 0)),
            Part(ellipsoid(.035, .03, .035), Skin((.45, .42, .16), .2, .7), turn,
                tuple((turn @ torch.tensor([0, .54, 0]) + torch.tensor([0, .35, 0])).tolist()))]


def lime(k) -> list[Part]:
    body = [(0, -.47), (.05, -.465), (.12, -.43), (.28, -.29), (.36, 0), (.29, .28), (.14, .415), (.06, .445), (0, .45)]
    shift, turn = k.rng.uniform(0, 7), rotate("y", k.rng.uniform(-.6, .6)) @ rotate("z", math.pi / 2 - .10)
    paint = lambda x, y, z, base: mix(base, (.62, .72, .24), layered(x, y, z, 1.3, shift, 3) * .3 + step(.30, .45, y.abs()) * .3)
    return [Part(revolve(body, ribs(7, .012, shift)), Skin(k.rgb, .9, .2, soft=.3, bump=.06, bump_scale=40, paint=paint), turn,
        (0, .36, 0))]


def kiwi(k) -> list[Part]:
    """A whole fruit with a cut half leaning in front of it; beside other products, one or the other."""
    shift = k.rng.uniform(0, 7)
    fur = Skin(k.rgb, .12, .9, bump=.55, bump_scale=40, paint=lambda x, y, z, base: base * (1 + .16 * layered(x, y * .3, z, 6,
        shift, 3))[:, None])

    def flesh(x, y, z, base):
        r, a = torch.sqrt((x / .34) ** 2 + (y / .34) ** 2), torch.atan2(y, x)
        rays = layered(torch.cos(a) * 3, torch.sin(a) * 3, r * .3, 2.5, shift, 2)
        c = mix(base * 0 + torch.tensor([.28, .48, .05], device=x.device), (.72, .80, .30),
            step(.62, .20, r + .05 * rays) * .8 + .12 * rays)
        c = mix(c, (.94, .93, .72), step(.30, .20, r + .04 * rays))
        seeds = torch.exp(-((torch.remainder(a * 4.3, 1) - .5) / .24) ** 2) * torch.exp(-((r - .42 - .04 * torch.sin(a * 13.5)) / .07) ** 2)
        c = mix(c, (.05, .04, .03), step(.35, .6, seeds))
        c = mix(c, (.62, .70, .28), step(.86, .93, r))
        return mix(c, k.rgb, step(.965, .985, r) + step(-.01, -.03, z))

    turn = rotate("y", .1) @ rotate("x", -.45)
    parts = [Part(keep(ellipsoid(.36, .36, .42), half_space(0, 0, 1, 0)), Skin(k.rgb, .5, .25, soft=.5, paint=flesh), turn,
        (.24, .345, .26))]
    whole = [Part(ellipsoid(.46, .355, .355), fur, rotate("y", .35), (-.22, .355, -.32))]
    if k.many:
        return parts if k.rng.random() < .5 else whole
    return whole + parts


def watermelon(k) -> list[Part]:
    """Two times in five, and beside other products, whole; otherwise a wedge in front of it shows the flesh."""
    shift = k.rng.uniform(0, 7)

    def rind(x, y, z, base):
        a = torch.atan2(y, z)
        wobble = .22 * layered(x * 1.4, torch.cos(a), torch.sin(a), 2.4, shift, 3)
        stripe = torch.sin(a * 7 + wobble * 4)
        return mix(base, (.60, .70, .36), step(-.15, .45, stripe))

    whole = Part(ellipsoid(.60, .47, .47), Skin(k.rgb, .75, .2, paint=rind), rotate("y", k.rng.uniform(-.35, .35)), (0, .47, 0))
    if k.many or k.rng.random() < .4:
        return [whole]

    def flesh(x, y, z, base):
        r = torch.sqrt(x * x + y * y) / .58
        c = mix(base * 0 + torch.tensor([.72, .03, .05], device=x.device), (.92, .25, .22), layered(x, y, z, 5, shift, 3) * .3 + .15)
        a = torch.atan2(y, x)
        u, v = torch.remainder(a * 3.4 + .5 * torch.floor(r * 5), 1) - .5, torch.remainder(r * 5, 1) - .5
        seed = step(1, .7, torch.sqrt((u * r * 2.2) ** 2 / .014 + v * v / .07)) * step(.25, .3, r) * step(.82, .78, r)
        c = mix(c, (.06, .03, .03), seed)
        c = mix(c, (.92, .93, .78), step(.86, .90, r))
        return mix(c, (.16, .38, .12), step(.95, .965, r))

    disc = lambda x, y, z, fine: torch.maximum(torch.sqrt(x * x + y * y + 1e-9) - .58, (z.abs() - .13))
    lean = rotate("y", k.rng.uniform(-.4, .4)) @ rotate("x", -.12) @ rotate("z", k.rng.uniform(-.1, .1))
    cut_piece = Skin((.8, .1, .1), .55, .3, soft=.5, paint=flesh)
    slice_ = Part(keep(disc, half_space(0, -1, 0, 0)), cut_piece, lean, (k.side() * .1, .0, .62))
    return [Part(whole.form, whole.skin, whole.turn, (0, .47, -.15)), slice_]


def avocado(k) -> list[Part]:
    """A half with its stone, and a whole one behind; beside other products, one or the other."""
    body = [(0, -.46), (.14, -.45), (.29, -.34), (.335, -.14), (.30, .06), (.215, .27), (.15, .42), (.075, .50), (0, .52)]
    form, shift = revolve(body), k.rng.uniform(0, 7)
    skin = Skin(k.rgb, .55, .35, bump=.3, bump_scale=17, paint=lambda x, y, z, base: mix(base, (.34, .42, .14),
        layered(x, y, z, 5, shift, 2) * .35))

    def flesh(x, y, z, base):
        inside = -form(x, y, torch.zeros_like(z), False)
        c = mix(base * 0 + torch.tensor([.82, .78, .34], device=x.device), (.62, .74, .26), step(.10, .02, inside))
        c = mix(c, (.30, .44, .10), step(.030, .010, inside))
        return mix(c, k.rgb, step(.010, .004, inside) + step(-.012, -.03, z))

    lean = rotate("y", k.rng.uniform(-.15, .3)) @ rotate("x", -.42)
    at = (.20, .42, .22)
    hollow = lambda x, y, z, fine: torch.sqrt(x * x + (y + .15) ** 2 + z * z + 1e-9) - .17
    cut_half = lambda x, y, z, fine: torch.maximum(torch.maximum(form(x, y, z, fine), z), -hollow(x, y, z, fine))
    stone = lambda x, y, z, fine: torch.sqrt(x * x + (y + .15) ** 2 + (z - .02) ** 2 + 1e-9) - .162
    brown = lambda x, y, z, base: base * (1 + .25 * layered(x, y, z, 4, shift, 3))[:, None]
    opened = [Part(cut_half, Skin(k.rgb, .35, .45, soft=.5, paint=flesh), lean, at),
              Part(stone, Skin((.42, .22, .10), .7, .22, paint=brown), lean, at)]
    whole = [Part(form, skin, rotate("y", .5) @ rotate("x", .06), (-.24, .455, -.30))]
    if k.many:
        return opened if k.rng.random() < .5 else whole
    return opened + whole


BUILDERS = {"orange": orange, "lemon": lemon, "lime": lime, "kiwi": kiwi, "watermelon": watermelon, "avocado": avocado}
