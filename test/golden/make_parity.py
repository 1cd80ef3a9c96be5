"""Writes the small checkpoints that parity is measured with, and the pictures that diffusers makes of them.

    python make_parity.py assets      parity/tiny-fp16.safetensors, parity/embeddings/*, parity/loras/*
    python make_parity.py pictures    parity/pictures.safetensors and .json

parity/README.md says what each file holds. Pictures are made in float32 on one thread of the CPU, by diffusers' own
pipelines and schedulers, with the very numbers that the files hold. What diffusers cannot do itself (A1111's weights and
windows) comes from parity/a1111_prompt.py as `prompt_embeds`.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import importlib.metadata
import json
import platform
import re
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from parity.a1111_prompt import encode
from parity.ldm_layout import sort_metadata, to_ldm
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

warnings.filterwarnings("ignore")
import diffusers  # noqa: E402
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionPipeline  # noqa: E402
from parity.requests import Request, requests  # noqa: E402
from parity.schedulers import scheduler  # noqa: E402

DIFFUSERS_COMMIT = "58eb52c0803ea9af3abec60841c2a093bdf1f951"
HERE = Path(__file__).resolve().parent
PARITY = HERE / "parity"
TINY = HERE / "tiny-sd"
CHECKPOINT = PARITY / "tiny-fp16.safetensors"


def read_json(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def configs_of(model: Path) -> dict[str, dict]:
    files = {part: model / part / "config.json" for part in ("text_encoder", "unet", "vae")}
    return {part: read_json(file) for part, file in files.items()}


def metadata_of(model: Path) -> dict[str, str]:
    """What neither keys nor shapes of a small single file can tell."""
    configs = configs_of(model)
    architecture = {
        "heads": configs["unet"]["attention_head_dim"], "groups": configs["unet"]["norm_num_groups"],
        "text_heads": configs["text_encoder"]["num_attention_heads"], "vae_groups": configs["vae"]["norm_num_groups"],
        "scaling_factor": configs["vae"]["scaling_factor"], "sample_size": configs["unet"]["sample_size"],
        "prediction_type": read_json(model / "scheduler/scheduler_config.json")["prediction_type"],
    }
    tokenizer = json.dumps(read_json(model / "tokenizer/tokenizer.json"), ensure_ascii=False, separators=(",", ":"))
    return {"format": "pt", "packshot.architecture": json.dumps(architecture), "packshot.tokenizer": tokenizer}


# Assets.


def common(value: Tensor) -> Tensor:
    """Numbers that float32, bfloat16 and float16 all hold exactly, so that one picture serves for all of them."""
    if not value.is_floating_point():
        return value
    half = value.to(torch.bfloat16).half()
    assert torch.isfinite(half).all() and torch.equal(half.float(), half.to(torch.bfloat16).float())
    return half


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))


def write_embedding() -> None:
    """Three vectors as large as those of words, in the form of A1111 and in that of diffusers."""
    words = load_file(TINY / "text_encoder/model.safetensors")["text_model.embeddings.token_embedding.weight"]
    vectors = common(words[[320, 410, 500]] * 0.5 + normal(3, 3, words.shape[1]) * words.std()).float()
    (PARITY / "embeddings").mkdir(exist_ok=True)
    save_file({"emb_params": vectors}, PARITY / "embeddings/tinyneg.safetensors")
    save_file({"<tinyneg>": vectors.half()}, PARITY / "embeddings/tinyneg-diffusers.safetensors")


LORAS = {
    # name: (rank, alpha, seed, layers)
    "picture-a": (4, 4.0, 11, r"lora_unet_.*_attn2_to_(q|v|out_0)$|lora_te_.*_self_attn_(q|v)_proj$"),
    "picture-b": (4, 2.0, 12, r"lora_unet_(mid_block|up_blocks_1).*_attn1_to_(k|v)$|lora_te_.*_mlp_fc1$"),
}


def lora_targets(model: Path) -> dict[str, tuple[str, str, Tensor]]:
    """kohya's name of each attention and feed-forward layer -> (part, key, weight)."""
    found = {}
    for part, prefix, file in (("unet", "lora_unet_", "diffusion_pytorch_model"), ("text_encoder", "lora_te_", "model")):
        for key, value in load_file(model / part / f"{file}.safetensors").items():
            if key.endswith(".weight") and value.ndim == 2:
                name = key.removesuffix(".weight")
                found[prefix + name.replace(".", "_")] = (part, name, value)
    return found


