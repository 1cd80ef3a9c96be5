"""Writes tiny-sd: a whole Stable Diffusion 1.x checkpoint in diffusers layout, small enough to keep in the repository.

    python make_tiny_sd.py --out tiny-sd

The weights start random, from one seed, at a scale that keeps activations near 1, norms and biases included. A few hundred
steps on drawn pictures then make the numbers mean something: noise goes to a picture that has shapes and fills the range
from 0 to 255, and a sampler's path converges instead of blowing rounding errors up. It is no good at drawing.
The architecture is that of Stable Diffusion 1.5, with its quirks: `attention_head_dim` is the *number* of heads, the
levels differ in channels (so some resnets have a `conv_shortcut` and some do not), `pad_token_id` is not the id that
prompts are padded with, and the text encoder's file holds an int64 `position_ids` that nothing reads.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Callable, Iterable

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SEED = 15
SCALING = 0.18215
SIDE = 128
PICTURES = 128
BATCH = 16
START, END = "<|startoftext|>", "<|endoftext|>"
VOCABULARY = 800

COLOURS = {
    "red": (.82, .10, .10), "green": (.15, .60, .20), "blue": (.12, .25, .80), "yellow": (.93, .80, .12),
    "white": (.95, .95, .95), "black": (.06, .06, .07), "orange": (.95, .50, .08), "purple": (.50, .16, .62),
}
KINDS = ("apple", "box", "bottle")

# What the byte pairs are learnt from: the words people use for product photos, more frequent ones first.
WORDS = """a the of on in with and photo red apple green blue yellow white black orange purple bottle box jar cup mug
product studio background light soft lighting shadow table wooden glass photograph high quality detailed professional
pear lemon banana tomato carrot pepper cherry grape strawberry fruit vegetable vase lamp chair shoe watch camera bag
close up view front side top floating marble plain clean simple minimal bright dark blurry low bad ugly deformed text
watermark sharp focus depth field macro shot commercial advertising packaging cardboard metal plastic ceramic leather
fabric cotton silver gold brown pink grey small large tall round square old new fresh ripe shiny matte glossy standing
lying two three four one isolated reflection render realistic style modern vintage colour color it is are not don't
person's flower plant leaf water drops morning evening summer winter coffee tea milk juice wine bread cheese cake""".split()

UNET = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.40.0",
    "act_fn": "silu",
    "attention_head_dim": 4,
    "block_out_channels": [16, 24, 32, 32],
    "center_input_sample": False,
    "cross_attention_dim": 32,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 8,
    "out_channels": 4,
    "sample_size": 16,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
}
VAE = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.40.0",
    "act_fn": "silu",
    "block_out_channels": [16, 16, 24, 24],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 8,
    "out_channels": 3,
    "sample_size": SIDE,
    "scaling_factor": SCALING,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
TEXT = {
    "architectures": ["CLIPTextModel"],
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dropout": 0.0,
    "eos_token_id": 2,
    "hidden_act": "quick_gelu",
    "hidden_size": 32,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "intermediate_size": 64,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "pad_token_id": 1,
    "projection_dim": 32,
    "torch_dtype": "float32",
    "vocab_size": VOCABULARY,
}
MODEL_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.40.0",
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# The tokenizer.


