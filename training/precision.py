"""The arithmetic of training, and how pictures lie in memory: bfloat16 where the machine computes in it, float32 elsewhere."""

from __future__ import annotations

import torch


def native_bfloat16(device: str) -> bool:
    """A CPU without AVX512-BF16 emulates it, at an eighth of float32's speed."""
    return not device.startswith("cpu") or torch.cpu._is_avx512_bf16_supported()


def mixed(device: str) -> torch.autocast:
    return torch.autocast(device, torch.bfloat16, enabled=native_bfloat16(device))


def layout(device: str) -> torch.memory_format:
    """Float32 convolutions on a CPU are faster, backwards above all, on planes than on pixels."""
    return torch.channels_last if native_bfloat16(device) else torch.contiguous_format