def write_loras() -> None:
    (PARITY / "loras").mkdir(exist_ok=True)
    for name, (rank, alpha, seed, pattern) in LORAS.items():
        tensors: dict[str, Tensor] = {}
        for layer, (_, _, weight) in lora_targets(TINY).items():
            if not re.match(pattern, layer):
                continue
            rows, columns = weight.shape
            down = normal(seed + len(tensors), rank, columns) / columns ** 0.5
            up = normal(seed + 1000 + len(tensors), rows, rank) * float(weight.float().std()) * 0.7
            tensors |= {f"{layer}.lora_down.weight": down.half(), f"{layer}.lora_up.weight": up.half(),
                        f"{layer}.alpha": torch.tensor(alpha).half()}
        assert tensors
        save_file(tensors, PARITY / f"loras/{name}.safetensors")


FEW_LAYERS = r".*(to_q|to_k|to_v|to_out\.0|proj_in|proj_out|ff\.net\.0\.proj|ff\.net\.2|conv1|conv2|conv_shortcut|samplers\.0\.conv|time_emb_proj)$"


def write_few_step_loras() -> None:
    """All layers that the distillation scripts of diffusers change. `lcm` and `hyper` have kohya's names and alphas, in
    float16 and float32; `tcd` has those of PEFT, without alphas."""
    for seed, (kind, rank, alpha) in enumerate((("lcm", 2, 2.0), ("tcd", 2, None), ("hyper", 1, 0.5))):
        tensors: dict[str, Tensor] = {}
        for key, weight in load_file(TINY / "unet/diffusion_pytorch_model.safetensors").items():
            layer = key.removesuffix(".weight")
            if not key.endswith(".weight") or not re.match(FEW_LAYERS, layer):
                continue
            rows, columns, *kernel = weight.shape
            down = normal(500 + 100 * seed + len(tensors), rank, columns, *kernel) / (columns * max(1, len(kernel) * 4)) ** 0.5
            up = normal(900 + 100 * seed + len(tensors), rows, rank, *([1] * len(kernel))) * float(weight.float().std()) * 0.3
            if kind == "tcd":
                tensors |= {f"unet.{layer}.lora_A.weight": down.half(), f"unet.{layer}.lora_B.weight": up.half()}
                continue
            name, form = "lora_unet_" + layer.replace(".", "_"), (lambda x: x.half() if kind == "lcm" else x)
            tensors |= {f"{name}.lora_down.weight": form(down), f"{name}.lora_up.weight": form(up), f"{name}.alpha": form(torch.tensor(alpha))}
        save_file(tensors, PARITY / f"loras/few-{kind}.safetensors")


def assets(_arguments: argparse.Namespace) -> None:
    tensors = {key: common(value).contiguous() for key, value in to_ldm(TINY, configs_of(TINY)).items()}
    save_file(tensors, CHECKPOINT, metadata_of(TINY))
    sort_metadata(CHECKPOINT)
    write_embedding()
    write_loras()
    write_few_step_loras()
    for file in sorted(PARITY.rglob("*.safetensors")):
        print(f"{file.stat().st_size:9} {file.relative_to(HERE)}")


# Pictures.


