"""Signed distance functions that products are built from, and ways to combine them.

Torus, capsule, rounded box and smooth minimum follow Inigo Quilez, "Distance functions"
(https://iquilezles.org/articles/distfunctions/). A form is called with x, y, z of shape [n] and `fine`: smoother table
look-up, which normals need and steps do not.
"""

from __future__ import annotations

import math
from typing import Callable

import torch

Form = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, bool], torch.Tensor]
Point = tuple[float, float, float]


def kept(tensor: torch.Tensor) -> Callable[[torch.device], torch.Tensor]:
    """The tensor on the requested device, copied there once."""
    copies: dict[torch.device, torch.Tensor] = {}
    return lambda device: copies[device] if device in copies else copies.setdefault(device, tensor.to(device))


def box(hx: float, hy: float, hz: float, round_: float = 0.02) -> Form:
    def form(x, y, z, fine):
        qx, qy, qz = x.abs() - (hx - round_), y.abs() - (hy - round_), z.abs() - (hz - round_)
        outside = torch.sqrt(qx.clamp(min=0) ** 2 + qy.clamp(min=0) ** 2 + qz.clamp(min=0) ** 2)
        return outside + torch.maximum(torch.maximum(qx, qy), qz).clamp(max=0) - round_
    return form


def gable(hx: float, hz: float, rise: float) -> Form:
    """A roof with its ridge along x: base 2 hx by 2 hz at y = 0, ridge at y = rise."""
    n = math.hypot(hz, rise)
    def form(x, y, z, fine):
        slope = (z.abs() * rise + y * hz - hz * rise) / n
        return torch.maximum(torch.maximum(slope, x.abs() - hx), -y) - 0.012
    return form


def torus(big: float, small: float, stretch: float = 0.0) -> Form:
    """A ring in the xy plane, stretched along y by `stretch`."""
    def form(x, y, z, fine):
        ring = torch.sqrt(x * x + (y.abs() - stretch).clamp(min=0) ** 2 + 1e-9) - big
        return torch.sqrt(ring * ring + z * z + 1e-9) - small
    return form


def rod(a: Point, b: Point, ra: float, rb: float) -> Form:
    """A round-ended rod from a to b whose radius goes from ra to rb."""
    e = [b[i] - a[i] for i in range(3)]
    length2 = sum(v * v for v in e)
    def form(x, y, z, fine):
        px, py, pz = x - a[0], y - a[1], z - a[2]
        t = ((px * e[0] + py * e[1] + pz * e[2]) / length2).clamp(0, 1)
        d = torch.sqrt((px - t * e[0]) ** 2 + (py - t * e[1]) ** 2 + (pz - t * e[2]) ** 2 + 1e-9)
        return (d - (ra + (rb - ra) * t)) * 0.92
    return form


def rods(segments: list[tuple[Point, Point, float, float]]) -> Form:
    """Many rods at once, cheaper than separate parts. Distances [n, k] are held in memory."""
    a = torch.tensor([s[0] for s in segments])
    e = torch.tensor([s[1] for s in segments]) - a
    ra, rb = torch.tensor([s[2] for s in segments]), torch.tensor([s[3] for s in segments])
    table = kept(torch.stack([*a.T, *e.T, ra, rb, (e * e).sum(1)]))
    def form(x, y, z, fine):
        A, E, (RA, RB, L) = table(x.device)[0:3].T, table(x.device)[3:6].T, table(x.device)[6:9]
        px, py, pz = x[:, None] - A[:, 0], y[:, None] - A[:, 1], z[:, None] - A[:, 2]
        t = ((px * E[:, 0] + py * E[:, 1] + pz * E[:, 2]) / L).clamp(0, 1)
        d = torch.sqrt((px - t * E[:, 0]) ** 2 + (py - t * E[:, 1]) ** 2 + (pz - t * E[:, 2]) ** 2 + 1e-9)
        return (d - (RA + (RB - RA) * t)).min(1).values * 0.92
    return form


