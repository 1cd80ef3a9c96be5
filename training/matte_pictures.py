"""Pictures for the matting network, each with its true alpha: renders as they are, and products on other grounds."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from studio.scenes import scene

HOLED, MIRRORS = ("doughnut", "mug", "teapot", "spray bottle"), ("dark", "marble")  # kinds with holes, floors that reflect
MORE = 0.15  # how much more often each of them is taken
COMPOSED, SOFT, TOGETHER = 0.4, 0.9, 0.15  # shares: on another ground; of renders that were put through the autoencoder, in that form; a second product


def opened(file: Path) -> torch.Tensor:
    """uint8 [channels, h, w]"""
    return torch.from_numpy(np.asarray(Image.open(file)).copy()).movedim(-1, 0)


class Renders:
    """What `studio.render --apart` has written into some folders; new files are found by `look`. Files are kept as they are:
    decoding takes a hundredth of a training step."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders, self.stems = folders, []
        self.look()

    def look(self) -> None:
        found = {file.with_suffix("") for folder in self.folders for file in folder.glob("[0-9]*.png") if file.name.count(".") == 1}
        self.stems = sorted(stem for stem in found if stem.with_suffix(".plate.png").exists())
        scenes = [scene(int(stem.name)) for stem in self.stems]
        self.hard = [[i for i, s in enumerate(scenes) if s.kind in HOLED], [i for i, s in enumerate(scenes) if s.background in MIRRORS]]

    def __len__(self) -> int:
        return len(self.stems)

    def any(self, chance: Chance) -> int:
        """The index of a render."""
        draw, hard = chance.one(), []
        if draw < 2 * MORE:
            hard = self.hard[0 if draw < MORE else 1]
        return hard[chance.below(len(hard))] if hard else chance.below(len(self.stems))

    def part(self, index: int, name: str) -> torch.Tensor | None:
        """[channels, h, w] in 0..1. "soft" may be missing: the picture through the autoencoder (matte_soft.py)."""
        file = self.stems[index].with_suffix(f".{name}.png" if name else ".png")
        return opened(file).float() / 255 if file.exists() else None


