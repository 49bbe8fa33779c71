// Job files: what a sound one becomes, defaults, names, overrides, the round trip.
#include "spec/job_file.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "spec/file_kind.h"
#include "tests/spec/spec_fixture.h"

namespace penstock {
namespace {

using google::protobuf::util::MessageDifferencer;

class JobFileTest : public SpecTest {
 protected:
  static void ForgetLayerPlaces(google::protobuf::RepeatedPtrField<v1::Layer>* layers) {
    for (v1::Layer& layer : *layers) {
      layer.clear_at();
      if (layer.has_residual()) ForgetLayerPlaces(layer.mutable_residual()->mutable_block());
      if (layer.has_graph()) ForgetLayerPlaces(layer.mutable_graph()->mutable_block());
    }
  }

  static v1::JobSpec WithoutPlaces(v1::JobSpec spec) {
    spec.mutable_model()->clear_at();
    spec.mutable_pipeline()->clear_at();
    ForgetLayerPlaces(spec.mutable_model()->mutable_layers());
    return spec;
  }

  // Reads what ToYaml wrote of a file, and expects the same spec.
  void ExpectRoundTrip(const std::string& text) {
    const absl::StatusOr<v1::JobSpec> first = Read(text);
    ASSERT_TRUE(first.ok()) << first.status();
    const std::string yaml = ToYaml(*first);
    const absl::StatusOr<v1::JobSpec> second = Read(yaml);
    ASSERT_TRUE(second.ok()) << second.status() << "\n" << yaml;
    std::string difference;
    MessageDifferencer differencer;
    differencer.ReportDifferencesToString(&difference);
    EXPECT_TRUE(differencer.Compare(WithoutPlaces(*first), WithoutPlaces(*second))) << difference << yaml;
    EXPECT_EQ(ToYaml(*second), yaml);
  }
};

TEST_F(JobFileTest, FillsInEveryDefault) {
  const absl::StatusOr<v1::JobSpec> spec = Read(Job());
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->name(), "tiny");
  EXPECT_EQ(spec->data().train().path(), folder_ + "/text.txt");
  EXPECT_EQ(spec->data().train().part_begin(), 0);
  EXPECT_EQ(spec->data().train().part_end(), 1);
  EXPECT_FALSE(spec->data().sequential());
  EXPECT_FALSE(spec->has_eval());
  EXPECT_EQ(spec->pipeline().split(), v1::Pipeline::SPLIT_AUTO);
  EXPECT_EQ(spec->pipeline().schedule(), "gpipe");
  EXPECT_EQ(spec->train().threads(), 1u);
  EXPECT_EQ(spec->train().precision(), "fp32");
  EXPECT_EQ(spec->train().seed(), 1u);
  EXPECT_EQ(spec->train().grad_clip(), 0);
  const v1::Optimizer& optimizer = spec->train().optimizer();
  EXPECT_EQ(optimizer.name(), v1::Optimizer::ADAMW);
  EXPECT_EQ(optimizer.lr(), 1e-3);
  EXPECT_EQ(optimizer.weight_decay(), 0.01);
  EXPECT_EQ(optimizer.beta2(), 0.999);
  EXPECT_EQ(optimizer.eps(), 1e-8);
  EXPECT_EQ(spec->train().lr_schedule().name(), v1::LrSchedule::CONSTANT);
  EXPECT_EQ(spec->checkpoint().keep(), 3u);
  EXPECT_EQ(spec->log().every(), 10u);
  EXPECT_FALSE(spec->transport().tcp_only());
  EXPECT_EQ(spec->model().input().dtype(), v1::DTYPE_INT64);
  EXPECT_EQ(spec->model().input().shape(0), 16);
  EXPECT_EQ(spec->model().layers(1).gpt_block().eps(), 1e-5);
  EXPECT_TRUE(spec->model().layers(3).layer_norm().bias());
  EXPECT_EQ(spec->model().layers(1).at().line(), 9u);
}

TEST_F(JobFileTest, GivesEachOptimizerItsOwnDefaults) {
  const std::string job = Job() + "  optimizer: {name: NAME}\n";
  const v1::JobSpec sgd = Read(absl::StrReplaceAll(job, {{"NAME", "sgd"}})).value();
  EXPECT_EQ(sgd.train().optimizer().momentum(), 0);
  EXPECT_EQ(sgd.train().optimizer().weight_decay(), 0);
  EXPECT_EQ(sgd.train().optimizer().lr(), 1e-3);
  const v1::JobSpec adam = Read(absl::StrReplaceAll(job, {{"NAME", "adam"}})).value();
  EXPECT_EQ(adam.train().optimizer().weight_decay(), 0);
  EXPECT_EQ(adam.train().optimizer().beta1(), 0.9);
}

TEST_F(JobFileTest, UnrollsRepeatsAndNamesLayers) {
  const absl::StatusOr<v1::JobSpec> spec = Read(R"(version: 1
kind: job
name: names
model:
  loss: cross_entropy
  input: {features: [4]}
  layers:
    - relu
    - linear: {out: 4, name: first}
    - repeat: 2
      block:
        - linear: {out: 4, name: lin}
        - tanh
        - repeat: 2
          block: [{sigmoid: {name: deep}}]
    - residual:
        name: res
        block:
          - linear: {out: 4}
          - relu: {name: act}
          - repeat: 2
            block: [{linear: {out: 4, name: in}}]
    - linear: {out: 2}
data: {train: {format: csv, path: points.csv, target: label}}
train: {steps: 1, batch_size: 2}
)");
  ASSERT_TRUE(spec.ok()) << spec.status();
  std::vector<std::string> names;
  for (const v1::Layer& layer : spec->model().layers()) names.push_back(layer.name());
  EXPECT_EQ(names, (std::vector<std::string>{"relu_0", "first", "lin.0", "tanh_3", "deep.0.0", "deep.0.1", "lin.1",
                                             "tanh_7", "deep.1.0", "deep.1.1", "res", "linear_11"}));
  std::vector<std::string> inner;
  for (const v1::Layer& layer : spec->model().layers(10).residual().block()) inner.push_back(layer.name());
  EXPECT_EQ(inner, (std::vector<std::string>{"res.linear_0", "res.act", "res.in.0", "res.in.1"}));
  EXPECT_EQ(spec->pipeline().stages(), 1u);
  EXPECT_EQ(spec->pipeline().micro_batches(), 1u);
}

// What each layer's `from` says once the list is unrolled, "name<a,b" for each that has one; graphs' blocks too.
void AppendFroms(const google::protobuf::RepeatedPtrField<v1::Layer>& layers, std::vector<std::string>* froms) {
  for (const v1::Layer& layer : layers) {
    std::string text = layer.name() + "<";
    for (const std::string& name : layer.from()) text += (text.back() == '<' ? "" : ",") + name;
    if (!layer.from().empty()) froms->push_back(text);
    AppendFroms(layer.graph().block(), froms);
  }
}

TEST_F(JobFileTest, FromNamesLayersOfTheSameRoundOfARepeatFirst) {
  const absl::StatusOr<v1::JobSpec> spec = Read(R"(version: 1
kind: job
name: skips
model:
  loss: mse
  input: {features: [4]}
  layers:
    - linear: {out: 4, name: stem}
    - repeat: 2
      block:
        - relu: {name: act, from: -1}
        - linear: {out: 4, name: lin}
        - add: {name: sum, from: [lin, act, stem]}
    - add: {name: all, from: [sum.0, -1, input]}
    - graph:
        name: cell
        from: [all, stem]
        block:
          - relu
          - repeat: 2
            block: [{tanh: {name: t}}, {add: {name: s, from: [t, input.1]}}]
          - concat: {from: [s.0, -1, input]}
    - linear: {out: 1}
data: {train: {format: csv, path: points.csv, target: label}}
train: {steps: 1, batch_size: 2}
)");
  ASSERT_TRUE(spec.ok()) << spec.status();
  std::vector<std::string> froms;
  AppendFroms(spec->model().layers(), &froms);
  EXPECT_EQ(froms,
            (std::vector<std::string>{"act.0<stem", "sum.0<lin.0,act.0,stem", "act.1<sum.0", "sum.1<lin.1,act.1,stem",
                                      "all<sum.0,sum.1,input", "cell<all,stem", "cell.s.0<cell.t.0,input.1",
                                      "cell.s.1<cell.t.1,input.1", "cell.concat_5<cell.s.0,cell.s.1,input"}));
}

TEST_F(JobFileTest, ReadsDelaysAsDurations) {
  const v1::JobSpec spec =
      Read(JobWith("- layer_norm\n", "- delay: {forward: 10ms, input_grad: 1500us, weight_grad: 2s}\n")).value();
  const v1::Delay& delay = spec.model().layers(3).delay();
  EXPECT_EQ(delay.forward_us(), 10000);
  EXPECT_EQ(delay.input_grad_us(), 1500);
  EXPECT_EQ(delay.weight_grad_us(), 2000000);
}

TEST_F(JobFileTest, TakesTheNumberOfStagesFromAnExplicitSplit) {
  const v1::JobSpec spec = Read(JobWith("stages: 2", "split: [1, 2, 2]")).value();
  EXPECT_EQ(spec.pipeline().stages(), 3u);
  EXPECT_EQ(spec.pipeline().split(), v1::Pipeline::SPLIT_EXPLICIT);
  EXPECT_EQ(spec.pipeline().split_sizes(1), 2u);
}

TEST_F(JobFileTest, AppliesOverridesLikeTheFileItself) {
  const absl::StatusOr<v1::JobSpec> spec =
      Read(Job(), {"train.steps=77", "pipeline.split=[2, 3]", "train.optimizer={name: sgd, lr: 0.5}", "log.hash=true",
                   "model.layers.0.embedding.init_std=0.5", "checkpoint.dir=out", "transport.shared_memory=false"});
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->train().steps(), 77u);
  EXPECT_EQ(spec->pipeline().split_sizes(1), 3u);
  EXPECT_EQ(spec->train().optimizer().lr(), 0.5);
  EXPECT_TRUE(spec->log().hash());
  EXPECT_TRUE(spec->transport().tcp_only());
  EXPECT_EQ(spec->model().layers(0).embedding().init_std(), 0.5);
  EXPECT_EQ(spec->checkpoint().dir(), folder_ + "/out");
}

