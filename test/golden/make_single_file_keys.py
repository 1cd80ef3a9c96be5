"""Keys and shapes of a full Stable Diffusion 1.5 checkpoint as one file, with diffusers' name of each.

The modules are made by diffusers and transformers on torch's meta device (no weights), named as in a single file by
parity/ldm_layout.py, and given to diffusers' own convert_ldm_unet_checkpoint and convert_ldm_vae_checkpoint
(loaders/single_file_utils.py): each must come back under the name that it had.

    python make_single_file_keys.py --out single-file-keys.json.gz
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from transformers import CLIPTextConfig, CLIPTextModel

sys.path.insert(0, str(Path(__file__).parent / "parity"))
from ldm_layout import unet_name, vae_name, vae_tensor  # noqa: E402

UNET = {"cross_attention_dim": 768, "attention_head_dim": 8}
VAE = {
    "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4, "sample_size": 512,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
}
TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}


def rows(part: str, prefix: str, named: dict[str, tuple[str, torch.Tensor]]) -> list[list]:
    return [[part, prefix + ldm, key, list(tensor.shape)] for key, (ldm, tensor) in named.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
        vae = AutoencoderKL(**VAE)
        text = CLIPTextModel(CLIPTextConfig(**TEXT))

    named_unet = {key: (unet_name(key, unet.config), value) for key, value in unet.state_dict().items()}
    single = {f"model.diffusion_model.{ldm}": value for ldm, value in named_unet.values()}
    back = convert_ldm_unet_checkpoint(single, unet.config)
    assert {key: id(value) for key, value in back.items()} == {key: id(value) for key, (_, value) in named_unet.items()}

    named_vae = {}
    for key, value in vae.state_dict().items():
        name = vae_name(key, vae.config)
        named_vae[key] = (name, vae_tensor(name, value))
    # numbers that tell which tensor came back, since it may have lost two axes on the way
    numbers = {ldm: torch.full(value.shape, index, device="cpu", dtype=torch.int16) for index, (ldm, value) in enumerate(named_vae.values())}
    back = convert_ldm_vae_checkpoint({f"first_stage_model.{ldm}": value for ldm, value in numbers.items()}, vae.config)
    assert {key: value.flatten()[0].item() for key, value in back.items()} == {key: index for index, key in enumerate(named_vae)}

    # recent transformers leave out the class's own prefix, which every file of SD 1.x has
    named_text = {}
    for key, value in text.state_dict().items():
        full = key if key.startswith("text_model.") else f"text_model.{key}"
        if not full.endswith("position_ids"):
            named_text[full] = (full, value)

    content = {
        "made_by": {"diffusers": diffusers.__version__, "transformers": transformers.__version__, "torch": torch.__version__},
        "rows": rows("unet", "model.diffusion_model.", named_unet)
        + rows("vae", "first_stage_model.", named_vae)
        + rows("text", "cond_stage_model.transformer.", named_text),
    }
    text_form = json.dumps(content, separators=(",", ":")).encode()
    out.write_bytes(gzip.compress(text_form, mtime=0))
    print(len(content["rows"]), "keys,", out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
