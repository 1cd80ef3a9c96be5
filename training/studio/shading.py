"""Light leaving surfaces: skins, diffuse light with soft flesh, mirrored lamps, metal, liquids and glass."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .backdrops import Backdrop
from .field import Field, unit
from .lights import Rig, mirror
from .noise import noise
from .product import linear


@dataclass
class Surface:
    """Per point [n]: linear colour [n, 3] and the numbers of its Skin."""

    colour: torch.Tensor
    gloss: torch.Tensor
    rough: torch.Tensor
    metal: torch.Tensor
    soft: torch.Tensor
    clear: torch.Tensor


def skin_of(field: Field, p: torch.Tensor, n: torch.Tensor, which: torch.Tensor) -> tuple[Surface, torch.Tensor]:
    """The surface at points p [n, 3] and the normals with the skins' bumps on them."""
    count, device = len(p), p.device
    colour, numbers = torch.zeros(count, 3, device=device), torch.zeros(count, 5, device=device)
    n = n.clone()
    for i in which.unique().tolist():
        thing, part = field.parts[i]
        skin = part.skin
        at = torch.nonzero(which == i)[:, 0]
        q = part.local(*thing.local(*p[at].unbind(-1)))
        base = linear(skin.colour, device).expand(len(at), 3)
        colour[at] = skin.paint(*q, base).clamp(0, 1) if skin.paint else base
        numbers[at] = torch.tensor([skin.gloss, skin.rough, skin.metal, skin.soft, skin.clear], device=device)
        if skin.bump:
            tilt = noise(*q, skin.bump_scale)[:, 1:]
            n[at] = unit(n[at] - 0.25 * skin.bump * tilt)
    return Surface(colour, *numbers.unbind(-1)), n


def fresnel(cosine: torch.Tensor, straight: torch.Tensor | float) -> torch.Tensor:
    """Schlick 1994."""
    return straight + (1 - straight) * (1 - cosine.clamp(0, 1)) ** 5


def lit(s: Surface, p: torch.Tensor, n: torch.Tensor, view: torch.Tensor, free: torch.Tensor, open_: torch.Tensor,
        clean: torch.Tensor, rig: Rig, backdrop: Backdrop) -> torch.Tensor:
    """Linear light [n, 3] from points p against the view directions. free: of the key light; open_: to ambient light;
    clean: share of the mirrored direction that no product blocks."""
    light = torch.zeros_like(p)
    flesh = s.soft[:, None] * (0.25 + 0.75 * s.colour)
    for i, lamp in enumerate(rig.lamps):
        wrap = (0.12 + 0.5 * lamp.wide) * 0.5 + 0.35 * flesh  # [n, 3]: red flesh lets red light around the edge
        arriving = ((n @ lamp.towards)[:, None] + wrap).clamp(min=0) / (1 + wrap)
        through = (free[:, None] ** (1 - 0.6 * flesh)) if i == 0 else open_[:, None]
        light = light + lamp.strength * arriving * through
    up = n[:, 1:2] * 0.5 + 0.5
    # Light that reaches a crevice via its own walls takes on their colour (Jimenez et al. 2016, in spirit).
    cranny = open_[:, None] ** (1.1 - 0.5 * s.colour)
    near_floor = (1 - 0.5 * torch.exp(-p[:, 1:2] / 0.25))
    floor = backdrop.average() * rig.bounce * near_floor + 0.03
    light = light + cranny * (rig.ambient * (0.35 + 0.75 * up) + floor * (1 - up))
    matte = s.colour * light
    facing = -(n * view).sum(-1)
    r = unit(view + 2 * facing.clamp(min=0)[:, None] * n)
    below = backdrop.average().expand(len(p), 3) * (rig.ambient + 0.6 * rig.lamps[0].strength) * (1 - 0.6 * torch.exp(-p[:, 1:2] / 0.15))
    image = mirror(r, s.rough, rig, below) * (0.12 + 0.88 * clean)[:, None]
    coat = (fresnel(facing, 0.04) * s.gloss * (1 - 0.55 * s.rough))[:, None]
    tint = s.colour + (1 - s.colour) * (1 - facing.clamp(0, 1))[:, None] ** 5
    steel = image * tint * (0.35 + 0.65 * open_)[:, None] * 0.95
    return torch.where(s.metal[:, None] > 0.5, steel, matte * (1 - coat) + coat * image)


