"""Writes zero-snr-golden.safetensors: pictures of a checkpoint that was trained with zero terminal SNR.

    python make_zero_snr_golden.py

The weights are those of parity/tiny-fp16.safetensors, their output read as v; diffusers' own pipeline with schedulers that have
`rescale_betas_zero_snr`, in float32 on one thread of the CPU. "a red apple" / "blurry", 64x64, 10 steps, guidance 5, seed 7.
"""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
REQUEST = {"prompt": "a red apple", "negative": "blurry", "width": 64, "height": 64, "steps": 10, "guidance": 5, "seed": 7}
NOISE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
         "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
PICTURES = {
    "ddim sgm_uniform": ("DDIMScheduler", {"timestep_spacing": "trailing", "clip_sample": False, "set_alpha_to_one": False}),
    "euler sgm_uniform": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    "dpmpp_2m karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
}


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    pipeline = StableDiffusionPipeline.from_single_file(
        str(HERE / "parity/tiny-fp16.safetensors"), config=str(HERE / "tiny-sd"), dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    tensors = {}
    for name, (kind, settings) in PICTURES.items():
        pipeline.scheduler = getattr(diffusers, kind)(**NOISE, **settings)
        picture = pipeline(
            REQUEST["prompt"], negative_prompt=REQUEST["negative"], width=REQUEST["width"], height=REQUEST["height"],
            num_inference_steps=REQUEST["steps"], guidance_scale=REQUEST["guidance"],
            generator=torch.Generator("cpu").manual_seed(REQUEST["seed"])).images[0]
        tensors[name] = torch.from_numpy(np.array(picture))
        print(f"{name}: {tensors[name].float().mean():.1f} +- {tensors[name].float().std():.1f}")
    save_file(tensors, HERE / "zero-snr-golden.safetensors", {"format": "pt"})
    (HERE / "zero-snr-golden.json").write_text(json.dumps({"request": REQUEST, "pictures": list(PICTURES)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
