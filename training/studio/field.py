"""The distance field of a whole scene: finding surfaces (sphere tracing, Hart 1996), soft shadows and occlusion.

Shadow and ambient occlusion from the distance field follow Inigo Quilez ("Soft shadows in raymarched SDFs").
Points are three tensors x, y, z of shape [n]; rays are an origin [3] and unit directions [m, 3].
"""

from __future__ import annotations

import math

import torch

from .product import Part, Thing

NEAR = 0.3  # within this of its bounding box a thing's true distance is computed; farther away, the box's is used


def unit(v: torch.Tensor) -> torch.Tensor:
    return v / v.norm(dim=-1, keepdim=True).clamp(min=1e-9)


class Field:
    def __init__(self, things: list[Thing], device: str = "cpu"):
        self.things, self.device = things, device
        self.parts: list[tuple[Thing, Part]] = [(t, p) for t in things for p in t.parts]
        self.low = torch.tensor([min(t.low[i] for t in things) for i in range(3)], device=device)
        self.high = torch.tensor([max(t.high[i] for t in things) for i in range(3)], device=device)

    def __call__(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, fine: bool = False, glass: bool = True) -> torch.Tensor:
        if len(self.things) == 1:
            return self.things[0].distance(x, y, z, fine, glass)
        d = torch.full_like(x, 9.0)
        for thing in self.things:
            out = [(v - (a + b) / 2).abs() - (b - a) / 2 for v, a, b in zip((x, y, z), thing.low, thing.high)]
            own = torch.sqrt(sum(o.clamp(min=0) ** 2 for o in out)) + 0.01
            at = torch.nonzero(own < NEAR)[:, 0]
            own[at] = thing.distance(x[at], y[at], z[at], fine, glass)
            d = torch.minimum(d, own)
        return d

    def nearest(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, glass: bool = True) -> torch.Tensor:
        """Index into `parts` of the part that each point is on."""
        best, which = torch.full_like(x, 9.0), torch.zeros(len(x), dtype=torch.long, device=x.device)
        i = 0
        for thing in self.things:
            q = thing.local(x, y, z)
            for part in thing.parts:
                if glass or not part.skin.glass:
                    d = part.distance(*q, False) * thing.scale
                    which = torch.where(d < best, i, which)
                    best = torch.minimum(best, d)
                i += 1
        return which

    def normal(self, p: torch.Tensor, glass: bool = True, eps: float = 0.011) -> torch.Tensor:
        """Gradient from the four points of a tetrahedron. [n, 3] -> [n, 3]"""
        n = torch.zeros_like(p)
        for k in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
            k = torch.tensor(k, dtype=torch.float32, device=p.device)
            n += k * self(*(p + eps * k).unbind(-1), fine=True, glass=glass)[:, None]
        return unit(n)

    def shadow(self, p: torch.Tensor, light: torch.Tensor, wide: float, steps: int, reach: float, start: float = 0.02,
               glass: bool = True) -> torch.Tensor:
        """Share 0..1 of a round lamp in direction `light` ([3] or [n, 3], angular radius `wide`) seen from p [n, 3]."""
        t = torch.full((len(p),), start, device=p.device)
        free = torch.ones(len(p), device=p.device)
        for _ in range(steps):
            d = self(*(p + light * t[:, None]).unbind(-1), glass=glass)
            free = torch.minimum(free, 0.5 + 0.5 * d / (wide * t))
            t = (t + torch.maximum(d, 0.015 + 0.04 * t).clamp(max=0.25)).clamp(max=reach)
        free = free.clamp(0, 1)
        return free * free * (3 - 2 * free)

    def occlusion(self, p: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        """Ambient light that reaches p, from samples of the field along the normal; the floor counts too."""
        dark = torch.zeros(len(p), device=p.device)
        for h, w in ((0.025, 0.3), (0.07, 0.3), (0.16, 0.25), (0.32, 0.25)):
            q = p + h * n
            dark += w * (1 - torch.minimum(self(*q.unbind(-1), glass=False), q[:, 1].clamp(min=0)) / h).clamp(0, 1)
        return (1 - 0.95 * dark).clamp(min=0)

    def trace(self, origin: torch.Tensor, rays: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices of rays that hit [m] and how far [m]; rays are a square grid whose side is a multiple of 8.

        Only rays through the bounding box are traced; each block of 8 x 8 rays is first traced together, as one cone,
        as far as it is free."""
        block = 8
        low, high = self.low - 0.04, self.high + 0.04
        side = math.isqrt(len(rays))
        grid = rays.reshape(side, side, 3)
        h = block // 2
        cones = unit(grid[h - 1::block, h - 1::block] + grid[h::block, h::block]).reshape(-1, 3)
        spread = (grid[0, 0] - grid[block - 1, block - 1]).norm().item() / 2 * 1.1
        inverse = 1 / torch.where(cones.abs() < 1e-6, 1e-6, cones)
        wide = spread * 8
        t0, t1 = (low - wide - origin) * inverse, (high + wide - origin) * inverse
        near, far = torch.minimum(t0, t1).max(-1).values, torch.maximum(t0, t1).min(-1).values
        index = torch.nonzero(near < far)[:, 0]
        t, far, kept = near[index].clamp(min=0), far[index], []
        for i in range(36):
            e = self(*(origin + cones[index] * t[:, None]).unbind(-1)) - spread * t
            t = torch.where(e > 0.001, t + e * 0.95, t)
            if i % 4 == 3:
                stop, lost = e <= 0.001, t > far
                kept.append((index[stop], t[stop], far[stop]))
                on = ~(stop | lost)
                index, t, far = index[on], t[on], far[on]
                if len(index) == 0:
                    break
        kept.append((index, t, far))
        blocks, t, far = (torch.cat(v) for v in zip(*kept))
        corner = blocks // (side // block) * block * side + blocks % (side // block) * block
        inner = (torch.arange(block, device=rays.device)[:, None] * side + torch.arange(block, device=rays.device)).reshape(-1)
        index = (corner[:, None] + inner).reshape(-1)
        return self.march(origin.expand(1, 3), rays, index, t.repeat_interleave(block * block), far.repeat_interleave(block * block))

    def march(self, origin: torch.Tensor, rays: torch.Tensor, index: torch.Tensor, t: torch.Tensor, far: torch.Tensor,
              steps: int = 64, glass: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Traces rays[index] from t on. origin is [1, 3], or [m, 3] like rays. Returns the indices that hit, and how far."""
        hit_i, hit_t = [], []
        for i in range(steps):
            o = origin if len(origin) == 1 else origin[index]
            e = self(*(o + rays[index] * t[:, None]).unbind(-1), glass=glass)
            t = t + e * 0.98
            if i % 3 == 2:
                close, lost = e < 0.0012, t > far
                hit_i.append(index[close])
                hit_t.append(t[close])
                on = ~(close | lost)
                index, t, far = index[on], t[on], far[on]
                if len(index) == 0:
                    break
        grazing = torch.nonzero(t < far)[:, 0]  # still creeping along an edge: within a pixel, this is the surface
        return torch.cat(hit_i + [index[grazing]]), torch.cat(hit_t + [t[grazing]])
