"""Scene -> picture: a small ray marcher in torch, lit like a product studio.

Sphere tracing after Hart 1996; soft shadow and ambient occlusion from the distance field after Inigo Quilez
("Soft shadows in raymarched SDFs"). One soft key light, a sky that fills, softbox reflections, a seamless paper
backdrop. The product is traced at one and a half times the size and averaged; the floor's shadow is smooth and traced at half size.

    python render.py --out DIR --count 15000 --size 256 --part 0 --parts 2     renders every second seed
    python render.py --grid FILE --count 40                                     a sheet to look at
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from products import build
from scenes import BACKGROUNDS, Scene, sample_scene
from shapes import Part, Product

WINDOW, FIELD_OF_VIEW, FINER = 1.66, math.radians(22), 1.5


def linear(srgb: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(srgb) ** 2.2


def unit(v: torch.Tensor) -> torch.Tensor:
    return v / v.norm(dim=-1, keepdim=True).clamp(min=1e-9)


class Field:
    """The distance field of all parts together. Points are x, y, z of shape [n]."""

    def __init__(self, parts: list[Part]):
        self.parts = parts

    def __call__(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, fine: bool = False) -> torch.Tensor:
        d = None
        for part in self.parts:
            e = part.sdf(*part.local(x, y, z), fine)
            d = e if d is None else torch.minimum(d, e)
        return d

    def nearest(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return torch.stack([p.sdf(*p.local(x, y, z), False) for p in self.parts]).argmin(0)

    def normal(self, p: torch.Tensor, eps: float = 0.02) -> torch.Tensor:
        """Gradient by the tetrahedron's four points. [n, 3] -> [n, 3]"""
        n = torch.zeros_like(p)
        for k in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
            k = torch.tensor(k, dtype=torch.float32)
            n += k * self(*(p + eps * k).unbind(-1), fine=True)[:, None]
        return unit(n)


def camera_rays(scene: Scene, product: Product, pixels: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Origin [3], directions [pixels * pixels, 3] and the distance to the product's middle."""
    window = WINDOW / product.scale / scene.zoom
    distance = window / (2 * math.tan(FIELD_OF_VIEW / 2))
    cp, sp = math.cos(scene.pitch), math.sin(scene.pitch)
    forward, right, up = torch.tensor([0, -sp, -cp]), torch.tensor([1.0, 0, 0]), torch.tensor([0, cp, -sp])
    target = torch.tensor([scene.shift[0] * window, product.height * 0.47 + scene.shift[1] * window, 0])
    s = ((torch.arange(pixels) + 0.5) / pixels * 2 - 1) * math.tan(FIELD_OF_VIEW / 2)
    direction = forward + s[None, :, None] * right - s[:, None, None] * up
    return target - distance * forward, unit(direction.reshape(-1, 3)), distance


def trace(field: Field, origin: torch.Tensor, rays: torch.Tensor, product: Product) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of rays that hit [m] and how far [m]. Only rays through the bounding box are followed, and each block of
    4 x 4 rays first goes together, as one cone, as far as it is free."""
    low = torch.tensor([-product.half_width, -0.01, -product.half_depth]) - 0.12
    high = torch.tensor([product.half_width, product.height, product.half_depth]) + 0.12
    side = math.isqrt(len(rays))
    grid = rays.reshape(side, side, 3)
    cones = unit(grid[1::4, 1::4] + grid[2::4, 2::4]).reshape(-1, 3)
    spread = (grid[0, 0] - grid[3, 3]).norm().item() / 2 * 1.1
    inverse = 1 / torch.where(cones.abs() < 1e-6, 1e-6, cones)
    t0, t1 = (low - origin) * inverse, (high - origin) * inverse
    near, far = torch.minimum(t0, t1).max(-1).values, torch.maximum(t0, t1).min(-1).values
    index = torch.nonzero(near < far)[:, 0]
    t, far, kept = near[index], far[index], []
    for step in range(40):
        e = field(*(origin + cones[index] * t[:, None]).unbind(-1)) - spread * t
        t = torch.where(e > 0.001, t + e * 0.95, t)
        if step % 4 == 3:
            stop, lost = e <= 0.001, t > far
            kept.append((index[stop], t[stop], far[stop]))
            keep = ~(stop | lost)
            index, t, far = index[keep], t[keep], far[keep]
    kept.append((index, t, far))
    block, t, far = (torch.cat(v) for v in zip(*kept))
    corner = block // (side // 4) * 4 * side + block % (side // 4) * 4
    inner = (torch.arange(4)[:, None] * side + torch.arange(4)).reshape(-1)
    index, t, far = (corner[:, None] + inner).reshape(-1), t.repeat_interleave(16), far.repeat_interleave(16)
    hit_i, hit_t = [], []
    for step in range(48):
        e = field(*(origin + rays[index] * t[:, None]).unbind(-1))
        t = t + e * 0.97
        if step % 3 == 2:
            close, lost = e < 0.0015, t > far
            hit_i.append(index[close])
            hit_t.append(t[close])
            keep = ~(close | lost)
            index, t, far = index[keep], t[keep], far[keep]
            if len(index) == 0:
                break
    return torch.cat(hit_i), torch.cat(hit_t)


def soft_shadow(field: Field, p: torch.Tensor, light: torch.Tensor, sharpness: float, steps: int, reach: float) -> torch.Tensor:
    """How much of the key light arrives at p [n, 3], 0..1, by the narrowest pass towards it."""
    t = torch.full((len(p),), 0.03)
    free = torch.ones(len(p))
    for _ in range(steps):
        d = field(*(p + light * t[:, None]).unbind(-1))
        free = torch.minimum(free, 0.5 + 0.5 * sharpness * d / t)
        t = (t + d.clamp(0.02, 0.16)).clamp(max=reach)
    free = free.clamp(0, 1)
    return free * free * (3 - 2 * free)


def occlusion(field: Field, p: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    """Ambient light that reaches p, from a few samples of the field along the normal and of the floor."""
    dark = torch.zeros(len(p))
    for h, w in ((0.04, 0.5), (0.12, 0.35), (0.28, 0.25)):
        q = p + h * n
        dark += w * (1 - torch.minimum(field(*q.unbind(-1)), q[:, 1]) / h).clamp(0, 1)
    return 1 - 0.85 * dark


def surface(product: Product, p: torch.Tensor, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Linear colour [n, 3], gloss [n] and pore depth [n] of surface points."""
    colour, gloss, pores = torch.zeros(len(p), 3), torch.zeros(len(p)), torch.zeros(len(p))
    for i, part in enumerate(product.parts):
        at = torch.nonzero(which == i)[:, 0]
        x, y, z = part.local(*p[at].unbind(-1))
        c, g = linear(part.colour).repeat(len(at), 1), torch.full((len(at),), part.gloss)
        for band in part.bands:
            inside = (y > band.y0) & (y < band.y1) & (x.abs() < band.half_width) & (torch.atan2(x, z).abs() < band.half_angle)
            c[inside], g[inside] = linear(band.colour), band.gloss
        colour[at], gloss[at], pores[at] = c, g, part.pores
    return colour, gloss, pores


def softbox(r: torch.Tensor, light: torch.Tensor, width: float, height: float) -> torch.Tensor:
    """Mirror image of a rectangular lamp in direction `light`, seen along r [n, 3]."""
    side = unit(torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]), light))
    up = torch.linalg.cross(light, side)
    u, v, w = r @ side, r @ up, r @ light
    edge = lambda a, size: ((size - a.abs()) / 0.10 + 0.5).clamp(0, 1)
    return edge(u, width) * edge(v, height) * (w > 0)


