"""Turned forms (fruit, bottles, bowls): a half profile (r, y) swept about the y axis.

The profile is smoothed by Catmull-Rom splines (a doubled point is a corner) and looked up in a table of exact distances:
one bilinear look-up whatever the profile's complexity.
"""

from __future__ import annotations

import math
from typing import Callable

import torch
import torch.nn.functional as F

from .forms import Form, kept

Profile = list[tuple[float, float]]


def smooth_profile(points: Profile, steps: int = 24) -> torch.Tensor:
    """Catmull-Rom through the points, mirrored at the axis. Returns [n, 2]."""
    p = torch.tensor(points)
    flip = torch.tensor([-1.0, 1.0])
    p = torch.cat([p[1:2] * flip, p, p[-2:-1] * flip])
    t = torch.arange(steps)[:, None, None] / steps
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = torch.cat([curve.transpose(0, 1).reshape(-1, 2), p[-2:-1]])
    return torch.cat([curve[:, :1].clamp(min=0), curve[:, 1:]], 1)


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


def refined(table: torch.Tensor) -> torch.Tensor:
    """The table [1, 1, h, w] at half the spacing, by cubic interpolation: then bilinear look-ups show no visible facets."""
    for axis in (2, 3):
        t = table.movedim(axis, 3)
        edge = F.pad(t, (1, 1, 0, 0), mode="replicate")
        middle = (9 * (edge[..., 1:-2] + edge[..., 2:-1]) - edge[..., :-3] - edge[..., 3:]) / 16
        both = torch.stack([t[..., :-1], middle], -1).flatten(-2)
        table = torch.cat([both, t[..., -1:]], -1).movedim(3, axis)
    return table.contiguous()


def revolve(points: Profile, warp: Callable | None = None, slow: float = 0.8, step: float = 0.011) -> Form:
    """A profile turned about the y axis. `warp`(angle, y) -> factor [n] that the radius is divided by (1 = round)."""
    curve = smooth_profile(points)
    margin = 0.12
    r_max, y_min, y_max = curve[:, 0].max().item(), curve[:, 1].min().item(), curve[:, 1].max().item()
    r0, r1, y0, y1 = -2 * step, r_max + margin, y_min - margin, y_max + margin
    width, height = math.ceil((r1 - r0) / step) + 1, math.ceil((y1 - y0) / step) + 1
    r1, y1 = r0 + (width - 1) * step, y0 + (height - 1) * step
    gy, gr = torch.meshgrid(torch.linspace(y0, y1, height), torch.linspace(r0, r1, width).abs(), indexing="ij")
    table = profile_distance(gr.reshape(-1), gy.reshape(-1), curve).reshape(1, 1, height, width)
    table = kept(refined(table))

    def form(x, y, z, fine):
        r = torch.sqrt(x * x + z * z + 1e-9)
        if warp is not None:
            r = r / warp(torch.atan2(x, z), y)
        rc, yc = r.clamp(max=r1), y.clamp(y0, y1)
        grid = torch.stack([(rc - r0) * (2 / (r1 - r0)) - 1, (yc - y0) * (2 / (y1 - y0)) - 1], -1)
        d = F.grid_sample(table(x.device), grid[None, None], mode="bilinear", padding_mode="border",
                          align_corners=True)[0, 0, 0]
        outside = (r - rc) ** 2 + (y - yc) ** 2
        d = torch.where(outside > 0, torch.sqrt(d * d + outside), d)
        return d * slow if warp is not None else d

    return form


def ribs(count: int, depth: float, phase: float = 0.0, y0: float = -9.0, y1: float = -8.0, sharp: bool = False) -> Callable:
    """A warp of `count` bulges around, fading in between the heights y0 and y1; `sharp` has creases in between."""
    def warp(angle, y):
        fade = ((y - y0) / (y1 - y0)).clamp(0, 1)
        wave = (angle * count / 2 + phase).cos().abs() * 2 - 1 if sharp else (angle * count + phase).cos()
        return 1 + depth * fade * wave
    return warp
