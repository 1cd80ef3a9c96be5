"""Writes scheduler-golden.json: what diffusers' schedulers make of a small sample, for every sampler and schedule.

    python scheduler_golden.py --out scheduler-golden.json

Noise config of SD 1.5, `steps_offset=1`, `set_alpha_to_one=False`, `clip_sample=False`. The model is
0.3 x + 0.5 sin(t / 100) of the scaled input. The sample is 32 numbers of `torch.randn` from a CPU generator of seed 0
times `init_noise_sigma`; the same generator then serves the scheduler. `begin` is the index of the first call: the
sample is then `add_noise` of 32 numbers evenly from -1 to 1 with that noise. The schedulers are told where they begin
(`set_begin_index`), as image-to-image does; without, `beta` with many steps fails there with an IndexError.

Two things that diffusers does not have as such:
- euler_ancestral with karras, exponential and beta: EulerAncestralDiscreteScheduler given the levels of
  EulerDiscreteScheduler.
- dpmpp_sde: torchsde is not needed, its noise is replaced: two draws a step from the generator, the noise of the
  whole step is the sum of that of its halves, weighted by the square roots of their lengths in sigma.

`few` has runs of few steps: with an eta, with an odd number of steps, and with explicit timesteps.

`zero_snr` has runs with `rescale_betas_zero_snr=True` and v prediction, of the schedulers that know it.

`timestep_sums` has for 1 to 100 steps the sum of (i + 1) * timesteps[i].
"""

from __future__ import annotations

import argparse
import json
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import scipy.stats
import torch

warnings.filterwarnings("ignore")

import diffusers  # noqa: E402
from diffusers import (  # noqa: E402
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    TCDScheduler,
    UniPCMultistepScheduler,
)

sys.modules.setdefault("torchsde", types.ModuleType("torchsde"))
from diffusers.schedulers.scheduling_dpmsolver_sde import DPMSolverSDEScheduler  # noqa: E402

