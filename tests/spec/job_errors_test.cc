// What is wrong with a job file, class by class, with the exact text that its user reads.
#include <gtest/gtest.h>

#include <string>

#include "tests/spec/spec_fixture.h"

namespace penstock {
namespace {

class JobErrorsTest : public SpecTest {};

TEST_F(JobErrorsTest, ShowsTheSourceLineWithACaret) {
  const absl::Status status = Read(JobWith("micro_batches: 4", "micro_batch: 4")).status();
  // The one error of both, that the key is missing and that there is another: it was two.
  EXPECT_EQ(status.message(), folder_ +
                                  "/job.yaml:15:23: error: unknown key 'micro_batch' in 'pipeline'; did you mean "
                                  "'micro_batches'?\n"
                                  "   15 | pipeline: {stages: 2, micro_batch: 4}\n"
                                  "      |                       ^~~~~~~~~~~");
}

TEST_F(JobErrorsTest, NamesAMissingFile) {
  EXPECT_EQ(ReadJobFile(folder_ + "/none.yaml").status(), absl::NotFoundError(folder_ + "/none.yaml: no such file"));
}

TEST_F(JobErrorsTest, ReportsWhatIsNoJob) {
  EXPECT_EQ(ErrorsOf(""), "job.yaml:1:1: error: the file: expected a mapping (key: value), found nothing\n");
  EXPECT_EQ(ErrorsOf("- 1\n"), "job.yaml:1:1: error: the file: expected a mapping (key: value), found a list\n");
  EXPECT_EQ(ErrorsOf("a: [1\n"), "job.yaml:2:1: error: not valid YAML: end of sequence flow not found\n");
  EXPECT_EQ(ErrorsOf(JobWith("version: 1", "version: 2")),
            "job.yaml:1:10: error: version is 2: this program reads version 1\n");
  EXPECT_EQ(ErrorsOf(JobWith("kind: job", "kind: cluster")),
            "job.yaml:2:7: error: this is a cluster file: a job file is needed here\n");
  EXPECT_EQ(ErrorsOf("version: 1\nkind: job\n"),
            "job.yaml:1:1: error: missing key 'name'\njob.yaml:1:1: error: missing key 'model'\n"
            "job.yaml:1:1: error: missing key 'data'\njob.yaml:1:1: error: missing key 'train'\n");
}

TEST_F(JobErrorsTest, SaysOfAFileOfAnotherKindThatAlone) {
  // The one error that mattered stood somewhere among those about each key that a job does not have.
  EXPECT_EQ(ErrorsOf("version: 1\nkind: cluster\nworkers: [{host: localhost, devices: [cpu]}]\n"),
            "job.yaml:2:7: error: this is a cluster file: a job file is needed here\n");
}

TEST_F(JobErrorsTest, ReportsAllErrorsOfAFileInOneRun) {
  EXPECT_EQ(
      ErrorsOf(R"(version: 1
kind: job
name: bad name
model:
  loss: cross_entrpy
  layers:
    - embeding: {vocab: 256, dim: 8}
    - gpt_block: {head: 2}
data:
  train: {format: text, path: none.txt, part: [0.5, 0.2]}
  seq_len: 16
  order: random
pipeline: {stages: 0, micro_batches: 4}
train:
  steps: -1
  batch_size: 3
  optimizer: {name: adamw, lr: .nan}
chekpoint: {every: 1}
)"),
      "job.yaml:3:7: error: name is 'bad name': a name begins with a letter or a digit and has at most 100 letters, "
      "digits, '-', '_' and '.'\n"
      "job.yaml:5:9: error: model.loss: expected one of cross_entropy, mse, found 'cross_entrpy'; did you mean "
      "'cross_entropy'?\n"
      "job.yaml:7:7: error: unknown layer kind 'embeding'; did you mean 'embedding'?\n"
      "job.yaml:8:19: error: unknown key 'head' in 'gpt_block'; did you mean 'heads'?\n"
      "job.yaml:10:31: error: data.train.path: no such file: none.txt\n"
      "job.yaml:10:47: error: data.train.part is [0.5, 0.2]: it must be [begin, end] with 0 <= begin < end <= 1\n"
      "job.yaml:12:10: error: data.order: expected one of shuffled, sequential, found 'random'\n"
      "job.yaml:13:20: error: pipeline.stages is 0: it must be at least 1\n"
      "job.yaml:13:38: error: pipeline.micro_batches is 4, but a mini-batch has 3 samples (train.batch_size): each "
      "micro-batch needs at least one\n"
      "job.yaml:15:10: error: train.steps is -1: it must be at least 0\n"
      "job.yaml:17:32: error: train.optimizer.lr: expected a number, found '.nan'\n"
      "job.yaml:18:1: error: unknown key 'chekpoint'; did you mean 'checkpoint'?\n");
}

TEST_F(JobErrorsTest, SaysWhatThisVersionDoesNotHave) {
  EXPECT_EQ(
      ErrorsOf(Job() + "  threads: 4\nrestart: {max: 3}\nlog: {tensorboard: true}\n"),
      "job.yaml:19:12: error: train.threads: this version does not have several threads in one worker (start more "
      "workers): leave it out, or write 1\n"
      "job.yaml:20:1: error: restart: this version does not restart a job by itself: submit it again with "
      "--resume\n"
      "job.yaml:21:20: error: log.tensorboard: this version does not have TensorBoard files (metrics.jsonl has "
      "every figure): leave it out, or write false\n");
  EXPECT_EQ(ErrorsOf(JobWith("stages: 2", "stages: 2, replicas: [2, 1], lanes: 2")),
            "job.yaml:15:33: error: pipeline.replicas: this version does not have replicas (each stage runs on one "
            "worker): leave it out, or write 1\n"
            "job.yaml:15:48: error: pipeline.lanes: this version does not have lanes: leave it out, or write 1\n");
  EXPECT_EQ(ErrorsOf(JobWith("stages: 2", "stages: 2, lanes: 1, chunks: 1, order: ascending, recompute: none")), "OK");
  EXPECT_EQ(ErrorsOf(JobWith("format: text", "format: megatorn")),
            "job.yaml:13:19: error: data.train.format: expected one of text, tokens, megatron, csv, mnist, cifar10, "
            "safetensors, found 'megatorn'; did you mean 'megatron'?\n");
  EXPECT_EQ(
      ErrorsOf(JobWith("  loss: cross_entropy\n", "  loss: cross_entropy\n  hf: gpt2\n")),
      "job.yaml:6:3: error: model.hf: this version does not read Hugging Face models: write the list of layers\n");
}

TEST_F(JobErrorsTest, ReportsFaultyLayersWithTheirKind) {
  const auto layer = [&](const std::string& item) { return ErrorsOf(JobWith("layer_norm", item)); };
  EXPECT_EQ(layer("layernorm"), "job.yaml:10:7: error: unknown layer kind 'layernorm'; did you mean 'layer_norm'?\n");
  EXPECT_EQ(layer("banana: {a: 1}"), "job.yaml:10:7: error: unknown layer kind 'banana'\n");
  EXPECT_EQ(layer("[relu]"),
            "job.yaml:10:7: error: expected a layer such as 'relu' or 'linear: {out: 10}', found a list\n");
  EXPECT_EQ(layer("linear"), "job.yaml:10:7: error: missing key 'out' in 'linear'\n");
  EXPECT_EQ(layer("linear: {out: five}"), "job.yaml:10:21: error: linear.out: expected a whole number, found 'five'\n");
  EXPECT_EQ(layer("linear: 5"), "job.yaml:10:15: error: linear: expected a mapping (key: value), found '5'\n");
  EXPECT_EQ(
      layer("{relu: {}, name: x}"),
      "job.yaml:10:18: error: 'name' stands beside the layer 'relu': an item is one layer, and its keys stand inside "
      "it: relu: {name: ...}\n");
  EXPECT_EQ(layer("repeat: 0\n      block: [relu]"),
            "job.yaml:10:15: error: repeat is 0: it must be between 1 and 10000\n");
  EXPECT_EQ(layer("repeat: 2"), "job.yaml:10:7: error: missing key 'block' in 'repeat'\n");
  EXPECT_EQ(layer("repeat: 2\n      block: []"), "job.yaml:11:14: error: 'block' is an empty list\n");
  EXPECT_EQ(layer("repeat: 10000\n      block: [relu, relu]"),
            "job.yaml:11:21: error: more than 10000 layers once 'repeat' is unrolled\n");
  EXPECT_EQ(layer("delay: {forward: 10}"),
            "job.yaml:10:24: error: delay.forward: expected a duration such as 200ms or 2s, found '10'\n");
  EXPECT_EQ(layer("gelu: {exact: yes}"), "job.yaml:10:21: error: gelu.exact: expected true or false, found 'yes'\n");
}

TEST_F(JobErrorsTest, ReportsShapesThatDoNotFitAtTheLayersLine) {
  EXPECT_EQ(ErrorsOf(JobWith("heads: 2", "heads: 3")),
            "job.yaml:9:16: error: layer 'gpt_block_1' (gpt_block): heads is 3, which does not divide the width 8\n");
  EXPECT_EQ(
      ErrorsOf(JobWith("layer_norm", "position_embedding: {context: 8}")),
      "job.yaml:10:7: error: layer 'position_embedding_3' (position_embedding): context is 8, but a sequence has 16 "
      "positions: context must be at least data.seq_len\n");
  EXPECT_EQ(ErrorsOf(JobWith("- layer_norm\n", "- dropout: {p: 1.5}\n")),
            "job.yaml:10:7: error: layer 'dropout_3' (dropout): p is 1.5: it must be at least 0 and below 1\n");
  EXPECT_EQ(
      ErrorsOf(JobWith("layer_norm", "flatten")),
      "job.yaml:11:7: error: layer 'head': cross_entropy of tokens [16] needs the form [16, vocabulary] from the last "
      "layer, but its output is [256]\n");
  EXPECT_EQ(ErrorsOf(JobWith("name: head", "name: layer_norm_3")),
            "job.yaml:11:7: error: two layers have the name 'layer_norm_3'\n"
            "job.yaml:11:7: error: layer 'layer_norm_3': another layer already has a parameter 'layer_norm_3.weight'\n"
            "job.yaml:11:7: error: layer 'layer_norm_3': another layer already has a parameter 'layer_norm_3.bias'\n");
}

TEST_F(JobErrorsTest, ReportsAVocabularyTooSmallForBytes) {
  EXPECT_EQ(
      ErrorsOf(JobWith("256", "128")),
      "job.yaml:7:7: error: layer 'embedding_0' (embedding): a vocabulary of 128 is too small: text is bytes, which "
      "need 256\n"
      "job.yaml:11:7: error: layer 'head' (linear): a vocabulary of 128 is too small: text is bytes, which need 256\n");
}

TEST_F(JobErrorsTest, ReportsPipelinesThatDoNotFitTheModel) {
  const auto pipeline = [&](const std::string& keys) {
    return ErrorsOf(JobWith("{stages: 2, micro_batches: 4}", "{micro_batches: 4, " + keys + "}"));
  };
  EXPECT_EQ(
      pipeline("stages: 6"),
      "job.yaml:15:38: error: pipeline.stages is 6, but the model has only 5 layers: a stage needs at least one\n");
  EXPECT_EQ(pipeline("stages: 2, split: [1, 2, 2]"),
            "job.yaml:15:48: error: pipeline.split has 3 entries for 2 stages\n");
  EXPECT_EQ(pipeline("split: [1, 2]"),
            "job.yaml:15:37: error: pipeline.split adds up to 3 layers, but the model has 5\n");
  EXPECT_EQ(pipeline("split: [5, 0]"),
            "job.yaml:15:41: error: pipeline.split[1] is 0: it must be between 1 and "
            "4294967295\n");
  EXPECT_EQ(pipeline("split: even"),
            "job.yaml:15:37: error: pipeline.split: expected one of auto, uniform, "
            "min-variance, found 'even'\n");
  EXPECT_EQ(pipeline("schedule: 1f1"),
            "job.yaml:15:40: error: pipeline.schedule: expected one of gpipe, 1f1b, interleaved, zb-h1, zb-h2, zb-1p, "
            "zb-2p, zb-v, v-half, v-min, dualpipe-v, ready, auto, found '1f1'; did you mean '1f1b'?\n");
}

TEST_F(JobErrorsTest, ReportsPlansThatCannotBeRead) {
  const auto pipeline = [&](const std::string& keys) {
    return ErrorsOf(JobWith("{stages: 2, micro_batches: 4}", "{" + keys + "}"));
  };
  EXPECT_EQ(pipeline("plan: none.yaml"), "job.yaml:15:18: error: none.yaml: no such file\n");
  Write("plan.yaml", "version: 1\nkind: plan\nmicro_batches: 9\nschedule: gpipe\nstages: [{layers: 5}]\n");
  EXPECT_EQ(pipeline("plan: plan.yaml, stages: 2"),
            "job.yaml:15:18: error: pipeline.plan cuts a mini-batch into 9, but a mini-batch has 8 samples "
            "(train.batch_size): each micro-batch needs at least one\n"
            "job.yaml:15:29: error: 'stages' stands beside 'plan': the plan says it already\n");
  Write("plan.yaml", "version: 1\nkind: plan\nmicro_batches: 2\nschedule: gpip\nstages: [{layers: 5}]\n");
  EXPECT_NE(pipeline("plan: plan.yaml").find("plan.yaml:4:11: error: "), std::string::npos);
}

TEST_F(JobErrorsTest, ReportsDataThatAreMissingOrTooShort) {
  Write("empty.txt", "");
  Write("short.txt", "0123456789");
  Write("odd.bin", std::string(1001, 'x'));
  const auto train = [&](const std::string& keys) {
    return ErrorsOf(JobWith("{format: text, path: text.txt}", "{" + keys + "}"));
  };
  EXPECT_EQ(train("format: text, path: none.txt"), "job.yaml:13:31: error: data.train.path: no such file: none.txt\n");
  EXPECT_EQ(train("format: text, path: ."), "job.yaml:13:31: error: data.train.path: not a file: \n");
  EXPECT_EQ(train("format: text, path: empty.txt"),
            "job.yaml:13:31: error: data.train.path: the file is empty: empty.txt\n");
  EXPECT_EQ(train("format: text, path: short.txt"),
            "job.yaml:13:31: error: data.train.path: 10 bytes are too few: one sequence needs data.seq_len + 1 = 17: "
            "short.txt\n");
  EXPECT_EQ(train("format: text, path: text.txt, part: [0.99, 0.995]"),
            "job.yaml:13:31: error: data.train.path: 10 bytes are too few: one sequence needs data.seq_len + 1 = 17: "
            "text.txt\n");
  EXPECT_EQ(train("format: tokens, path: odd.bin"),
            "job.yaml:13:33: error: data.train.path: odd.bin: has 1001 bytes; tokens are 2 bytes each, so half of "
            "one is missing\n");
  EXPECT_EQ(train("format: tokens, path: tokens.bin"), "OK");
  EXPECT_EQ(train("format: text, path: text.txt, part: [0, 1.5]"),
            "job.yaml:13:47: error: data.train.part is [0, 1.5]: it must be [begin, end] with 0 <= begin < end <= 1\n");
  EXPECT_EQ(train("format: text, path: text.txt, part: [0]"),
            "job.yaml:13:47: error: data.train.part: expected two numbers, [begin, end], found 1\n");
  EXPECT_EQ(train("format: text, path: text.txt, target: x"),
            "job.yaml:13:41: error: data.train.target: only csv data have a target column\n");
  EXPECT_EQ(ErrorsOf(JobWith("  seq_len: 16\n", "")), "job.yaml:12:1: error: missing key 'seq_len' in 'data'\n");
  EXPECT_EQ(ErrorsOf(JobWith("seq_len: 16", "seq_len: 0")),
            "job.yaml:14:12: error: data.seq_len is 0: it must be between 1 and 1048576\n");
}

TEST_F(JobErrorsTest, ReportsCsvFilesThatDoNotFillTheModel) {
  const std::string job = CsvJob();
  const auto with = [&](const std::string& from, const std::string& to) {
    return ErrorsOf(absl::StrReplaceAll(job, {{from, to}}));
  };
  EXPECT_EQ(ErrorsOf(job), "OK");
  EXPECT_EQ(with("target: label", "target: lable"),
            "job.yaml:8:55: error: data.train.target: no column 'lable' in points.csv; did you mean 'label'?\n");
  EXPECT_EQ(
      with("[4]", "[1, 2, 3]"),
      "job.yaml:7:13: error: layer 'linear_0': cross_entropy needs the form [classes] from the last layer, but its "
      "output is [1, 2, 2]\n"
      "job.yaml:8:35: error: data.train.path: the file has 4 columns beside its target, but model.input, [1, 2, 3], "
      "needs 6: points.csv\n");
  EXPECT_EQ(with(", target: label", ""), "job.yaml:8:8: error: missing key 'target' in 'data.train'\n");
  EXPECT_EQ(with("  input: {features: [4]}\n", ""), "job.yaml:4:1: error: missing key 'input' in 'model'\n");
  EXPECT_EQ(with("features", "feature"),
            "job.yaml:6:11: error: unknown key 'feature' in 'model.input'; did you mean 'features'?\n");
  EXPECT_EQ(with("target: label", "target: label, scale: 0"),
            "job.yaml:8:69: error: data.train.scale is 0: it must be a number other than 0\n");
  EXPECT_EQ(with("label}}", "label}, seq_len: 4}"), "job.yaml:8:63: error: data.seq_len: csv data have no sequences\n");
  EXPECT_EQ(
      with("loss: cross_entropy", "loss: mse"),
      "job.yaml:7:13: error: layer 'linear_0': mse compares with one target column, so the last layer must give [1], "
      "but its output is [2]\n");
  // The header was cut by a parser of its own, which took a blank first line for it.
  Write("points.csv", "\n a ,\"b\",c,d, label\r\n1,2,3,4,0\n5,6,7,8,1\n9,10,11,12,0\n");
  EXPECT_EQ(ErrorsOf(job), "OK");
  Write("points.csv", "a,b,c,c,label\n1,2,3,4,0\n");
  EXPECT_EQ(ErrorsOf(job), "job.yaml:8:35: error: data.train.path: points.csv:1:7: two columns are called 'c'\n");
  Write("points.csv", "a,b,c,d,label\n");
  EXPECT_EQ(ErrorsOf(job),
            "job.yaml:8:35: error: data.train.path: no row of the file's 0 is in its part: points.csv\n");
  EXPECT_EQ(ErrorsOf(JobWith("  loss: cross_entropy\n", "  loss: cross_entropy\n  input: {features: [4]}\n")),
            "job.yaml:6:3: error: model.input: the input of text and tokens follows from data.seq_len: leave it out\n");
}

// One value has no variance: the moving average would become NaN.
TEST_F(JobErrorsTest, ReportsBatchNormsOfASingleValue) {
  const std::string job = CsvJob("[batch_norm, {linear: {out: 2}}]") + "pipeline: {micro_batches: 2}\n";
  EXPECT_EQ(
      ErrorsOf(job),
      "job.yaml:7:12: error: layer 'batch_norm_0' (batch_norm): a micro-batch of 1 sample has one value a channel, "
      "which has no variance: use fewer micro_batches\n");
  EXPECT_EQ(ErrorsOf(job, {"train.batch_size=4"}), "OK");
}

TEST_F(JobErrorsTest, ReportsBatchNormsOfASingleValueInsideOtherLayers) {
  // Only the layers of the list itself were looked at.
  const std::string job =
      CsvJob("[{residual: {block: [{linear: {out: 4}}, {residual: {block: [batch_norm]}}]}}, {linear: {out: 2}}]") +
      "pipeline: {micro_batches: 3}\n";
  EXPECT_NE(ErrorsOf(job).find("' (batch_norm): a micro-batch of 1 sample has one value a channel"), std::string::npos)
      << ErrorsOf(job);
  EXPECT_EQ(ErrorsOf(job, {"train.batch_size=6"}), "OK");
}

TEST_F(JobErrorsTest, ReportsWhatALayerCannotRead) {
  const auto second = [&](const std::string& layer) {
    return ErrorsOf(JobWith("    - layer_norm\n", "    - layer_norm: {name: norm}\n    - " + layer + "\n"));
  };
  EXPECT_EQ(second("add: {from: [-1, gpt_block_1]}"), "OK");
  EXPECT_EQ(second("add: {from: [norm, head]}"),
            "job.yaml:11:7: error: layer 'add_4' (add): reads 'head', which comes after it: a layer reads those before "
            "it\n");
  EXPECT_EQ(second("add: {from: [norm, nor]}"),
            "job.yaml:11:7: error: layer 'add_4' (add): reads 'nor', which is no layer of its list; did you mean "
            "'norm'?\n");
  EXPECT_EQ(second("add: {from: [norm, -9]}"),
            "job.yaml:11:7: error: layer 'add_4' (add): reads '-9', which is no layer of its list\n");
  EXPECT_EQ(
      second("layer_norm: {from: gpt_block_1}"),
      "job.yaml:10:7: error: layer 'norm' (layer_norm): no layer reads its output: name it in the `from` of a later "
      "layer, or leave it out\n");
  EXPECT_EQ(
      second("concat: {from: [norm, input], dim: 1}"),
      "job.yaml:11:7: error: layer 'concat_4' (concat): needs numbers, but one of what it reads are tokens [16]\n");
  EXPECT_EQ(second("add: {from: []}"), "job.yaml:11:19: error: 'from' is an empty list\n");
}

TEST_F(JobErrorsTest, ReportsTrainingThatMakesNoSense) {
  const auto train = [&](const std::string& line) { return ErrorsOf(Job() + "  " + line + "\n"); };
  EXPECT_EQ(ErrorsOf(JobWith("batch_size: 8", "batch_size: 0")),
            "job.yaml:18:15: error: train.batch_size is 0: it must be at least 1\n");
  EXPECT_EQ(train("grad_clip: -1"), "job.yaml:19:14: error: train.grad_clip is -1: it must be at least 0\n");
  EXPECT_EQ(train("optimizer: {name: adam, lr: -0.1, weight_decay: -1, betas: [0.9, 1], eps: 0}"),
            "job.yaml:19:31: error: train.optimizer.lr is -0.1: it must be at least 0\n"
            "job.yaml:19:51: error: train.optimizer.weight_decay is -1: it must be at least 0\n"
            "job.yaml:19:62: error: train.optimizer.betas is 1: it must be at least 0 and below 1\n"
            "job.yaml:19:77: error: train.optimizer.eps is 0: it must be above 0\n");
  EXPECT_EQ(train("optimizer: {name: adam, momentum: 0.9}"),
            "job.yaml:19:27: error: 'momentum' belongs to sgd and rmsprop\n");
  EXPECT_EQ(train("optimizer: {name: sgd, momentum: 1, betas: [0.9, 0.9]}"),
            "job.yaml:19:36: error: train.optimizer.momentum is 1: it must be at least 0 and below 1\n"
            "job.yaml:19:39: error: 'betas' belongs to adam, adamw and lion\n");
  EXPECT_EQ(train("optimizer: {lr: 1}"), "job.yaml:19:3: error: missing key 'name' in 'train.optimizer'\n");
  EXPECT_EQ(train("lr_schedule: {name: cosine, warmup_steps: 11, min_lr: 1}"),
            "job.yaml:19:45: error: train.lr_schedule.warmup_steps is 11, but the job has only 10 steps\n"
            "job.yaml:19:57: error: train.lr_schedule.min_lr is 1, above the learning rate 0.001\n");
  EXPECT_EQ(
      train("lr_schedule: {name: constant, min_lr: 1e-4}"),
      "job.yaml:19:41: error: train.lr_schedule.min_lr has no effect on a constant learning rate: leave it out\n");
}

TEST_F(JobErrorsTest, ReportsTheOtherSections) {
  EXPECT_EQ(ErrorsOf(Job() + "eval: {every: 5}\n"),
            "job.yaml:19:1: error: eval has nothing to do: give data.eval, or a "
            "sample\n");
  EXPECT_EQ(ErrorsOf(Job() + "eval: {batches: 0, sample: {prompt: '', tokens: 0, temperature: -1}}\n"),
            "job.yaml:19:17: error: eval.batches is 0: it must be at least 1\n"
            "job.yaml:19:37: error: eval.sample.prompt is empty: the model needs something to go on from\n"
            "job.yaml:19:49: error: eval.sample.tokens is 0: it must be at least 1\n"
            "job.yaml:19:65: error: eval.sample.temperature is -1: it must be at least 0\n");
  EXPECT_EQ(ErrorsOf(Job() + "checkpoint: {keep: 1}\nlog: {every: 0}\n"),
            "job.yaml:19:20: error: checkpoint.keep is 1: it must be at least 2, so that one is whole while another is "
            "written\n"
            "job.yaml:20:14: error: log.every is 0: it must be at least 1\n");
  EXPECT_EQ(
      ErrorsOf(JobWith("  seq_len: 16\n", "  seq_len: 16\n  eval: {format: csv, path: points.csv, target: label}\n")),
      "job.yaml:15:18: error: data.eval.format does not fit data.train.format: text data are tokens, csv data are not\n"
      "job.yaml:15:29: error: data.eval.path: the file has 4 columns beside its target, but model.input, [16], needs "
      "16: points.csv\n");
}

}  // namespace
}  // namespace penstock
