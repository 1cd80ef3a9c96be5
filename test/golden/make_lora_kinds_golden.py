"""Writes small files of the kinds that are no plain LoRA for tiny-sd, and what text encoder and UNet give with them.

    python make_lora_kinds_golden.py --model tiny-sd

The files go to parity/loras/, the numbers to lora-kinds-golden.safetensors. The kinds of LyCORIS, which diffusers does not
load, are computed from the formulas of their papers: the changed weight is put into diffusers' and transformers' own models.
`peft-*` are loaded by diffusers (load_lora_weights) and computed by PEFT. Inputs are those of golden.safetensors: the first row
of `unet.16x16.latents` and of `unet.text`, timestep 481, and the first row of `tokens`; of the text states the first 8 are kept.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor

HERE = Path(__file__).parent
LORAS = HERE / "parity" / "loras"
TIMESTEP = 481
TOKENS = 8

BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
ATTENTION = f"{BLOCK}.attn1"
CROSS = f"{BLOCK}.attn2"
PROJECTION = "down_blocks.0.attentions.0.proj_in"
CONV = "down_blocks.0.resnets.0.conv1"
CONV2 = "down_blocks.0.resnets.0.conv2"
WIDE = "mid_block.resnets.0.conv1"
TEXT = "text_model.encoder.layers.1"

Layers = dict[str, dict[str, Tensor]]


class Numbers:
    """Normal numbers as a file in half precision rounds them."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator("cpu").manual_seed(seed)

    def __call__(self, *shape: int, size: float = 1.0) -> Tensor:
        return (torch.randn(shape, generator=self.generator) * size).half()


def alpha(value: float) -> Tensor:
    return torch.tensor(value)


def loha(weights: dict[str, Tensor]) -> Layers:
    n = Numbers(21)

    def pairs(key: str, rank: int) -> dict[str, Tensor]:
        out, *inner = weights[f"{key}.weight"].shape
        columns = torch.Size(inner).numel()
        return {"hada_w1_a": n(out, rank, size=0.3), "hada_w1_b": n(rank, columns), "hada_w2_a": n(out, rank, size=0.3), "hada_w2_b": n(rank, columns)}

    out, channels, *kernel = weights[f"{WIDE}.weight"].shape
    tucker = {"hada_t1": n(3, 3, *kernel, size=0.5), "hada_w1_a": n(3, out, size=0.3), "hada_w1_b": n(3, channels),
              "hada_t2": n(3, 3, *kernel, size=0.5), "hada_w2_a": n(3, out, size=0.3), "hada_w2_b": n(3, channels)}
    return {
        f"{ATTENTION}.to_q": pairs(f"{ATTENTION}.to_q", 4) | {"alpha": alpha(2.0)},
        f"{CROSS}.to_k": pairs(f"{CROSS}.to_k", 2),
        PROJECTION: pairs(PROJECTION, 4) | {"alpha": torch.tensor(1)},
        CONV: pairs(CONV, 2) | {"alpha": alpha(1.0)},
        WIDE: tucker | {"alpha": alpha(1.0)},
        f"{TEXT}.self_attn.q_proj": pairs(f"{TEXT}.self_attn.q_proj", 4) | {"alpha": alpha(2.0)},
        f"{TEXT}.mlp.fc1": pairs(f"{TEXT}.mlp.fc1", 4),
    }


def lokr(weights: dict[str, Tensor]) -> Layers:
    n = Numbers(22)
    return {
        # alpha has no meaning where both are whole
        f"{ATTENTION}.to_q": {"lokr_w1": n(4, 2, size=0.3), "lokr_w2": n(4, 8), "alpha": alpha(5.0)},
        f"{CROSS}.to_k": {"lokr_w1": n(2, 4, size=0.3), "lokr_w2_a": n(8, 2), "lokr_w2_b": n(2, 8), "alpha": alpha(1.0)},
        f"{ATTENTION}.to_v": {"lokr_w1_a": n(4, 2, size=0.3), "lokr_w1_b": n(2, 4), "lokr_w2": n(4, 4), "alpha": alpha(1.0)},
        f"{ATTENTION}.to_out.0": {"lokr_w1_a": n(4, 2, size=0.3), "lokr_w1_b": n(2, 4), "lokr_w2_a": n(4, 2), "lokr_w2_b": n(2, 4), "alpha": alpha(1.0)},
        PROJECTION: {"lokr_w1": n(4, 4, size=0.3), "lokr_w2": n(4, 4)},
        CONV: {"lokr_w1": n(2, 4, size=0.1), "lokr_w2": n(8, 4, 3, 3)},
        CONV2: {"lokr_w1": n(2, 2, size=0.1), "lokr_w2_a": n(8, 2), "lokr_w2_b": n(2, 8 * 9), "alpha": alpha(1.0)},
        WIDE: {"lokr_w1": n(4, 4, size=0.1), "lokr_t2": n(2, 2, 3, 3), "lokr_w2_a": n(2, 8), "lokr_w2_b": n(2, 8), "alpha": alpha(1.0)},
        f"{TEXT}.mlp.fc1": {"lokr_w1": n(8, 4, size=0.3), "lokr_w2": n(8, 8)},
    }


