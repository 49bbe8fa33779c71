"""The same data in other formats train to the same bits; tokenizers speak; changed data are noticed."""
import json
import struct
import unittest

import sandbox

IMAGES = """\
version: 1
kind: job
name: images
model:
  loss: cross_entropy
  input: {features: [1, 4, 4]}
  layers:
    - conv2d: {out: 4, kernel: 3, padding: 1}
    - relu
    - flatten
    - linear: {out: 3}
data:
  train: DATA
pipeline: {stages: 2, micro_batches: 2}
train: {steps: 5, batch_size: 6}
"""


def safetensors(arrays):
    """A file of {name: (dtype, shape, bytes)}."""
    header, data = {}, b""
    for name, (dtype, shape, raw) in arrays.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def megatron_index(lengths, token_bytes, code):
    begins = [sum(lengths[:i]) * token_bytes for i in range(len(lengths))]
    return (b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, code, len(lengths), len(lengths) + 1) +
            struct.pack(f"<{len(lengths)}i", *lengths) + struct.pack(f"<{len(begins)}q", *begins) +
            struct.pack(f"<{len(lengths) + 1}q", *range(len(lengths) + 1)))


def byte_vocabulary(joined):
    """vocab.json and merges.txt in GPT-2's form: the bytes, then pairs of letters."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    vocab = {chr(byte if byte in visible else next(hidden)): byte for byte in range(256)}
    for pair in joined:
        vocab[pair] = len(vocab)
    return json.dumps(vocab), "#version: 0.2\n" + "".join(f"{pair[0]} {pair[1]}\n" for pair in joined)


class FormatsTest(sandbox.Sandbox):

    def hash_of(self, job, name):
        self.write(f"{name}.yaml", job)
        state = self.dir / f"state-{name}"
        self.penstock("run", "-f", f"{name}.yaml", "--state-dir", state)
        return self.summary(state)["sha256"]

    def test_tokens_in_every_format_are_the_same_tokens(self):
        tokens = sandbox.text(6000)
        wide = struct.pack(f"<{len(tokens)}H", *tokens)
        self.write("text.txt", tokens)
        self.write("tokens.bin", wide)
        self.write("shard_0.bin", wide[:2002])
        self.write("shard_1.bin", struct.pack("<256i", 20240520, 1, (len(wide) - 2002) // 2, *[0] * 253) + wide[2002:])
        self.write("u16.bin", wide)
        self.write("u16.idx", megatron_index([1000, 1, len(tokens) - 1001], 2, 8))
        self.write("i32.bin", struct.pack(f"<{len(tokens)}i", *tokens))
        self.write("i32.idx", megatron_index([len(tokens)], 4, 4))
        expected = self.hash_of(sandbox.GPT, "text")
        for name, keys in {"plain": "format: tokens, path: tokens.bin", "shards": "format: tokens, path: shard_*.bin",
                           "u16": "format: megatron, path: u16", "i32": "format: megatron, path: i32.bin"}.items():
            with self.subTest(name):
                self.assertEqual(self.hash_of(sandbox.GPT.replace("format: text, path: text.txt", keys), name), expected)

    def test_images_in_every_format_are_the_same_images(self):
        pixels = [bytes((i * 5 + p * 3) % 17 for p in range(16)) for i in range(20)]
        labels = bytes(i % 3 for i in range(20))
        rows = [",".join([f"p{p}" for p in range(16)] + ["label"])]
        rows += [",".join(map(str, [*image, label])) for image, label in zip(pixels, labels)]
        self.write("images.csv", "\n".join(rows) + "\n")
        self.write("images", struct.pack(">4B3I", 0, 0, 8, 3, 20, 4, 4) + b"".join(pixels))
        self.write("labels", struct.pack(">4BI", 0, 0, 8, 1, 20) + labels)
        numbers = struct.pack("<320f", *b"".join(pixels))
        self.write("f32", safetensors({"inputs": ("F32", [20, 1, 4, 4], numbers),
                                       "targets": ("I64", [20], struct.pack("<20q", *labels))}))
        self.write("u8", safetensors({"targets": ("U8", [20], labels), "inputs": ("U8", [20, 1, 4, 4], b"".join(pixels))}))
        expected = self.hash_of(IMAGES.replace("DATA", "{format: csv, path: images.csv, target: label, scale: 0.0625}"),
                                "csv")
        for name, keys in {"mnist": "format: mnist, path: images, labels: labels", "f32": "format: safetensors, path: f32",
                           "u8": "format: safetensors, path: u8"}.items():
            with self.subTest(name):
                job = IMAGES.replace("DATA", f"{{{keys}, scale: 0.0625}}")
                self.assertEqual(self.hash_of(job, name), expected)


class ChangedDataTest(sandbox.Sandbox):

    def test_a_job_does_not_go_on_over_data_that_have_changed(self):
        self.write("job.yaml", sandbox.GPT.replace("checkpoint: {", "checkpoint: {dir: checkpoints, "))
        self.run_job("--set", "train.steps=3")
        manifest = json.loads((self.dir / "checkpoints" / "step-3" / "MANIFEST.json").read_text())
        samples = manifest["data"]["samples"]
        self.assertEqual([file["name"] for file in manifest["data"]["files"]], ["text.txt"])
        self.assertEqual((manifest["data"]["epoch"], manifest["data"]["offset"]), divmod(30, samples))

        whole = self.write("text.txt", sandbox.text()).read_bytes()
        self.write("text.txt", whole[:5000] + b"X" + whole[5001:])
        refused = self.run_job("--resume", check=1)
        self.assertIn("text.txt has other contents of the same length", refused.stderr)

        # The same bytes at another place are the same data; other data under another name are meant.
        self.write("moved.txt", whole)
        self.run_job("--resume", "--set", "train.steps=4", "--set", "data.train.path=moved.txt")
        self.run_job("--resume", "--set", "train.steps=6", "--set", "data.train.path=text.txt")
        self.assertIn("goes on with other training data", (self.state / "logs" / "coordinator.log").read_text())

    def test_generation_needs_no_data(self):
        self.write("job.yaml", sandbox.GPT.replace("checkpoint: {", "checkpoint: {dir: checkpoints, "))
        self.run_job("--set", "train.steps=3")
        (self.dir / "text.txt").unlink()
        made = self.json("generate", self.dir / "checkpoints", "--prompt", "The ", "--tokens", "5")
        self.assertEqual(len(made["tokens"]), 5)


class TokenizerTest(sandbox.Sandbox):

    JOB = sandbox.GPT.replace("vocab: 256", "vocab: 260").replace(
        "seq_len: 16", "seq_len: 16\n  tokenizer: {bpe: tokenizer}").replace(
            "checkpoint: {", "eval: {sample: {prompt: 'The boat', tokens: 6}}\ncheckpoint: {dir: checkpoints, ")

    def setUp(self):
        super().setUp()
        (self.dir / "tokenizer").mkdir()
        vocab, merges = byte_vocabulary(["th", "bo"])
        self.write("tokenizer/vocab.json", vocab)
        self.write("tokenizer/merges.txt", merges)
        self.write("job.yaml", self.JOB)

    def test_text_prompts_and_samples_go_through_the_tokenizer(self):
        self.run_job()
        self.assertTrue(self.summary()["sample"].startswith("The boat"))
        spoken = self.json("generate", self.dir / "checkpoints", "--prompt", "The both", "--tokens", "4")
        # 'T h e ␠ bo th' as tokens.
        numbers = self.json("generate", self.dir / "checkpoints", "--prompt-tokens", "84,104,101,32,257,256",
                            "--tokens", "4")
        self.assertEqual(spoken, numbers)

    def test_a_tokenizer_of_another_model_is_refused(self):
        vocab, merges = byte_vocabulary(["th", "bo", "at", "wa", "it"])
        self.write("tokenizer/vocab.json", vocab)
        self.write("tokenizer/merges.txt", merges)
        refused = self.penstock("validate", "job.yaml", check=2)
        self.assertIn("a vocabulary of 260 is too small: the tokenizer", refused.stderr)


if __name__ == "__main__":
    unittest.main()
