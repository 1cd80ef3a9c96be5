"""Writes the numbers for pictures that start from a picture: what diffusers makes of the same checkpoint.

    python make_image_golden.py --model tiny-sd --pictures golden.safetensors --out image-golden.safetensors

Encoder, image to image and inpainting, in float32 on one thread of the CPU; requirements.txt and README.md hold here
too. Unlike make_golden.py there is no second run in float64: the pipelines draw their noise in the type they compute
in, and torch's float64 noise of a seed is other noise. FILE.json has the requests and versions.

Tensors (pictures are height x width, latents [1, 4, H, W]; sizes are 64 high and 96 wide, "square" 64 x 64):
    source.NAME          [h, w, 3] uint8   pictures that go in, cut out of those of golden.safetensors: wide, square
    mask                 [64, 96] uint8    255 = repaint; grey values on both sides of the threshold among them
    moments.NAME         [1, 8, h, w]      mean and logarithm of the variance, as quant_conv leaves them
    text                 [2, 77, 32]       states of the negative prompt and of the prompt, the same for all runs
    conv_in              [16, 9, 3, 3]     the UNet's first convolution widened to 9 channels; its bias is tiny-sd's
    inpaint9.sample      [2, 9, H, W]      what the 9-channel UNet was given in the first step of run "inpaint9.1.0"
    inpaint9.noise_pred  [2, 4, H, W]      what it returned
    RUN.timesteps        float32           of the model calls that are made
    RUN.start            latents before the first step
    RUN.masked           masked latents    (runs of the 9-channel UNet)
    RUN.latents          latents after the last step
    RUN.pixels           [h, w, 3] uint8
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import make_golden
import numpy as np
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

CONV_IN_SEED = 9


@dataclass
class Run:
    kind: str  # "img2img", "inpaint" (4 channels) or "inpaint9"
    strength: float
    sampler: str = "dpmpp_2m"
    schedule: str = "karras"
    source: str = "wide"
    steps: int = 10
    guidance: float = 5.0
    seed: int = 11
    prompt: str = "a red apple"
    negative: str = "blurry, dark"


RUNS = {
    "img2img.0.3": Run("img2img", 0.3),
    "img2img.0.75": Run("img2img", 0.75, source="square"),
    "img2img.1.0": Run("img2img", 1.0),
    "img2img.sde": Run("img2img", 0.6, "dpmpp_2m_sde", source="square"),
    "img2img.heun": Run("img2img", 0.6, "heun", source="square"),
    "img2img.pndm": Run("img2img", 0.6, "pndm", "leading", "square"),
    "inpaint.0.75": Run("inpaint", 0.75),
    "inpaint.1.0": Run("inpaint", 1.0),
    "inpaint.sde": Run("inpaint", 0.6, "dpmpp_2m_sde"),
    "inpaint.euler": Run("inpaint", 1.0, "euler"),
    "inpaint.euler_ancestral": Run("inpaint", 0.6, "euler_ancestral", "normal"),
    "inpaint.heun": Run("inpaint", 0.6, "heun"),
    "inpaint9.0.75": Run("inpaint9", 0.75),
    "inpaint9.1.0": Run("inpaint9", 1.0),
    # an inpainting model asked for a picture from words alone: a grey picture, all of it repainted
    "inpaint9.words": Run("inpaint9", 1.0, source="grey"),
}


def scheduler(run: Run, config: dict[str, object]) -> object:
    if run.sampler == "euler":
        return EulerDiscreteScheduler.from_config(config, use_karras_sigmas=True)
    if run.sampler == "heun":
        return HeunDiscreteScheduler.from_config(config, use_karras_sigmas=True)
    if run.sampler == "euler_ancestral":
        return EulerAncestralDiscreteScheduler.from_config(config, timestep_spacing="linspace")
    if run.sampler == "pndm":
        # as the scheduler_config.json of SD 1.5 says
        return PNDMScheduler.from_config(config, timestep_spacing="leading", steps_offset=1, skip_prk_steps=True,
                                         set_alpha_to_one=False)
    algorithm = "sde-dpmsolver++" if run.sampler == "dpmpp_2m_sde" else "dpmsolver++"
    return DPMSolverMultistepScheduler.from_config(config, use_karras_sigmas=True, algorithm_type=algorithm)


def widened(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The UNet with five more input channels, whose weights are random and as large as the others."""
    old = unet.conv_in
    new = UNet2DConditionModel.from_config({**unet.config, "in_channels": 9}).to(torch.float32)
    state = dict(unet.state_dict())
    spread = float(old.weight.std())
    more = torch.randn((old.weight.shape[0], 5, 3, 3), generator=torch.Generator("cpu").manual_seed(CONV_IN_SEED)) * spread
    state["conv_in.weight"] = torch.cat([old.weight, more], dim=1)
    new.load_state_dict(state)
    return new.eval()