def byte_characters() -> list[str]:
    """One printable character for each of the 256 bytes, in the order in which CLIP's vocabulary lists them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(rest))]


def learn_merges(count: int) -> list[tuple[str, str]]:
    words = Counter({(*word[:-1], word[-1] + "</w>"): 1 + (len(WORDS) - i) for i, word in enumerate(WORDS)})
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, weight in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += weight
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = Counter({merge(word, best): weight for word, weight in words.items()})
    return merges


def merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for piece in word:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return tuple(out)


def write_tokenizer(folder: Path) -> CLIPTokenizer:
    characters = byte_characters()
    alphabet = characters + [c + "</w>" for c in characters]
    merges = learn_merges(VOCABULARY - len(alphabet) - 2)
    pieces = alphabet + [a + b for a, b in merges] + [START, END]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    assert len(vocabulary) == VOCABULARY, "a piece stands twice in the vocabulary"

    write_json(folder / "special_tokens_map.json", {
        "bos_token": special(START), "eos_token": special(END), "pad_token": END, "unk_token": special(END)})
    write_json(folder / "tokenizer_config.json", {
        "add_prefix_space": False,
        "bos_token": {"__type": "AddedToken", **special(START)},
        "do_lower_case": True,
        "eos_token": {"__type": "AddedToken", **special(END)},
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": END,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": {"__type": "AddedToken", **special(END)}})
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.save_pretrained(scratch)
        write_json(folder / "tokenizer.json", json.loads(Path(scratch, "tokenizer.json").read_text(encoding="utf-8")))
    return CLIPTokenizer.from_pretrained(folder)


def special(content: str) -> dict[str, object]:
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


# Random weights.


@torch.no_grad()
def randomize(model: nn.Module, generator: torch.Generator) -> None:
    """Every weight from the generator; each layer keeps the size of what goes through it near 1."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            value = noise * 0.2 + (1.0 if name.endswith("weight") else 0.0)
        elif "embedding.weight" in name:
            value = noise * (0.3 if "position" in name else 0.6)
        elif parameter.ndim == 1:
            value = noise * 0.1
        else:
            value = noise * gain(name) / math.sqrt(parameter[0].numel())
        parameter.copy_(value)


def gain(name: str) -> float:
    if any(key in name for key in ("to_q", "to_k", "q_proj", "k_proj")):
        return 1.4  # attention that looks at some places more than at others
    if any(key in name for key in ("to_out", "out_proj", "fc2", "ff.net.2", "proj_out", "conv2")):
        return 0.6  # the end of a residual branch
    if any(key in name for key in ("conv1", "time_emb_proj", "linear_2")):
        return 1.5  # what comes after SiLU, which shrinks
    return 1.0


# Pictures to train on.