COUNT = 32
NOISE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SPACINGS = {"normal": "linspace", "sgm_uniform": "trailing", "leading": "leading"}
LEVELS = {
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
    "beta": {"use_beta_sigmas": True},
    "lu": {"use_lu_lambdas": True},
}
SAMPLERS = {
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_sde": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_2s": (DPMSolverSinglestepScheduler, {"final_sigmas_type": "zero", "lower_order_final": True}),
    "dpmpp_sde": (DPMSolverSDEScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_ancestral": (EulerAncestralDiscreteScheduler, {}),
    "heun": (HeunDiscreteScheduler, {}),
    "ddim": (DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    "pndm": (PNDMScheduler, {"skip_prk_steps": True, "set_alpha_to_one": False}),
    "lms": (LMSDiscreteScheduler, {}),
    "unipc": (UniPCMultistepScheduler, {}),
    "lcm": (LCMScheduler, {"set_alpha_to_one": False}),
    "tcd": (TCDScheduler, {"set_alpha_to_one": False}),
}
DISTILLED = ("lcm", "tcd")
ZERO_SNR = {
    "dpmpp_2m": ("sgm_uniform", "normal", "leading", "karras", "exponential", "beta"),
    "dpmpp_2m_sde": ("sgm_uniform", "karras"),
    "euler": ("sgm_uniform", "normal", "leading", "karras", "exponential", "beta"),
    "euler_ancestral": ("sgm_uniform", "normal", "leading"),
    "ddim": ("sgm_uniform", "normal", "leading"),
    "unipc": ("sgm_uniform", "normal", "leading", "karras", "exponential", "beta"),
    "lcm": ("sgm_uniform",),
    "tcd": ("sgm_uniform",),
}
WITHOUT_LEVELS = ("ddim", "pndm", "lcm", "tcd")
# https://arxiv.org/abs/2404.14507 for Stable Diffusion 1.5
ALIGNED = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]
FEW = [
    *({"sampler": "tcd", "steps": steps, "begin": begin, "eta": eta}
      for eta in (0.0, 0.3, 1.0) for steps, begin in ((1, 0), (4, 0), (7, 3), (33, 0))),
    *({"sampler": "lcm", "steps": steps, "begin": begin} for steps, begin in ((1, 0), (3, 0), (7, 2), (33, 20))),
    *({"sampler": "ddim", "steps": steps, "begin": begin, "eta": eta}
      for eta in (0.0, 0.3, 1.0) for steps, begin in ((1, 0), (2, 0), (7, 3), (8, 0))),
    *({"sampler": sampler, "steps": len(timesteps), "begin": begin, "timesteps": timesteps}
      for sampler in ("lcm", "tcd", "euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2s")
      for timesteps, begin in (([800], 0), ([999, 759, 499, 20], 0), (ALIGNED, 0), (ALIGNED, 4))),
]
SECOND_ORDER = ("heun", "dpmpp_sde")


def schedules_of(sampler: str) -> list[str]:
    if sampler in DISTILLED:
        return ["sgm_uniform"]
    if sampler in WITHOUT_LEVELS:
        return list(SPACINGS)
    if sampler == "dpmpp_2s":
        return ["normal", "karras", "exponential", "beta"]
    return [*SPACINGS, *(name for name in LEVELS if name != "lu" or sampler.startswith("dpmpp_2m"))]


class PairedNoise:
    """Stands in for the Brownian tree of DPMSolverSDEScheduler."""

    def __init__(self, draw):
        self.draw = draw
        self.first = None

    def __call__(self, sigma, sigma_next):
        fresh = self.draw()
        if self.first is None:
            self.first = (fresh, sigma - sigma_next)
            return fresh
        first, length = self.first
        self.first = None
        whole = sigma - sigma_next
        return (length / whole) ** 0.5 * first + ((whole - length) / whole) ** 0.5 * fresh


def make(sampler: str, schedule: str, steps: int, prediction: str = "epsilon", more: dict | None = None,
         timesteps: list[int] | None = None):
    cls, extra = SAMPLERS[sampler]
    config = {**NOISE, **extra, "prediction_type": prediction, **(more or {})}
    if schedule in SPACINGS:
        # LCMScheduler and TCDScheduler know one spacing, whatever it is told
        config |= {"timestep_spacing": SPACINGS[schedule], "steps_offset": 1}
    elif sampler != "euler_ancestral":
        config |= {"timestep_spacing": "linspace", **LEVELS[schedule]}
    if sampler == "dpmpp_2s":
        # it knows one spacing, linspace, and refuses to be told
        config = {key: value for key, value in config.items() if key not in ("timestep_spacing", "steps_offset")}
    scheduler = cls(**config)
    if timesteps is None:
        scheduler.set_timesteps(steps)
    else:
        scheduler.set_timesteps(timesteps=timesteps)
    if schedule not in SPACINGS and sampler == "euler_ancestral":
        euler = make("euler", schedule, steps)
        scheduler.sigmas, scheduler.timesteps = euler.sigmas, euler.timesteps
    return scheduler


def run(sampler: str, schedule: str, steps: int, prediction: str, begin: int = 0, more: dict | None = None,
        eta: float | None = None, timesteps: list[int] | None = None) -> dict:
    scheduler = make(sampler, schedule, steps, prediction, more, timesteps)
    given = timesteps
    generator = torch.Generator().manual_seed(0)
    draw = lambda: torch.randn(1, 1, 1, COUNT, generator=generator)  # noqa: E731
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    if sampler == "dpmpp_sde":
        scheduler.noise_sampler = PairedNoise(draw)
    timesteps = scheduler.timesteps[begin:]
    noise = draw()
    if begin:
        clean = torch.linspace(-1, 1, COUNT).reshape(1, 1, 1, COUNT)
        sample = scheduler.add_noise(clean, noise, timesteps[:1])
    else:
        sample = noise * scheduler.init_noise_sigma
    start = sample
    draws = sampler in ("dpmpp_2m_sde", "euler_ancestral", "lcm", "tcd") or eta is not None
    more_for_step = {"eta": eta} if eta is not None else {}
    trajectory = []
    for t in timesteps:
        output = 0.3 * scheduler.scale_model_input(sample, t) + 0.5 * torch.sin(t / 100)
        output = output.to(torch.float32)
        sample = scheduler.step(output, t, sample, **({"generator": generator} if draws else {}), **more_for_step).prev_sample
        trajectory.append(sample.abs().mean().item())
    result = {"sampler": sampler, "schedule": schedule, "steps": steps, "prediction": prediction, "begin": begin}
    result |= {} if eta is None else {"eta": eta}
    result |= {} if given is None else {"timesteps": given}
    if begin:
        result["start"] = numbers(start.flatten())
    return result | {"mean_abs": numbers(trajectory), "result": numbers(sample.flatten())}


def numbers(values) -> list[float]:
    return [float(f"{float(value):.7g}") for value in values]


def levels(sampler: str, schedule: str, steps: int) -> dict:
    scheduler = make(sampler, schedule, steps)
    result = {"sampler": sampler, "schedule": schedule, "steps": steps, "timesteps": numbers(scheduler.timesteps)}
    return result | {"initial_scale": float(scheduler.init_noise_sigma)}


def timestep_sums(sampler: str, schedule: str) -> dict:
    sums = []
    for steps in range(1, 51 if sampler in DISTILLED else 101):
        timesteps = make(sampler, schedule, steps).timesteps.to(torch.float64).numpy()
        # 61 steps of `trailing` are one too many there, at timestep -1
        calls = 2 * steps - 1 if sampler in SECOND_ORDER else steps + 1 if sampler == "pndm" and steps > 1 else steps
        timesteps = timesteps[:calls]
        sums.append(float(f"{float(np.sum(timesteps * np.arange(1, len(timesteps) + 1))):.9g}"))
    return {"sampler": sampler, "schedule": schedule, "sums": sums}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    pairs = [(sampler, schedule) for sampler in SAMPLERS for schedule in schedules_of(sampler)]
    sections = {
        "levels": [levels(*pair, steps) for pair in pairs for steps in (5, 20)],
        "timestep_sums": [timestep_sums(*pair) for pair in pairs],
        "runs": [
            run(*pair, steps, prediction, begin)
            for pair in pairs
            for steps, begin in ((5, 0), (20, 0), (20, 12))
            for prediction in ("epsilon", "v_prediction")
        ],
        "few": [
            run(each["sampler"], "sgm_uniform" if each["sampler"] in ("lcm", "tcd", "ddim") else "normal", each["steps"],
                prediction, each["begin"], None, each.get("eta"), each.get("timesteps"))
            for each in FEW
            for prediction in ("epsilon", "v_prediction")
        ],
        "zero_snr": [
            run(sampler, schedule, steps, "v_prediction", begin, {"rescale_betas_zero_snr": True})
            for sampler, schedules in ZERO_SNR.items()
            for schedule in schedules
            for steps, begin in ((5, 0), (20, 12))
        ],
        "beta_quantiles": [
            [p, a, b, float(scipy.stats.beta.ppf(p, a, b))]
            for a, b in ((0.6, 0.6), (0.5, 2.0), (3.0, 0.7))
            for p in (0.001, 0.05, 0.3, 0.5, 0.77, 0.999)
        ],
    }
    versions = {"diffusers": diffusers.__version__, "torch": torch.__version__, "numpy": np.__version__}
    parts = [f'"versions": {json.dumps(versions)}']
    for name, rows in sections.items():
        parts.append(f'"{name}": [\n' + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]")
    args.out.write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
