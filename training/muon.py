"""The optimizer of the denoiser."""

from __future__ import annotations

import torch
import torch.distributed as dist

from precision import native_bfloat16


class Muon(torch.optim.Optimizer):
    """Momentum whose step is made orthogonal for each matrix (Jordan et al. 2024), at AdamW's size (Liu et al. 2025); a
    convolution counts as a matrix [out, in x 3 x 3]. Norms, biases, embeddings and both ends of the network take AdamW.

    Processes that train together must hold the same gradients: each makes its part of the matrices orthogonal for all."""

    def __init__(self, unet: torch.nn.Module, rate: float, momentum: float = 0.95, decay: float = 0.01) -> None:
        ends = ("conv_in", "conv_out", "time_embedding")
        matrices = [p for name, p in unet.named_parameters() if p.ndim > 1 and not name.startswith(ends)]
        known = {id(p) for p in matrices}
        rest = [p for p in unet.parameters() if id(p) not in known]
        super().__init__([{"params": matrices, "muon": True}, {"params": rest, "muon": False}], {"lr": rate})
        self.momentum, self.decay = momentum, decay

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            if group["muon"]:
                for p, change in zip(group["params"], self.changes(group["params"])):
                    p.mul_(1 - group["lr"] * self.decay).sub_(change.view(p.shape), alpha=group["lr"])
                continue
            for p in group["params"]:
                state = self.state[p]
                m, v = state.setdefault("m", torch.zeros_like(p)), state.setdefault("v", torch.zeros_like(p))
                n = state["n"] = state.get("n", 0) + 1
                m.lerp_(p.grad, 0.1)
                v.lerp_(p.grad.square(), 0.01)
                p.sub_((m / (1 - 0.9**n)) / ((v / (1 - 0.99**n)).sqrt() + 1e-8), alpha=group["lr"])

    def changes(self, matrices: list[torch.Tensor]) -> list[torch.Tensor]:
        """The orthogonal step of every matrix, flat; found once among all processes."""
        mine, of = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        loads, whose, out = [0] * of, {}, []
        for p in sorted(matrices, key=torch.numel, reverse=True):
            rank = whose[id(p)] = loads.index(min(loads))
            loads[rank] += p.numel() * min(p.shape[0], p.numel() // p.shape[0])
        for p in matrices:
            m = self.state[p].setdefault("m", torch.zeros_like(p))
            m.lerp_(p.grad, 1 - self.momentum)
            if whose[id(p)] != mine:
                out.append(torch.zeros(p.numel(), device=p.device))
                continue
            direction = p.grad.lerp(m, self.momentum).flatten(1)
            out.append((orthogonal(direction) * (0.2 * max(direction.shape) ** 0.5)).reshape(-1))
        if of > 1:
            together = torch.cat(out)
            dist.all_reduce(together)
            out = list(together.split([p.numel() for p in matrices]))
        return out


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """About U V' of the matrix's U S V', by five Newton-Schulz rounds with Jordan's coefficients."""
    x = matrix.bfloat16() if native_bfloat16(matrix.device.type) else matrix
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.T if tall else x).float()
