"""The lamps, and the room that glossy things reflect.

Three set-ups: a big soft box at the side, a small hard lamp low at the side, a big box overhead. A lamp lights matte
surfaces from one direction; its angular radius gives the shadow's softness, its rectangle is what reflections show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .field import unit


@dataclass
class Lamp:
    towards: torch.Tensor  # unit vector to the lamp
    wide: float            # angular radius of the shadow's half light, tangent
    strength: float        # irradiance on a surface facing it; white paper lit by 1 is white
    half: tuple[float, float]  # the rectangle's half sides, as tangents
    glow: float            # radiance of the rectangle in mirror images


@dataclass
class Rig:
    lamps: list[Lamp]      # the first is the key light and casts the shadow
    ambient: float         # light from everywhere
    bounce: float          # share of light that the floor reflects upwards
    walls: float           # radiance of the room in mirror images


def direction(azimuth: float, height: float) -> torch.Tensor:
    """Unit vector: azimuth from the camera's side to the right, elevation `height`."""
    return torch.tensor([math.sin(azimuth) * math.cos(height), math.sin(height), math.cos(azimuth) * math.cos(height)])


def make_rig(light: str, azimuth: float, height: float, dark_room: bool, device: str) -> Rig:
    side = 1 if azimuth > 0 else -1
    rim = Lamp(direction(-side * 1.75, 0.35), 0.6, 0.10, (0.22, 0.95), 5.0)
    if light == "hard":
        rig = Rig([Lamp(direction(azimuth, height), 0.09, 1.45, (0.17, 0.17), 26.0), Lamp(direction(-side * 1.7, 0.3), 0.6, 0.06,
            (0.16, 0.8), 2.2)],
                  0.20, 0.45, 0.30)
    elif light == "top":
        rig = Rig([Lamp(direction(azimuth, height), 0.50, 0.85, (0.75, 0.5), 7.0), rim], 0.35, 0.6, 0.45)
    else:
        rig = Rig([Lamp(direction(azimuth, height), 0.38, 0.72, (0.34, 0.46), 9.0), rim], 0.42, 0.5, 0.6)
    if dark_room:  # black cloth all around: less light from everywhere, stronger edges
        rig.lamps[0].strength *= 1.2
        rig.ambient, rig.walls, rig.bounce = rig.ambient * 0.7, rig.walls * 0.3, rig.bounce * 0.4
        rig.lamps[1].strength, rig.lamps[1].glow = 0.45, 6.0
    for lamp in rig.lamps:
        lamp.towards = lamp.towards.to(device)
    return rig


def rectangle(r: torch.Tensor, lamp: Lamp, rough: torch.Tensor) -> torch.Tensor:
    """How much of the lamp's rectangle a mirror of roughness [n] shows along r [n, 3]; blurring preserves energy."""
    up = torch.tensor([0.0, 1.0, 0.0], device=r.device)
    if abs(lamp.towards[1].item()) > 0.95:
        up = torch.tensor([0.0, 0.0, 1.0], device=r.device)
    across = unit(torch.linalg.cross(up, lamp.towards))
    along = torch.linalg.cross(lamp.towards, across)
    w = (r @ lamp.towards).clamp(min=0.05)
    u, v = (r @ across) / w, (r @ along) / w
    blur = 0.03 + rough * 0.9
    edge = lambda a, size: torch.sigmoid((size - a.abs()) * 3 / blur)
    energy = (lamp.half[0] / (lamp.half[0] + 0.5 * blur)) * (lamp.half[1] / (lamp.half[1] + 0.5 * blur))
    return edge(u, lamp.half[0]) * edge(v, lamp.half[1]) * energy * (r @ lamp.towards > 0.05)


def mirror(r: torch.Tensor, rough: torch.Tensor, rig: Rig, floor: torch.Tensor) -> torch.Tensor:
    """Radiance [n, 3] of the studio along the mirrored directions r [n, 3]; `floor` [n, 3] is the radiance from below."""
    y = r[:, 1]
    room = rig.walls * (0.55 + 0.55 * y.clamp(0, 1))
    # Two black flags beside the set and the dark camera between them: without them metal looks like grey plastic.
    turn = torch.atan2(r[:, 0], r[:, 2])
    flags = 1 - 0.75 * torch.exp(-((turn.abs() - 0.95) / 0.30) ** 2) * (1 - rough)
    flags = flags - 0.3 * torch.exp(-(turn / 0.3) ** 2) * (1 - rough)
    light = room * flags
    for lamp in rig.lamps:
        light = light + lamp.glow * rectangle(r, lamp, rough)
    below = torch.sigmoid(-y * 14 / (0.3 + 2 * rough))[:, None]
    return light[:, None] * (1 - below) + floor * below