def full(weights: dict[str, Tensor]) -> Layers:
    n = Numbers(23)

    def whole(key: str, *, bias: bool = False) -> dict[str, Tensor]:
        weight = weights[f"{key}.weight"]
        size = 0.5 * float(weight.float().std())
        return {"diff": n(*weight.shape, size=size)} | ({"diff_b": n(weight.shape[0], size=size)} if bias else {})

    def norm(key: str) -> dict[str, Tensor]:
        count = weights[f"{key}.weight"].shape[0]
        return {"w_norm": n(count, size=0.2), "b_norm": n(count, size=0.2)}

    return {
        f"{ATTENTION}.to_q": whole(f"{ATTENTION}.to_q"),
        "conv_in": whole("conv_in", bias=True),
        "time_embedding.linear_1": {"diff_b": n(64, size=0.3)},
        "conv_norm_out": norm("conv_norm_out"),
        f"{BLOCK}.norm1": norm(f"{BLOCK}.norm1"),
        f"{TEXT}.self_attn.k_proj": whole(f"{TEXT}.self_attn.k_proj", bias=True),
        f"{TEXT}.layer_norm1": norm(f"{TEXT}.layer_norm1"),
        "text_model.final_layer_norm": norm("text_model.final_layer_norm"),
    }


def dora(weights: dict[str, Tensor]) -> Layers:
    n = Numbers(24)

    def pair(key: str, rank: int = 2) -> dict[str, Tensor]:
        out, *inner = weights[f"{key}.weight"].shape
        up = n(out, rank, *[1] * (len(inner) - 1), size=0.3 * float(weights[f"{key}.weight"].float().std()))
        return {"lora_down.weight": n(rank, *inner), "lora_up.weight": up, "alpha": alpha(1.0)}

    def sizes(key: str, axis: int) -> dict[str, Tensor]:
        weight = weights[f"{key}.weight"].float()
        norms = weight.pow(2).sum([one for one in range(weight.ndim) if one != axis], keepdim=True).sqrt()
        return {"dora_scale": norms.half() * (1 + n(*norms.shape, size=0.2))}

    hadamard = {name: value for name, value in loha(weights)[f"{ATTENTION}.to_q"].items()}
    return {
        f"{ATTENTION}.to_q": pair(f"{ATTENTION}.to_q") | sizes(f"{ATTENTION}.to_q", 1),
        f"{ATTENTION}.to_k": pair(f"{ATTENTION}.to_k") | sizes(f"{ATTENTION}.to_k", 0),
        f"{ATTENTION}.to_v": hadamard | sizes(f"{ATTENTION}.to_v", 1),
        CONV: pair(CONV) | sizes(CONV, 1),
        CONV2: pair(CONV2) | sizes(CONV2, 0),
        f"{TEXT}.mlp.fc1": pair(f"{TEXT}.mlp.fc1") | sizes(f"{TEXT}.mlp.fc1", 1),
    }


KINDS = {"loha": loha, "lokr": lokr, "full": full, "dora": dora}


