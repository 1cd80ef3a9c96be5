"""The forms of the products as signed distance functions, put together from a few parts each.

Distance functions of torus, capsule and rounded box follow Inigo Quilez, "Distance functions"
(https://iquilezles.org/articles/distfunctions/). Turned forms (fruit, bottles, bowls) are drawn as a half profile
(r, y), smoothed by Catmull-Rom splines (a doubled point is a corner), and looked up in a table of exact distances.

Units: a product is about 1 high. y is up, +z is towards the camera, the floor is y = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Callable

import torch
import torch.nn.functional as F

from scenes import COLOURS, Scene

Sdf = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, bool], torch.Tensor]
GREEN, STEM, CREAM, STEEL = (0.20, 0.42, 0.10), (0.32, 0.22, 0.10), (0.95, 0.92, 0.84), (0.72, 0.73, 0.75)


@dataclass
class Band:
    """A stripe or label: another colour where y0 < y < y1 (and |angle| < half_angle, and |x| < half_width)."""

    y0: float
    y1: float
    colour: tuple[float, float, float]
    gloss: float
    half_angle: float = 9.0
    half_width: float = 9.0


@dataclass
class Part:
    sdf: Sdf
    colour: tuple[float, float, float]
    gloss: float = 0.5
    rotation: torch.Tensor = field(default_factory=lambda: torch.eye(3))
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bands: list[Band] = field(default_factory=list)
    pores: float = 0.0

    def local(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, y, z = x - self.offset[0], y - self.offset[1], z - self.offset[2]
        m = self.rotation.tolist()  # columns: the part's own axes in the world
        if m == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]:
            return x, y, z
        return tuple(m[0][i] * x + m[1][i] * y + m[2][i] * z for i in range(3))


@dataclass
class Product:
    parts: list[Part]
    half_width: float
    height: float
    half_depth: float
    scale: float = 1.0


def rotate(axis: str, angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor({"x": [[1, 0, 0], [0, c, -s], [0, s, c]], "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
                         "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]]}[axis])


def smooth_profile(points: list[tuple[float, float]], steps: int = 12) -> torch.Tensor:
    """Catmull-Rom through the points, mirrored at the axis. Returns [n, 2]."""
    p = torch.tensor(points)
    p = torch.cat([p[1:2] * torch.tensor([-1.0, 1.0]), p, p[-2:-1] * torch.tensor([-1.0, 1.0])])
    t = torch.arange(steps)[:, None, None] / steps
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = torch.cat([curve.transpose(0, 1).reshape(-1, 2), p[-2:-1]])
    return torch.cat([curve[:, :1].clamp(min=0), curve[:, 1:]], 1)


def revolve(points: list[tuple[float, float]], ribs: int = 0, depth: float = 0.0, phase: float = 0.0,
            ribs_from: float = -9.0, ribs_to: float = 9.0) -> Sdf:
    """A profile turned about the y axis; `ribs` waves of relative `depth` around it, fading in from one y to another."""
    curve = smooth_profile(points)
    margin, step = 0.12, 0.012
    r_max, y_min, y_max = curve[:, 0].max().item(), curve[:, 1].min().item(), curve[:, 1].max().item()
    r0, r1, y0, y1 = -2 * step, r_max + margin, y_min - margin, y_max + margin
    width, height = math.ceil((r1 - r0) / step) + 1, math.ceil((y1 - y0) / step) + 1
    r1, y1 = r0 + (width - 1) * step, y0 + (height - 1) * step
    gy, gr = torch.meshgrid(torch.linspace(y0, y1, height), torch.linspace(r0, r1, width).abs(), indexing="ij")
    table = profile_distance(gr.reshape(-1), gy.reshape(-1), curve).reshape(1, 1, height, width)

    def sdf(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, fine: bool) -> torch.Tensor:
        r = torch.sqrt(x * x + z * z + 1e-9)
        if ribs:
            fade = ((y - ribs_from) / (ribs_to - ribs_from)).clamp(0, 1) if ribs_to < 9 else 1.0
            r = r * (1 + depth * fade * torch.cos(ribs * torch.atan2(x, z) + phase))
        rc, yc = r.clamp(max=r1), y.clamp(y0, y1)
        grid = torch.stack([(rc - r0) * (2 / (r1 - r0)) - 1, (yc - y0) * (2 / (y1 - y0)) - 1], -1)
        d = F.grid_sample(table, grid[None, None], mode="bicubic" if fine else "bilinear", padding_mode="border",
                          align_corners=True)[0, 0, 0]
        outside = (r - rc) ** 2 + (y - yc) ** 2
        d = torch.where(outside > 0, torch.sqrt(d * d + outside), d)
        return d * (1 - 1.5 * depth) if ribs else d

    return sdf


def profile_distance(r: torch.Tensor, y: torch.Tensor, curve: torch.Tensor) -> torch.Tensor:
    """Signed distance of points [m] to the outline [n, 2] closed along the axis; negative inside."""
    a, b = curve[:-1], curve[1:]
    keep = (b - a).square().sum(1) > 1e-10
    a, b = a[keep], b[keep]
    e = b - a
    pr, py = r[:, None] - a[:, 0], y[:, None] - a[:, 1]
    t = ((pr * e[:, 0] + py * e[:, 1]) / e.square().sum(1)).clamp(0, 1)
    distance = ((pr - t * e[:, 0]).square() + (py - t * e[:, 1]).square()).min(1).values.sqrt()
    crosses = (a[:, 1] > y[:, None]) != (b[:, 1] > y[:, None])
    side = a[:, 0] + (y[:, None] - a[:, 1]) / torch.where(e[:, 1] == 0, 1e-9, e[:, 1]) * e[:, 0]
    inside = (crosses & (r[:, None] < side)).sum(1) % 2 == 1
    return torch.where(inside, -distance, distance)


def box(hx: float, hy: float, hz: float, round_: float = 0.02) -> Sdf:
    def sdf(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, fine: bool) -> torch.Tensor:
        qx, qy, qz = x.abs() - (hx - round_), y.abs() - (hy - round_), z.abs() - (hz - round_)
        outside = torch.sqrt(qx.clamp(min=0) ** 2 + qy.clamp(min=0) ** 2 + qz.clamp(min=0) ** 2)
        return outside + torch.maximum(torch.maximum(qx, qy), qz).clamp(max=0) - round_
    return sdf


def gable(hx: float, hz: float, rise: float) -> Sdf:
    """A roof with its ridge along x: base 2 hx by 2 hz at y = 0, ridge at y = rise."""
    n = math.hypot(hz, rise)
    def sdf(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, fine: bool) -> torch.Tensor:
        slope = (z.abs() * rise + y * hz - hz * rise) / n
        return torch.maximum(torch.maximum(slope, x.abs() - hx), -y) - 0.012
    return sdf


def torus(big: float, small: float, stretch: float = 0.0) -> Sdf:
    """A ring in the xy plane, pulled apart along y by `stretch`."""
    def sdf(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, fine: bool) -> torch.Tensor:
        ring = torch.sqrt(x * x + (y.abs() - stretch).clamp(min=0) ** 2 + 1e-9) - big
        return torch.sqrt(ring * ring + z * z + 1e-9) - small
    return sdf


def capsule(a: tuple[float, float, float], b: tuple[float, float, float], ra: float, rb: float) -> Sdf:
    """A rod from a to b whose radius goes from ra to rb."""
    e = [b[i] - a[i] for i in range(3)]
    length2 = sum(v * v for v in e)
    def sdf(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, fine: bool) -> torch.Tensor:
        px, py, pz = x - a[0], y - a[1], z - a[2]
        t = ((px * e[0] + py * e[1] + pz * e[2]) / length2).clamp(0, 1)
        d = torch.sqrt((px - t * e[0]) ** 2 + (py - t * e[1]) ** 2 + (pz - t * e[2]) ** 2 + 1e-9)
        return (d - (ra + (rb - ra) * t)) * 0.9
    return sdf


def ellipsoid(hx: float, hy: float, hz: float) -> Sdf:
    small = min(hx, hy, hz)
    def sdf(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, fine: bool) -> torch.Tensor:
        k0 = torch.sqrt((x / hx) ** 2 + (y / hy) ** 2 + (z / hz) ** 2 + 1e-9)
        k1 = torch.sqrt((x / hx**2) ** 2 + (y / hy**2) ** 2 + (z / hz**2) ** 2 + 1e-9)
        return torch.maximum(k0 * (k0 - 1) / k1, (k0 - 1) * small) * 0.8
    return sdf


def crescent(radius: float, half_angle: float, thick: float, tip: float) -> Sdf:
    """A bent rod (banana) in the xy plane, open upwards: lowest point of its centre line at the origin."""
    def sdf(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, fine: bool) -> torch.Tensor:
        angle = torch.atan2(x, radius - y).clamp(-half_angle, half_angle)
        cx, cy = radius * torch.sin(angle), radius - radius * torch.cos(angle)
        t = angle / half_angle
        r = tip + (thick - tip) * (1 - t.abs() ** 3.5)
        return (torch.sqrt((x - cx) ** 2 + (y - cy) ** 2 + z * z + 1e-9) - r) * 0.8
    return sdf


def surface_colour(scene: Scene) -> tuple[float, float, float]:
    """The scene's colour with its small deviation, sRGB."""
    base = COLOURS[scene.colour][1]
    grey, warm = 1 + scene.tint[1], scene.tint[0]
    return tuple(min(max(c * grey + w, 0.02), 0.98) for c, w in zip(base, (warm, 0.0, -warm)))
