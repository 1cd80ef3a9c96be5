"""Checkpoints -> models/packshot-mini: the diffusers layout, all weights as fp16 .safetensors.

    python export.py --work WORK --out ../models/packshot-mini
    python export.py --work WORK --out FOLDER                       before there is a UNet: the other parts only

Weights are rounded, which has no visible effect, so that a clone stays small: the repository keeps every version of
them, compressed.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from transformers import CLIPTokenizer

from model import SIZE, count, make_text_encoder, make_unet, make_vae
from studio.catalogue import KINDS
from studio.vocabulary import CAMERA_WORDS, COUNT_WORDS, GENERAL, LIGHT_WORDS

BUDGET, MANTISSA, UNET_STEPS, VAE_STEPS = 24_000_000, 6, 16, 32
DESCRIPTION = (
    f"Trained from scratch on renders of our own: one to three grocery products of {len(KINDS)} kinds, in many colours, on white, coloured, "
    "gradient, wooden, marble and dark backgrounds. It knows nothing else.")
EXAMPLES = ["a red apple", "an avocado on a pink background", "a pineapple on a yellow background", "two pears on a wooden table",
            "a pumpkin on a dark background", "a kiwi on a purple background", "a bottle of orange juice on light blue paper",
            "a lemon, hard side light"]
DEFAULTS = {"width": SIZE, "height": SIZE, "guidance_scale": 3.5, "steps": 20}


def make_scheduler() -> DPMSolverMultistepScheduler:
    return DPMSolverMultistepScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        prediction_type="v_prediction", algorithm_type="dpmsolver++", solver_type="midpoint", solver_order=2,
        use_karras_sigmas=True, steps_offset=1, timestep_spacing="linspace")


def rounded(weight: torch.Tensor) -> torch.Tensor:
    """Rounds to MANTISSA bits after the leading one: a relative error of up to 1/128."""
    fraction, exponent = torch.frexp(weight)
    return torch.ldexp((fraction * 2 ** (MANTISSA + 1)).round() / 2 ** (MANTISSA + 1), exponent)


def stepped(weight: torch.Tensor, steps: int) -> torch.Tensor:
    """Rounds to multiples of a power of two, for each output about 1/steps of its weights' deviation. Compressed, the UNet
    in 16 steps is 8.0 MB (9.2 in 32, 14.3 as trained) and its held-out loss 0.0840 (0.0833, 0.0830); the autoencoder in
    32 steps is 2.3 MB instead of 3.2 and loses 0.03 dB."""
    rows = weight.flatten(1)
    step = torch.exp2((rows.std(1, keepdim=True) / steps).clamp(min=2**-24).log2().round())  # fp16's minimum: an output may be all zero
    return ((rows / step).round() * step).view_as(weight)


def load(module: torch.nn.Module, path: Path, key: str, coarser: Callable[[torch.Tensor], torch.Tensor] = rounded) -> torch.nn.Module:
    state = torch.load(path, weights_only=True, map_location="cpu")[key]
    module.load_state_dict({name: coarser(value) if value.ndim > 1 else value for name, value in state.items()})
    return module.eval()


def about() -> dict:
    """The contents of packshot.json: facts about the model for the service and for people."""
    names = [kind.name for kind in KINDS.values()]
    pairs = [pair for kind in KINDS.values() for pair in ((kind.name, kind.plural), *kind.others)] + list(GENERAL.values())
    words = sorted({word for pair in pairs for name in pair for word in name.split()} - {"of", "to", "go", "piece", "paper"})
    controls = {"light": {"Soft": LIGHT_WORDS["soft"][0], "Side": LIGHT_WORDS["hard"][0], "Top": LIGHT_WORDS["top"][0]},
                "view": {"Front": CAMERA_WORDS["front"][0], "Three-quarter": CAMERA_WORDS["three-quarter"][0],
                         "Above": CAMERA_WORDS["above"][2]},
                "count": {str(number): COUNT_WORDS[number][0] for number in (1, 2, 3)}}
    return {**DEFAULTS, "description": DESCRIPTION, "subjects": names, "examples": EXAMPLES, "controls": controls, "words": words}


def export(work: Path, out: Path) -> None:
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    vae = load(make_vae(), work / "vae_final.pt", "model", partial(stepped, steps=VAE_STEPS))
    text_encoder = load(make_text_encoder(len(tokenizer)), work / "text.pt", "model")
    parts = {"text_encoder": text_encoder, "vae": vae}
    staging = work / "export"
    shutil.rmtree(staging, ignore_errors=True)
    if (work / "unet.pt").exists():
        parts["unet"] = load(make_unet(), work / "unet.pt", "ema", partial(stepped, steps=UNET_STEPS))
        pipeline = StableDiffusionPipeline(
            **parts, tokenizer=tokenizer, scheduler=make_scheduler(), safety_checker=None, feature_extractor=None,
            requires_safety_checker=False)
        pipeline.to(torch.float16).save_pretrained(staging, safe_serialization=True)
    else:
        for name, part in parts.items():
            part.to(torch.float16).save_pretrained(staging / name, safe_serialization=True)
    shutil.copytree(work / "tokenizer", staging / "tokenizer", dirs_exist_ok=True)
    for config in staging.rglob("*.json"):
        if "tokenizer" not in str(config.parent.name):
            facts = json.loads(config.read_text())
            facts = {k: v for k, v in facts.items() if k not in ("_name_or_path", "lambda_min_clipped")}  # -Infinity is not valid JSON
            if "dtype" in facts:
                facts["dtype"] = "float32"  # the default dtype, as in the other parts
            config.write_text(json.dumps(facts, indent=2) + "\n")
    if "unet" in parts:
        (staging / "packshot.json").write_text(json.dumps(about()) + "\n")
    out.mkdir(parents=True, exist_ok=True)
    for file in staging.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    shutil.copytree(staging, out, dirs_exist_ok=True)
    total = 0
    for name, module in parts.items():
        size = sum(f.stat().st_size for f in (out / name).glob("*.safetensors"))
        total += size
        print(f"{name}: {count(module) / 1e6:.2f} M parameters, {size / 1e6:.2f} MB")
    print(f"total {total / 1e6:.2f} MB")
    assert total <= BUDGET, f"{total} bytes of weights, at most {BUDGET}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    export(args.work, args.out)


if __name__ == "__main__":
    main()
