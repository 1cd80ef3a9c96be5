"""Scene -> picture. Surfaces are found and shaded at twice the size and averaged; the light's share at one point per pixel.

The same seed gives the same picture, whatever else is rendered before it.
"""

from __future__ import annotations


import torch
import torch.nn.functional as F

from .backdrops import Backdrop, FloorLight
from .build import things_of
from .camera import Camera
from .field import Field, unit
from .lights import make_rig
from .product import Thing
from .scenes import Scene
from .shading import fresnel, glass, lit, skin_of

FINER = 2


def tone(x: torch.Tensor) -> torch.Tensor:
    """Linear light to display values 0..1: straight up to 0.6, then a shoulder that reaches white at about 1.4."""
    a = 0.65
    high = a + (1 - a) * torch.tanh((x - a).clamp(min=0) / (1 - a))
    x = torch.where(x > a, high, x).clamp(0, 1) ** (1 / 2.2)
    return x + 0.10 * x * (1 - x) * (2 * x - 1)  # a little contrast, as film has


def share(values: torch.Tensor, chosen: torch.Tensor, blocks: torch.Tensor, total: int) -> torch.Tensor:
    """Spreads values [m, k] of the chosen hits to all hits [n] of the same pixel."""
    table = torch.zeros(total, values.shape[1], device=values.device)
    table[blocks[chosen]] = values
    return table[blocks]