def delta(layer: dict[str, Tensor], shape: torch.Size) -> Tensor | None:
    """What a layer adds to its weight at strength 1, in float64; None if it leaves it as it is."""
    t = {name: value.double() for name, value in layer.items()}

    def scale(rank: int) -> float:
        return float(t["alpha"]) / rank if "alpha" in t else 1.0

    if "lora_up.weight" in t:
        down, up = t["lora_down.weight"], t["lora_up.weight"].flatten(1)
        return scale(len(down)) * (up @ down.flatten(1)).reshape(shape)
    if "hada_w1_a" in t:
        if "hada_t1" in t:
            one, other = (torch.einsum("pqkl,po,qi->oikl", t[f"hada_t{i}"], t[f"hada_w{i}_a"], t[f"hada_w{i}_b"]) for i in (1, 2))
        else:
            one, other = (t[f"hada_w{i}_a"] @ t[f"hada_w{i}_b"] for i in (1, 2))
        return scale(len(t["hada_w1_b"])) * (one * other).reshape(shape)
    if any(name.startswith("lokr") for name in t):
        ranks = [len(t[name]) for name in ("lokr_w1_b", "lokr_w2_b") if name in t]
        w1 = t["lokr_w1"] if "lokr_w1" in t else t["lokr_w1_a"] @ t["lokr_w1_b"]
        if "lokr_t2" in t:
            w2 = torch.einsum("pqkl,po,qi->oikl", t["lokr_t2"], t["lokr_w2_a"], t["lokr_w2_b"])
        else:
            w2 = t["lokr_w2"] if "lokr_w2" in t else t["lokr_w2_a"] @ t["lokr_w2_b"]
        w2 = w2.reshape(shape[0] // len(w1), shape[1] // w1.shape[1], -1)
        product = torch.einsum("ax,bck->abxck", w1, w2)
        return (scale(ranks[-1]) if ranks else 1.0) * product.reshape(shape)
    for name in ("diff", "w_norm"):
        if name in t:
            return t[name]
    return None


def changed(weights: dict[str, Tensor], layers: Layers, strength: float) -> dict[str, Tensor]:
    out = {key: value.double() for key, value in weights.items() if value.is_floating_point()}
    for key, layer in layers.items():
        if f"{key}.weight" not in out:
            continue
        weight = out[f"{key}.weight"]
        added = delta(layer, weight.shape)
        if "dora_scale" in layer:
            moved = weight + added
            sizes = layer["dora_scale"].double()
            axes = [axis for axis in range(weight.ndim) if sizes.shape[axis] == 1]
            added = moved * (sizes / moved.pow(2).sum(axes, keepdim=True).sqrt()) - weight
        if added is not None:
            out[f"{key}.weight"] = weight + strength * added
        for name in ("diff_b", "b_norm"):
            if name in layer:
                out[f"{key}.bias"] = out[f"{key}.bias"] + strength * layer[name].double()
    return out


def kohya(layers: Layers) -> dict[str, Tensor]:
    prefix = {True: "lora_te_", False: "lora_unet_"}
    return {f"{prefix[key.startswith('text')]}{key.replace('.', '_')}.{name}": value.contiguous()
            for key, layer in layers.items() for name, value in layer.items()}


def peft(weights: dict[str, Tensor], seed: int, *, magnitudes: bool) -> dict[str, Tensor]:
    """As diffusers writes it; with the sizes of DoRA, or with biases."""
    n = Numbers(seed)
    tensors: dict[str, Tensor] = {}
    for key in (f"{ATTENTION}.to_q", f"{ATTENTION}.to_out.0", f"{CROSS}.to_k", CONV, f"{TEXT}.self_attn.q_proj", f"{TEXT}.mlp.fc1"):
        if not magnitudes and key == f"{CROSS}.to_k":
            continue
        weight = weights[f"{key}.weight"].float()
        out, *inner = weight.shape
        layer = f"{'text_encoder' if key.startswith('text') else 'unet'}.{key}"
        tensors[f"{layer}.lora_A.weight"] = n(2, *inner).float()
        tensors[f"{layer}.lora_B.weight"] = n(out, 2, *[1] * (len(inner) - 1), size=0.3 * float(weight.std())).float()
        if magnitudes:
            norms = weight.flatten(1).norm(dim=1)
            sizes = norms * (1 + n(out, size=0.2).float())
            tensors[f"{layer}.lora_magnitude_vector"] = sizes.reshape(1, -1, 1, 1) if weight.ndim == 4 else sizes
        elif f"{key}.bias" in weights:
            tensors[f"{layer}.lora_B.bias"] = n(out, size=0.2).float()
    return tensors


def mend(text_encoder: torch.nn.Module, tensors: dict[str, Tensor], model: Path) -> None:
    """transformers 5.18 draws the positions anew when it loads an adapter, and leaves out the sizes of DoRA."""
    stored = load_file(model / "text_encoder/model.safetensors")
    text_encoder.get_submodule("embeddings.position_embedding").weight.data = stored["text_model.embeddings.position_embedding.weight"].float()
    for key, value in tensors.items():
        if key.startswith("text_encoder.") and key.endswith("lora_magnitude_vector"):
            text_encoder.get_submodule(key.removeprefix("text_encoder."))["it"].weight.data = value
    for name, value in text_encoder.state_dict().items():
        plain = stored.get(f"text_model.{name.replace('.base_layer', '')}")
        assert plain is None or torch.equal(value, plain.float()), name


# the first that matches a module's whole name, or its end after a dot, counts
PATTERNS = {"r": 2, "lora_alpha": 8, "alpha_pattern": {r".*attn2\.to_k": 1, "^down_blocks.*conv1": 3, "to_q": 2, r"attn1\.to_q": 16},
            "rank_pattern": {}, "target_modules": ["to_q", "to_out.0", "to_k", "conv1"]}

CASES = {"loha": 0.8, "lokr": 0.7, "full": -0.6, "dora": 0.7, "peft-dora": 0.6, "peft-bias": 0.9, "peft-patterns": 0.7}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a folder in diffusers layout")
    model = parser.parse_args().model
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    weights = load_file(model / "unet/diffusion_pytorch_model.safetensors") | load_file(model / "text_encoder/model.safetensors")
    golden = load_file(HERE / "golden.safetensors")
    latents, states = golden["unet.16x16.latents"][:1].double(), golden["unet.text"][:1].double()
    tokens = golden["tokens"][:1].long()
    out: dict[str, Tensor] = {}
    for case, strength in CASES.items():
        pipeline = StableDiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32)
        if case in KINDS:
            layers = KINDS[case](weights)
            save_file(kohya(layers), LORAS / f"{case}.safetensors", {"format": "pt"})
            new = changed(weights, layers, strength)
            keys = {key.removeprefix("text_model."): key for key in pipeline.text_encoder.state_dict()}
            pipeline.unet.double().load_state_dict({key: new[key] for key in pipeline.unet.state_dict()})
            pipeline.text_encoder.double().load_state_dict(
                {keys[key.removeprefix("text_model.")]: value for key, value in new.items() if key.startswith("text_model.")}, strict=False)
        elif case == "peft-patterns":
            tensors = {key: value.half() for key, value in peft(weights, 26, magnitudes=True).items() if key.startswith("unet.") and "magnitude" not in key}
            metadata = {f"unet.{name}": value for name, value in PATTERNS.items()}
            save_file(tensors, LORAS / f"{case}.safetensors", {"format": "pt", "lora_adapter_metadata": json.dumps(metadata)})
            pipeline.load_lora_weights(str(LORAS), weight_name=f"{case}.safetensors", adapter_name="it")
            pipeline.set_adapters("it", strength)
            pipeline.unet.double()
            pipeline.text_encoder.double()
        else:
            tensors = peft(weights, 25, magnitudes=case == "peft-dora")
            save_file(tensors, LORAS / f"{case}.safetensors", {"format": "pt"})
            # transformers 5 calls the modules of its text encoder so
            here = {key.replace("text_encoder.text_model.", "text_encoder."): value for key, value in tensors.items()}
            pipeline.load_lora_weights(here, adapter_name="it", low_cpu_mem_usage=False)
            mend(pipeline.text_encoder, here, model)
            pipeline.set_adapters("it", strength)
            pipeline.unet.double()
            pipeline.text_encoder.double()
        out[f"{case}.unet"] = pipeline.unet(latents, TIMESTEP, states).sample
        out[f"{case}.text"] = pipeline.text_encoder(tokens).last_hidden_state[:, :TOKENS]
        for part, plain in (("unet", golden["unet.16x16.noise_pred"][:1]), ("text", golden["text_embeddings"][:1, :TOKENS])):
            away = (out[f"{case}.{part}"] - plain).abs().max() / plain.abs().max()
            print(f"{case}.{part}: {float(away):.2g} away from no LoRA; file {(LORAS / f'{case}.safetensors').stat().st_size} bytes")
    save_file({key: value.float().contiguous() for key, value in out.items()}, HERE / "lora-kinds-golden.safetensors", {"format": "pt"})
    (HERE / "lora-kinds-golden.json").write_text(json.dumps({"cases": CASES}, indent=1) + "\n")


if __name__ == "__main__":
    main()
