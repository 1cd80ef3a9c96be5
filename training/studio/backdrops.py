"""Backgrounds behind and below the product: paper on a curve, gradient, wood, marble, dark.

`Backdrop.look` gives the radiance along a ray that hits no product: floor with its shadow, or wall. The floor's light
is computed once per scene on a grid (FloorLight), so that reflected and refracted rays see the same shadows.
"""

from __future__ import annotations

import math
import random

import torch
import torch.nn.functional as F

from .field import Field
from .lights import Rig
from .noise import layered, noise
from .product import Colour, linear, mix, step

GRID = 144  # cells across the floor's light map
PAPERS: dict[str, Colour] = {
    "white": (0.965, 0.965, 0.965), "grey": (0.60, 0.60, 0.61), "blue": (0.50, 0.70, 0.90), "pink": (0.96, 0.70, 0.77),
    "green": (0.60, 0.80, 0.60), "yellow": (0.97, 0.85, 0.45), "beige": (0.90, 0.82, 0.70), "purple": (0.70, 0.62, 0.88),
    "dark": (0.105, 0.105, 0.115),
    "wood": (0.63, 0.45, 0.30), "marble": (0.90, 0.90, 0.90),
}
GRADIENTS: dict[str, tuple[Colour, Colour]] = {  # middle, edge
    "blue gradient": ((0.72, 0.86, 0.98), (0.16, 0.36, 0.66)), "pink gradient": ((1.0, 0.84, 0.84), (0.80, 0.36, 0.52)),
    "grey gradient": ((0.82, 0.82, 0.83), (0.25, 0.25, 0.27)),
}
BACKGROUNDS = ["white", "dark", "grey", "blue", "pink", "green", "yellow", "beige", "purple", "blue gradient",
               "pink gradient", "grey gradient", "wood", "marble"]


