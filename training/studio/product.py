"""The pieces of a product: parts (a form with a skin), and things (a product placed in the scene)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Callable

import torch

from .forms import Form, Point

Colour = tuple[float, float, float]
Paint = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass
class Skin:
    """How a surface responds to light.

    colour: sRGB. gloss: 0..1, strength of the clear reflecting coat. rough: 0..1, blur of its reflections.
    metal: 0 or 1. soft: 0..1, light that passes through the flesh and softens the shadow's edge. bump: tilt of the normal
    by noise of `bump_scale` features per unit. clear: 0..1, share of light transmitted from behind (liquids).
    glass: a thin clear wall; its contents are visible through it. paint(x, y, z, base) -> linear colour [n, 3], in the
    part's own coordinates.
    """

    colour: Colour
    gloss: float = 0.3
    rough: float = 0.3
    metal: float = 0.0
    soft: float = 0.0
    bump: float = 0.0
    bump_scale: float = 20.0
    clear: float = 0.0
    glass: bool = False
    paint: Paint | None = None


@dataclass
class Part:
    form: Form
    skin: Skin
    turn: torch.Tensor = field(default_factory=lambda: torch.eye(3))
    at: Point = (0.0, 0.0, 0.0)

    def local(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, y, z = x - self.at[0], y - self.at[1], z - self.at[2]
        m = self.turn.tolist()  # columns: the part's own axes in the product
        if m == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]:
            return x, y, z
        return tuple(m[0][i] * x + m[1][i] * y + m[2][i] * z for i in range(3))

    def distance(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, fine: bool) -> torch.Tensor:
        return self.form(*self.local(x, y, z), fine)


def rotate(axis: str, angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor({"x": [[1, 0, 0], [0, c, -s], [0, s, c]], "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
                         "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]]}[axis])


def laid(parts: list[Part], back: float) -> list[Part]:
    """A tall thing lying on its back, top away from the camera; `back` moves it back towards the camera."""
    turn = rotate("x", -math.pi / 2)
    for part in parts:
        part.turn = turn @ part.turn
        x, y, z = (turn @ torch.tensor(part.at)).tolist()
        part.at = (x, y, z + back)
    return parts


def linear(srgb: Colour, device: str | torch.device = "cpu") -> torch.Tensor:
    """sRGB to linear light, as a plain power of 2.2."""
    return torch.tensor(srgb, device=device) ** 2.2


def mix(a: torch.Tensor, b: torch.Tensor | Colour, amount: torch.Tensor) -> torch.Tensor:
    """Linear colours a [n, 3] and b ([n, 3], or an sRGB triple), amount [n] in 0..1."""
    if isinstance(b, tuple):
        b = linear(b, a.device)
    amount = amount.clamp(0, 1)[:, None]
    return a + (b - a) * amount


def step(a: float, b: float, v: torch.Tensor) -> torch.Tensor:
    """Smooth step: 0 below a, 1 above b (a > b: falling)."""
    t = ((v - a) / (b - a)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def shade_of(c: Colour, factor: float) -> Colour:
    """The colour darker (factor < 1) or lighter, towards white (factor > 1)."""
    if factor <= 1:
        return tuple(v * factor for v in c)
    return tuple(v + (1 - v) * (factor - 1) for v in c)


class Thing:
    """A product in the scene: turned by `yaw`, placed at (x, z), scaled; it is put on the floor automatically."""

    def __init__(self, parts: list[Part], yaw: float = 0.0, x: float = 0.0, z: float = 0.0, scale: float = 1.0):
        self.parts, self.scale, self.x, self.z, self.y = parts, scale, x, z, 0.0
        self.c, self.s = math.cos(yaw), math.sin(yaw)
        self.low, self.high = self.measure()

    def local(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, y, z = (x - self.x) / self.scale, (y - self.y) / self.scale, (z - self.z) / self.scale
        return self.c * x - self.s * z, y, self.s * x + self.c * z

    def measure(self) -> tuple[list[float], list[float]]:
        """Its bounding box in the world, from the distance field itself on a coarse grid; drops it onto the floor."""
        g, reach = torch.linspace(-1.3, 1.3, 45), 0.059
        gy = torch.linspace(-1.25, 1.7, 51)
        X, Y, Z = (v.reshape(-1) for v in torch.meshgrid(g, gy, g, indexing="ij"))
        d = torch.stack([p.distance(X, Y, Z, False) for p in self.parts]).min(0).values
        inside = d < reach * 0.75
        X, Y, Z, d = X[inside], Y[inside], Z[inside], d[inside].clamp(min=0)
        lowest = (Y + d).min().item()
        fine = torch.linspace(lowest - 0.02, lowest + 0.10, 13)  # forms may understate distances: look closer at the foot
        x0, x1, z0, z1 = (f(v).item() for v in (X, Z) for f in (torch.min, torch.max))
        X2, Y2, Z2 = (v.reshape(-1) for v in torch.meshgrid(torch.linspace(x0, x1, 40), fine, torch.linspace(z0, z1, 40), indexing="ij"))
        touching = torch.stack([p.distance(X2, Y2, Z2, False) for p in self.parts]).min(0).values < 0.003
        if touching.any():
            lowest = Y2[touching].min().item()
        self.y = -lowest * self.scale if abs(lowest) > 0.012 else 0.0
        wx = (self.c * X + self.s * Z) * self.scale + self.x
        wz = (-self.s * X + self.c * Z) * self.scale + self.z
        wy = Y * self.scale + self.y
        return ([wx.min().item(), max(wy.min().item(), 0.0), wz.min().item()],
                [wx.max().item(), wy.max().item(), wz.max().item()])

    def move(self, x: float, z: float) -> None:
        """Puts its box's middle at (x, z)."""
        dx, dz = x - (self.low[0] + self.high[0]) / 2, z - (self.low[2] + self.high[2]) / 2
        self.x, self.z = self.x + dx, self.z + dz
        self.low, self.high = ([v[0] + dx, v[1], v[2] + dz] for v in (self.low, self.high))

    def distance(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, fine: bool = False, glass: bool = True) -> torch.Tensor:
        x, y, z = self.local(x, y, z)
        d = None
        for part in self.parts:
            if glass or not part.skin.glass:
                e = part.distance(x, y, z, fine)
                d = e if d is None else torch.minimum(d, e)
        return (torch.full_like(x, 9.0) if d is None else d) * self.scale
