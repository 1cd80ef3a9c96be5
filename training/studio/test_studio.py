"""Fast checks of the studio; from training/:  python -m unittest studio.test_studio"""

from __future__ import annotations

import json
import re
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import torch

from . import render as command
from .backdrops import BACKGROUNDS
from .build import BUILDERS, things_of
from .captions import Chances, caption, empty_caption, tell
from .catalogue import KINDS
from .picture import render, render_apart
from .scenes import ARRANGEMENTS, CAMERAS, LIGHTS, combinations, held_out, held_out_combinations, scene
from .vocabulary import COLOUR_WORDS, PAPER_WORDS, words

SMALL = 64
torch.set_num_threads(1)


class Pictures(unittest.TestCase):
    def test_same_seed_same_picture_whatever_came_before(self) -> None:
        first = render(scene(11), SMALL)
        render(scene(12), SMALL)
        self.assertTrue(torch.equal(first, render(scene(11), SMALL)))
        self.assertFalse(torch.equal(first, render(scene(13), SMALL)))

    def test_products_apart_and_their_plate_make_the_picture(self) -> None:
        for background in ("white", "marble"):
            s = scene(11, background=background)
            parts = render_apart(s, SMALL)
            self.assertTrue(torch.equal(parts["picture"], render(s, SMALL)))
            product, alpha = parts["product"][..., :3].float(), parts["product"][..., 3:].float() / 255
            again = product * alpha + parts["plate"].float() * (1 - alpha)
            self.assertLess((again - parts["picture"].float()).abs().max().item(), 2.1)
            self.assertTrue(0.02 < alpha.mean().item() < 0.9)

    def test_every_kind_stands_out_from_white_and_from_dark(self) -> None:
        self.assertEqual(set(BUILDERS), set(KINDS))
        for kind in KINDS:
            for background in ("white", "dark"):
                with self.subTest(kind=kind, background=background):
                    s = scene(5, kind=kind, background=background, count=1, arrangement="single", size="normal", light="soft")
                    picture = render(s, SMALL).float()
                    self.assertEqual(picture.shape, (SMALL, SMALL, 3))
                    corners = torch.stack([picture[0, 0], picture[0, -1], picture[-1, 0], picture[-1, -1]]).mean(0)
                    apart = (picture - corners).abs().max(-1).values > 24
                    self.assertGreater(apart.float().mean().item(), 0.02)

    def test_every_background_light_camera_and_arrangement(self) -> None:
        means = {}
        for background in BACKGROUNDS:
            means[background] = render(scene(3, kind="mug", background=background), SMALL).float().mean().item()
        self.assertGreater(means["white"], 190)
        self.assertLess(means["dark"], 70)
        for light in LIGHTS:
            for camera in CAMERAS:
                picture = render(scene(3, kind="egg", light=light, camera=camera, background="grey"), SMALL)
                self.assertGreater(picture.float().std().item(), 3)
        for arrangement in ARRANGEMENTS[1:]:
            s = scene(3, kind="apple", count=3, arrangement=arrangement)
            self.assertEqual(len(things_of(s)), 3)

    def test_things_stand_on_the_floor_and_apart(self) -> None:
        for kind in KINDS:
            with self.subTest(kind=kind):
                things = things_of(scene(8, kind=kind, count=3, arrangement="row"))
                for thing in things:
                    self.assertLess(thing.low[1], 0.06)
                a, b = things[0], things[1]
                gap = max(max(a.low[i], b.low[i]) - min(a.high[i], b.high[i]) for i in (0, 2))
                self.assertGreater(gap, -0.02)


class Scenes(unittest.TestCase):
    def test_a_scene_is_its_seed_and_survives_json(self) -> None:
        self.assertEqual(scene(4), scene(4))
        self.assertEqual(json.loads(json.dumps(scene(4).as_json()))["kind"], scene(4).kind)

    def test_held_out_share(self) -> None:
        share = len(held_out_combinations()) / len(combinations())
        self.assertTrue(0.035 < share < 0.065, share)
        self.assertFalse(any(held_out(scene(seed)) for seed in range(500)))
        self.assertTrue(all(held_out(scene(seed, held=True)) for seed in range(100)))

    def test_all_kinds_and_backgrounds_are_drawn(self) -> None:
        drawn = [scene(seed) for seed in range(1500)]
        self.assertEqual({s.kind for s in drawn}, set(KINDS))
        self.assertEqual({s.background for s in drawn}, set(BACKGROUNDS))
        self.assertGreaterEqual(len(KINDS), 40)


class Captions(unittest.TestCase):
    def test_only_known_words_lower_case_and_clean(self) -> None:
        known = set(words())
        for seed in range(3000):
            text = caption(scene(seed), seed)
            self.assertEqual(text, text.lower())
            self.assertNotRegex(text, r"  |, ,|^,|,$| ,|\ba [aeio][a-z]+ \ba\b")
            self.assertLessEqual(set(re.findall(r"[^\s,]+", text)), known)
        self.assertEqual(caption(scene(1), 2), caption(scene(1), 2))

    def test_articles(self) -> None:
        wrong = r"\ba (apple|orange|egg|onion|avocado|aubergine|ice|eggplant|image)\b|\ban (red|green|mug|pear|photo|one)\b"
        for seed in range(3000):
            text = caption(scene(seed), 1)
            self.assertNotRegex(text, wrong)

    def test_what_is_said_is_in_the_words(self) -> None:
        never = Chances(general=0)
        for seed in range(1500):
            s = scene(seed)
            told = tell(s, 0, never)
            kind = KINDS[s.kind]
            names = [w for pair in ((kind.name, kind.plural), *kind.others) for w in pair]
            self.assertTrue(any(name in told.text for name in names), told.text)
            if "colour" in told.said:
                self.assertTrue(any(w in told.text for w in COLOUR_WORDS[s.colour]), told.text)
            if s.background != "white":
                self.assertEqual(told.said["background"], s.background)
            if told.said.get("background") in ("blue", "pink", "blue gradient"):
                self.assertTrue(any(w in told.text for w in PAPER_WORDS[s.background]), told.text)

    def test_many_wordings(self) -> None:
        self.assertGreater(len({caption(scene(7), seed) for seed in range(200)}), 120)
        self.assertIn("", {empty_caption(seed) for seed in range(20)})


class Command(unittest.TestCase):
    def test_writes_and_resumes(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            arguments = ["render", "--count", "3", "--out", folder, "--size", "32"]
            with mock.patch("sys.argv", arguments), mock.patch("builtins.print"):
                command.main()
                (Path(folder) / "0000001.png").unlink()
                with (Path(folder) / "captions.jsonl").open("a") as f:
                    f.write('{"file": "00')  # a line cut short by a stop
                command.main()
            self.assertEqual(len(list(Path(folder).glob("*.png"))), 3)
            lines = [json.loads(t) for t in (Path(folder) / "captions.jsonl").read_text().splitlines()]
            self.assertEqual(sorted(entry["file"] for entry in lines), ["0000000.png", "0000001.png", "0000002.png"])


if __name__ == "__main__":
    unittest.main()
