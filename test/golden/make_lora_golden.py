"""Writes small LoRAs for tiny-sd, and what the text encoder and the UNet make of their inputs with them.

    python make_lora_golden.py --model tiny-sd

The LoRAs go to parity/loras/, the numbers to lora-golden.safetensors. Nothing that knows LoRAs takes part: to each weight W
its change strength * alpha / rank * up @ down is added in plain torch (for convolutions over the channels, pixel by pixel),
and diffusers and transformers run what comes out. Inputs are those of golden.safetensors: `unet.16x16.latents`, timestep 481,
`unet.text`, and the first row of `tokens`.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from parity.ldm_layout import unet_name
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel

HERE = Path(__file__).parent
LORAS = HERE / "parity" / "loras"

TIMESTEP = 481


@dataclass
class Change:
    """What a LoRA does to one layer. down [rank, in, ...kernel], or [rank, in] if there is a mid [rank, rank, ...kernel]."""

    down: Tensor
    up: Tensor
    mid: Tensor | None
    alpha: float | None

    def matrix(self) -> Tensor:
        rank = self.down.shape[0]
        scale = 1.0 if self.alpha is None else self.alpha / rank
        down, up = self.down.double(), self.up.double().flatten(1)
        if self.mid is not None:
            return scale * torch.einsum("op,pqkl,qi->oikl", up, self.mid.double(), down.flatten(1))
        return scale * torch.einsum("or,r...->o...", up, down)


@dataclass
class Recipe:
    seed: int
    rank: int
    conv_rank: int
    alpha: float | None
    dtype: torch.dtype
    unet: str
    text: str
    tucker: bool = False


RECIPES = {
    # kohya's names, half precision, other ranks and alphas for convolutions, some layers without alpha
    "kohya": Recipe(1, 4, 8, 2.0, torch.float16,
                    r"(down_blocks\.0|up_blocks\.3)\.attentions\.0.*attn[12]|mid_block.*(proj_in|proj_out|ff\.net)|"
                    r"down_blocks\.1\.resnets\.0|down_blocks\.0\.downsamplers|conv_in$", r"self_attn\.[qkv]_proj|fc1"),
    # PEFT's names, as diffusers writes them; alpha is the rank
    "peft": Recipe(2, 8, 4, None, torch.float32,
                   r"(down_blocks\.0|mid_block).*attn2\.to_(q|v|out\.0)|up_blocks\.1\.upsamplers|conv_out$", r"self_attn\.(q|out)_proj|fc2"),
    # the original code's names, odd ranks, convolutions as LyCORIS' three parts, bfloat16
    "ldm": Recipe(3, 3, 5, 4.0, torch.bfloat16,
                  r"(down_blocks\.1|up_blocks\.2)\.attentions\.1.*attn1|mid_block\.resnets\.1|up_blocks\.2\.(resnets\.0|upsamplers)|"
                  r"time_embedding", r"layers\.1\.self_attn", tucker=True),
}

CASES = {
    "kohya": {"kohya": 0.8},
    "peft": {"peft": -0.5},
    "ldm": {"ldm": 1.0},
    "together": {"kohya": 0.8, "peft": -0.5, "ldm": 0.3},
}


def layers_of(weights: dict[str, Tensor], pattern: str) -> dict[str, Tensor]:
    found = {key.removesuffix(".weight"): value for key, value in weights.items()
             if key.endswith(".weight") and value.ndim >= 2 and "embeddings." not in key}
    return {key: value for key, value in found.items() if re.search(pattern, key)}


def changes_of(recipe: Recipe, weights: dict[str, Tensor], pattern: str) -> dict[str, Change]:
    generator = torch.Generator("cpu").manual_seed(recipe.seed)
    normal = lambda *shape: torch.randn(shape, generator=generator)  # noqa: E731
    changes = {}
    for index, (key, weight) in enumerate(layers_of(weights, pattern).items()):
        out, channels, *kernel = weight.shape
        wide = kernel not in ([], [1, 1])
        rank = recipe.conv_rank if wide else recipe.rank
        tucker = recipe.tucker and wide
        down = normal(rank, channels, *([1] * len(kernel) if tucker else kernel))
        mid = normal(rank, rank, *kernel) / rank ** 0.5 if tucker else None
        up = normal(out, rank, *[1] * len(kernel)) * 0.5 * float(weight.float().std()) / rank ** 0.5
        # every third layer says no alpha
        alpha = None if recipe.alpha is None or index % 3 == 2 else recipe.alpha
        # computed from the numbers as the file rounds them
        down, up, mid = (None if value is None else value.to(recipe.dtype) for value in (down, up, mid))
        changes[key] = Change(down, up, mid, alpha)
    return changes


def kohya_name(part: str, key: str, _config: dict) -> str:
    return ("lora_unet_" if part == "unet" else "lora_te_") + key.replace(".", "_")


def ldm_name(part: str, key: str, config: dict) -> str:
    if part == "unet":
        return "lora_unet_" + unet_name(f"{key}.weight", config).removesuffix(".weight").replace(".", "_")
    return "lora_te1_" + key.replace(".", "_")


def peft_name(part: str, key: str, _config: dict) -> str:
    return f"{part}.{key}"


NAMES = {"kohya": kohya_name, "ldm": ldm_name, "peft": peft_name}


def write_lora(name: str, changes: dict[str, dict[str, Change]], config: dict) -> None:
    tensors: dict[str, Tensor] = {}
    ends = ("lora_A", "lora_B") if name == "peft" else ("lora_down", "lora_up")
    for part, layers in changes.items():
        for key, change in layers.items():
            layer = NAMES[name](part, key, config)
            tensors |= {f"{layer}.{ends[0]}.weight": change.down, f"{layer}.{ends[1]}.weight": change.up}
            if change.mid is not None:
                tensors[f"{layer}.lora_mid.weight"] = change.mid
            if change.alpha is not None:
                tensors[f"{layer}.alpha"] = torch.tensor(change.alpha, dtype=change.down.dtype)
    LORAS.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, LORAS / f"{name}.safetensors", {"format": "pt"})
    print(f"{name:10} {len(tensors)} tensors, {(LORAS / f'{name}.safetensors').stat().st_size} bytes")


def changed(weights: dict[str, Tensor], used: list[tuple[float, dict[str, Change]]]) -> dict[str, Tensor]:
    out = {key: value.double() if value.is_floating_point() else value for key, value in weights.items()}
    for strength, changes in used:
        for key, change in changes.items():
            out[f"{key}.weight"] = out[f"{key}.weight"] + strength * change.matrix().reshape(out[f"{key}.weight"].shape)
    return out


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a folder in diffusers layout")
    model = parser.parse_args().model
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    config = json.loads((model / "unet" / "config.json").read_text())
    weights = {"unet": load_file(model / "unet" / "diffusion_pytorch_model.safetensors"),
               "text_encoder": load_file(model / "text_encoder" / "model.safetensors")}
    changes = {name: {"unet": changes_of(recipe, weights["unet"], recipe.unet),
                      "text_encoder": changes_of(recipe, weights["text_encoder"], recipe.text)}
               for name, recipe in RECIPES.items()}
    for name, parts in changes.items():
        write_lora(name, parts, config)

    unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.float32).double()
    text = CLIPTextModel.from_pretrained(model / "text_encoder", torch_dtype=torch.float32).double()
    keys = {key.removeprefix("text_model."): key for key in text.state_dict()}
    golden = load_file(HERE / "golden.safetensors")
    latents, states = golden["unet.16x16.latents"].double(), golden["unet.text"].double()
    tokens = golden["tokens"][:1].long()
    out: dict[str, Tensor] = {}
    for case, strengths in CASES.items():
        used = {part: [(strength, changes[name][part]) for name, strength in strengths.items()] for part in weights}
        unet.load_state_dict(changed(weights["unet"], used["unet"]))
        changed_text = changed(weights["text_encoder"], used["text_encoder"])
        text.load_state_dict({keys[key.removeprefix("text_model.")]: value for key, value in changed_text.items()
                              if "position_ids" not in key}, strict=False)
        out[f"{case}.unet"] = unet(latents, TIMESTEP, states).sample
        out[f"{case}.text"] = text(tokens).last_hidden_state
        for part, plain in (("unet", golden["unet.16x16.noise_pred"]), ("text", golden["text_embeddings"][:1])):
            away = (out[f"{case}.{part}"] - plain).abs().max() / plain.abs().max()
            print(f"{case}.{part}: {float(away):.2g} away from no LoRA")
    save_file({key: value.float().contiguous() for key, value in out.items()}, HERE / "lora-golden.safetensors", {"format": "pt"})
    (HERE / "lora-golden.json").write_text(json.dumps({"cases": CASES}, indent=1) + "\n")


if __name__ == "__main__":
    main()