TEST_F(JobFileTest, NamesTheOverrideOfALayerThatDoesNotFit) {
  // The error stood at the layer's line of the file, which has another value there.
  const std::string place = "--set model.layers.0.embedding.dim: error: layer ";
  EXPECT_EQ(ErrorsOf(Job(), {"model.layers.0.embedding.dim=-4"}).substr(0, place.size()), place);
}

TEST_F(JobFileTest, NamesTheOverrideThatIsWrong) {
  EXPECT_EQ(ErrorsOf(Job(), {"train.steps=ten"}),
            "--set train.steps: error: train.steps: expected a whole number, found 'ten'\n");
  EXPECT_EQ(ErrorsOf(Job(), {"train.stesp=10"}),
            "--set train.stesp: error: unknown key 'stesp' in 'train'; did you mean 'steps'?\n");
  EXPECT_EQ(
      ErrorsOf(Job(), {"train.batch_size=2"}),
      "--set train.batch_size: error: pipeline.micro_batches is 4, but a mini-batch has 2 samples (train.batch_size): "
      "each micro-batch needs at least one\n");
  EXPECT_EQ(ErrorsOf(Job(), {"train.steps"}), "--set train.steps: error: expected key=value, such as train.steps=10\n");
  EXPECT_EQ(ErrorsOf(Job(), {"=3"}), "--set =3: error: expected key=value, such as train.steps=10\n");
  EXPECT_EQ(ErrorsOf(Job(), {"name.first=x"}), "--set name.first: error: 'name' is 'tiny': it has no key 'first'\n");
  EXPECT_EQ(ErrorsOf(Job(), {"model.layers.9.relu=x"}),
            "--set model.layers.9.relu: error: 'model.layers' is a list of 4 items: '9' is none of them\n");
  EXPECT_EQ(ErrorsOf(Job(), {"pipeline.split=[1"}), "--set pipeline.split: error: the value '[1' is not valid YAML\n");
  EXPECT_EQ(ErrorsOf(Job(), {"train.steps="}), "--set train.steps: error: 'steps' in 'train' has no value\n");
}

