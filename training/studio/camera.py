"""Where the camera stands: a long lens (22 degrees) that frames the things whatever their shape."""

from __future__ import annotations

import math

import torch

from .field import Field, unit

FIELD_OF_VIEW = math.radians(22)


class Camera:
    """pitch: downward angle. fill: share of the frame's side that the things take up. shift: of the picture's centre."""

    def __init__(self, field: Field, pitch: float, fill: float, shift: tuple[float, float]):
        device = field.device
        cp, sp = math.cos(pitch), math.sin(pitch)
        self.forward = torch.tensor([0.0, -sp, -cp], device=device)
        self.right = torch.tensor([1.0, 0.0, 0.0], device=device)
        self.up = torch.tensor([0.0, cp, -sp], device=device)
        boxes = torch.tensor([[[t.low[0] if i & 1 else t.high[0], t.low[1] if i & 2 else t.high[1], t.low[2] if i & 4 else t.high[2]]
                               for i in range(8)] for t in field.things], device=device).reshape(-1, 3)
        middle = (boxes.min(0).values + boxes.max(0).values) / 2
        half = math.tan(FIELD_OF_VIEW / 2)
        distance, size = 5.0, 1.0
        for _ in range(4):  # perspective enlarges near corners: find the distance at which the projected boxes fill it as requested
            self.eye = middle - distance * self.forward
            q = boxes - self.eye
            depth = q @ self.forward
            u, v = (q @ self.right) / depth, (q @ self.up) / depth
            middle = middle + distance * ((u.min() + u.max()) / 2 * self.right + (v.min() + v.max()) / 2 * self.up)
            size = max((u.max() - u.min()).item(), (v.max() - v.min()).item()) / (2 * half)
            distance = max(distance * size / fill, 1.2)
        self.window = 2 * half * distance
        aside = shift[0] * self.window * self.right + (shift[1] + 0.02) * self.window * self.up
        self.eye = middle - distance * self.forward + aside

    def rays(self, pixels: int) -> torch.Tensor:
        """Unit directions [pixels * pixels, 3], row by row from the top left."""
        s = ((torch.arange(pixels, device=self.right.device) + 0.5) / pixels * 2 - 1) * math.tan(FIELD_OF_VIEW / 2)
        d = self.forward + s[None, :, None] * self.right - s[:, None, None] * self.up
        return unit(d.reshape(-1, 3))