def shade(scene: Scene, product: Product, field: Field, p: torch.Tensor, view: torch.Tensor, key: torch.Tensor,
          paper: torch.Tensor) -> torch.Tensor:
    """Linear light leaving surface points p [n, 3] against the view directions [n, 3]."""
    n = field.normal(p)
    colour, gloss, pores = surface(product, p, field.nearest(*p.unbind(-1)))
    if pores.max() > 0:
        q = p * 75
        bump = torch.stack([torch.sin(q[:, 1] + 1.7 * torch.sin(q[:, 2])), torch.sin(q[:, 2] + 1.7 * torch.sin(q[:, 0])),
                            torch.sin(q[:, 0] + 1.7 * torch.sin(q[:, 1]))], -1)
        n = unit(n + 0.09 * pores[:, None] * bump)
    hard = scene.light == "hard"
    lambert = n @ key
    wrap = 0.05 if hard else 0.25
    direct = ((lambert + wrap) / (1 + wrap)).clamp(min=0) * soft_shadow(field, p + n * 0.02, key, 4 if hard else 2.5, 10, 0.9)
    open_ = occlusion(field, p, n)
    up = (n[:, 1] * 0.5 + 0.5)[:, None]
    sky = (0.30 if hard else 0.46) * torch.ones(3) + 0.06 * paper
    floor = (0.12 if hard else 0.22) * paper + 0.03
    light = direct[:, None] * (1.15 if hard else 0.86) + open_[:, None] * (sky * up + floor * (1 - up))
    facing = -(n * view).sum(-1)
    r = view + 2 * facing[:, None] * n
    fresnel = (0.035 + 0.5 * (1 - facing.clamp(0, 1)) ** 4) * gloss
    rim = unit(torch.tensor([-key[0] * 1.2, 0.35, -0.25]))
    lamps = 2.6 * softbox(r, key, 0.30, 0.36) + 1.0 * softbox(r, rim, 0.22, 0.7)
    horizon = (0.35 + 0.4 * r[:, 1:2].clamp(0, 1)) * (paper * 0.7 + 0.12)
    broad = 0.10 * (r @ key).clamp(min=0) ** 8 * (1 - gloss) * 0.6
    mirror = (0.10 * gloss**2 + fresnel)[:, None] * lamps[:, None] + fresnel[:, None] * horizon * open_[:, None] * 1.6
    steel = (gloss > 0.995)[:, None] & (colour.max(-1).values > 0.35)[:, None]
    metal = colour * (0.25 + 0.9 * horizon + 0.5 * lamps[:, None] + 0.45 * (r[:, :1] * 3).sin().square())
    return torch.where(steel, metal, colour * light + mirror + broad[:, None])


