// The strict YAML reader: each class of error once, with its exact text; values; text that is no YAML at all.
#include "common/yaml.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <random>
#include <string>

namespace penstock {
namespace {

// What the reader says of `text`; errors of the reading itself come from `read`.
template <typename Read>
std::string ErrorsOf(const std::string& text, const Read& read) {
  Diagnostics diagnostics;
  YamlErrors errors(&diagnostics);
  const std::optional<YamlNode> root = ParseYaml(text, "f.yaml", &diagnostics);
  if (root) read(&*root, &errors);
  return std::string(diagnostics.ToStatus().message());
}

std::string SyntaxErrorsOf(const std::string& text) {
  return ErrorsOf(text, [](const YamlNode*, YamlErrors*) {});
}

YamlNode Parse(const std::string& text) {
  Diagnostics diagnostics;
  std::optional<YamlNode> root = ParseYaml(text, "f.yaml", &diagnostics);
  EXPECT_TRUE(diagnostics.ok()) << diagnostics.ToStatus();
  return root.value_or(YamlNode());
}

TEST(YamlTest, KeepsThePlaceOfEveryValueAndKey) {
  const YamlNode root = Parse("a: 1\nb:\n  - x\n  - {c: 'two'}\n");
  EXPECT_EQ(root.keys, (std::vector<std::string>{"a", "b"}));
  const YamlNode* c = root.Find("b")->items[1].Find("c");
  EXPECT_EQ(c->text, "two");
  EXPECT_TRUE(c->quoted);
  EXPECT_EQ(c->line, 4u);
  EXPECT_EQ(c->column, 9u);
  EXPECT_EQ(c->key_column, 6u);
  EXPECT_EQ(root.Find("b")->key_line, 2u);
  EXPECT_EQ(root.Find("b")->line, 3u);
  EXPECT_EQ(root.Find("d"), nullptr);
}

TEST(YamlTest, RefusesDuplicateKeysAndNamesTheFirst) {
  EXPECT_EQ(SyntaxErrorsOf("a: 1\nb: 2\na: 3\n"), "f.yaml:3:1: error: duplicate key 'a': it was given in line 1");
}

TEST(YamlTest, RefusesMergeKeysTagsAndKeysThatAreNoWords) {
  EXPECT_EQ(SyntaxErrorsOf("base: &b {x: 1}\nuse:\n  <<: *b\n"),
            "f.yaml:3:3: error: merge keys ('<<') are not used here: write the keys out");
  EXPECT_EQ(SyntaxErrorsOf("a: !!int 3\n"), "f.yaml:1:4: error: tags are not used here: 'tag:yaml.org,2002:int'");
  EXPECT_EQ(SyntaxErrorsOf("[1, 2]: x\n"), "f.yaml:1:1: error: a key must be a word, found a list");
}

TEST(YamlTest, ReportsSyntaxErrorsWithTheirPlace) {
  EXPECT_EQ(SyntaxErrorsOf("a: [1, 2\nb: 3\n"), "f.yaml:2:2: error: not valid YAML: end of sequence flow not found");
  EXPECT_EQ(SyntaxErrorsOf("a: *nowhere\n"), "f.yaml:1:4: error: not valid YAML: the referenced anchor is not defined");
  EXPECT_EQ(SyntaxErrorsOf("a: 1\n---\nb: 2\n"),
            "f.yaml:1:1: error: the file holds more than one document ('---'): only one is read");
}

TEST(YamlTest, FollowsAnchorsAndKeepsThePlaceWhereTheValueStands) {
  const YamlNode root = Parse("a: &x {k: 5}\nb: *x\n");
  EXPECT_EQ(root.Find("b")->Find("k")->text, "5");
  EXPECT_EQ(root.Find("b")->Find("k")->line, 1u);
  EXPECT_EQ(root.Find("b")->key_line, 2u);
}

TEST(YamlTest, StopsAnAliasBomb) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i <= 9; ++i) {
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) text += (j ? ", *a" : "*a") + std::to_string(i - 1);
    text += "]\n";
  }
  EXPECT_EQ(SyntaxErrorsOf(text), "f.yaml:5:5: error: more than 200000 values, aliases followed");
}

TEST(YamlTest, StopsValuesThatAreNestedTooDeep) {
  EXPECT_EQ(SyntaxErrorsOf(std::string(65, '[') + std::string(65, ']')),
            "f.yaml:1:65: error: values are nested more than 64 deep");
  EXPECT_NE(SyntaxErrorsOf(std::string(100000, '[')), "");
  EXPECT_NE(SyntaxErrorsOf(std::string(100000, '{')), "");
  std::string ladder = "a0: &a0 [x]\n";  // each alias adds a level without a bracket of its own
  for (int i = 1; i <= 70; ++i) {
    const std::string name = "a" + std::to_string(i);
    ladder += name + ": &" + name + " [*a" + std::to_string(i - 1) + "]\n";
  }
  EXPECT_NE(SyntaxErrorsOf(ladder).find("nested more than 64 deep"), std::string::npos);
  EXPECT_EQ(SyntaxErrorsOf("a: &a [*a]\n"), "f.yaml:1:8: error: an alias may not stand inside its own anchor");
}

