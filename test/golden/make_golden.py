"""Writes the numbers that the engine's tests compare with: what diffusers and transformers make of the same checkpoint.

    python make_golden.py numbers --model tiny-sd --out golden.safetensors
    python make_golden.py picture --model FOLDER --prompt "a red apple" --seed 7 --steps 20 --guidance 5 --out FILE.safetensors

`numbers` writes every stage and four pictures, `picture` one picture of any diffusers folder. Both write tensors to
FILE.safetensors and everything that is not a tensor to FILE.json. Weights are read at the precision of their file and
computed with in float32 on one thread of the CPU. Each result is computed a second time in float64, and FILE.json tells
under `float64_difference` how far the two are apart: a test cannot ask for less than that.
README.md says what each tensor holds.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import platform
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

warnings.filterwarnings("ignore")
import diffusers  # noqa: E402
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline  # noqa: E402

DIFFUSERS_COMMIT = "58eb52c0803ea9af3abec60841c2a093bdf1f951"

PROMPTS = {
    "plain": "a red apple on a wooden table",
    "empty": "",
    "upper case": "A RED Apple, STUDIO Photo",
    "punctuation": "red apple (close-up), [soft] light; 100% fresh!!! --v 5 <b>&amp;",
    "numbers": "3 bottles, 1024x768, f/1.8, 2026-11-22",
    "apostrophes": "don't the person's cup we'll they've I'm you're he'd 'quoted' it’s",
    "accents": "crème brûlée à la façon de Zoë, Ångström",
    "decomposed accents": "cafe\u0301 u\u0308ber A\u030angstro\u0308m",
    "other scripts": "красное яблоко 赤いりんご تفاحة ½ Ⅷ ٣",
    "emoji": "a red apple 🍎 on a table 👩🏽‍🍳✨",
    "spaces": "  a   red\t\tapple\n on\u00a0a  table  ",
    "long": "a red apple and a green pear and a yellow lemon on a wooden table in soft morning light, " * 6,
    "special tokens": "a red <|endoftext|> apple <|startoftext|> box",
    "one word": "watermelon-pomegranate_juice",
}
TEXTS = ("plain", "empty", "long")
NEGATIVE = "blurry, dark"
TIMESTEPS = (0, 1, 20, 481, 999)
UNET_CALLS = (((16, 16), 481), ((12, 20), 999), ((9, 13), 20))
RANDN_SEEDS = (0, 7, 2**32 - 1, 2**32 + 7)
RANDN_SIZES = (16, 17, 100, 1024)


@dataclass
class Request:
    prompt: str
    negative: str
    seed: int
    steps: int
    guidance: float
    width: int
    height: int
    prediction_type: str | None = None


PICTURES = {
    "square": Request("a red apple", NEGATIVE, 7, 20, 7.5, 128, 128),
    "wide": Request("a blue box", NEGATIVE, 8, 20, 7.5, 104, 72),
    "unguided": Request("a red apple", "", 7, 20, 1.0, 128, 128),
    "v_prediction": Request("a red apple", NEGATIVE, 7, 20, 7.5, 128, 128, "v_prediction"),
}


class Golden:
    """The tensors, and what is told about them in the JSON file."""

    def __init__(self, model: Path) -> None:
        self.single = load(model, torch.float32)
        self.double = load(model, torch.float64)
        self.tensors: dict[str, Tensor] = {}
        self.differences: dict[str, float] = {}

    def add(self, name: str, tensor: Tensor, exact: Tensor | None = None) -> None:
        """`exact` is the same computed in float64; what is noted is relative to the largest value."""
        self.tensors[name] = tensor.detach().contiguous().clone()
        if exact is not None:
            self.differences[name] = float((tensor - exact).abs().max() / exact.abs().max())

    def write(self, out: Path, model: Path, told: dict[str, object]) -> None:
        save_file(self.tensors, out, {"format": "pt"})
        versions = {name: importlib.metadata.version(name) for name in
                    ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pillow")}
        record = {
            "command": " ".join(["python", *(quoted(Path(arg).name if arg.startswith("/") else arg) for arg in sys.argv)]),
            "versions": {"python": platform.python_version(), **versions, "diffusers": diffusers.__version__,
                         "diffusers_commit": DIFFUSERS_COMMIT},
            "weights_sha256": {str(file.relative_to(model)): hashlib.sha256(file.read_bytes()).hexdigest()
                               for file in sorted(model.glob("*/*.safetensors"))},
            "tensors": {name: {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}
                        for name, tensor in self.tensors.items()},
            "float64_difference": {name: float(f"{value:.2g}") for name, value in self.differences.items()},
            **told,
        }
        out.with_suffix(".json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for name, tensor in self.tensors.items():
            note = f"  float64 differs by {self.differences[name]:.1e}" if name in self.differences else ""
            print(f"{name:40} {str(tuple(tensor.shape)):22}{note}")


def quoted(argument: str) -> str:
    return json.dumps(argument, ensure_ascii=False) if " " in argument or not argument else argument


def load(model: Path, dtype: torch.dtype) -> StableDiffusionPipeline:
    # float32 first, whatever the file holds; float64 then widens the very same numbers.
    pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32).to(dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tokenize(pipeline: StableDiffusionPipeline, prompts: list[str]) -> Tensor:
    length = pipeline.tokenizer.model_max_length
    return pipeline.tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))


def smooth(latents: Tensor) -> Tensor:
    """Noise with structure: neighbours are alike, and each channel keeps a spread near 1."""
    return 3 * torch.nn.functional.avg_pool2d(latents, 3, stride=1, padding=1)


# The stages.


def add_text(golden: Golden) -> Tensor:
    golden.add("tokens", tokenize(golden.single, list(PROMPTS.values())).int())
    ids = tokenize(golden.single, [PROMPTS[name] for name in TEXTS])
    embeddings = golden.single.text_encoder(ids).last_hidden_state
    golden.add("text_embeddings", embeddings, golden.double.text_encoder(ids).last_hidden_state)
    return embeddings


def add_time(golden: Golden) -> None:
    times = torch.tensor(TIMESTEPS)
    golden.add("time.timesteps", times.int())
    waves = golden.single.unet.time_proj(times)
    golden.add("time.waves", waves)
    golden.add("time.embedding", golden.single.unet.time_embedding(waves), golden.double.unet.time_embedding(waves.double()))


def add_unet(golden: Golden, embeddings: Tensor) -> None:
    text = embeddings[[TEXTS.index("empty"), TEXTS.index("plain")]]
    golden.add("unet.text", text)
    for (height, width), timestep in UNET_CALLS:
        name = f"unet.{height}x{width}"
        latents = normal(timestep, 2, golden.single.unet.config.in_channels, height, width)
        watched = watch(golden.single.unet, ["conv_in", "down_blocks.0", "down_blocks.1", "down_blocks.2", "down_blocks.3",
                                             "mid_block", "up_blocks.0", "up_blocks.1", "up_blocks.2", "up_blocks.3"])
        noise = golden.single.unet(latents, timestep, text).sample
        golden.add(f"{name}.latents", latents)
        golden.add(f"{name}.timestep", torch.tensor([timestep], dtype=torch.int32))
        golden.add(f"{name}.noise_pred", noise, golden.double.unet(latents.double(), timestep, text.double()).sample)
        if (height, width) == (16, 16):
            for part, value in watched.items():
                golden.add(f"{name}.inside.{part}", value)


def watch(model: torch.nn.Module, parts: list[str]) -> dict[str, Tensor]:
    """Fills in, during the next call of the model, what each of its parts returns."""
    seen: dict[str, Tensor] = {}

    def keep(part: str):
        def hook(_module: torch.nn.Module, _args: object, output: Tensor | tuple[Tensor, ...]) -> None:
            seen[part] = output[0] if isinstance(output, tuple) else output
            hooks[part].remove()
        return hook

    hooks = {part: model.get_submodule(part).register_forward_hook(keep(part)) for part in parts}
    return seen


def add_vae(golden: Golden) -> None:
    scale = golden.single.vae.config.scaling_factor
    for height, width in ((16, 16), (9, 13)):
        name = f"vae_decode.{height}x{width}"
        latents = smooth(normal(height, 1, golden.single.vae.config.latent_channels, height, width)) / scale
        watched = watch(golden.single.vae.decoder, ["mid_block", "up_blocks.0"])
        golden.add(f"{name}.latents", latents)
        golden.add(f"{name}.image", golden.single.vae.decode(latents).sample, golden.double.vae.decode(latents.double()).sample)
        if (height, width) == (16, 16):
            for part, value in watched.items():
                golden.add(f"{name}.inside.{part}", value)
    for picture in ("square", "wide"):
        pixels = golden.tensors[f"picture.{picture}.pixels"]
        image = (pixels.permute(2, 0, 1)[None].float() / 127.5) - 1
        single, double = (pipeline.vae.encode(image.to(pipeline.vae.dtype)).latent_dist for pipeline in (golden.single, golden.double))
        golden.add(f"vae_encode.{picture}.mean", single.mean, double.mean)
        golden.add(f"vae_encode.{picture}.logvar", single.logvar, double.logvar)


def add_randn(golden: Golden) -> dict[str, dict[str, float | list[float]]]:
    summary: dict[str, dict[str, float | list[float]]] = {}
    for seed in RANDN_SEEDS:
        for size in RANDN_SIZES:
            values = normal(seed, size)
            golden.add(f"randn.{seed}.{size}", values)
            summary[f"{seed}.{size}"] = {"first": values[:4].tolist(), "last": values[-4:].tolist(),
                                         "sum": float(values.double().sum())}
    return summary


# Pictures.


def add_picture(golden: Golden, name: str, request: Request) -> dict[str, object]:
    single, double = (paint(pipeline, request) for pipeline in (golden.single, golden.double))
    golden.add(f"{name}.noise", single["noise"])
    golden.add(f"{name}.timesteps", single["timesteps"])
    golden.add(f"{name}.sigmas", single["sigmas"])
    golden.add(f"{name}.noise_pred", single["noise_pred"], double["noise_pred"])
    golden.add(f"{name}.latents", single["latents"], double["latents"])
    golden.add(f"{name}.pixels", single["pixels"])
    off = (single["pixels"].int() - double["pixels"].int()).abs()
    return {
        "request": asdict(request),
        "latents_mean": [round(float(step.mean()), 6) for step in single["latents"]],
        "latents_std": [round(float(step.std()), 6) for step in single["latents"]],
        "float64_pixels": {"largest_difference": int(off.max()), "share_that_differs": round(float((off > 0).float().mean()), 6)},
    }


def paint(pipeline: StableDiffusionPipeline, request: Request) -> dict[str, Tensor]:
    kind = {"prediction_type": request.prediction_type} if request.prediction_type else {}
    own = pipeline.scheduler
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(own.config, use_karras_sigmas=True, **kind)
    shape = (1, pipeline.unet.config.in_channels, request.height // pipeline.vae_scale_factor, request.width // pipeline.vae_scale_factor)
    # This is what the pipeline itself draws from a generator with this seed; drawn here so that float64 starts equal.
    noise = normal(request.seed, *shape)
    steps: list[Tensor] = []

    def after_step(_pipeline: object, _step: int, _timestep: Tensor, values: dict[str, Tensor]) -> dict[str, Tensor]:
        steps.append(values["latents"][0].clone())
        return values

    calls: list[Tensor] = []
    hook = pipeline.unet.register_forward_hook(lambda _module, _args, output: calls.append(output[0].clone()))
    picture = pipeline(
        request.prompt, negative_prompt=request.negative, num_inference_steps=request.steps, guidance_scale=request.guidance,
        width=request.width, height=request.height, latents=noise.to(pipeline.unet.dtype), output_type="pil",
        callback_on_step_end=after_step).images[0]
    hook.remove()
    result = {
        "noise": noise,
        "timesteps": pipeline.scheduler.timesteps.int(),
        "sigmas": pipeline.scheduler.sigmas.float(),
        "noise_pred": calls[0],
        "latents": torch.stack(steps),
        "pixels": torch.from_numpy(np.array(picture)),
    }
    pipeline.scheduler = own
    return result


# Commands.


def numbers(arguments: argparse.Namespace) -> None:
    golden = Golden(arguments.model)
    embeddings = add_text(golden)
    add_time(golden)
    add_unet(golden, embeddings)
    pictures = {name: add_picture(golden, f"picture.{name}", request) for name, request in PICTURES.items()}
    check_seed(golden)
    add_vae(golden)
    randn = add_randn(golden)
    tokens = golden.tensors["tokens"].tolist()
    golden.write(arguments.out, arguments.model, {
        "prompts": [{"name": name, "prompt": prompt, "tokens": row,
                     "tokens_uncut": golden.single.tokenizer(prompt, verbose=False).input_ids}
                    for (name, prompt), row in zip(PROMPTS.items(), tokens)],
        "text_embeddings_rows": list(TEXTS),
        "pictures": pictures,
        "randn": randn,
    })


def check_seed(golden: Golden) -> None:
    """The pipeline, left alone with a generator, gives the picture that is written down."""
    request = PICTURES["square"]
    alone = golden.single(
        request.prompt, negative_prompt=request.negative, num_inference_steps=request.steps, guidance_scale=request.guidance,
        width=request.width, height=request.height, generator=torch.Generator("cpu").manual_seed(request.seed)).images[0]
    assert np.array_equal(np.array(alone), golden.tensors["picture.square.pixels"].numpy())


def picture(arguments: argparse.Namespace) -> None:
    golden = Golden(arguments.model)
    side = json.loads((arguments.model / "unet" / "config.json").read_text())["sample_size"] * golden.single.vae_scale_factor
    request = Request(arguments.prompt, arguments.negative, arguments.seed, arguments.steps, arguments.guidance,
                      arguments.width or side, arguments.height or side)
    golden.add("tokens", tokenize(golden.single, [request.negative, request.prompt]).int())
    ids = golden.tensors["tokens"].long()
    golden.add("text_embeddings", golden.single.text_encoder(ids).last_hidden_state, golden.double.text_encoder(ids).last_hidden_state)
    told = add_picture(golden, "picture", request)
    golden.write(arguments.out, arguments.model, {"picture": told})


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for command in (numbers, picture):
        sub = commands.add_parser(command.__name__)
        sub.set_defaults(run=command)
        sub.add_argument("--model", type=Path, required=True, help="a folder in diffusers layout")
        sub.add_argument("--out", type=Path, required=True, help="FILE.safetensors; FILE.json is written beside it")
        if command is picture:
            sub.add_argument("--prompt", required=True)
            sub.add_argument("--negative", default="")
            sub.add_argument("--seed", type=int, default=7)
            sub.add_argument("--steps", type=int, default=20)
            sub.add_argument("--guidance", type=float, default=7.5)
            sub.add_argument("--width", type=int, help="default: what the model was made for")
            sub.add_argument("--height", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