class Models:
    """Pipelines in float32 by the name of a request's model; the weights of a variant come from the one file."""

    def __init__(self) -> None:
        self.tiny = self.read(TINY)
        single = StableDiffusionPipeline.from_single_file(
            str(CHECKPOINT), config=str(TINY), dtype=torch.float32, local_files_only=True)
        self.known = {"tiny-sd": self.tiny, "fp16": single, "v": single, "inpainting": self.widened(single),
                      "packshot-mini": self.read(HERE / "../../models/packshot-mini")}

    @staticmethod
    def read(folder: Path) -> StableDiffusionPipeline:
        return StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)

    @staticmethod
    def widened(single: StableDiffusionPipeline) -> StableDiffusionPipeline:
        """variants.ts makes the same five further channels."""
        unet = diffusers.UNet2DConditionModel.from_config(single.unet.config, in_channels=9)
        weights = dict(single.unet.state_dict())
        narrow = weights["conv_in.weight"]
        numbers = torch.arange(narrow.shape[0] * 5 * 9).reshape(narrow.shape[0], 5, 3, 3)
        weights["conv_in.weight"] = torch.cat([narrow, ((numbers * 40503 + 12345) % 255 - 127) / 1024], 1)
        unet.load_state_dict(weights)
        return StableDiffusionPipeline(**{**single.components, "unet": unet.eval()}, requires_safety_checker=False)

    def parts(self, request: Request, generator: torch.Generator) -> dict:
        """The components with VAE, LoRAs and scheduler of the request; what it changes is copied first."""
        parts = dict(self.known[request.model].components)
        if request.vae:
            parts["vae"] = copy.deepcopy(self.tiny.vae if request.vae == "vae-diffusers" else parts["vae"])
            for layer in (parts["vae"].encoder.conv_in, parts["vae"].decoder.conv_out):
                layer.weight.data *= 0.5
        if request.loras:
            parts |= {name: copy.deepcopy(parts[name]) for name in ("unet", "text_encoder")}
            for lora in request.loras:
                if "/few-" in lora["file"]:
                    pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=False)
                    pipeline.load_lora_weights(PARITY / lora["file"])
                    pipeline.fuse_lora(lora_scale=lora["strength"])
                    pipeline.unload_lora_weights()
                    continue
                merge(parts, load_file(PARITY / lora["file"]), lora["strength"])
        predicts_v = request.model == "v" or parts["scheduler"].config.prediction_type == "v_prediction"
        parts["scheduler"] = scheduler(request, "v_prediction" if predicts_v else "epsilon", generator)
        return parts


def merge(parts: dict, lora: dict[str, Tensor], strength: float) -> None:
    """W + strength * alpha / rank * up down."""
    targets = lora_targets(TINY)
    for layer in sorted({key.split(".")[0] for key in lora}):
        down, up, alpha = (lora[f"{layer}.{end}"].float() for end in ("lora_down.weight", "lora_up.weight", "alpha"))
        part, name, _ = targets[layer]
        modules = dict(parts[part].named_modules())
        module = modules.get(name) or modules[name.removeprefix("text_model.")]
        module.weight.data += strength * float(alpha) / down.shape[0] * up @ down