class Chance:
    """Random numbers of one picture, from one seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def one(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * torch.rand(1, generator=self.generator).item()

    def below(self, count: int) -> int:
        return int(torch.randint(count, (1,), generator=self.generator))

    def happens(self, share: float) -> bool:
        return self.one() < share

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator)


def moved(x: torch.Tensor, side: int, chance: Chance, padding: str, most: float = 1.0) -> torch.Tensor:
    """[c, side, side]: turned, mirrored, scaled and shifted; often so large that the frame cuts it. most: of the changes."""
    zoom = 2.0 ** chance.one(-1.3 * most, 0.8)  # of the frame: above 1 the picture is seen smaller
    turn, flip = chance.one(-0.2, 0.2) * most, -1.0 if chance.happens(0.5) else 1.0
    if padding != "zeros":
        zoom = min(zoom, 1.15)
    reach = 0.35 + max(0.0, zoom - 1) * 0.9 if padding == "zeros" else max(0.0, 1 - zoom) + 0.1
    right, down = chance.one(-reach, reach), chance.one(-reach, reach)
    c, s = zoom * np.cos(turn), zoom * np.sin(turn)
    wide = 2.0 ** chance.one(-0.2, 0.2) if most == 1.0 else 1.0
    affine = torch.tensor([[c * flip * wide, -s, right], [s * flip * wide, c, down]], dtype=torch.float32)
    shrink = x.shape[-1] * zoom / side
    if shrink > 1.6:
        x = F.avg_pool2d(x, int(shrink + 0.4))
    grid = F.affine_grid(affine[None], [1, x.shape[0], side, side], align_corners=False)
    return F.grid_sample(x[None], grid, mode="bilinear", padding_mode=padding, align_corners=False)[0]


def blurred(x: torch.Tensor, sigma: float) -> torch.Tensor:
    if sigma < 0.15:
        return x
    if sigma > 6:  # of large ones nothing fine is left
        by = int(sigma / 2.5)
        small = F.avg_pool2d(x[None], by, ceil_mode=True)
        return F.interpolate(blurred(small[0], sigma / by)[None], size=x.shape[1:], mode="bilinear", align_corners=False)[0]
    reach = int(3 * sigma + 0.5)
    line = torch.exp(-torch.arange(-reach, reach + 1.0) ** 2 / (2 * sigma**2))
    line = (line / line.sum())[None, None, None]
    x = F.pad(x[:, None], (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(x, line), line.mT)[:, 0]


def noise(side: int, chance: Chance, channels: int = 3) -> torch.Tensor:
    """Cloudy, -1..1: octaves of random size."""
    x, steep = torch.zeros(channels, side, side), chance.one(0.35, 0.85)
    for octave in range(chance.below(3), 7):
        cells = min(2 ** octave + 1, side)
        x += steep**octave * F.interpolate(chance.normal(1, channels, cells, cells), size=(side, side), mode="bicubic")[0]
    return (x / x.std().clamp(min=1e-3) / 2).clamp(-1, 1)


def ground(side: int, chance: Chance, like: torch.Tensor | None) -> torch.Tensor:
    """A synthetic background [3, side, side]: one colour, a gradient, clouds, stripes, tiles, or things out of focus.
    like: a colour to be close to."""
    colour = lambda: torch.tensor([chance.one() for _ in range(3)])[:, None, None]
    grey = lambda: torch.full((3, 1, 1), chance.one())
    first = like[:, None, None] + 0.06 * chance.normal(3, 1, 1) if like is not None else (colour if chance.happens(0.6) else grey)()
    if like is None and chance.happens(0.25):
        first = torch.full((3, 1, 1), chance.one(0.93, 1.0))
    near = like is not None or chance.happens(0.5)
    second = first + chance.one(0.02, 0.3) * chance.normal(3, 1, 1) if near else colour()
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    turn = chance.one(0, 6.3)
    line = x * np.cos(turn) + y * np.sin(turn)
    kind = chance.below(7)
    if kind == 0:
        share = torch.zeros(1, side, side)
    elif kind == 1:
        share = (line * chance.one(0.3, 1.5) / 2 + 0.5)[None]
    elif kind == 2:
        share = ((x - chance.one(-0.5, 0.5)) ** 2 + (y - chance.one(-0.5, 0.5)) ** 2)[None] * chance.one(0.2, 1)
    elif kind == 3:
        share = noise(side, chance, 1) / 2 + 0.5
    elif kind == 4:
        share = (torch.sin(line * chance.one(4, 60) + 3 * noise(side, chance, 1) * chance.one(0, 1)) * chance.one(1, 8)).clamp(-1, 1) / 2 + 0.5
    elif kind == 5:  # a floor and a wall
        share = ((y + 0.1 * line - chance.one(-0.4, 0.5)) * chance.one(2, 60)).clamp(-1, 1)[None] / 2 + 0.5
    else:
        return blurred((first + noise(side, chance) * chance.one(0.1, 0.6)).clamp(0, 1), chance.one(0, 8))
    x = first + (second - first) * share.clamp(0, 1)
    if chance.happens(0.35):
        x = x + noise(side, chance, 1 if chance.happens(0.5) else 3) * chance.one(0.01, 0.12)
    return x.clamp(0, 1)


def shadowed(under: torch.Tensor, alpha: torch.Tensor, chance: Chance) -> torch.Tensor:
    """A ground with a shadow of the product: cast to a side, or below it, hard or soft; sometimes a reflection's light."""
    side = under.shape[-1]
    dark = torch.zeros_like(alpha)
    for _ in range(1 + chance.below(2)):
        flat, down, right = chance.one(0.25, 1.1), chance.one(-0.05, 0.5), chance.one(-0.6, 0.6)
        rows = alpha[0].amax(1).nonzero()
        foot = (rows.max().item() / side * 2 - 1) if len(rows) else 0.5
        # the shadow stands on the product's foot, lower and leaning
        affine = torch.tensor([[1.0, right / flat, -right / flat * foot], [0.0, 1 / flat, foot - (foot + down * 0.2) / flat]])
        cast = F.grid_sample(alpha[None], F.affine_grid(affine[None], [1, 1, side, side], align_corners=False), align_corners=False)[0]
        dark = torch.maximum(dark, blurred(cast, chance.one(0.5, 14) * side / 256) * chance.one(0.15, 0.8))
    tint = torch.tensor([chance.one(0.75, 1) for _ in range(3)])[:, None, None]
    return (under * (1 - dark * tint)).clamp(0, 1)


