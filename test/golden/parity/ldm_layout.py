"""A checkpoint in diffusers layout as the one file that SD 1.x checkpoints are downloaded as (LDM key names).

The names are those of CompVis' latent-diffusion; the mapping undoes what diffusers' `convert_ldm_*` do
(loaders/single_file_utils.py), so that diffusers itself reads the result back as what it was made of.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

UNET_OUTSIDE = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0", "conv_out": "out.2",
}
UNET_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_name(key: str, config: dict) -> str:
    """`down_blocks.1.resnets.0.norm1.weight` -> `input_blocks.4.0.in_layers.0.weight`."""
    name, end = key.rsplit(".", 1)
    if name in UNET_OUTSIDE:
        return f"{UNET_OUTSIDE[name]}.{end}"
    layers = config["layers_per_block"]
    where = re.match(r"(down_blocks|up_blocks|mid_block)(?:\.(\d+))?\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name)
    assert where, key
    side, block, kind, index, rest = where[1], int(where[2] or 0), where[3], int(where[4]), where[5]
    if kind == "resnets":
        rest = UNET_RESNET[rest]
    if side == "mid_block":
        place = f"middle_block.{index * 2 if kind == 'resnets' else 1}"
    elif kind == "downsamplers":
        place, rest = f"input_blocks.{(block + 1) * (layers + 1)}.0", "op"
    elif kind == "upsamplers":
        attended = config["up_block_types"][block] == "CrossAttnUpBlock2D"
        place = f"output_blocks.{block * (layers + 1) + layers}.{2 if attended else 1}"
    elif side == "down_blocks":
        place = f"input_blocks.{1 + block * (layers + 1) + index}.{0 if kind == 'resnets' else 1}"
    else:
        place = f"output_blocks.{block * (layers + 1) + index}.{0 if kind == 'resnets' else 1}"
    return f"{place}.{rest}.{end}"


def vae_name(key: str, config: dict) -> str:
    """`decoder.up_blocks.0.resnets.0.norm1.weight` -> `decoder.up.3.block.0.norm1.weight`."""
    levels = len(config["block_out_channels"])
    key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    key = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", key)
    key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", key)
    key = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block.", key)
    key = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample.", key)
    key = re.sub(r"mid_block\.resnets\.(\d+)\.", lambda m: f"mid.block_{int(m[1]) + 1}.", key)
    return re.sub(r"mid_block\.attentions\.0\.(.+)\.(weight|bias)", lambda m: f"mid.attn_1.{VAE_ATTENTION[m[1]]}.{m[2]}", key)


def vae_tensor(key: str, value: Tensor) -> Tensor:
    """LDM's VAE attention is made of 1x1 convolutions, diffusers' of linear layers."""
    return value[:, :, None, None] if re.search(r"\.attn_1\.(q|k|v|proj_out)\.weight", key) else value


def to_ldm(model: Path, configs: dict[str, dict]) -> dict[str, Tensor]:
    """All parts of a diffusers folder under their names in a single file, at the precision of their files."""
    tensors: dict[str, Tensor] = {}
    for key, value in load_file(model / "unet/diffusion_pytorch_model.safetensors").items():
        tensors[f"model.diffusion_model.{unet_name(key, configs['unet'])}"] = value
    for key, value in load_file(model / "vae/diffusion_pytorch_model.safetensors").items():
        name = vae_name(key, configs["vae"])
        tensors[f"first_stage_model.{name}"] = vae_tensor(name, value)
    for key, value in load_file(model / "text_encoder/model.safetensors").items():
        tensors[f"cond_stage_model.transformer.{key}"] = value
    positions = configs["text_encoder"].get("max_position_embeddings", 77)
    tensors["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(positions)[None]
    return tensors


def sort_metadata(file: Path) -> None:
    """safetensors writes metadata in an order that changes from run to run; the same file shall come out each time."""
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])
