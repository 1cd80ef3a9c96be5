"""The matting network: [n, 3, h, w] in 0..1, both sides multiples of 32 -> [n, 1, h, w], the share of each pixel that is product."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import torch
import torch.nn.functional as F
from torch import nn

CHANNELS, FINE = (24, 40, 64, 96, 128), 16  # at 1/2 to 1/32 of the size; at full size
MULTIPLE, LONGEST = 32, 320  # of the sides; the longer side that it is best at


def convolution(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outside))


def doubled(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = convolution(channels, channels), convolution(channels, channels)
        nn.init.zeros_(self.second[1].weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


class Matte(nn.Module):
    """A U-Net whose skips are added (Lin et al. 2017). The mean of the coarsest level tells every place what the whole picture
    is like; the last two convolutions are at full size and see the picture itself, for the edges."""

    def __init__(self) -> None:
        super().__init__()
        deep, pairs = CHANNELS[-1], list(zip(CHANNELS, CHANNELS[1:]))
        self.stem = convolution(3, CHANNELS[0], 3, 2)
        self.inward = nn.ModuleList(Block(c) if c < 96 else nn.Sequential(Block(c), Block(c)) for c in CHANNELS)
        self.down = nn.ModuleList(convolution(a, b, 3, 2) for a, b in pairs)
        self.whole = nn.Conv2d(deep, deep, 1)
        self.up = nn.ModuleList(convolution(b, a, 1) for a, b in pairs)
        self.across = nn.ModuleList(convolution(a, a, 1) for a, _ in pairs)
        self.outward = nn.ModuleList(Block(a) for a, _ in pairs)
        self.last_up, self.edges = convolution(CHANNELS[0], FINE, 1), convolution(3, FINE)
        self.fine, self.out = convolution(FINE, FINE), nn.Conv2d(FINE, 1, 3, 1, 1)
        self.hints = nn.ModuleList(nn.Conv2d(c, 1, 1) for c in CHANNELS)

    def logits(self, pictures: torch.Tensor, hints: list[torch.Tensor] | None = None) -> torch.Tensor:
        """hints gets what each level says by itself, the coarsest first: only training needs it."""
        pictures = pictures * 4 - 2
        x, levels = F.relu(self.stem(pictures)), []
        for i, blocks in enumerate(self.inward):
            x = blocks(x)
            if i < len(self.down):
                levels.append(x)
                x = F.relu(self.down[i](x))
        x = F.relu(x + self.whole(x.mean((2, 3), keepdim=True)))
        for i in reversed(range(len(CHANNELS))):
            if i < len(levels):
                x = self.outward[i](F.relu(doubled(self.up[i](x)) + self.across[i](levels[i])))
            if hints is not None:
                hints.append(self.hints[i](x))
        x = F.relu(doubled(self.last_up(x)) + self.edges(pictures))
        return self.out(F.relu(self.fine(x)))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.logits(pictures))


def in_halves(model: onnx.ModelProto) -> onnx.ModelProto:
    """Stores large weights as float16, widened when the graph is loaded: half of the file size."""
    for weight in list(model.graph.initializer):
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size <= 256:
            continue
        model.graph.initializer.remove(weight)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float16), weight.name + ".half"))
        cast = onnx.helper.make_node("Cast", [weight.name + ".half"], [weight.name], to=onnx.TensorProto.FLOAT)
        model.graph.node.insert(0, cast)
    return model


def export(matte: Matte, file: Path) -> None:
    """Norms become part of the convolutions. The file's metadata says how pictures are given to it."""
    side = 64
    torch.onnx.export(matte.eval().to("cpu"), (torch.rand(1, 3, side, side),), file, input_names=["picture"], output_names=["alpha"],
                      dynamic_axes={name: {2: "height", 3: "width"} for name in ("picture", "alpha")}, dynamo=False)
    model = in_halves(onnx.load(file))
    facts = {"multiple": MULTIPLE, "longest": LONGEST, "mean": [0, 0, 0], "std": [1, 1, 1], "output": "alpha"}
    model.doc_string = "Packshot's own matting network: training/README.md"
    onnx.helper.set_model_props(model, {"packshot.matte": json.dumps(facts)})
    onnx.checker.check_model(model)
    onnx.save(model, file)


if __name__ == "__main__":
    import sys

    export(Matte(), Path(sys.argv[1]))
