"""The start of the autoencoder's training: a thumbnail codec.

From random weights a GroupNorm network takes long to learn flat colours, since every norm removes the level.
So eight channels of the trunk are set up to carry red, green, blue, their negatives and two constants through all
levels (averaging on the way down, smoothing on the way up), residual branches start near zero, and the norms' scale stays
nearly constant because of the constants. As silu(x) - silu(-x) = x, the untrained network already outputs the 16 x 16
thumbnail, enlarged; training adds the detail. Nothing else changes: the architecture is the same, only the initial weights
differ.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL

CARRIED, CONSTANT, REST, LOUDER = 8, 2.0, 0.4, 15.0


def carry(weight: torch.Tensor, kernel: torch.Tensor) -> None:
    """Channels 0..7 of a convolution pass through `kernel`, unmixed; the others start smaller."""
    weight *= REST
    weight[:CARRIED] = 0
    for c in range(CARRIED):
        weight[c, c] = kernel


def inject(conv: torch.nn.Conv2d) -> None:
    """First convolution of a trunk: x, -x and the constants into channels 0..7."""
    conv.weight[:CARRIED] = 0
    conv.bias[:CARRIED] = torch.tensor([0.0] * 6 + [CONSTANT, -CONSTANT])
    for c in range(3):
        conv.weight[c, c, 1, 1], conv.weight[c + 3, c, 1, 1] = 1, -1


def extract(conv: torch.nn.Conv2d, gain: float) -> None:
    """Last convolution of a trunk: silu(x) - silu(-x) as its first three outputs."""
    conv.weight *= REST
    conv.weight[:3] *= 0.1
    conv.bias.zero_()
    for c in range(3):
        conv.weight[c, c, 1, 1], conv.weight[c, c + 3, 1, 1] = gain, -gain


@torch.no_grad()
def start_as_thumbnail(vae: AutoencoderKL) -> None:
    half = torch.zeros(3, 3)
    half[:2, :2] = 0.25
    tent = torch.tensor([1.0, 2.0, 1.0]) / 4
    one = torch.ones(1, 1)
    for name, module in vae.named_modules():
        if name.endswith("conv2"):
            module.weight *= 0.1
            module.bias.zero_()
        elif name.endswith("to_out.0"):
            module.weight *= 0.1
        elif name.endswith("conv_shortcut"):
            carry(module.weight, one)
            module.bias[:CARRIED] = 0
        elif "downsamplers" in name and name.endswith("conv"):
            carry(module.weight, half)
            module.bias[:CARRIED] = 0
        elif "upsamplers" in name and name.endswith("conv"):
            carry(module.weight, tent[:, None] * tent)
            module.bias[:CARRIED] = 0
    inject(vae.encoder.conv_in)
    inject(vae.decoder.conv_in)
    extract(vae.encoder.conv_out, 0.6)
    extract(vae.decoder.conv_out, 1.0)
    z = vae.config.latent_channels
    vae.encoder.conv_out.weight[z:] = 0
    vae.encoder.conv_out.bias[z:] = -6  # log variance: almost no noise
    vae.quant_conv.weight.copy_(torch.eye(2 * z)[..., None, None])
    vae.post_quant_conv.weight.copy_(torch.eye(z)[..., None, None])
    vae.quant_conv.bias.zero_()
    vae.post_quant_conv.bias.zero_()


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, mean: torch.Tensor, std: torch.Tensor) -> None:
    """Folds (z - mean) / std, per channel, into quant_conv and its inverse into post_quant_conv."""
    z = vae.config.latent_channels
    vae.quant_conv.bias[:z] = (vae.quant_conv.bias[:z] - mean) / std
    vae.quant_conv.weight[:z] /= std[:, None, None, None]
    vae.quant_conv.bias[z:] -= 2 * std.log()
    vae.post_quant_conv.bias += vae.post_quant_conv.weight[..., 0, 0] @ mean
    vae.post_quant_conv.weight *= std[None, :, None, None]


@torch.no_grad()
def start_as_earlier(vae: AutoencoderKL, earlier: AutoencoderKL) -> None:
    """Loads an earlier autoencoder of the same widths with the same number of latent channels or fewer. New channels begin with
    a deviation of about one: with only that of the posterior's noise, training never made use of them."""
    z, old = vae.config.latent_channels, earlier.config.latent_channels
    both = [*range(old), *range(z, z + old)]  # means, then log variances
    places = {"encoder.conv_out": (both, None), "quant_conv": (both, both), "post_quant_conv": (range(old), range(old)),
              "decoder.conv_in": (None, range(old))}
    known = earlier.state_dict()
    for name, value in vae.state_dict().items():
        rows, columns = places.get(name.rpartition(".")[0], (None, None))
        rows = torch.tensor(list(rows or range(value.shape[0])))
        if value.ndim < 2:
            value[rows] = known[name]
        else:
            value[rows[:, None], torch.tensor(list(columns or range(value.shape[1])))] = known[name]
    vae.encoder.conv_out.weight[old:z] *= LOUDER