def bend(d: torch.Tensor, n: torch.Tensor, eta: float) -> torch.Tensor:
    """Refraction of unit directions d at normals n against them, eta = outer / inner index."""
    c = -(d * n).sum(-1, keepdim=True)
    k = (1 - eta**2 * (1 - c**2)).clamp(min=0)
    return unit(eta * d + (eta * c - torch.sqrt(k)) * n)


def behind(field: Field, backdrop: Backdrop, rig: Rig, p: torch.Tensor, d: torch.Tensor, wall: torch.Tensor,
           reach: float) -> torch.Tensor:
    """Radiance seen from glass points p along d: the contents, or whatever is behind; `wall` [n, 3] tints each pass."""
    seen = backdrop.look(p, d) * wall
    everyone = torch.arange(len(p), device=p.device)
    i, t = field.march(p, d, everyone, torch.full((len(p),), 0.012, device=p.device), torch.full((len(p),), reach, device=p.device),
                       steps=36, glass=False)
    if len(i) == 0:
        return seen
    q, dq = p[i] + d[i] * t[:, None], d[i]
    on = q[:, 1] > 0.002
    i, q, dq = i[on], q[on], dq[on]
    n = field.normal(q, glass=False)
    s, n = skin_of(field, q, n, field.nearest(*q.unbind(-1), glass=False))
    key = rig.lamps[0]
    open_ = field.occlusion(q, n)
    free = field.shadow(q + 0.02 * n, key.towards, key.wide + 0.1, 6, 0.7, glass=False)
    own = lit(s, q, n, dq, 0.3 + 0.7 * free, 0.25 + 0.75 * open_, open_, rig, backdrop)
    # A vessel full of liquid is a lens: the ray bends on entering, and as much again on leaving.
    inside = bend(dq, n, 1 / 1.33)
    out = unit(inside + (inside - dq))
    deep = 0.35 + 0.9 * (-(n * dq).sum(-1)).clamp(0, 1)[:, None]
    through = backdrop.look(q + inside * 0.3, out) * 0.97 * s.colour.clamp(0.003) ** deep + 0.10 * s.colour
    share = s.clear[:, None]
    seen[i] = (own * (1 - share) + through * share) * wall[i] ** 0.5
    return seen


def glass(field: Field, backdrop: Backdrop, rig: Rig, s: Surface, p: torch.Tensor, n: torch.Tensor, view: torch.Tensor,
          clean: torch.Tensor) -> torch.Tensor:
    """Radiance [n, 3] from points on thin glass: Fresnel mirror over what comes through, darker towards the rim."""
    facing = -(n * view).sum(-1).clamp(-1, 0)
    cosine = facing.clamp(0.06, 1)
    path = 0.55 + 0.45 / cosine.clamp(0.18)  # path length through the wall
    rim = torch.exp(-0.11 * (1 / cosine - 1)).clamp(0.25, 1)[:, None]  # what the lens at the edge picks up from the set's dark sides
    wall = s.colour.clamp(0.004) ** (0.5 * path)[:, None] * rim
    d = unit(view + 0.10 * (1 - cosine)[:, None] * -n)
    through = behind(field, backdrop, rig, p, d, wall, 2.2)
    r = unit(view + 2 * cosine[:, None] * n)
    image = mirror(r, s.rough, rig, backdrop.average().expand(len(p), 3) * 0.6) * (0.3 + 0.7 * clean)[:, None]
    f = (fresnel(cosine, 0.045).clamp(max=0.75) * s.gloss)[:, None]
    return through * (1 - f) + f * image
