"""Rendered pictures -> WORK/pictures.bin (uint8 [n, 256, 256, 3]) and WORK/seeds.npy ([n], the scenes they show).

    python pack.py --work WORK [--pictures WORK/pictures]     run it again when there are more; packed pictures stay unchanged
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from model import SIZE


def packed(work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures, memory-mapped, and their seeds."""
    seeds = np.load(work / "seeds.npy")
    return np.memmap(work / "pictures.bin", np.uint8, "r", shape=(len(seeds), SIZE, SIZE, 3)), seeds


def saved(file: Path, values: np.ndarray) -> None:
    """Written atomically: a training run may be reading it."""
    fresh = file.with_suffix(".new.npy")
    np.save(fresh, values)
    fresh.replace(file)


def read(file: Path) -> bytes:
    picture = np.asarray(Image.open(file).convert("RGB"))
    assert picture.shape == (SIZE, SIZE, 3), f"{file}: {picture.shape}"
    return picture.tobytes()


def pack(work: Path, folder: Path) -> None:
    listing, store = work / "seeds.npy", work / "pictures.bin"
    seeds = np.load(listing).tolist() if listing.exists() else []
    known = set(seeds)
    fresh = [f for f in sorted(folder.glob("[0-9]*.png")) if int(f.stem) not in known]
    with store.open("r+b" if store.exists() else "wb") as out:
        out.seek(len(seeds) * SIZE * SIZE * 3)  # a part that was written but not listed is written again
        with ThreadPoolExecutor() as pool:
            out.writelines(pool.map(read, fresh))
        out.truncate()
    seeds += [int(f.stem) for f in fresh]
    saved(listing, np.array(seeds))
    print(f"{len(fresh)} new pictures, {len(seeds)} in all")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--pictures", type=Path)
    args = parser.parse_args()
    pack(args.work, args.pictures or args.work / "pictures")


if __name__ == "__main__":
    main()
