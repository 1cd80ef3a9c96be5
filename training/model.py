"""The three networks: Stable Diffusion 1.x's own architecture with small numbers. Everything here ends up in config.json.

Pictures [3, 256, 256] <-> latents [8, 16, 16]; texts are 77 tokens of width 192.
"""

from __future__ import annotations

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

SIZE, LATENT_SIZE, LATENT_CHANNELS, TEXT_WIDTH, VOCABULARY = 256, 16, 8, 192, 889
VAE_CHANNELS = (16, 32, 48, 64, 96)
UNET_CHANNELS = (96, 128, 160)


def make_vae() -> AutoencoderKL:
    """Five levels: each side is halved four times. [3, 256, 256] -> [8, 16, 16]"""
    levels = len(VAE_CHANNELS)
    return AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels, block_out_channels=VAE_CHANNELS, layers_per_block=1, act_fn="silu",
        latent_channels=LATENT_CHANNELS, norm_num_groups=2, sample_size=SIZE, scaling_factor=1.0)


def make_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS, layers_per_block=1,
        block_out_channels=UNET_CHANNELS, down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=2, norm_num_groups=32, norm_eps=1e-5, act_fn="silu", center_input_sample=False,
        downsample_padding=1, flip_sin_to_cos=True, freq_shift=0, mid_block_scale_factor=1)


def make_text_encoder() -> CLIPTextModel:
    """Causal transformer of three layers; its last hidden states [77, 192] are what the UNet attends to."""
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=TEXT_WIDTH, intermediate_size=512, num_hidden_layers=3,
        num_attention_heads=6, max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=TEXT_WIDTH,
        bos_token_id=VOCABULARY - 2, eos_token_id=VOCABULARY - 1, pad_token_id=VOCABULARY - 1))


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


if __name__ == "__main__":
    for name, make in (("vae", make_vae), ("unet", make_unet), ("text encoder", make_text_encoder)):
        print(f"{name}: {count(make()) / 1e6:.2f} M parameters")
