"""Seconds of torch and diffusers for the work of bench/engine.ts: one line of JSON.

    python bench/peers.py --model FOLDER --dtype float32 | bfloat16 --threads N --steps N --size 512

The networks are those of diffusers and transformers, with the weights of a folder in diffusers' layout, channels last.
A step is one call of the UNet for a guided picture (batch 2), as samplers make it. `import diffusers` must work.
"""

import argparse
import json
import os
import resource
import time

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--dtype", choices=["float32", "bfloat16"], required=True)
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--size", type=int, default=512)
given = parser.parse_args()

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

torch.set_num_threads(given.threads)
dtype = getattr(torch, given.dtype)


def config_of(part):
    with open(os.path.join(given.model, part, "config.json")) as file:
        return json.load(file)


def ready(module, part, name="diffusion_pytorch_model"):
    weights = load_file(os.path.join(given.model, part, f"{name}.safetensors"))
    shapes = {key: value.shape for key, value in module.state_dict().items()}
    # projections of a single file are 1x1 convolutions
    weights = {key: value.reshape(shapes.get(key, value.shape)) for key, value in weights.items()}
    missing, left = module.load_state_dict(weights, strict=False, assign=True)
    # the encoder is not needed
    needed = [key for key in missing if not key.startswith(("encoder.", "quant_conv.")) and "position_ids" not in key]
    if needed or left:
        raise SystemExit(f"{part}: missing {needed[:3]}, left over {left[:3]}")
    return module


def converted(module):
    return module.to(dtype).to(memory_format=torch.channels_last).eval()


def without_memory(make):
    with torch.device("meta"):
        return make()


began = time.perf_counter()
text = without_memory(lambda: CLIPTextModel(CLIPTextConfig(**config_of("text_encoder"))))
embeddings = getattr(text, "text_model", text).embeddings
embeddings.position_ids = torch.arange(77).expand(1, -1)
prefix = any(key.startswith("text_model.") for key in text.state_dict())
stored = load_file(os.path.join(given.model, "text_encoder", "model.safetensors"))
stored = {key if prefix else key.removeprefix("text_model."): value for key, value in stored.items()}
text.load_state_dict(stored, strict=False, assign=True)
text = text.to(dtype).eval()
unet = converted(ready(without_memory(lambda: UNet2DConditionModel(**config_of("unet"))), "unet"))
vae_config = config_of("vae")
blocks = len(vae_config["block_out_channels"])
vae = without_memory(
    lambda: AutoencoderKL(
        **vae_config,
        down_block_types=["DownEncoderBlock2D"] * blocks,
        up_block_types=["UpDecoderBlock2D"] * blocks,
    )
)
vae = ready(vae, "vae")
vae.encoder = None
vae.quant_conv = None
vae = converted(vae)
load = time.perf_counter() - began

side = given.size // 8
torch.manual_seed(7)
sample = torch.randn(1, 4, side, side)
steps = []
with torch.inference_mode():
    for index in range(given.steps + 1):
        wall, processor = time.perf_counter(), time.process_time()
        if index == 0:
            states = text(torch.randint(0, 40_000, (2, 77)))[0]
        pair = sample.repeat(2, 1, 1, 1).to(dtype).contiguous(memory_format=torch.channels_last)
        without, wanted = unet(pair, 999 - index, states).sample.float().chunk(2)
        guided = without + 7 * (wanted - without)
        steps.append((time.perf_counter() - wall, time.process_time() - processor))
    latent = sample.to(dtype).contiguous(memory_format=torch.channels_last)
    wall = time.perf_counter()
    vae.decode(latent).sample.float()
    decode = time.perf_counter() - wall

later = sorted(steps[1:])[len(steps[1:]) // 2]
print(
    json.dumps(
        {
            "cpuPerWall": later[1] / later[0],
            "loadSeconds": load,
            "firstStepSeconds": steps[0][0],
            "stepSeconds": later[0],
            "decodeSeconds": decode,
            "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
    )
)