TEST_F(JobFileTest, NamesTheOverrideThatTheFileDoesNotGoWith) {
  // The error stood at the line of a key that the user had not touched, or of the section that had no such key.
  EXPECT_EQ(ErrorsOf(Job(), {"pipeline.schedule=zb-v"}),
            "--set pipeline.schedule: error: pipeline.chunks is 1, but zb-v runs 2 stages a rank: set it to 2\n");
  EXPECT_EQ(ErrorsOf(JobWith("stages: 2", "stages: 2, schedule: zb-v, chunks: 2"), {"pipeline.stages=3"}),
            "--set pipeline.stages: error: pipeline.stages is 3, which cannot be dealt out to ranks of 2 stages each "
            "(pipeline.chunks): set it to 2 or 4\n");
  EXPECT_EQ(ErrorsOf(JobWith("stages: 2", "stages: 3"), {"pipeline.chunks=2", "pipeline.schedule=auto"}),
            "--set pipeline.chunks: error: pipeline.stages is 3, which cannot be dealt out to ranks of 2 stages each "
            "(pipeline.chunks)\n");
  EXPECT_EQ(ErrorsOf(JobWith("stages: 2", "stages: 2, split: [2, 3]"), {"pipeline.stages=3"}),
            "--set pipeline.stages: error: pipeline.split has 2 entries for 3 stages\n");
  EXPECT_EQ(ErrorsOf(Job() + "  lr_schedule: {name: constant, warmup_steps: 8}\n", {"train.steps=4"}),
            "--set train.steps: error: train.lr_schedule.warmup_steps is 8, but the job has only 4 steps\n");
}

