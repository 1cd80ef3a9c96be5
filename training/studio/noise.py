"""Smooth periodic noise with its gradient, for colour mottling and bumps.

A 64^3 block of white noise, band-passed by FFT so that its features are about one unit wide at frequency 1. The block is
made on the CPU from a fixed seed: every device sees the same noise.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F

CELLS, PERIOD = 64, 8.0


@lru_cache(maxsize=4)
def volume(device: str) -> torch.Tensor:
    """[1, 4, 65, 65, 65]: value (deviation 1) and its gradient per unit, wrapped around by one cell."""
    white = torch.randn(CELLS, CELLS, CELLS, generator=torch.Generator().manual_seed(7))
    k = torch.fft.fftfreq(CELLS) * CELLS  # waves per period, axes z, y, x
    kz, ky, kx = torch.meshgrid(k, k, k, indexing="ij")
    r = torch.sqrt(kx**2 + ky**2 + kz**2)
    spectrum = torch.fft.fftn(white) * torch.exp(-((r - 5.0) / 2.5) ** 2) * (r > 0)
    value = torch.fft.ifftn(spectrum).real
    scale = 1 / value.std()
    channels = [value] + [torch.fft.ifftn(spectrum * 2j * torch.pi * w / PERIOD).real for w in (kx, ky, kz)]
    block = torch.stack(channels)[None] * scale
    return F.pad(block, (0, 1, 0, 1, 0, 1), mode="circular").to(device)


def noise(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, frequency: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    """[n, 4]: value of about -2..2 and gradient per unit of the scaled coordinates."""
    at = torch.stack([x, y, z], -1) * frequency + shift
    at = torch.remainder(at, PERIOD) * (2 / PERIOD) - 1
    return F.grid_sample(volume(str(x.device)), at[None, None, None], align_corners=True)[0, :, 0, 0].T


def layered(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, frequency: float = 1.0, shift: float = 0.0,
            octaves: int = 3) -> torch.Tensor:
    """Sum of octaves, each twice as fine and half as strong. [n], about -2..2"""
    total = torch.zeros_like(x)
    for i in range(octaves):
        total = total + 0.5**i * noise(x, y, z, frequency * 2**i, shift + 1.7 * i)[:, 0]
    return total / 1.15