def lights_share(field: Field, rig, p: torch.Tensor, n: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
    """[m, 3]: key light's share, openness, and how free the mirrored direction is."""
    key = rig.lamps[0]
    reach = (field.high - field.low).norm().item()
    free = field.shadow(p + 0.012 * n, key.towards, key.wide, 12, reach, glass=False)
    facing = -(n * view).sum(-1).clamp(-1, 0)
    r = unit(view + 2 * facing[:, None] * n)
    clean = field.shadow(p + 0.015 * n, r, 0.25, 6, 0.6, glass=False)
    return torch.stack([free, field.occlusion(p, n), clean], -1)


def floor_mirror(field: Field, backdrop: Backdrop, rig, camera: Camera, picture: torch.Tensor, size: int) -> torch.Tensor:
    """Adds the products' reflection in a polished floor; at half size, as the polish is not perfect."""
    half = size // 2
    rays = camera.rays(half)
    r = rays * torch.tensor([1.0, -1.0, 1.0], device=rays.device)
    eye = camera.eye * torch.tensor([1.0, -1.0, 1.0], device=rays.device)
    i, t = field.trace(eye, r)
    q = eye + r[i] * t[:, None]
    ahead = q[:, 1] > 0.003
    i, q = i[ahead], q[ahead]
    n = field.normal(q)
    s, n = skin_of(field, q, n, field.nearest(*q.unbind(-1)))
    open_ = 0.4 + 0.6 * step_up(q[:, 1])
    light = lit(s, q, n, r[i], open_, open_, open_ * 0.5, rig, backdrop)
    image = torch.zeros(half * half, 4, device=rays.device)
    image[i] = torch.cat([light, torch.ones(len(q), 1, device=q.device)], -1) * torch.exp(-q[:, 1:2] / 0.55)  # polish is never perfect
    image = F.avg_pool2d(image.reshape(1, half, half, 4).permute(0, 3, 1, 2), 3, 1, 1)
    image = F.interpolate(image, size=(size, size), mode="bicubic")[0].permute(1, 2, 0)
    steep = camera.rays(size)[:, 1].abs().reshape(size, size, 1)
    f = fresnel(steep, backdrop.mirrors) * 1.4
    return picture * (1 - f * image[..., 3:].clamp(0, 1)) + f * image[..., :3].clamp(min=0)


def step_up(h: torch.Tensor) -> torch.Tensor:
    return (h / 0.3).clamp(0, 1)


@torch.inference_mode()
def photograph(things: list[Thing], scene: Scene, size: int = 256, device: str = "cpu") -> torch.Tensor:
    """The picture of things under the scene's light, background and camera. uint8 [size, size, 3]"""
    plate, layer = layers(things, scene, size, device)
    return bytes_of(over(layer, plate))


def over(layer: torch.Tensor, plate: torch.Tensor) -> torch.Tensor:
    return layer[..., :3] + (1 - layer[..., 3:]) * plate


def bytes_of(x: torch.Tensor) -> torch.Tensor:
    return (x * 255 + 0.5).clamp(0, 255).to(torch.uint8)


@torch.inference_mode()
def layers(things: list[Thing], scene: Scene, size: int = 256, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """The plate [size, size, 3], which is the background with shadows and reflections, and the products alone [size, size, 4]:
    display colour times alpha, and alpha, the share of a pixel that products cover. Glass is product, with what is seen
    through it."""
    field = Field(things, device)
    rig = make_rig(scene.light, scene.light_azimuth, scene.light_height, scene.background == "dark", device)
    camera = Camera(field, scene.pitch, scene.fill, scene.shift)
    backdrop = Backdrop(scene.background, scene.seed, FloorLight(field, rig), rig, camera.forward, device)
    finer = FINER if scene.background in ("wood", "marble") else 1  # seams and veins are thinner than a pixel
    picture = backdrop.look(camera.eye, camera.rays(size * finer)).reshape(size, finer, size, finer, 3).mean((1, 3))
    if backdrop.mirrors:
        picture = floor_mirror(field, backdrop, rig, camera, picture, size)
    fine = size * FINER
    rays = camera.rays(fine)
    index, t = field.trace(camera.eye, rays)
    p = camera.eye + rays[index] * t[:, None]
    above = p[:, 1] > 0.002
    index, p = index[above], p[above]
    view = rays[index]
    n = field.normal(p)
    which = field.nearest(*p.unbind(-1))
    blocks = index // fine // FINER * size + index % fine // FINER
    first = torch.full((size * size,), len(index), device=device).scatter_reduce(0, blocks, torch.arange(len(index), device=device), "amin")
    chosen = first[first < len(index)]
    free, open_, clean = share(lights_share(field, rig, p[chosen], n[chosen], view[chosen]), chosen, blocks, size * size).unbind(-1)
    s, n = skin_of(field, p, n, which)
    light = lit(s, p, n, view, free, open_, clean, rig, backdrop)
    is_glass = torch.tensor([part.skin.glass for _, part in field.parts], device=device)[which]
    at = torch.nonzero(is_glass)[:, 0]
    if len(at):
        pick = lambda v: v[at]
        surface = type(s)(*(pick(v) for v in vars(s).values()))
        light[at] = glass(field, backdrop, rig, surface, p[at], n[at], view[at], clean[at])
    layer = torch.zeros(fine * fine, 4, device=device)
    layer[index] = torch.cat([tone(exposed(light, index, fine, scene)), torch.ones(len(p), 1, device=device)], -1)
    layer = layer.reshape(size, FINER, size, FINER, 4).mean((1, 3))
    flat = torch.arange(size * size, device=device)
    picture = tone(exposed(picture.reshape(-1, 3), flat, size, scene)).reshape(size, size, 3)
    return picture, layer


def exposed(light: torch.Tensor, index: torch.Tensor, side: int, scene: Scene) -> torch.Tensor:
    """Exposure, and a vignette of 7 % in the corners (on white none: a seamless is lit to stay white)."""
    x, y = (index % side + 0.5) / side * 2 - 1, (index // side + 0.5) / side * 2 - 1
    fall = 0.02 if scene.background == "white" else 0.07
    return light * (scene.exposure * (1 - fall * (x * x + y * y) ** 1.3 / 2.5))[:, None]


def render(scene: Scene, size: int = 256, device: str = "cpu") -> torch.Tensor:
    """The picture of a scene, uint8 [size, size, 3] on the CPU."""
    return photograph(things_of(scene), scene, size, device).cpu()


def render_apart(scene: Scene, size: int = 256, device: str = "cpu") -> dict[str, torch.Tensor]:
    """The picture as `render` gives it, uint8 [size, size, 3]; its "plate" alike; its "product", uint8 [size, size, 4]: colour
    (0 where there is none), and alpha."""
    plate, layer = layers(things_of(scene), scene, size, device)
    product = torch.cat([layer[..., :3] / layer[..., 3:].clamp(min=1e-6), layer[..., 3:]], -1)
    parts = {"picture": over(layer, plate), "plate": plate, "product": product}
    return {name: bytes_of(part).cpu() for name, part in parts.items()}
