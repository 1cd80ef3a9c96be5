"""The three networks: Stable Diffusion 1.x's own architecture with small numbers. Everything here ends up in config.json.

Pictures [3, 256, 256] <-> latents [12, 16, 16]; texts are 77 tokens of width 192. The UNet has attention on the 8 x 8 level
and below only: at 16 x 16 it took two fifths of a training step and gained nothing over convolutions.
"""

from __future__ import annotations

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

SIZE, LATENT_SIZE, LATENT_CHANNELS, TEXT_WIDTH, TEXT_LENGTH = 256, 16, 12, 192, 77
VAE_CHANNELS = (16, 32, 48, 64, 96)
UNET_CHANNELS = (128, 160)


def make_vae() -> AutoencoderKL:
    """Five levels: each side is halved four times. [3, 256, 256] -> [12, 16, 16]"""
    levels = len(VAE_CHANNELS)
    return AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels, block_out_channels=VAE_CHANNELS, layers_per_block=1, act_fn="silu",
        latent_channels=LATENT_CHANNELS, norm_num_groups=2, sample_size=SIZE, scaling_factor=1.0)


def make_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS, layers_per_block=1,
        block_out_channels=UNET_CHANNELS, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4, norm_num_groups=32, norm_eps=1e-5, act_fn="silu", center_input_sample=False,
        downsample_padding=1, flip_sin_to_cos=True, freq_shift=0, mid_block_scale_factor=1)


def make_text_encoder(vocabulary: int) -> CLIPTextModel:
    """Causal transformer of three layers; its last hidden states [77, 192] are what the UNet attends to."""
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=TEXT_WIDTH, intermediate_size=512, num_hidden_layers=3,
        num_attention_heads=6, max_position_embeddings=TEXT_LENGTH, hidden_act="quick_gelu", projection_dim=TEXT_WIDTH,
        bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1))


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


if __name__ == "__main__":
    for name, module in (("vae", make_vae()), ("unet", make_unet()), ("text encoder", make_text_encoder(1024))):
        print(f"{name}: {count(module) / 1e6:.2f} M parameters")