def balls(centres: list[Point], radii: list[float], blend: float = 0.0) -> Form:
    """Many balls at once, melted into each other over `blend`."""
    c, r = kept(torch.tensor(centres)), kept(torch.tensor(radii))
    def form(x, y, z, fine):
        C, R = c(x.device), r(x.device)
        d = torch.sqrt((x[:, None] - C[:, 0]) ** 2 + (y[:, None] - C[:, 1]) ** 2 + (z[:, None] - C[:, 2]) ** 2 + 1e-9) - R
        return -blend * torch.logsumexp(d / -blend, 1) if blend else d.min(1).values
    return form


def ellipsoid(hx: float, hy: float, hz: float) -> Form:
    small = min(hx, hy, hz)
    def form(x, y, z, fine):
        k0 = torch.sqrt((x / hx) ** 2 + (y / hy) ** 2 + (z / hz) ** 2 + 1e-9)
        k1 = torch.sqrt((x / hx**2) ** 2 + (y / hy**2) ** 2 + (z / hz**2) ** 2 + 1e-9)
        return torch.maximum(k0 * (k0 - 1) / k1, (k0 - 1) * small) * 0.8
    return form


def leaf(length: float, width: float, thick: float = 0.012, bend: float = 0.6, fold: float = 0.5) -> Form:
    """A pointed leaf from the origin along +x, drooping with x^2 and folded along its middle."""
    def form(x, y, z, fine):
        u = (x / length).clamp(0, 1)
        half = width * (4 * u * (1 - u)).clamp(min=1e-4) ** 0.75 * (1.15 - 0.3 * u) * 0.5
        v = y + bend * x * x - fold * z.abs()
        dx = (x - length * u).abs()
        dz = (z.abs() - half).clamp(min=0)
        return (torch.sqrt(dx**2 + dz**2 + v**2 + 1e-9) - thick) * 0.62
    return form


def crescent(radius: float, half_angle: float, thick: float, tip: float, power: float = 3.5, facets: float = 0.0) -> Form:
    """A bent rod in the xy plane, open upwards: lowest point of its centre line at the origin. `facets`: five edges."""
    def form(x, y, z, fine):
        angle = torch.atan2(x, radius - y).clamp(-half_angle, half_angle)
        cx, cy = radius * torch.sin(angle), radius - radius * torch.cos(angle)
        r = tip + (thick - tip) * (1 - (angle / half_angle).abs() ** power)
        dx, dy = x - cx, y - cy
        d = torch.sqrt(dx**2 + dy**2 + z * z + 1e-9)
        if facets:
            across = torch.atan2(z, -dx * torch.sin(angle) + dy * torch.cos(angle))
            r = r * (1 + facets * torch.cos(5 * across))
        return (d - r) * 0.8
    return form


def join(forms: list[Form], blend: float = 0.0) -> Form:
    """Union; with `blend` the polynomial smooth minimum."""
    def joined(x, y, z, fine):
        d = forms[0](x, y, z, fine)
        for other in forms[1:]:
            e = other(x, y, z, fine)
            if blend:
                h = (0.5 + 0.5 * (e - d) / blend).clamp(0, 1)
                d = e + (d - e) * h - blend * h * (1 - h)
            else:
                d = torch.minimum(d, e)
        return d
    return joined


def cut(form: Form, tool: Form) -> Form:
    return lambda x, y, z, fine: torch.maximum(form(x, y, z, fine), -tool(x, y, z, fine))


def keep(form: Form, tool: Form) -> Form:
    return lambda x, y, z, fine: torch.maximum(form(x, y, z, fine), tool(x, y, z, fine))


def half_space(nx: float, ny: float, nz: float, at: float) -> Form:
    """The half-space opposite to (nx, ny, nz): its plane is at distance `at` from the origin along that unit vector."""
    return lambda x, y, z, fine: nx * x + ny * y + nz * z - at


def displaced(form: Form, by: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor], slow: float = 0.7) -> Form:
    """The surface moved outwards by `by`(x, y, z); `slow` < 1 keeps the steps safe where `by` is steep."""
    return lambda x, y, z, fine: (form(x, y, z, fine) - by(x, y, z)) * slow


def moved(form: Form, dx: float, dy: float, dz: float) -> Form:
    return lambda x, y, z, fine: form(x - dx, y - dy, z - dz, fine)
