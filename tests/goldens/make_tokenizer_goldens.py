#!/usr/bin/env python3
"""Makes tests/goldens/tokenizers: small vocabularies, and what the reference libraries make of texts with them.

    python3 -m venv V && V/bin/pip install tokenizers==0.23.3 sentencepiece==0.2.3
    V/bin/python tests/goldens/make_tokenizer_goldens.py data/kjv.txt

Writes, beside itself:
    tokenizers/vocab.json, merges.txt   a byte-level BPE of 600 tokens, as GPT-2's files are
    tokenizers/unigram.model, bpe.model sentencepiece models of 400 and 600 pieces
    tokenizers/bpe.json, unigram.json, sentencepiece_bpe.json
                                        [{"text", "ids", "decoded"}], texts as UTF-8
"""

import json
import pathlib
import random
import sys

import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent / "tokenizers"

# Word boundaries, contractions, spaces of every kind, scripts, digits that are none of 0-9, marks, emoji with joiners,
# control characters, what normalization changes, what looks like a special token.
TEXTS = [
    "", " ", "  ", "\n", "\n\n \n", "a", " a", "a ", "In the beginning God created the heaven and the earth.",
    "And God said, Let there be light: and there was light.", "don't I'll we've they're he'd I'm it's DON'T I'LL",
    "'s 't 're'll''", "x=1234567890;y = 3.14159e-10", "  leading and   inner    and trailing   ",
    "tabs\tand\t\ttabs\r\nand\r\nlines\x0b\x0cform", "non\u00a0breaking\u00a0\u00a0space \u2003em\u3000ideographic",
    "nel\x85line\u2028sep\u2029para \u180emongolian\u200bzero", "na\u00efve caf\u00e9 \u00c5ngstr\u00f6m",
    "cafe\u0301 n\u0303", "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u3053\u3093\u306b\u3061\u306f \u4e16\u754c", "\u0417\u0434\u0440\u0430\u0432\u0441\u0442\u0432\u0443\u0439 \u043c\u0438\u0440",
    "\u0967\u0968\u0969 \u00b2\u00b3 \u2163 \u00bd", "\U0001f600\U0001f469\u200d\U0001f469\u200d\U0001f467 ok \U0001f1e9\U0001f1ea",
    "\uff21\uff22\uff23 \uff11\uff12 \ufb01ne \u2460", "\x00\x01\x7f control", "a" * 300, "ab" * 200 + " " + "!" * 150,
    " " * 100 + "x" + " " * 99, "\u2581under\u2581score \u2581", "<|endoftext|>", "a<|endoftext|>b <|endoftext|>\n",
    "<|endoftext|", "<s></s><unk><0x41>", "<keep> me <keep><keep>", "\ufffd \U0010ffff \ue000",
    "thou shalt not kill. Thou shalt NOT; Zerubbabel begat Abiud", "...---'''\"\"\"((()))", "\ud7ff\ue001",
]


def random_texts(lines, count):
    """Pieces of the text with noise in them."""
    rng = random.Random(7)
    alphabet = "abcXYZ 019.,;'\n\t\u00e9\u4e16\u0301\U0001f600\u2581\u00a0 "
    texts = []
    for _ in range(count):
        text = rng.choice(lines)
        begin = rng.randrange(len(text) + 1)
        text = text[begin:begin + rng.randrange(1, 120)]
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + "".join(rng.choice(alphabet) for _ in range(rng.randrange(6))) + text[at:]
        texts.append(text)
    return texts


def byte_level_bpe(lines):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<|endoftext|>"], show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.model.save(str(HERE))
    # From the files, as everybody reads them.
    read = Tokenizer(models.BPE.from_file(str(HERE / "vocab.json"), str(HERE / "merges.txt")))
    read.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    read.decoder = decoders.ByteLevel()
    read.add_special_tokens(["<|endoftext|>"])
    assert read.get_vocab_size() == 600
    return lambda text: read.encode(text).ids, lambda ids: read.decode(ids, skip_special_tokens=False)


def sentencepiece_model(name, corpus, **options):
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(HERE / name), hard_vocab_limit=True, num_threads=1,
        minloglevel=2, **options)
    (HERE / f"{name}.vocab").unlink()
    processor = sentencepiece.SentencePieceProcessor(model_file=str(HERE / f"{name}.model"))
    return lambda text: processor.encode(text), processor.decode


def write(name, texts, encode, decode):
    cases = []
    for text in texts:
        ids = encode(text)
        cases.append({"text": text, "ids": ids, "decoded": decode(ids)})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (HERE / name).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def main(corpus):
    HERE.mkdir(exist_ok=True)
    lines = [line for line in pathlib.Path(corpus).read_text().splitlines() if line][:4000]
    texts = TEXTS + random_texts(lines, 160)
    write("bpe.json", texts, *byte_level_bpe(lines))
    small = HERE / "corpus.txt"
    small.write_text("\n".join(lines), encoding="utf-8")
    # A few rules instead of all of NFKC, which has 240 kB: a ligature, full-width letters, spaces, a mark with its
    # letter, and one that leaves nothing.
    rules = HERE / "rules.tsv"
    rules.write_text("FB01\t66 69\nFF21\t41\nFF22\t42\nA0\t20\n3000\t20\n9\t20\nA\t20\n63 327\tE7\n65 301\tE9\n200B\t\n",
                     encoding="utf-8")
    write("unigram.json", texts, *sentencepiece_model(
        "unigram", small, vocab_size=400, model_type="unigram", normalization_rule_tsv=str(rules),
        user_defined_symbols=["<keep>", "LORD"]))
    write("sentencepiece_bpe.json", texts, *sentencepiece_model(
        "bpe", small, vocab_size=600, model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, user_defined_symbols=["<keep>"], split_digits=True))
    small.unlink()
    rules.unlink()


if __name__ == "__main__":
    main(sys.argv[1])