TEST(YamlTest, ReportsUnknownKeysWithTheNearestKnownOne) {
  const auto read = [](const YamlNode* root, YamlErrors* errors) {
    YamlMapping file(root, "", errors);
    YamlMapping pipeline = file.Mapping("pipeline");
    pipeline.Integer("micro_batches");
    pipeline.Integer("stages");
    pipeline.Finish();
    file.Finish();
  };
  EXPECT_EQ(ErrorsOf("pipeline:\n  micro_batch: 16\n  banana: 1\nelephant: 3\n", read),
            "f.yaml:2:3: error: unknown key 'micro_batch' in 'pipeline'; did you mean 'micro_batches'?\n"
            "f.yaml:3:3: error: unknown key 'banana' in 'pipeline'\n"
            "f.yaml:4:1: error: unknown key 'elephant'");
}

TEST(YamlTest, ReportsMissingKeysAtTheParentAndKeysWithoutAValue) {
  const auto read = [](const YamlNode* root, YamlErrors* errors) {
    YamlMapping file(root, "", errors);
    YamlMapping train = file.Mapping("train");
    train.Require({"steps", "batch_size"});
    train.Integer("steps");
    train.Integer("batch_size");
    train.Finish();
    file.Finish();
  };
  EXPECT_EQ(ErrorsOf("x: 1\n", read), "f.yaml:1:1: error: unknown key 'x'");
  EXPECT_EQ(ErrorsOf("train:\n  steps:\n", read),
            "f.yaml:1:1: error: missing key 'batch_size' in 'train'\n"
            "f.yaml:2:3: error: 'steps' in 'train' has no value");
  EXPECT_EQ(ErrorsOf("train: 5\n", read), "f.yaml:1:8: error: train: expected a mapping (key: value), found '5'");
}

TEST(YamlTest, RefusedKeysAreNotUnknownAndNotSuggested) {
  const auto read = [](const YamlNode* root, YamlErrors* errors) {
    YamlMapping file(root, "", errors);
    file.Refuse("restart", "this version does not restart jobs");
    file.Text("start");
    file.Finish();
  };
  EXPECT_EQ(ErrorsOf("restart: {max: 3}\nrestarts: 1\n", read),
            "f.yaml:1:1: error: this version does not restart jobs\nf.yaml:2:1: error: unknown key 'restarts'");
}

TEST(YamlTest, ReportsValuesOfTheWrongType) {
  const auto read = [](const YamlNode* root, YamlErrors* errors) {
    YamlMapping file(root, "", errors);
    file.Integer("i", 1, 9);
    file.Integer("j", 0);
    file.Integer("k");
    file.Number("n");
    file.Number("inf");
    file.Flag("f");
    file.Duration("d");
    file.Size("s");
    file.Text("t");
    file.Choice("c", {"gpipe", "1f1b"});
    file.Integers("l");
    file.Sequence("q");
  };
  EXPECT_EQ(ErrorsOf("i: 10\nj: -1\nk: '5'\nn: .nan\ninf: 1e999\nf: yes\nd: 5\ns: 5 apples\nt: [1]\nc: gpip\n"
                     "l: [1, two, 3.5]\nq: {}\n",
                     read),
            "f.yaml:1:4: error: i is 10: it must be between 1 and 9\n"
            "f.yaml:2:4: error: j is -1: it must be at least 0\n"
            "f.yaml:3:4: error: k: expected a whole number, found the text '5'\n"
            "f.yaml:4:4: error: n: expected a number, found '.nan'\n"
            "f.yaml:5:6: error: inf: expected a number, found '1e999'\n"
            "f.yaml:6:4: error: f: expected true or false, found 'yes'\n"
            "f.yaml:7:4: error: d: expected a duration such as 200ms or 2s, found '5'\n"
            "f.yaml:8:4: error: s: expected a size such as 78GiB or 512MiB, found '5 apples'\n"
            "f.yaml:9:4: error: t: expected text, found a list\n"
            "f.yaml:10:4: error: c: expected one of gpipe, 1f1b, found 'gpip'; did you mean 'gpipe'?\n"
            "f.yaml:11:8: error: l[1]: expected a whole number, found 'two'\n"
            "f.yaml:11:13: error: l[2]: expected a whole number, found '3.5'\n"
            "f.yaml:12:4: error: q: expected a list, found a mapping");
}

