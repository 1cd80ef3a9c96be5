"""The tokenizer: CLIP's byte-level BPE (lower case, `</w>` at a word's end), with merges learned from our captions.

    python tokenizer.py --out WORK        writes WORK/tokenizer, loadable by transformers' CLIPTokenizer

Vocabulary, in CLIP's order: 256 bytes, 256 bytes that end a word, the merges' results, <|startoftext|>, <|endoftext|>.
Unknown words are split into bytes, so every text has tokens.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from model import TEXT_LENGTH
from studio.captions import caption, empty_caption
from studio.scenes import scene

START, END, SIZE = "<|startoftext|>", "<|endoftext|>", 1024
WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def byte_letters() -> list[str]:
    """The 256 printable stand-ins for bytes, in CLIP's order (printable Latin-1 first)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def build(bpe: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return tokenizer


def train(texts: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary of SIZE entries (fewer if the texts give fewer merges) and the merges, in order."""
    letters = byte_letters()
    tokenizer = build(models.BPE(end_of_word_suffix="</w>"))
    trainer = trainers.BpeTrainer(vocab_size=SIZE, end_of_word_suffix="</w>", initial_alphabet=letters, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    merges = [tuple(m) for m in json.loads(tokenizer.to_str())["model"]["merges"]]
    tokens = letters + [c + "</w>" for c in letters]
    merges = [m for m in dict.fromkeys(merges)][: SIZE - 2 - len(tokens)]
    for a, b in merges:
        if a + b not in tokens:
            tokens.append(a + b)
    return {token: i for i, token in enumerate([*tokens, START, END])}, merges


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    make(parser.parse_args().out)


def make(work: Path, captions: int = 24_000) -> None:
    out = work / "tokenizer"
    out.mkdir(parents=True, exist_ok=True)
    texts = [caption(scene(seed), seed) if seed % 6 else empty_caption(seed) for seed in range(captions)]
    vocab, merges = train(texts)

    tokenizer = build(models.BPE(vocab, merges, unk_token=END, end_of_word_suffix="</w>", fuse_unk=False, continuing_subword_prefix=""))
    tokenizer.post_processor = processors.RobertaProcessing((END, vocab[END]), (START, vocab[START]), trim_offsets=False, add_prefix_space=False)
    tokenizer.add_special_tokens([START, END])
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False) + "\n")
    (out / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (out / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    config = {**special, "add_prefix_space": False, "do_lower_case": True, "errors": "replace", "model_max_length": TEXT_LENGTH,
              "tokenizer_class": "CLIPTokenizer"}
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(f"{len(vocab)} tokens, {len(merges)} merges")


if __name__ == "__main__":
    main()