def backdrop(scene: Scene, product: Product, field: Field, origin: torch.Tensor, distance: float, key: torch.Tensor,
             paper: torch.Tensor, size: int) -> torch.Tensor:
    """Paper with vignette and the product's shadow on it, linear [size, size, 3]."""
    small = size // 2
    _, rays, _ = camera_rays(scene, product, small)
    t = torch.where(rays[:, 1] < -0.02, -origin[1] / rays[:, 1].clamp(max=-0.02), 1e3)
    p = origin + rays * t[:, None]
    near = torch.nonzero((p.norm(dim=-1) < 2.2))[:, 0]
    q = p[near]
    hard = scene.light == "hard"
    shadow = torch.ones(small * small)
    direct = soft_shadow(field, q, key, 7 if hard else 3.0, 16, 1.6)
    contact = torch.zeros(len(q))
    for h, w in ((0.03, 0.4), (0.10, 0.35), (0.25, 0.25)):
        contact += w * (1 - field(q[:, 0], q[:, 1] + h, q[:, 2]) / (h * 1.3)).clamp(0, 1)
    shadow[near] = (1 - (0.62 if hard else 0.42) * (1 - direct)) * (1 - 0.6 * contact)
    shadow = F.interpolate(shadow.reshape(1, 1, small, small), size=(size, size), mode="bilinear", align_corners=False)[0, 0]
    s = torch.linspace(-1, 1, size)
    glow = 1.02 - 0.10 * ((s[None] - 0.25 * key[0]) ** 2 + (s[:, None] + 0.1) ** 2)
    return paper * (glow * shadow)[..., None]


@torch.inference_mode()
def render(scene: Scene, size: int = 256) -> np.ndarray:
    """The picture, uint8 [size, size, 3]."""
    product = build(scene)
    for part in product.parts:  # turn the whole product about its vertical axis
        c, s = math.cos(scene.yaw * 0.5), math.sin(scene.yaw * 0.5)
        turn = torch.tensor([[c, 0, s], [0, 1.0, 0], [-s, 0, c]])
        part.rotation, part.offset = turn @ part.rotation, tuple((turn @ torch.tensor(part.offset)).tolist())
    field = Field(product.parts)
    paper = linear(BACKGROUNDS[scene.background][1])
    a = scene.light_azimuth
    key = unit(torch.tensor([math.sin(a), scene.light_height, 0.75 * math.cos(a)]))
    fine = int(size * FINER)
    origin, rays, distance = camera_rays(scene, product, fine)
    picture = backdrop(scene, product, field, origin, distance, key, paper, size)
    index, t = trace(field, origin, rays, product)
    p = origin + rays[index] * t[:, None]
    above = p[:, 1] > 0.004
    index, p = index[above], p[above]
    layer = torch.zeros(fine * fine, 4)
    light = shade(scene, product, field, p, rays[index], key, paper).clamp(0, 1.3)
    layer[index] = torch.cat([(light * (1 + light / 1.7) / (1 + light * 0.6)).clamp(0, 1) ** (1 / 2.2), torch.ones(len(p), 1)], -1)
    layer = F.interpolate(layer.reshape(1, fine, fine, 4).permute(0, 3, 1, 2), size=(size, size), mode="bilinear", antialias=True)
    layer = layer[0].permute(1, 2, 0)
    picture = picture.clamp(0, 1) ** (1 / 2.2)
    picture = layer[..., :3] + (1 - layer[..., 3:]) * picture
    return (picture * 255 + 0.5).clamp(0, 255).to(torch.uint8).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--grid", type=Path)
    parser.add_argument("--count", type=int, default=15000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.grid:
        from PIL import Image
        columns = 8
        pictures = [render(sample_scene(seed), args.size) for seed in range(args.count)]
        pictures += [np.zeros_like(pictures[0])] * (-args.count % columns)
        rows = [np.concatenate(pictures[i:i + columns], 1) for i in range(0, len(pictures), columns)]
        Image.fromarray(np.concatenate(rows)).save(args.grid)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "pictures.npy"
    shape = (args.count, args.size, args.size, 3)
    if not path.exists() or path.stat().st_size < np.prod(shape):
        temporary = args.out / f"pictures.{os.getpid()}"
        np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape).flush()
        temporary.rename(path) if not path.exists() else temporary.unlink()
    pictures = np.lib.format.open_memmap(path, mode="r+")
    for seed in range(args.part, args.count, args.parts):
        if not pictures[seed].any():
            pictures[seed] = render(sample_scene(seed), args.size)
        if seed // args.parts % 250 == 249:
            pictures.flush()
            print(f"part {args.part}: {seed + 1} of {args.count}", flush=True)


if __name__ == "__main__":
    main()