TEST_F(JobFileTest, WritesAJobThatReadsBackTheSame) {
  ExpectRoundTrip(Job());
  ExpectRoundTrip(JobWith("stages: 2", "split: [1, 2, 2], schedule: 1f1b") +
                  "  grad_clip: 0.1\n  seed: 9007199254740993\n"
                  "  optimizer: {name: sgd, lr: 0.3, momentum: 0.9, weight_decay: 1e-4}\n"
                  "  lr_schedule: {name: linear, warmup_steps: 3, min_lr: 1e-5}\n"
                  "eval: {every: 5, batches: 2, sample: {prompt: \"a \\\"b\\\"\\n: #\", tokens: 4, temperature: 0.5}}\n"
                  "checkpoint: {dir: 'with space', every: 5, keep: 2}\nlog: {every: 1, hash: true}\n"
                  "transport: {shared_memory: false}\n");
}

TEST_F(JobFileTest, WritesEveryKindOfLayerSoThatItReadsBack) {
  ExpectRoundTrip(JobWith("    - repeat: 2\n      block: [{gpt_block: {heads: 2}}]\n", R"(
    - position_embedding: {context: 20, init_std: 0.1}
    - attention: {heads: 4, kv_heads: 2, rotary: true, rotary_base: 500, bias: false, dropout: 0.1}
    - llama_block: {heads: 2, kv_heads: 1}
    - gpt_block: {heads: 2, dropout: 0.1, eps: 1e-6}
    - residual:
        block: [{rms_norm: {eps: 1e-6}}, gelu, {gelu: {exact: true}}, silu,
                {residual: {block: [tanh, {dropout: {p: 0.5}}]}}]
    - delay: {forward: 1ms}
)"));
  ExpectRoundTrip(R"(version: 1
kind: job
name: conv
model:
  loss: mse
  input: {features: [1, 2, 2]}
  layers:
    - conv2d: {out: 4, kernel: 2, stride: 1, padding: 1, bias: false}
    - batch_norm: {eps: 1e-4, momentum: 0.2}
    - max_pool: {kernel: 2, stride: 1}
    - avg_pool: {kernel: 2, padding: 1, count_padding: false}
    - relu: {name: left}
    - conv2d: {out: 4, kernel: 3, kernel_width: 1, padding: 1, padding_width: 0, groups: 2}
    - concat: {name: both, from: [left, -1]}
    - graph:
        name: cell
        from: [both, left]
        block:
          - conv2d: {out: 4, kernel: 1, name: point}
          - add: {from: [point, input.1]}
          - upsample: {scale: 2}
    - conv_transpose2d: {out: 2, kernel: 2, stride: 2}
    - pad: {top: -1, right: 1}
    - sigmoid
    - flatten
    - linear: {out: 1, bias: false}
data:
  train: {format: csv, path: points.csv, target: label, scale: 0.5, part: [0, 0.7]}
  eval: {format: csv, path: points.csv, target: label, part: [0.5, 1]}
  order: sequential
train: {steps: 3, batch_size: 2}
)");
}

TEST_F(JobFileTest, EveryFormatRoundTrips) {
  Write("images", std::string("\0\0\x08\x03\0\0\0\2\0\0\0\1\0\0\0\2abcd", 20));
  Write("labels", std::string("\0\0\x08\x01\0\0\0\2\0\1", 10));
  ExpectRoundTrip(R"(version: 1
kind: job
name: images
model: {loss: cross_entropy, input: {features: [1, 1, 2]}, layers: [flatten, {linear: {out: 2}}]}
data:
  train: {format: mnist, path: images, labels: labels, mean: [0.1307], std: [0.3081], part: [0, 0.5]}
  eval: {format: mnist, path: images, labels: labels, scale: 1}
train: {steps: 3, batch_size: 2}
)");
  // A vocabulary of bytes.
  std::string vocab;
  for (int byte = 0, hidden = 256; byte < 256; ++byte) {
    const bool visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    char token[32];
    std::snprintf(token, sizeof(token), "\"\\u%04x\":%d", visible ? byte : hidden++, byte);
    vocab += (byte == 0 ? "{" : ",") + std::string(token);
  }
  Write("vocab.json", vocab + "}");
  Write("merges.txt", "");
  ExpectRoundTrip(JobWith("  seq_len: 16\n", "  seq_len: 16\n  tokenizer: {bpe: .}\n"));
}

TEST_F(JobFileTest, CarriesAPlanInsideTheResolvedJob) {
  Write("plan.yaml",
        "version: 1\nkind: plan\nmicro_batches: 2\nschedule: gpipe\nstages:\n"
        "  - {layers: 2, rank: 0}\n  - {layers: 3, rank: 1}\n");
  const std::string job = JobWith("pipeline: {stages: 2, micro_batches: 4}", "pipeline: {plan: plan.yaml}");
  const absl::StatusOr<v1::JobSpec> spec = Read(job);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->pipeline().plan().stages(1).end_layer(), 5u);
  EXPECT_EQ(spec->pipeline().micro_batches(), 2u);
  ExpectRoundTrip(job);
}

