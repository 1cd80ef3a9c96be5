"""The pictures that parity is measured with, as the engine is asked for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from parity.schedulers import SAMPLERS


@dataclass
class Request:
    """As the engine is asked. `model` is a folder or a variant of parity/variants.ts, `also` further variants that must
    give the same picture; `vae` likewise; `image` and `mask` name tensors of the file."""

    area: str
    prompt: str = "a red apple"
    negative: str = "blurry, dark"
    seed: int = 7
    steps: int = 10
    guidance: float = 7.5
    width: int = 64
    height: int = 64
    sampler: str = "dpmpp_2m"
    schedule: str = "karras"
    clip_skip: int = 1
    model: str = "fp16"
    also: list[str] = field(default_factory=list)
    vae: str | None = None
    loras: list[dict] = field(default_factory=list)
    embeddings: dict[str, str] = field(default_factory=dict)
    image: str | None = None
    strength: float = 1.0
    mask: str | None = None
    eta: float | None = None
    timesteps: list[int] | None = None
    guidance_end: float | None = None


LONG = ("a red apple and a green pear and a yellow lemon on a wooden table in soft morning light, with a blue box behind it, "
        "and a white cup, and a dark bottle, and a round plate, very sharp, very bright, plain background, no people, "
        "studio photo of many small things, close together, " * 2)
LORA_A, LORA_B = {"file": "loras/picture-a.safetensors"}, {"file": "loras/picture-b.safetensors"}


def requests() -> Iterator[tuple[str, Request]]:
    layouts = ["fp32", "bf16", "mixed", "ema", "ema-only", "bare"]
    yield "single file", Request("layouts and precisions", also=layouts)
    yield "single file, 96x64", Request("layouts and precisions", "a blue box", width=96, seed=8)
    yield "diffusers folder", Request("layouts and precisions", model="tiny-sd")
    yield "packshot-mini", Request("layouts and precisions", negative="", guidance=3.5, width=128, height=128, model="packshot-mini",
                                   also=["packshot-mini.safetensors"])
    for sampler, (_, _, schedules) in SAMPLERS.items():
        for schedule in schedules:
            yield f"{sampler} {schedule}", Request("samplers", sampler=sampler, schedule=schedule, eta=0.3 if sampler == "tcd" else None)
    yield "dpmpp_2m karras, 20 steps", Request("samplers", steps=20)
    yield "unguided", Request("samplers", guidance=1.0, negative="")
    for sampler, schedule in (("dpmpp_2m", "karras"), ("dpmpp_2m_sde", "karras"), ("dpmpp_2s", "karras"), ("euler", "normal"), ("euler_ancestral", "normal"),
                              ("heun", "karras"), ("ddim", "leading"), ("pndm", "leading"), ("lms", "karras"), ("unipc", "karras"),
                              ("dpmpp_sde", "karras"), ("lcm", "sgm_uniform")):
        yield f"v prediction, {sampler} {schedule}", Request("samplers", sampler=sampler, schedule=schedule, model="v")
    negative = {"negative": "tinyneg, dark", "embeddings": {"tinyneg": "embeddings/tinyneg.safetensors"}}
    yield "embedding in the negative prompt", Request("prompts", **negative)
    yield "weighted embedding in the prompt, diffusers' form", Request(
        "prompts", "a red apple, (tinyneg:0.7)", embeddings={"tinyneg": "embeddings/tinyneg-diffusers.safetensors"})
    yield "one", Request("LoRA", loras=[{**LORA_A, "strength": 0.8}])
    yield "one, negative strength", Request("LoRA", loras=[{**LORA_A, "strength": -0.5}])
    yield "two", Request("LoRA", loras=[{**LORA_A, "strength": 0.8}, {**LORA_B, "strength": 0.6}])
    yield "two, with an embedding", Request("LoRA", loras=[{**LORA_A, "strength": 0.5}, {**LORA_B, "strength": 1.0}], **negative)
    yield "(red:1.4) apple, [box]", Request("prompts", "(red:1.4) apple, [box]")
    yield "nested and escaped weights", Request("prompts", "((a red)) apple \\(close-up\\), [[soft]] (light", "(blurry:1.3), dark")
    yield "BREAK", Request("prompts", "a red apple BREAK a blue box", "blurry BREAK dark")
    yield "two windows, short negative prompt", Request("prompts", LONG)
    yield "weighted second window, long negative prompt", Request("prompts", f"{LONG} (green:1.5) pear", LONG)
    yield "two windows, 104x72", Request("prompts", LONG, width=104, height=72)
    yield "short prompt, long negative prompt", Request("prompts", "a blue box", LONG)
    yield "clip skip 2", Request("prompts", clip_skip=2)
    yield "clip skip 2, weights", Request("prompts", "a (red:1.3) apple", clip_skip=2)
    for sampler, schedule in (("dpmpp_2m", "karras"), ("dpmpp_2s", "karras"), ("euler_ancestral", "normal"), ("ddim", "leading"), ("unipc", "karras"),
                              ("heun", "karras"), ("pndm", "leading"), ("lms", "karras"), ("dpmpp_2m_sde", "karras"),
                              ("euler", "normal"), ("lcm", "sgm_uniform"), ("dpmpp_sde", "karras")):
        yield f"strength 0.6, {sampler} {schedule}", Request("image to image", sampler=sampler, schedule=schedule, image="input.picture", strength=0.6)
    yield "strength 1", Request("image to image", image="input.picture")
    yield "strength 0.3, 96x64", Request("image to image", width=96, image="input.wide", strength=0.3)
    yield "strength 0.6, v prediction", Request("image to image", image="input.picture", strength=0.6, model="v")
    masked = {"image": "input.picture", "mask": "input.mask"}
    yield "4 channels, strength 1", Request("inpainting", **masked)
    yield "4 channels, strength 0.6", Request("inpainting", **masked, strength=0.6)
    yield "9 channels, strength 1", Request("inpainting", **masked, model="inpainting")
    yield "9 channels, strength 0.6", Request("inpainting", **masked, model="inpainting", strength=0.6)
    for sampler, schedule in (("euler_ancestral", "normal"), ("heun", "karras"), ("pndm", "leading"), ("unipc", "karras")):
        yield f"4 channels, strength 0.8, {sampler} {schedule}", Request("inpainting", **masked, sampler=sampler, schedule=schedule, strength=0.8)
    tcd, trailing = {"sampler": "tcd", "schedule": "sgm_uniform"}, {"sampler": "ddim", "schedule": "sgm_uniform"}
    yield "tcd, 4 steps", Request("few steps", **tcd, steps=4, guidance=1.0, eta=0.3)
    yield "tcd, 1 step, eta 1", Request("few steps", **tcd, steps=1, guidance=1.0, eta=1.0)
    yield "tcd, 7 steps, eta 0, guided", Request("few steps", **tcd, steps=7, guidance=2.0, eta=0.0)
    yield "tcd, 6 steps, image to image", Request("few steps", **tcd, steps=6, guidance=1.0, eta=0.3, image="input.picture", strength=0.6)
    yield "tcd, 5 steps, inpainting", Request("few steps", **tcd, **masked, steps=5, guidance=1.0, eta=0.6, strength=0.8)
    yield "lcm, 4 steps, guidance 1.5", Request("few steps", sampler="lcm", schedule="sgm_uniform", steps=4, guidance=1.5)
    yield "ddim trailing, 2 steps", Request("few steps", **trailing, steps=2, guidance=1.0)
    yield "ddim trailing, 8 steps, eta 0.5", Request("few steps", **trailing, steps=8, guidance=5.0, eta=0.5)
    yield "lcm, timestep 800", Request("few steps", sampler="lcm", schedule="sgm_uniform", steps=1, guidance=1.0, timesteps=[800])
    for sampler in ("tcd", "euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2s"):
        yield f"{sampler}, explicit timesteps", Request(
            "few steps", sampler=sampler, schedule="sgm_uniform" if sampler == "tcd" else "normal", steps=5, guidance=2.0,
            eta=0.3 if sampler == "tcd" else None, timesteps=[999, 850, 545, 233, 24])
    yield "euler, explicit timesteps, image to image", Request(
        "few steps", sampler="euler", schedule="normal", steps=5, timesteps=[999, 850, 545, 233, 24], image="input.picture", strength=0.6)
    yield "guidance for half of the steps", Request("few steps", guidance_end=0.5)
    yield "guidance for 0.3 of the steps, longer negative prompt, heun", Request(
        "few steps", negative=LONG, sampler="heun", schedule="karras", guidance_end=0.3)
    yield "guidance for 0.4 of the steps, image to image", Request("few steps", image="input.picture", strength=0.6, guidance_end=0.4)
    for kind, more in (("lcm", {"sampler": "lcm", "schedule": "sgm_uniform", "steps": 4}), ("tcd", {**tcd, "steps": 4, "eta": 0.3}),
                       ("hyper", {**trailing, "steps": 2})):
        yield f"LoRA laid out as {kind}'s", Request("few steps", guidance=1.0, **more, loras=[{"file": f"loras/few-{kind}.safetensors", "strength": 1.0}])
    yield "LDM keys, float32", Request("VAE", vae="vae")
    yield "diffusers keys", Request("VAE", vae="vae-diffusers")
    yield "LDM keys, image to image", Request("VAE", vae="vae", image="input.picture", strength=0.6)