def composed(renders: Renders, side: int, chance: Chance) -> torch.Tensor:
    """[4, side, side]: picture and alpha, of one or two products on the ground of another scene or on a synthetic one."""
    product = renders.part(renders.any(chance), "product")
    product = torch.cat([product[:3] * product[3:], product[3:]])
    layer = moved(product, side, chance, "zeros")
    if chance.happens(TOGETHER):
        other = renders.part(chance.below(len(renders)), "product")
        other = moved(torch.cat([other[:3] * other[3:], other[3:]]), side, chance, "zeros")
        layer = other + (1 - other[3:]) * layer
    alpha = layer[3:]
    light = chance.one(0.6, 1.3)
    mean = (layer[:3].sum((1, 2)) / alpha.sum().clamp(min=1) * light).clamp(0, 1)
    if chance.happens(0.45):
        plate = renders.part(chance.below(len(renders)), "plate")
        under = moved(plate, side, chance, "reflection", 0.4)
    else:
        under = ground(side, chance, mean if chance.happens(0.3) else None)
    if chance.happens(0.65):
        under = shadowed(under, alpha, chance)
    colour = (layer[:3] * light).clamp(0, 1)
    return torch.cat([torch.minimum(colour, alpha) + (1 - alpha) * under, alpha])


def rendered(renders: Renders, side: int, chance: Chance) -> torch.Tensor:
    index = renders.any(chance)
    picture = renders.part(index, "soft") if chance.happens(SOFT) else None
    picture = renders.part(index, "") if picture is None else picture
    both = torch.cat([picture, renders.part(index, "product")[3:]])
    # a third as it is: that is what the built-in model makes
    return moved(both, side, chance, "reflection", 0.0 if chance.happens(0.3) else 0.6)


def jpeg(picture: torch.Tensor, quality: int) -> torch.Tensor:
    data = io.BytesIO()
    Image.fromarray((picture * 255 + 0.5).byte().movedim(0, -1).numpy()).save(data, "JPEG", quality=quality, subsampling=0 if quality > 80 else 2)
    return torch.from_numpy(np.asarray(Image.open(data)).copy()).movedim(-1, 0).float() / 255


def example(renders: Renders, side: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture [3, side, side] and its alpha [1, side, side], wholly decided by the seed and the renders."""
    chance = Chance(seed)
    both = composed(renders, side, chance) if chance.happens(COMPOSED) else rendered(renders, side, chance)
    if chance.happens(0.4):  # soft pictures have soft edges
        both = blurred(both, chance.one(0.2, 1.6) * side / 256)
    if chance.happens(0.3):  # enlarged ones too
        small = int(side * chance.one(0.35, 0.9))
        both = F.interpolate(F.interpolate(both[None], size=(small, small), mode="bilinear", antialias=True, align_corners=False),
                             size=(side, side), mode="bicubic", align_corners=False)[0].clamp(0, 1)
    picture, alpha = both[:3], both[3:]
    if chance.happens(0.7):
        grey = picture.mean(0, keepdim=True)
        picture = grey + (picture - grey) * chance.one(0.5, 1.3)
        cast = torch.tensor([chance.one(0.88, 1.1) for _ in range(3)])[:, None, None]
        picture = (picture * cast * chance.one(0.75, 1.2)).clamp(0, 1) ** (2 ** chance.one(-0.5, 0.5))
    if chance.happens(0.1):
        picture = picture.mean(0, keepdim=True).expand(3, -1, -1)
    if chance.happens(0.4):
        picture = picture + chance.one(0.003, 0.04) * chance.normal(*picture.shape)
    picture = picture.clamp(0, 1)
    if chance.happens(0.3):
        picture = jpeg(picture, int(chance.one(35, 96)))
    return picture, alpha.clamp(0, 1)


if __name__ == "__main__":
    import sys

    renders, rows = Renders([Path(folder) for folder in sys.argv[2:]]), []
    for row in range(6):
        tiles = [torch.cat([p, a.expand(3, -1, -1)], 1) for p, a in (example(renders, 192, 10 * row + i) for i in range(10))]
        rows.append(torch.cat(tiles, 2))
    Image.fromarray((torch.cat(rows, 1) * 255).byte().movedim(0, -1).numpy()).save(sys.argv[1])
