"""Tests that a stopped training run resumes as if it had not been; from training/:  python -m unittest test_training"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch
from onnxruntime import InferenceSession
from PIL import Image
from transformers import CLIPTokenizer

import export
import matte_model
import matte_pictures
import pack
import take_up
import tokenizer as tokenizer_command
import tokens
import train_matte
import train_text
import train_unet
import train_vae
from model import LATENT_CHANNELS, LATENT_SIZE, SIZE, make_text_encoder, make_unet, make_vae
from studio.picture import render_apart
from studio.scenes import scene
from wording import with_unknown_words

torch.set_num_threads(1)


class Trainings(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.work = Path(cls.folder.name)
        tokenizer_command.make(cls.work, captions=300)
        cls.tokenizer = CLIPTokenizer.from_pretrained(cls.work / "tokenizer")

    def unet(self, name: str, steps: int) -> dict:
        args = argparse.Namespace(work=self.work, steps=steps, minutes=0, batch=2, rate=1e-3, cool=0, device="cpu", name=name)
        train_unet.train(0, args, 1)
        return torch.load(self.work / name, weights_only=True)

    def pictures(self, work: Path, count: int) -> None:
        """Latents and captions of that many scenes, as the previous stages leave them."""
        noise = np.random.default_rng(0).normal(size=(count, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE))
        np.save(work / "latents.npy", noise.astype(np.float16))
        np.save(work / "seeds.npy", np.arange(count))
        tokens.write(work)

    def test_a_stopped_unet_goes_on_as_if_it_had_not_stopped(self) -> None:
        self.pictures(self.work, train_unet.HELD_OUT + 4)
        torch.save({"model": make_text_encoder(len(self.tokenizer)).state_dict()}, self.work / "text.pt")
        straight = self.unet("straight.pt", 3)
        self.unet("stopped.pt", 1)
        stopped = self.unet("stopped.pt", 3)
        self.assertEqual((stopped["step"], stopped["samples"]), (3, 6))
        for part in ("model", "ema"):
            for name, value in straight[part].items():
                self.assertTrue(torch.equal(value, stopped[part][name]), f"{part} {name}")

    def test_what_is_exported_can_be_trained_on(self) -> None:
        """Without a UNet, then with one; the round trip returns what was exported, rounded."""
        work, out, again = self.work / "whole", self.work / "out", self.work / "again"
        shutil.copytree(self.work / "tokenizer", work / "tokenizer")
        made = {"text.pt": make_text_encoder(len(self.tokenizer)), "vae_final.pt": make_vae()}
        for name, module in made.items():
            torch.save({"model": module.state_dict()}, work / name)
        export.export(work, out)
        self.assertFalse((out / "unet").exists())
        take_up.take_up(again, out, 0)
        made["unet.pt"] = make_unet()
        torch.nn.init.zeros_(made["unet.pt"].conv_out.weight[0])
        torch.save({"ema": made["unet.pt"].state_dict()}, work / "unet.pt")
        export.export(work, out)
        take_up.take_up(again, out, 20)
        steps = {"unet.pt": export.UNET_STEPS, "vae_final.pt": export.VAE_STEPS}
        for name, module in made.items():
            state = torch.load(again / name, weights_only=True)["model"]
            for key, value in module.state_dict().items():
                near = value.flatten(1).std(1).max().item() / steps[name] * 2**-0.5 if name in steps and value.ndim > 1 else 1e-7
                torch.testing.assert_close(state[key].to(value.dtype), value, rtol=1 / 127, atol=near, msg=f"{name} {key}")
        self.pictures(again, train_unet.HELD_OUT + 4)
        args = argparse.Namespace(work=again, steps=21, minutes=0, batch=2, rate=1e-3, cool=0, device="cpu", name="unet.pt")
        train_unet.train(0, args, 1)
        state = torch.load(again / "unet.pt", weights_only=True)
        self.assertEqual((state["step"], state["samples"]), (21, 2))

    def test_scenes_that_come_later_get_captions_and_are_taken_in(self) -> None:
        work = self.work / "more"
        shutil.copytree(self.work / "tokenizer", work / "tokenizer")
        torch.save({"model": make_text_encoder(len(self.tokenizer)).state_dict()}, work / "text.pt")
        self.pictures(work, train_unet.HELD_OUT + 2)
        first = np.load(work / "tokens.npy")
        examples = train_unet.Examples(work, "cpu")
        np.save(work / "latents.npy", np.zeros((train_unet.HELD_OUT + 3, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE), np.float16))
        examples.read()
        self.assertEqual(len(examples.latents), train_unet.HELD_OUT + 2, "a picture without captions waits")
        self.pictures(work, train_unet.HELD_OUT + 3)
        examples.read()
        self.assertEqual(len(examples.latents), train_unet.HELD_OUT + 3)
        self.assertTrue(np.array_equal(np.load(work / "tokens.npy")[:len(first)], first))
        latents, context = examples.drawn(5, torch.Generator().manual_seed(0))
        self.assertEqual((len(latents), context.shape[:2]), (5, (5, 77)))

    def test_a_scene_is_worded_in_many_ways_and_in_the_same_ways_each_time(self) -> None:
        texts = tokens.wordings(0)
        self.assertEqual(texts, tokens.wordings(0))
        self.assertGreater(len(set(texts)), 10)
        ids = tokens.tokens_of(self.work / "tokenizer", [0])[0]
        self.assertTrue(torch.equal(torch.from_numpy(ids).long(), train_text.tokenize(self.tokenizer, texts)))

    def test_another_autoencoder_is_not_trained_over_the_latents_of_one(self) -> None:
        work = self.work / "decided"
        work.mkdir()
        (work / "vae_final.pt").touch()
        with self.assertRaisesRegex(SystemExit, "vae_final.pt"):
            train_vae.train(argparse.Namespace(work=work))

    def test_a_caption_says_what_its_labels_say(self) -> None:
        texts, labels = train_text.examples(train_text.FIRST_SEED, 200)
        kinds = train_text.PARTS["kind"]
        named = [(text, kinds[i]) for text, i in zip(texts, labels[:, 0].tolist()) if i < len(kinds)]
        self.assertGreater(sum(kind in text for text, kind in named), 0.5 * len(named))
        self.assertTrue((labels[[i for i, text in enumerate(texts) if not text]] == torch.tensor([len(v) for v in train_text.PARTS.values()])).all())

    def test_unknown_words_come_between_and_take_nothing_away(self) -> None:
        rng = random.Random(0)
        for _ in range(50):
            words = with_unknown_words("a red apple on a white background", rng).split(" ")
            known = iter(words)
            self.assertTrue(all(word in known for word in "a red apple on a white background".split()))
            self.assertGreater(len(words), 7)

    def test_a_stopped_matting_network_goes_on_as_if_it_had_not_stopped(self) -> None:
        states = []
        for name, ends in (("straight", (3,)), ("stopped", (1, 3))):
            work = self.scenes(name)
            for until in ends:
                train_matte.train(0, argparse.Namespace(work=work, steps=3, minutes=0, until=until, batch=2, threads=1), 1)
            states.append(torch.load(work / "matte.pt", weights_only=True))
        self.assertEqual([state["step"] for state in states], [3, 3])
        for part in ("model", "mean"):
            for name, value in states[0][part].items():
                self.assertTrue(torch.equal(value, states[1][part][name]), f"{part} {name}")

    def test_what_the_matting_network_learns_from_is_decided_by_its_seed(self) -> None:
        renders = matte_pictures.Renders([self.scenes("seeded") / "scenes"])
        seen = []
        for seed in range(20):
            picture, alpha = matte_pictures.example(renders, 64, seed)
            again, _ = matte_pictures.example(renders, 64, seed)
            self.assertEqual((picture.shape, alpha.shape), ((3, 64, 64), (1, 64, 64)))
            self.assertTrue(torch.equal(picture, again))
            self.assertTrue(0 <= min(picture.min(), alpha.min()) and max(picture.max(), alpha.max()) <= 1)
            seen.append(alpha.mean().item())
        self.assertGreater(np.std(seen), 0.02, "products are of many sizes")

    def test_an_exported_matting_network_computes_the_same_at_any_multiple_of_its_step(self) -> None:
        torch.manual_seed(0)
        matte, file = matte_model.Matte(), self.work / "matte.onnx"
        matte.train()(torch.rand(4, 3, 64, 64))  # norms that do something
        matte.eval()
        matte_model.export(matte, file)
        session = InferenceSession(file)
        for height, width in ((32, 32), (64, 160)):
            picture = torch.rand(1, 3, height, width)
            with torch.inference_mode():
                wanted = matte(picture)
            found = session.run(None, {"picture": picture.numpy()})[0]
            torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=0, atol=5e-3)

    def scenes(self, name: str) -> Path:
        """A folder of two renders with their products apart."""
        folder = self.work / name / "scenes"
        folder.mkdir(parents=True)
        for seed in (0, 1):
            for part, pixels in render_apart(scene(seed), 64).items():
                ending = "" if part == "picture" else f".{part}"
                Image.fromarray(pixels.numpy()).save(folder / f"{seed:07d}{ending}.png")
        return folder.parent

    def test_every_text_has_tokens_within_the_vocabulary(self) -> None:
        ids = train_text.tokenize(self.tokenizer, ["", "a red apple", "ein roter Apfel", "一个红苹果", "🍎", "x" * 2000])
        self.assertEqual(tuple(ids.shape), (6, 77))
        self.assertLess(ids.max().item(), len(self.tokenizer))

    def test_pictures_are_packed_once_and_in_order(self) -> None:
        folder = self.work / "few"
        (folder / "pictures").mkdir(parents=True)
        for seed in (3, 1):
            Image.new("RGB", (SIZE, SIZE), (seed, 0, 0)).save(folder / "pictures" / f"{seed:07d}.png")
        pack.pack(folder, folder / "pictures")
        Image.new("RGB", (SIZE, SIZE), (2, 0, 0)).save(folder / "pictures" / "0000002.png")
        pack.pack(folder, folder / "pictures")
        pictures, seeds = pack.packed(folder)
        self.assertEqual(seeds.tolist(), [1, 3, 2])
        self.assertEqual(pictures[:, 5, 5, 0].tolist(), [1, 3, 2])


if __name__ == "__main__":
    unittest.main()
