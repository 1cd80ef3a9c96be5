"""The arithmetic of training, and how pictures lie in memory: bfloat16 where the machine computes in it, float32 elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def native_bfloat16(device: str) -> bool:
    """A CPU without AVX512-BF16 emulates it, at an eighth of float32's speed."""
    return not device.startswith("cpu") or torch.cpu._is_avx512_bf16_supported()


def mixed(device: str) -> torch.autocast:
    return torch.autocast(device, torch.bfloat16, enabled=native_bfloat16(device))


def layout(device: str) -> torch.memory_format:
    """Planes on a CPU: group norms on pixels take twelve times as long there, and convolutions gain hardly anything."""
    return torch.contiguous_format if device.startswith("cpu") else torch.channels_last


def attention(device: str) -> AbstractContextManager:
    """On a CPU as plain matrix products: over 64 places a UNet's step is a tenth shorter than with the fused kernel in
    bfloat16, and in float32 as long."""
    return sdpa_kernel(SDPBackend.MATH) if device.startswith("cpu") else nullcontext()
