"""diffusers' schedulers under the names that requests have."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING

import diffusers
import torch
from torch import Tensor

if TYPE_CHECKING:
    from parity.requests import Request

# only for the Brownian tree, in whose place BrownianNoise comes
sys.modules.setdefault("torchsde", types.ModuleType("torchsde"))
from diffusers.schedulers.scheduling_dpmsolver_sde import DPMSolverSDEScheduler  # noqa: E402

SPACINGS = {"normal": "linspace", "leading": "leading", "sgm_uniform": "trailing"}
FLAGS = {"karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas", "beta": "use_beta_sigmas", "lu": "use_lu_lambdas"}
LIKE_SD15 = {"clip_sample": False, "set_alpha_to_one": False}
SAMPLERS: dict[str, tuple[str, dict, tuple[str, ...]]] = {
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}, (*SPACINGS, *FLAGS)),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, (*SPACINGS, *FLAGS)),
    "dpmpp_2s": ("DPMSolverSinglestepScheduler", {"final_sigmas_type": "zero", "lower_order_final": True}, ("normal", "karras", "exponential", "beta")),
    "dpmpp_sde": ("DPMSolverSDEScheduler", {}, (*SPACINGS, "karras", "exponential", "beta")),
    "euler": ("EulerDiscreteScheduler", {}, (*SPACINGS, "karras", "exponential", "beta")),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}, (*SPACINGS, "karras", "exponential", "beta")),
    "heun": ("HeunDiscreteScheduler", {}, (*SPACINGS, "karras", "exponential", "beta")),
    "ddim": ("DDIMScheduler", LIKE_SD15, tuple(SPACINGS)),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False}, tuple(SPACINGS)),
    "lms": ("LMSDiscreteScheduler", {}, (*SPACINGS, "karras", "exponential", "beta")),
    "unipc": ("UniPCMultistepScheduler", {}, (*SPACINGS, "karras", "exponential", "beta")),
    # it has timesteps of its own, which begin at the very end
    "lcm": ("LCMScheduler", {"clip_sample": False}, ("sgm_uniform",)),
    "tcd": ("TCDScheduler", {"clip_sample": False}, ("sgm_uniform",)),
}


def scheduler(request: Request, prediction_type: str, generator: torch.Generator) -> object:
    """diffusers' scheduler for the request, with SD 1.x's noise. Only dpmpp_sde draws from `generator` by itself."""
    kind, settings, schedules = SAMPLERS[request.sampler]
    assert request.schedule in schedules
    spaced = {FLAGS[request.schedule]: True} if request.schedule in FLAGS else {}
    if request.sampler not in ("lcm", "tcd", "dpmpp_2s"):
        spaced["timestep_spacing"] = SPACINGS.get(request.schedule, "linspace")
    shared = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
              "steps_offset": 1, "prediction_type": prediction_type}
    if request.sampler == "dpmpp_2s":
        # it knows one spacing, linspace, and refuses to be told
        del shared["steps_offset"]
    if request.sampler == "dpmpp_sde":
        made = DPMSolverSDEScheduler(**shared, **spaced)
        # drawn from after the first noise, as the pipeline's own draws are
        draw = BrownianNoise(generator, (1, 4, request.height // 8, request.width // 8))
        after_timesteps(made, lambda _steps: setattr(made, "noise_sampler", draw))
    elif request.sampler == "euler_ancestral" and request.schedule in FLAGS:
        # diffusers has it with spacings alone; the levels are those that it gives Euler
        made, like = diffusers.EulerAncestralDiscreteScheduler(**shared), diffusers.EulerDiscreteScheduler(**shared, **spaced)

        def take(steps: int) -> None:
            like.set_timesteps(steps)
            made.sigmas, made.timesteps = like.sigmas, like.timesteps

        after_timesteps(made, take)
    else:
        made = getattr(diffusers, kind)(**shared, **settings, **spaced)
    return made


def after_timesteps(made: object, change: Callable[[int], None]) -> None:
    own = made.set_timesteps

    def set_timesteps(num_inference_steps: int, device: object = None) -> None:
        own(num_inference_steps, device=device)
        change(num_inference_steps)

    made.set_timesteps = set_timesteps


class BrownianNoise:
    """One path over both halves of a step, from two draws: diffusers draws from torchsde's tree, which has seeds of its own."""

    def __init__(self, generator: torch.Generator, shape: tuple[int, ...]) -> None:
        self.draw = lambda: torch.randn(shape, generator=generator)
        self.half: tuple[Tensor, float] | None = None

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        fresh, way = self.draw(), float(sigma - sigma_next)
        if self.half is None:
            self.half = (fresh, way)
            return fresh
        (first, part), self.half = self.half, None
        return (part / way) ** 0.5 * first + (1 - part / way) ** 0.5 * fresh