def drawn_mask(height: int, width: int) -> np.ndarray:
    """An ellipse off centre with a soft edge; its outline does not follow the latent's grid of 8 pixels."""
    y, x = np.mgrid[0:height, 0:width]
    distance = np.sqrt(((x - 0.55 * width) / (0.28 * width)) ** 2 + ((y - 0.45 * height) / (0.33 * height)) ** 2)
    return np.clip((1.25 - distance) * 510, 0, 255).astype(np.uint8)


def as_image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.numpy())


def paint(golden: make_golden.Golden, name: str, run: Run, unet9: UNet2DConditionModel) -> None:
    single = golden.single
    unet = unet9 if run.kind == "inpaint9" else single.unet
    parts = {**single.components, "unet": unet, "scheduler": scheduler(run, single.scheduler.config)}
    pipeline = (StableDiffusionImg2ImgPipeline if run.kind == "img2img" else StableDiffusionInpaintPipeline)(
        **parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    if run.source == "grey":
        # the image processor takes tensors in 0 to 1 as they are: 0.5 is exactly 0 between -1 and 1
        picture = torch.full((1, 3, 64, 96), 0.5)
        mask = Image.new("L", (96, 64), 255)
        height, width = 64, 96
    else:
        pixels = golden.tensors[f"source.{run.source}"]
        picture, mask = as_image(pixels), as_image(golden.tensors["mask"])
        height, width = pixels.shape[:2]
    where = {} if run.kind == "img2img" else {"mask_image": mask, "height": height, "width": width}

    seen: dict[str, Tensor] = {}
    keep_result(pipeline, "prepare_latents", lambda result: seen.update(start=result[0] if isinstance(result, tuple) else result))
    if run.kind != "img2img":
        keep_result(pipeline, "prepare_mask_latents", lambda result: seen.update(masked=result[1][:1]))
    calls: list[tuple[Tensor, Tensor]] = []
    hook = unet.register_forward_hook(lambda _module, args, output: calls.append((args[0].clone(), output[0].clone())))
    timesteps: list[float] = []

    def after_step(_pipeline: object, _step: int, timestep: Tensor, values: dict[str, Tensor]) -> dict[str, Tensor]:
        timesteps.append(float(timestep))
        seen["latents"] = values["latents"].clone()
        return values

    result = pipeline(
        prompt=run.prompt, negative_prompt=run.negative, image=picture, strength=run.strength, num_inference_steps=run.steps,
        guidance_scale=run.guidance, generator=torch.Generator("cpu").manual_seed(run.seed), callback_on_step_end=after_step,
        **where).images[0]
    hook.remove()
    golden.add(f"{name}.timesteps", torch.tensor(timesteps))
    golden.add(f"{name}.start", seen["start"])
    if run.kind == "inpaint9":
        golden.add(f"{name}.masked", seen["masked"])
    golden.add(f"{name}.latents", seen["latents"])
    golden.add(f"{name}.pixels", torch.from_numpy(np.array(result)))
    if name == "inpaint9.1.0":
        golden.add("inpaint9.sample", calls[0][0])
        golden.add("inpaint9.noise_pred", calls[0][1])


def keep_result(pipeline: object, method: str, keep: object) -> None:
    """Lets `keep` see what a method of the pipeline returns."""
    original = getattr(pipeline, method)

    def seen(*args: object, **named: object) -> object:
        result = original(*args, **named)
        keep(result)
        return result

    setattr(pipeline, method, seen)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a folder in diffusers layout")
    parser.add_argument("--pictures", type=Path, required=True, help="golden.safetensors")
    parser.add_argument("--out", type=Path, required=True, help="FILE.safetensors; FILE.json is written beside it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    golden = make_golden.Golden(arguments.model)
    before = load_file(arguments.pictures)
    golden.add("source.wide", before["picture.wide.pixels"][4:68, 4:100])
    golden.add("source.square", before["picture.square.pixels"][32:96, 32:96])
    golden.add("mask", torch.from_numpy(drawn_mask(64, 96)))
    for name in ("wide", "square"):
        image = golden.tensors[f"source.{name}"].permute(2, 0, 1)[None].float() / 255 * 2 - 1
        golden.add(f"moments.{name}", golden.single.vae.encode(image).latent_dist.parameters,
                   golden.double.vae.encode(image.double()).latent_dist.parameters)
    run = next(iter(RUNS.values()))
    ids = make_golden.tokenize(golden.single, [run.negative, run.prompt])
    golden.add("text", golden.single.text_encoder(ids).last_hidden_state)
    unet9 = widened(golden.single.unet)
    golden.add("conv_in", unet9.conv_in.weight)
    for name, run in RUNS.items():
        paint(golden, name, run, unet9)
    golden.write(arguments.out, arguments.model, {"runs": {name: asdict(run) for name, run in RUNS.items()}})


if __name__ == "__main__":
    main()