def draw(generator: torch.Generator) -> tuple[Tensor, list[str]]:
    """Pictures in [-1, 1] of one lit thing on a background that fades, and the words for each."""
    pictures, prompts = [], []
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    for i in range(PICTURES):
        r = torch.rand(12, generator=generator).tolist()
        colour, kind = list(COLOURS)[i % len(COLOURS)], KINDS[(i // len(COLOURS)) % len(KINDS)]
        cx, cy, size = 0.5 * (r[0] - 0.5), 0.3 * (r[1] - 0.2), 0.38 + 0.22 * r[2]
        dx, dy = (x - cx) / size, (y - cy) / size
        if kind == "apple":
            inside, light = 1 - torch.hypot(dx, dy), 1.15 - 0.5 * torch.hypot(dx + 0.4, dy + 0.5)
        elif kind == "box":
            inside, light = 1 - torch.maximum(dx.abs(), dy.abs() * 1.2), torch.where(dx < 0.2, 1.0, 0.62)
        else:
            width = torch.where(dy < -0.5, 0.25, 0.5)
            inside, light = torch.minimum(width - dx.abs(), 1.25 - dy.abs()), 1.05 - 0.9 * (dx + 0.15).abs()
        cover = (inside * size * SIDE / 2).clamp(0, 1)
        back = torch.tensor([0.35 + 0.6 * r[3], 0.35 + 0.6 * r[4], 0.35 + 0.6 * r[5]])[:, None, None] * (0.85 - 0.25 * y)
        shadow = 1 - 0.5 * torch.exp(-(dx ** 2) - 14 * (dy - 1) ** 2)
        thing = torch.tensor(COLOURS[colour])[:, None, None] * light
        pictures.append((back * shadow * (1 - cover) + thing * cover).clamp(0, 1) * 2 - 1)
        prompts.append(f"a {colour} {kind}")
    return torch.stack(pictures), prompts


# A short training.


def train(what: str, parameters: Iterable[nn.Parameter], steps: int, loss: Callable[[], Tensor]) -> None:
    parameters = list(parameters)
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    recent = 0.0
    for step in range(steps):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        recent = value.item() if step == 0 else 0.95 * recent + 0.05 * value.item()
        if (step + 1) % 100 == 0:
            print(f"{what}: step {step + 1} of {steps}, loss {recent:.4f}", flush=True)


def wanted_latents(pictures: Tensor) -> Tensor:
    """Brightness, two differences of colour and the slope of the brightness of each 8x8 tile, as large as SD's latents."""
    tiles = nn.functional.avg_pool2d(pictures, 8)
    fine = nn.functional.avg_pool2d(pictures.mean(1, keepdim=True), (8, 4))
    latents = torch.cat([tiles.mean(1, keepdim=True), tiles[:, :1] - tiles[:, 1:2], tiles[:, 2:] - tiles[:, 1:2],
                         fine[..., 1::2] - fine[..., ::2]], 1)
    return (latents - latents.mean((0, 2, 3), keepdim=True)) / latents.std((0, 2, 3), keepdim=True) / SCALING


def train_vae(vae: AutoencoderKL, pictures: Tensor, steps: int, generator: torch.Generator) -> None:
    """The encoder learns the latents above, the decoder learns to draw the picture again from them."""
    latents = wanted_latents(pictures)

    def loss() -> Tensor:
        rows = torch.randint(len(pictures), (8,), generator=generator)
        y, x = torch.randint(0, 9, (2,), generator=generator).tolist()
        crop, wanted = pictures[rows, :, y * 8:y * 8 + 64, x * 8:x * 8 + 64], latents[rows, :, y:y + 8, x:x + 8]
        moments = torch.cat([wanted * SCALING, 0.1 * wanted.flip(1) - 3], 1)
        spread = vae.encode(crop).latent_dist
        made = torch.cat([spread.mean * SCALING, spread.logvar], 1)
        noisy = wanted + 0.3 * torch.randn(wanted.shape, generator=generator)
        return nn.functional.mse_loss(made, moments) + 4 * nn.functional.mse_loss(vae.decode(noisy).sample, crop)

    train("VAE", vae.parameters(), steps, loss)


def train_unet(unet: UNet2DConditionModel, scheduler: DPMSolverMultistepScheduler, latents: Tensor, words: Tensor,
               no_words: Tensor, steps: int, generator: torch.Generator) -> None:
    def loss() -> Tensor:
        rows = torch.randint(len(latents), (BATCH,), generator=generator)
        noise = torch.randn(latents[rows].shape, generator=generator)
        times = torch.randint(1000, (BATCH,), generator=generator)
        text = torch.where((torch.rand(BATCH, generator=generator) < 0.2)[:, None, None], no_words, words[rows])
        made = unet(scheduler.add_noise(latents[rows], noise, times), times, text).sample
        return nn.functional.mse_loss(made, noise)

    train("UNet", unet.parameters(), steps, loss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; what is in it is replaced")
    out = parser.parse_args().out
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    shutil.rmtree(out, ignore_errors=True)
    generator = torch.Generator("cpu").manual_seed(SEED)

    write_json(out / "model_index.json", MODEL_INDEX)
    tokenizer = write_tokenizer(out / "tokenizer")

    scheduler = DPMSolverMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="epsilon",
        solver_order=2, algorithm_type="dpmsolver++", solver_type="midpoint", use_karras_sigmas=True, steps_offset=1)
    scheduler.save_pretrained(out / "scheduler")

    text = CLIPTextModel(CLIPTextConfig(**TEXT)).eval()
    randomize(text, generator)
    prefix = "" if any(key.startswith("text_model.") for key in text.state_dict()) else "text_model."
    tensors = {prefix + key: value.contiguous() for key, value in text.state_dict().items()}
    tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    write_json(out / "text_encoder" / "config.json", TEXT)
    save_file(tensors, out / "text_encoder" / "model.safetensors", {"format": "pt"})

    pictures, prompts = draw(generator)
    vae = AutoencoderKL.from_config(VAE).eval()
    randomize(vae, generator)
    vae.post_quant_conv.weight.data.mul_(SCALING)
    train_vae(vae, pictures, 400, generator)
    write_json(out / "vae" / "config.json", VAE)
    save_file(vae.state_dict(), out / "vae" / "diffusion_pytorch_model.safetensors", {"format": "pt"})

    ids = tokenizer([*prompts, ""], padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        words = text(ids).last_hidden_state
        latents = torch.cat([vae.encode(batch).latent_dist.mean * SCALING for batch in pictures.split(BATCH)])
    unet = UNet2DConditionModel.from_config(UNET).eval()
    randomize(unet, generator)
    train_unet(unet, scheduler, latents, words[:-1], words[-1:], 400, generator)
    write_json(out / "unet" / "config.json", UNET)
    halves = {key: value.half() for key, value in unet.state_dict().items()}
    save_file(halves, out / "unet" / "diffusion_pytorch_model.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
