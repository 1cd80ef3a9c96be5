"""The optimizer of the denoiser."""

from __future__ import annotations

import torch
import torch.distributed as dist

from precision import native_bfloat16


class Muon(torch.optim.Optimizer):
    """Momentum whose step is orthogonalized for each matrix (Jordan et al. 2024), at AdamW's scale (Liu et al. 2025); a
    convolution counts as a matrix [out, in x 3 x 3]. Norms, biases, embeddings and both ends of the network use AdamW.

    Processes that train together must hold the same gradients: each orthogonalizes its share of the matrices for all.
    Operations are on lists of tensors: on a GPU a step is then hundreds of calls, not thousands."""

    def __init__(self, unet: torch.nn.Module, rate: float, momentum: float = 0.95, decay: float = 0.01,
                 ends: tuple[str, ...] = ("conv_in", "conv_out", "time_embedding")) -> None:
        matrices = [p for name, p in unet.named_parameters() if p.ndim > 1 and not name.startswith(ends)]
        known = {id(p) for p in matrices}
        rest = [p for p in unet.parameters() if id(p) not in known]
        super().__init__([{"params": matrices, "muon": True}, {"params": rest, "muon": False}], {"lr": rate})
        self.momentum, self.decay = momentum, decay

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            params, rate = group["params"], group["lr"]
            if group["muon"]:
                changes = [change.view(p.shape) for p, change in zip(params, self.changes(params))]
                torch._foreach_mul_(params, 1 - rate * self.decay)
                torch._foreach_sub_(params, changes, alpha=rate)
            else:
                self.adam(params, rate)

    def kept(self, params: list[torch.Tensor], name: str) -> list[torch.Tensor]:
        for p in params:
            if name not in self.state[p]:
                self.state[p][name] = torch.zeros_like(p)
        return [self.state[p][name] for p in params]

    def adam(self, params: list[torch.Tensor], rate: float) -> None:
        grads, ms, vs = [p.grad for p in params], self.kept(params, "m"), self.kept(params, "v")
        for p in params:
            n = self.state[p]["n"] = self.state[p].get("n", 0) + 1
        torch._foreach_lerp_(ms, grads, 0.1)
        torch._foreach_lerp_(vs, torch._foreach_mul(grads, grads), 0.01)
        sizes = torch._foreach_sqrt(torch._foreach_div(vs, 1 - 0.99**n))
        torch._foreach_add_(sizes, 1e-8)
        torch._foreach_addcdiv_(params, ms, sizes, -rate / (1 - 0.9**n))

    def changes(self, matrices: list[torch.Tensor]) -> list[torch.Tensor]:
        """The orthogonal step of every matrix, flat; each is computed by one of the processes."""
        mine, of = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        grads, ms = [p.grad for p in matrices], self.kept(matrices, "m")
        torch._foreach_lerp_(ms, grads, 1 - self.momentum)
        loads, alike = [0] * of, {}
        for i, p in sorted(enumerate(matrices), key=lambda pair: -pair[1].numel()):
            rank = loads.index(min(loads))
            loads[rank] += p.numel() * min(p.shape[0], p.numel() // p.shape[0])
            if rank == mine:
                alike.setdefault(p.flatten(1).shape, []).append(i)
        out = [None] * len(matrices)
        for shape, places in alike.items():
            directions = torch.stack([grads[i].lerp(ms[i], self.momentum).flatten(1) for i in places])
            for i, change in zip(places, orthogonal(directions) * (0.2 * max(shape) ** 0.5)):
                out[i] = change.reshape(-1)
        if of > 1:
            together = torch.cat([p.new_zeros(p.numel()) if change is None else change for p, change in zip(matrices, out)])
            dist.all_reduce(together)
            out = list(together.split([p.numel() for p in matrices]))
        return out


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Approximates U V' of each matrix's U S V' [n, rows, columns] by five Newton-Schulz rounds with Jordan's coefficients."""
    x = matrices.bfloat16() if native_bfloat16(matrices.device.type) else matrices
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.mT if tall else x).float()