TEST_F(JobFileTest, TellsTheKindOfAFile) {
  EXPECT_EQ(KindOfFile(Write("a.yaml", "kind: cluster\nnonsense: 1\n")).value(), FileKind::kCluster);
  EXPECT_EQ(KindOfFile(Write("b.yaml", Job())).value(), FileKind::kJob);
  EXPECT_EQ(KindOfFile(Write("c.yaml", "kind: plan\n")).value(), FileKind::kPlan);
  EXPECT_EQ(WithoutExcerpts(KindOfFile(Write("d.yaml", "kind: jobs\n")).status().message()),
            "d.yaml:1:7: error: kind: expected one of cluster, job, plan, found 'jobs'; did you mean 'job'?\n");
  EXPECT_EQ(KindOfFile(folder_ + "/none.yaml").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(JobFileTest, ChecksASpecThatCameWithoutAFile) {
  v1::JobSpec spec = Read(Job()).value();
  EXPECT_TRUE(CheckJobSpec(spec).ok());
  spec.mutable_train()->set_batch_size(2);
  spec.mutable_model()->mutable_layers(1)->mutable_gpt_block()->set_heads(3);
  EXPECT_EQ(WithoutExcerpts(CheckJobSpec(spec).message()),
            "error: pipeline.micro_batches is 4, but a mini-batch has 2 samples (train.batch_size): each micro-batch "
            "needs at least one\n"
            "job.yaml:9:16: error: layer 'gpt_block_1' (gpt_block): heads is 3, which does not divide the width 8\n");
  EXPECT_EQ(CheckJobSpec(v1::JobSpec()).code(), absl::StatusCode::kInvalidArgument);
}

// Random damage to a job must end in a job or in errors, never in a crash.
TEST_F(JobFileTest, SurvivesRandomDamage) {
  const std::string alphabet = "{}[]:,-&*!|>'\"#\n 019.ea~\xff";
  std::mt19937 random(2);
  int sound = 0;
  for (int round = 0; round < 500; ++round) {
    std::string text = Job();
    for (int edits = 1 + static_cast<int>(random() % 3); edits > 0; --edits) {
      const size_t at = random() % (text.size() + 1);
      if (random() % 2) {
        text.insert(at, 1, alphabet[random() % alphabet.size()]);
      } else {
        text.erase(at, 1 + random() % 3);
      }
    }
    const absl::StatusOr<v1::JobSpec> spec = Read(text);
    sound += spec.ok();
    if (!spec.ok()) {
      EXPECT_NE(spec.status().message(), "") << text;
    } else {
      EXPECT_TRUE(CheckJobSpec(*spec).ok()) << text;
    }
  }
  EXPECT_GT(sound, 0);  // some damage does no harm: else the test would see errors only
}

}  // namespace
}  // namespace penstock