TEST(YamlTest, ReadsValues) {
  Diagnostics diagnostics;
  YamlErrors errors(&diagnostics);
  const YamlNode root = Parse(
      "i: -3\nn: 2.5e-4\nf: true\nd: 1.5s\nd2: 200ms\ns: 78GiB\ns2: 1.5 kB\ns3: 4096\nt: \"a\\tb\"\n"
      "l: [1, 2]\nm: [0.5]\n");
  YamlMapping file(&root, "", &errors);
  EXPECT_EQ(file.Integer("i"), -3);
  EXPECT_EQ(file.Number("n"), 2.5e-4);
  EXPECT_EQ(file.Flag("f"), true);
  EXPECT_EQ(file.Duration("d"), absl::Milliseconds(1500));
  EXPECT_EQ(file.Duration("d2"), absl::Milliseconds(200));
  EXPECT_EQ(file.Size("s"), uint64_t{78} << 30);
  EXPECT_EQ(file.Size("s2"), 1500u);
  EXPECT_EQ(file.Size("s3"), 4096u);
  EXPECT_EQ(file.Text("t"), "a\tb");
  EXPECT_EQ(file.Integers("l"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(file.Numbers("m"), (std::vector<double>{0.5}));
  EXPECT_EQ(file.Integer("absent"), std::nullopt);
  file.Finish();
  EXPECT_TRUE(diagnostics.ok()) << diagnostics.ToStatus();
}

TEST(YamlTest, KnowsWhichPathsAreSound) {
  Diagnostics diagnostics;
  YamlErrors errors(&diagnostics);
  errors.Add(YamlNode(), "pipeline.split[1]", "bad");
  EXPECT_FALSE(errors.Sound("pipeline.split"));
  EXPECT_FALSE(errors.Sound("pipeline"));
  EXPECT_FALSE(errors.Sound("pipeline.split[1]"));
  EXPECT_TRUE(errors.Sound("pipeline.stages"));
  EXPECT_TRUE(errors.Sound("pipeline.split[10]"));
}

TEST(YamlTest, WritesTextsAndNumbersThatReadBack) {
  for (const std::string text : {"gpt", "true", "1e5", "", " a ", "a: b", "\"", "\\", "line\nline", "\x01", "-", "ä",
                                 "#x", "null", "/abs/path.txt", "~", "no", "12"}) {
    const YamlNode root = Parse("k: " + YamlText(text) + "\n");
    ASSERT_NE(root.Find("k"), nullptr) << text;
    EXPECT_TRUE(root.Find("k")->IsScalar()) << text;
    EXPECT_EQ(root.Find("k")->text, text);
  }
  Diagnostics diagnostics;
  YamlErrors errors(&diagnostics);
  for (double number : {0.1, 1e-8, 3e-4, 1.0 / 3, 123456789.0, -0.0, 5e-324, std::numeric_limits<double>::max()}) {
    const YamlNode root = Parse("k: " + YamlNumber(number) + "\n");
    EXPECT_EQ(ToNumber(*root.Find("k"), "k", &errors), number);
  }
  EXPECT_EQ(YamlNumber(0.1), "0.1");
}

TEST(YamlTest, ReadsAFileAndSaysWhyItCannot) {
  Diagnostics diagnostics;
  const std::string path = testing::TempDir() + "/read.yaml";
  std::ofstream(path) << "a: 1\n";
  EXPECT_EQ(ReadYamlFile(path, &diagnostics)->Find("a")->text, "1");
  EXPECT_EQ(ReadYamlFile(path + ".absent", &diagnostics).status(), absl::NotFoundError(path + ".absent: no such file"));
  EXPECT_EQ(ReadYamlFile(testing::TempDir(), &diagnostics).status().code(), absl::StatusCode::kInvalidArgument);
  std::ofstream(path) << std::string(size_t{8} << 20, '#') << "\n";
  EXPECT_EQ(ReadYamlFile(path, &diagnostics).status(),
            absl::InvalidArgumentError(path + ": larger than 8 MiB: not a file of this project's"));
  std::ofstream(path) << "";
  EXPECT_EQ(ReadYamlFile(path, &diagnostics)->kind, YamlNode::Kind::kNull);
}

// Random damage to a document must end in a tree or in errors, never in a crash, and never in neither.
TEST(YamlTest, SurvivesRandomDamage) {
  const std::string seed =
      "version: 1\nkind: job\nmodel:\n  layers:\n    - &l embedding: {vocab: 256, dim: 64}\n    - *l\n    - repeat: 4\n"
      "      block: [{gpt_block: {heads: 4}}]\n    - \"quoted\\n\"\n    - |\n      block\n    - 'x'\ntrain: {lr: "
      "1e-3}\n";
  const std::string alphabet = "{}[]:,-&*!|>'\"%@`#?\n\t \\<~0aZ.\xff\xc3\x00\xef\xbb\xbf";
  std::mt19937 random(1);
  for (int round = 0; round < 4000; ++round) {
    std::string text = seed;
    for (int edits = 1 + static_cast<int>(random() % 6); edits > 0; --edits) {
      const size_t at = random() % (text.size() + 1);
      const char c = alphabet[random() % alphabet.size()];
      switch (random() % 3) {
        case 0:
          text.insert(at, 1, c);
          break;
        case 1:
          text.erase(at, random() % 5);
          break;
        default:
          if (at < text.size()) text[at] = c;
      }
    }
    Diagnostics diagnostics;
    const std::optional<YamlNode> root = ParseYaml(text, "f.yaml", &diagnostics);
    EXPECT_TRUE(root.has_value() || !diagnostics.ok()) << text;
  }
}

}  // namespace
}  // namespace penstock
