"""The arithmetic of training and the memory layout of pictures: bfloat16 where the machine computes in it, else float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def native_bfloat16(device: str) -> bool:
    """A CPU without AVX512-BF16 emulates bfloat16, at an eighth of float32's speed."""
    return not device.startswith("cpu") or torch.cpu._is_avx512_bf16_supported()


def mixed(device: str) -> torch.autocast:
    return torch.autocast(device, torch.bfloat16, enabled=native_bfloat16(device))


def layout(device: str) -> torch.memory_format:
    """Channels first on a CPU: channels last, group norms take twelve times as long there and convolutions gain little."""
    return torch.contiguous_format if device.startswith("cpu") else torch.channels_last


def attention(device: str) -> AbstractContextManager:
    """On a CPU as plain matrix products: over 64 positions a UNet's step is a tenth shorter than with the fused kernel in
    bfloat16, and equally long in float32."""
    return sdpa_kernel(SDPBackend.MATH) if device.startswith("cpu") else nullcontext()