class FloorLight:
    """Light arriving on the floor, on a square grid around the things: key light's share and openness, [1, 2, G, G]."""

    def __init__(self, field: Field, rig: Rig):
        device = field.device
        self.middle = ((field.low + field.high) / 2)[[0, 2]].tolist()
        self.reach = max((field.high - field.low)[[0, 2]].max().item() / 2 + 0.75, field.high[1].item() * 1.25)
        g = torch.linspace(-self.reach, self.reach, GRID, device=device)
        z, x = torch.meshgrid(g + self.middle[1], g + self.middle[0], indexing="ij")
        x, z = x.reshape(-1), z.reshape(-1)
        p = torch.stack([x, torch.full_like(x, 0.002), z], -1)
        key = rig.lamps[0]
        free = field.shadow(p, key.towards, key.wide, 18, field.high[1].item() * 2.2, glass=False)
        glassy = any(part.skin.glass for _, part in field.parts)
        if glassy:  # glass transmits most of the light, and focuses it in the middle of its shadow
            free = 0.45 * free + 0.55 * field.shadow(p, key.towards, key.wide, 18, field.high[1].item() * 2.2)
        dark = torch.zeros_like(x)
        for h, w in ((0.03, 0.22), (0.09, 0.26), (0.22, 0.27), (0.5, 0.25)):
            d = field(x, torch.full_like(x, h), z)
            dark += w * (1 - d / h).clamp(0, 1) ** 1.3
        open_ = (1 - dark).clamp(0.03, 1)
        rim = torch.minimum(torch.minimum(x - x.min(), x.max() - x), torch.minimum(z - z.min(), z.max() - z)) / (0.2 * self.reach)
        fade = rim.clamp(0, 1)  # no seam at the edge of the map
        self.map = torch.stack([1 - (1 - free) * fade, 1 - (1 - open_) * fade]).reshape(1, 2, GRID, GRID)

    def __call__(self, x: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        at = torch.stack([(x - self.middle[0]) / self.reach, (z - self.middle[1]) / self.reach], -1)
        inside = (at.abs().max(-1).values < 1)
        got = F.grid_sample(self.map, at.clamp(-1, 1)[None, None], mode="bilinear", align_corners=True)[0, :, 0]
        return torch.where(inside, got[0], 1.0), torch.where(inside, got[1], 1.0)


def wood(x: torch.Tensor, z: torch.Tensor, base: torch.Tensor, shift: float) -> torch.Tensor:
    """Planks along x, 0.55 wide: growth rings as stretched noise, fine pores, a dark seam."""
    plank = torch.floor(z / 0.55 + shift)
    seam = torch.remainder(z / 0.55 + shift, 1)
    own = torch.remainder(plank * 0.731, 1.0)
    rings = layered(x * 0.13, own * 7, z * 1.1, 1.6, shift, 2)
    grain = torch.sin(rings * 8 + z * 26)
    pores = noise(x * 0.5, own * 5, z * 14, 2.2, shift)[:, 0]
    value = 1 + 0.05 * grain + 0.045 * pores + 0.06 * rings + 0.22 * (own - 0.5)
    value = value * (1 - 0.55 * torch.exp(-(torch.minimum(seam, 1 - seam) / 0.018) ** 2))
    tint = torch.tensor([1.0, 0.93, 0.82], device=x.device)
    return (base * value[:, None].clamp(0.15) ** (2.2 / tint)).clamp(0, 0.95)


def marble(x: torch.Tensor, z: torch.Tensor, base: torch.Tensor, shift: float) -> torch.Tensor:
    """White stone: veins where warped noise crosses zero, and clouds."""
    zero = torch.zeros_like(x)
    bend = layered(x, zero + shift, z, 0.7, shift, 3)
    a = noise(x * 0.6 + 0.35 * bend, zero, z * 0.9 - 0.3 * bend, 0.75, shift + 2.0)[:, 0]
    b = noise(x * 0.9 - 0.25 * bend, zero, z * 0.7 + 0.25 * bend, 1.4, shift + 5.0)[:, 0]
    vein = 0.55 * torch.exp(-(a.abs() / 0.07)) + 0.28 * torch.exp(-(b.abs() / 0.06)) + 0.07 * bend.abs()
    return mix(base, (0.46, 0.46, 0.49), vein)


class Backdrop:
    """kind: one of BACKGROUNDS. forward: the camera's direction; gradients are centred on it. The seed varies the paper's
    tint and the texture of wood and stone."""

    def __init__(self, kind: str, seed: int, light: FloorLight, rig: Rig, forward: torch.Tensor, device: str):
        self.kind, self.light, self.rig, self.device = kind, light, rig, device
        self.shift = (seed * 0.6180339) % 1.0 * 7
        self.turn = ((seed * 0.7548777) % 1.0 - 0.5) * 0.5
        self.forward = forward
        self.tone = 0.75 + 0.5 * ((seed * 0.5698403) % 1.0)
        self.wall_at = -3.2 if kind in ("wood", "marble") else -2.4
        if kind in GRADIENTS:
            self.inner, self.paper = (linear(c, device) for c in GRADIENTS[kind])
            self.base = torch.ones(3, device=device)
        else:
            tint = random.Random(f"paper-{seed}")  # no two rolls of paper are alike; white is white
            pale = 1 + tint.uniform(-0.08, 0.08)
            own = torch.tensor([pale + tint.uniform(-0.03, 0.03) for _ in range(3)], device=device)
            self.paper = linear(PAPERS[kind], device) * (1.0 if kind == "white" else own)
            if kind == "wood":
                self.paper = (self.paper * self.tone).clamp(0, 0.9)

    @property
    def mirrors(self) -> float:
        """Reflectance of the floor seen from straight above (dielectric 0.04); 0 for paper."""
        return {"dark": 0.05, "marble": 0.04, "wood": 0.015}.get(self.kind, 0.0)

    def average(self) -> torch.Tensor:
        return (self.inner + self.paper) / 2 if self.kind in GRADIENTS else self.paper

    def floor_colour(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        n = len(x)
        if self.kind in ("wood", "marble"):
            c, s = math.cos(self.turn), math.sin(self.turn)
            u, v = c * x - s * z, s * x + c * z
            sharp = (wood if self.kind == "wood" else marble)(u, v, self.paper.expand(n, 3), self.shift)
            blur = step(0.8, 3.0, -z)[:, None]  # out of focus
            return sharp + (self.paper * 0.95 - sharp) * blur
        return (self.base if self.kind in GRADIENTS else self.paper).expand(n,
            3) * (1.2 if self.kind == "white" else 1)  # a seamless is lit to be white

    def look(self, origin: torch.Tensor, rays: torch.Tensor) -> torch.Tensor:
        """Radiance [n, 3] seen along rays [n, 3] from origin ([3] or [n, 3])."""
        down = rays[:, 1] < -1e-3
        t = torch.where(down, -origin[..., 1] / rays[:, 1].clamp(max=-1e-3), 1e4).clamp(min=0)
        p = origin + rays * t[:, None]
        to_wall = torch.where(rays[:, 2] < -1e-3, (self.wall_at - origin[..., 2]) / rays[:, 2].clamp(max=-1e-3), 1e4).clamp(min=0)
        floor = down & (t < to_wall)
        q = origin + rays * to_wall.clamp(max=50)[:, None]
        x, z = p[:, 0].clamp(-9, 9), p[:, 2].clamp(self.wall_at, 9)
        free, open_ = self.light(x, z)
        key = self.rig.lamps[0]
        colour = self.floor_colour(x, z)
        pool = torch.exp(-(x**2 + (z + 0.2) ** 2) / 2.6) * 1.3 + 0.55 if self.kind == "dark" else 1.0  # a spot on the black paper
        spread = pool / (1 + 0.05 * ((x - 1.2 * key.towards[0]) ** 2 + (z - 0.8 * key.towards[2]) ** 2))
        direct = key.strength * key.towards[1] * free * spread
        # Light that bounces between product and floor takes on the floor's colour: small shadows on pink paper are never grey.
        ambient = (self.rig.ambient + 0.25 * self.rig.lamps[1].strength) * open_[:, None] ** (1.15 - 0.35 * colour)
        seen = colour * (direct[:, None] + ambient)
        wall = self.wall(q, x)
        edge = step(self.wall_at + 1.1, self.wall_at, z)[:, None] if self.kind in ("wood", "marble") else 0
        picture = torch.where(floor[:, None], seen + (wall - seen) * edge, wall)  # the table's far edge is out of focus
        if self.kind in GRADIENTS:
            from_middle = (1 - rays @ self.forward) / (1 - math.cos(math.radians(13)))
            picture = picture * (self.paper + (self.inner - self.paper) * torch.exp(-1.6 * from_middle)[:, None])
        return picture

    def wall(self, q: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The upright part of the curve starts at the floor's brightness, then brightens or falls off with height."""
        key, high = self.rig.lamps[0], q[:, 1].clamp(0, 6)
        level = key.strength * key.towards[1] / (1 + 0.05 * ((q[:,
            0] - 1.2 * key.towards[0]) ** 2 + (self.wall_at - 0.8 * key.towards[2]) ** 2))
        level = level + self.rig.ambient + 0.25 * self.rig.lamps[1].strength
        paper = (self.base if self.kind in GRADIENTS else self.paper).expand(len(q), 3) * (1.2 if self.kind == "white" else 1)
        if self.kind in ("wood", "marble"):
            tone = self.tone if self.kind == "marble" else 1.6 - self.tone
            paper = torch.tensor([0.62, 0.60, 0.57], device=q.device).expand(len(q),
                3) * tone * (0.9 + 0.1 * (q[:, :1] * 0.7 + self.shift).sin())
        rise = {"white": 0.10, "dark": -0.22}.get(self.kind, -0.02)
        return paper * (level * (1 + rise * high).clamp(0.35, 1.5))[:, None]