def inputs() -> dict[str, Tensor]:
    """A disc before a background that brightens to the right, and a mask with a straight and a slanted border."""
    tensors = {}
    for name, width in (("picture", 64), ("wide", 96)):
        y, x = np.mgrid[0:64, 0:width]
        disc = (x - width * 0.45) ** 2 + (y - 34) ** 2 < 18 ** 2
        picture = np.stack([60 + 2 * x * 64 // width, 90 + y, 200 - x * 64 // width], -1)
        picture[disc] = np.stack([230 - y, 40 + x * 64 // width, 30 + 0 * x], -1)[disc]
        tensors[f"input.{name}"] = torch.from_numpy(picture.clip(0, 255).astype(np.uint8))
    y, x = np.mgrid[0:64, 0:64]
    tensors["input.mask"] = torch.from_numpy((((x > 27) & (x + y < 92)) * 255).astype(np.uint8))
    return tensors


def paint(models: Models, request: Request, given: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The last latents, [4, height / 8, width / 8], and the pixels, [height, width, 3]."""
    generator = torch.Generator("cpu").manual_seed(request.seed)
    parts = models.parts(request, generator)
    vectors = {name: next(iter(load_file(PARITY / file).values())).float() for name, file in request.embeddings.items()}
    text = [encode(prompt, parts["tokenizer"], parts["text_encoder"], vectors, request.clip_skip)
            for prompt in (request.negative, request.prompt)]
    own = text[1].shape[1]
    if request.guidance > 1:
        parts["unet"], text = separate(parts["unet"], text)
    kind, more = StableDiffusionPipeline, {"width": request.width, "height": request.height}
    if request.image:
        kind = StableDiffusionImg2ImgPipeline
        more = {"image": Image.fromarray(given[request.image].numpy()), "strength": request.strength}
    if request.mask:
        kind = StableDiffusionInpaintPipeline
        more |= {"mask_image": Image.fromarray(given[request.mask].numpy()), "width": request.width, "height": request.height}
    pipeline = kind(**parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    last: list[Tensor] = []

    def after_step(_pipeline: object, _step: int, _timestep: Tensor, values: dict[str, Tensor]) -> dict[str, Tensor]:
        last[:] = [values["latents"][0].clone()]
        if request.guidance_end is not None and _step + 1 == guided:
            # as in diffusers' documentation of callbacks
            _pipeline._guidance_scale = 0.0
            values["prompt_embeds"] = values["prompt_embeds"].chunk(2)[-1][:, :own]
        return values

    taken = min(int(request.steps * request.strength), request.steps) if request.image else request.steps
    guided = max(1, round(taken * (request.guidance_end or 1)))
    if request.sampler == "heun":
        guided *= 2
    if request.guidance_end is not None:
        more["callback_on_step_end_tensor_inputs"] = ["latents", "prompt_embeds"]
    if request.eta is not None:
        more["eta"] = request.eta
    if request.timesteps is not None:
        more["timesteps"] = request.timesteps

    picture = pipeline(
        prompt_embeds=text[1], negative_prompt_embeds=text[0], num_inference_steps=request.steps, guidance_scale=request.guidance,
        generator=generator, callback_on_step_end=after_step, **more).images[0]
    return last[0], torch.from_numpy(np.array(picture))


def separate(unet: torch.nn.Module, text: list[Tensor]) -> tuple[torch.nn.Module, list[Tensor]]:
    """Rows of different length: the UNet is called once for each with its own length, as A1111 does."""
    lengths = [row.shape[1] for row in text]
    if lengths[0] == lengths[1]:
        return unet, text
    padded = [torch.nn.functional.pad(row, (0, 0, 0, max(lengths) - row.shape[1])) for row in text]
    own = copy.deepcopy(unet)
    call = own.forward

    def forward(sample: Tensor, time: Tensor, encoder_hidden_states: Tensor, **more: object) -> tuple[Tensor]:
        if len(sample) == 1:
            return call(sample, time, encoder_hidden_states=encoder_hidden_states, **more)
        rows = [call(sample[i:i + 1], time, encoder_hidden_states=encoder_hidden_states[i:i + 1, :length], **more)[0]
                for i, length in enumerate(lengths)]
        return (torch.cat(rows),)

    own.forward = forward
    return own, padded


@torch.no_grad()
def pictures(_arguments: argparse.Namespace) -> None:
    models, tensors, told = Models(), inputs(), []
    given = dict(tensors)
    for number, (row, request) in enumerate(requests()):
        latents, pixels = paint(models, request, given)
        tensors |= {f"{number}.latents": latents.contiguous(), f"{number}.pixels": pixels.contiguous()}
        told.append({"row": row, **asdict(request)})
        print(f"{number:3} {request.area}: {row}: {pixels.float().mean():.1f} +- {pixels.float().std():.1f}", flush=True)
    check_alone(models, tensors["0.pixels"])
    save_file(tensors, PARITY / "pictures.safetensors", {"format": "pt"})
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "safetensors", "numpy", "pillow", "scipy")}
    record = {
        "command": "python make_parity.py pictures",
        "versions": {"python": platform.python_version(), **versions, "diffusers": diffusers.__version__, "diffusers_commit": DIFFUSERS_COMMIT},
        "sha256": {str(file.relative_to(PARITY)): hashlib.sha256(file.read_bytes()).hexdigest()
                   for file in [CHECKPOINT, *sorted(PARITY.glob("embeddings/*")), *(PARITY / f"loras/{name}.safetensors" for name in (*LORAS, "few-lcm", "few-tcd", "few-hyper"))]},
        "pictures": told,
    }
    (PARITY / "pictures.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def check_alone(models: Models, pixels: Tensor) -> None:
    """The pipeline left alone with words and a generator makes the first picture too."""
    request = Request("layouts and precisions")
    generator = torch.Generator("cpu").manual_seed(request.seed)
    pipeline = StableDiffusionPipeline(**models.parts(request, generator), requires_safety_checker=False)
    alone = pipeline(request.prompt, negative_prompt=request.negative, num_inference_steps=request.steps, guidance_scale=request.guidance,
                     width=request.width, height=request.height, generator=generator).images[0]
    assert np.array_equal(np.array(alone), pixels.numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for command in (assets, pictures):
        commands.add_parser(command.__name__).set_defaults(run=command)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
