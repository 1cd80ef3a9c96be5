"""Writes enlarge-golden.safetensors: outputs of upscalers and of TAESD by their own implementations.

    python make_enlarge_golden.py --realesrgan FOLDER --basicsr FOLDER --taesd FOLDER

The folders are checkouts of xinntao/Real-ESRGAN, XPixelGroup/BasicSR and madebyollin/taesd; AutoencoderTiny is that of the
installed diffusers. Weights have the true shapes and no meaning: `weight` below, which enlarge-weights.ts repeats bit for bit, so
that no weights need to be kept. Float32, one thread. Half a minute.

    NAME.input, NAME.output    of each of NETWORKS; pictures are 0 to 1, as those programs have them
    taesd.decode.*, .encode.*  of AutoencoderTiny: latents as sampled, pictures -1 to 1
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import types
from pathlib import Path

import diffusers
import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
SRVGG, RRDB = "srvgg", "rrdb"
# name: kind, arguments, height and width of the input
NETWORKS = {
    "x4plus": (RRDB, {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 23, "num_grow_ch": 32, "scale": 4}, (10, 12)),
    "x2plus": (RRDB, {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 23, "num_grow_ch": 32, "scale": 2}, (12, 16)),
    "anime_6B": (RRDB, {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 6, "num_grow_ch": 32, "scale": 4}, (9, 11)),
    "general-x4v3": (SRVGG, {"num_feat": 64, "num_conv": 32, "upscale": 4, "act_type": "prelu"}, (9, 13)),
    "animevideov3": (SRVGG, {"num_feat": 64, "num_conv": 16, "upscale": 4, "act_type": "prelu"}, (11, 8)),
}


def hashed(key: str, count: int) -> np.ndarray:
    """`count` numbers from -1 to 1 that depend on the key alone: FNV-1a of it, then murmur3's finalizer."""
    seed = 2166136261
    for byte in key.encode():
        seed = ((seed ^ byte) * 16777619) % 2**32
    x = np.arange(count, dtype=np.uint64) * 2654435761 + seed & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        x = ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    return (x.astype(np.float64) / 2**31 - 1).astype(np.float32)


def weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Kernels keep the size of what they are given; slopes (one axis, .weight) are 0.05 to 0.45, biases up to 0.1."""
    values = hashed(key, int(np.prod(shape)))
    if len(shape) == 1:
        values = values * np.float32(0.1) if key.endswith("bias") else values * np.float32(0.2) + np.float32(0.25)
    else:
        values = values * np.float32(np.sqrt(3 / np.prod(shape[1:])))
    return torch.from_numpy(values.reshape(shape))


def fill(module: torch.nn.Module) -> torch.nn.Module:
    module.load_state_dict({key: weight(key, tuple(value.shape)) for key, value in module.state_dict().items()})
    return module.eval()


def load(path: Path, name: str):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def stand_ins() -> None:
    """What the architectures' files import besides torch and do not use here."""
    class Registry:
        def register(self, *_):
            return lambda kind: kind

    def put(name: str, **content) -> None:
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = []
        for key, value in content.items():
            setattr(sys.modules[name], key, value)

    put("torchvision", __version__="0.0")
    for name in ("basicsr", "basicsr.archs", "basicsr.ops"):
        put(name)
    put("basicsr.utils", get_root_logger=None, scandir=None)
    put("basicsr.utils.registry", ARCH_REGISTRY=Registry())
    put("basicsr.ops.dcn", ModulatedDeformConvPack=object, modulated_deform_conv=None)


@torch.no_grad()
def main() -> None:
    options = argparse.ArgumentParser()
    for name in ("realesrgan", "basicsr", "taesd"):
        options.add_argument(f"--{name}", type=Path, required=True)
    folders = options.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tiny = fill(diffusers.AutoencoderTiny())
    # after diffusers, which looks for the real torchvision
    stand_ins()
    load(folders.basicsr / "basicsr/archs/arch_util.py", "basicsr.archs.arch_util")
    kinds = {
        RRDB: load(folders.basicsr / "basicsr/archs/rrdbnet_arch.py", "basicsr.archs.rrdbnet_arch").RRDBNet,
        SRVGG: load(folders.realesrgan / "realesrgan/archs/srvgg_arch.py", "srvgg_arch").SRVGGNetCompact,
    }
    tensors = {}
    for name, (kind, arguments, (height, width)) in NETWORKS.items():
        net = fill(kinds[kind](**arguments))
        given = torch.from_numpy(hashed(name, 3 * height * width).reshape(1, 3, height, width)) / 2 + 0.5
        tensors[f"{name}.input"], tensors[f"{name}.output"] = given, net(given)
    latents = torch.from_numpy(hashed("latents", 4 * 5 * 7).reshape(1, 4, 5, 7)) * 4
    picture = torch.from_numpy(hashed("picture", 3 * 40 * 24).reshape(1, 3, 40, 24))
    tensors |= {"taesd.decode.latents": latents, "taesd.decode.picture": tiny.decode(latents).sample,
                "taesd.encode.picture": picture, "taesd.encode.latents": tiny.encode(picture).latents}
    original = load(folders.taesd / "taesd.py", "taesd").TAESD(None, None, 4)
    original.decoder.load_state_dict({f"{int(key.split('.')[2]) + 1}.{key.split('.', 3)[3]}": value
                                      for key, value in tiny.state_dict().items() if key.startswith("decoder.")})
    difference = (original.decoder(latents) * 2 - 1 - tensors["taesd.decode.picture"]).abs().max().item()
    for name, value in tensors.items():
        print(f"{name}: {tuple(value.shape)} {value.mean():.3f} +- {value.std():.3f}, {value.min():.2f} to {value.max():.2f}")
    print(f"TAESD's own decoder differs from AutoencoderTiny's by {difference}")
    assert difference < 1e-5
    save_file({name: value.contiguous() for name, value in tensors.items()}, HERE / "enlarge-golden.safetensors", {"format": "pt"})
    meta = {"torch": torch.__version__, "diffusers": diffusers.__version__,
            "networks": {name: {"kind": kind, "arguments": arguments} for name, (kind, arguments, _) in NETWORKS.items()}}
    (HERE / "enlarge-golden.json").write_text(json.dumps(meta, indent=1) + "\n")


if __name__ == "__main__":
    main()
