#include "common/data/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/sha256.h"
#include "tests/common/data/data_files.h"
#include "tests/common/scratch_dir.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::Data Data(v1::Dataset::Format format, const std::string& path) {
  v1::Data data;
  data.mutable_train()->set_format(format);
  data.mutable_train()->set_path(path);
  return data;
}

std::string Digest(const std::string& path) {
  const auto identity = IdentityOf(Data(v1::Dataset::FORMAT_TEXT, path));
  EXPECT_TRUE(identity.ok()) << identity.status();
  return identity->files(0).sha256();
}

TEST(IdentityTest, EveryFileThatIsReadIsNamed) {
  const ScratchDir dir;
  for (const char* name : {"s_1", "s_0"}) Spill(dir / name, "x");
  EXPECT_THAT(*DataPathsOf(Data(v1::Dataset::FORMAT_TOKENS, dir / "s_*")), ElementsAre(dir / "s_0", dir / "s_1"));
  EXPECT_THAT(*DataPathsOf(Data(v1::Dataset::FORMAT_MEGATRON, "d.bin")), ElementsAre("d.idx", "d.bin"));
  v1::Data mnist = Data(v1::Dataset::FORMAT_MNIST, "i");
  mnist.mutable_train()->set_labels("l");
  EXPECT_THAT(*DataPathsOf(mnist), ElementsAre("i", "l"));
  v1::Data text = Data(v1::Dataset::FORMAT_TEXT, "t");
  text.mutable_tokenizer()->set_kind(v1::Tokenizer::BPE);
  text.mutable_tokenizer()->set_path("gpt2");
  EXPECT_THAT(*DataPathsOf(text), ElementsAre("t", "gpt2/vocab.json", "gpt2/merges.txt"));
  text.mutable_train()->set_format(v1::Dataset::FORMAT_TOKENS);
  EXPECT_THAT(*DataPathsOf(text), ElementsAre("t")) << "it only shows these";
}

TEST(IdentityTest, ASmallFileIsHashedWhole) {
  const ScratchDir dir;
  std::string contents;
  for (int i = 0; i < 150'000; ++i) contents.push_back(static_cast<char>(i * 31));
  Spill(dir / "t", contents);
  const auto identity = IdentityOf(Data(v1::Dataset::FORMAT_TEXT, dir / "t"));
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ(identity->files(0).name(), "t");
  EXPECT_EQ(identity->files(0).bytes(), contents.size());
  EXPECT_EQ(identity->files(0).sha256(), Sha256Hex(contents));
}

TEST(IdentityTest, OfALargeFileTheFirstAndTheLastBytesCount) {
  const ScratchDir dir;
  std::string contents(20'000'000, 'x');
  Spill(dir / "t", contents);
  const std::string digest = Digest(dir / "t");
  EXPECT_NE(digest, Sha256Hex(contents)) << "not all of it was read";
  for (const size_t at : {size_t{0}, contents.size() - 1}) {
    std::string changed = contents;
    changed[at] = 'y';
    Spill(dir / "t", changed);
    EXPECT_NE(Digest(dir / "t"), digest) << at;
  }
}

TEST(IdentityTest, AMissingFileIsAnError) {
  EXPECT_TRUE(absl::IsNotFound(IdentityOf(Data(v1::Dataset::FORMAT_TEXT, "/nowhere/t")).status()));
}

v1::DataIdentity Files(const std::vector<std::pair<std::string, uint64_t>>& files, uint64_t samples) {
  v1::DataIdentity identity;
  for (const auto& [digest, bytes] : files) {
    v1::DataFile* file = identity.add_files();
    file->set_name("shard-" + std::to_string(identity.files_size()));
    file->set_bytes(bytes);
    file->set_sha256(digest);
  }
  identity.set_samples(samples);
  return identity;
}

TEST(CompareDataTest, ChangedFilesUnderTheSameNameAreRefused) {
  const v1::Data data = Data(v1::Dataset::FORMAT_TOKENS, "shards");
  const v1::DataIdentity was = Files({{"aa", 10}, {"bb", 20}}, 5);
  const auto fault = [&](const v1::DataIdentity& now) {
    const absl::Status status = CompareData({data, was}, {data, now}).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  EXPECT_EQ(*CompareData({data, was}, {data, was}), "");
  EXPECT_EQ(fault(Files({{"aa", 10}, {"cc", 21}}, 5)),
            "the training data shards have changed since the checkpoint: shard-2 had 20 bytes and now has 21 bytes; "
            "bring the old data back, or give the new ones another path to go on with them on purpose");
  EXPECT_THAT(fault(Files({{"ab", 10}, {"bb", 20}}, 5)), HasSubstr("shard-1 has other contents of the same length"));
  EXPECT_THAT(fault(Files({{"aa", 10}}, 5)), HasSubstr("there were 2 files and now there are 1"));
}

TEST(CompareDataTest, FilesMayMoveAndBeRenamed) {
  const v1::DataIdentity was = Files({{"aa", 10}}, 5);
  v1::DataIdentity now = was;
  now.mutable_files(0)->set_name("other");
  EXPECT_EQ(*CompareData({Data(v1::Dataset::FORMAT_TOKENS, "a"), was}, {Data(v1::Dataset::FORMAT_TOKENS, "b"), now}),
            "");
}

TEST(CompareDataTest, OtherDataOnPurposeAreTold) {
  const v1::Data before = Data(v1::Dataset::FORMAT_TOKENS, "a"), now = Data(v1::Dataset::FORMAT_TOKENS, "b");
  EXPECT_THAT(*CompareData({before, Files({{"aa", 10}}, 5)}, {now, Files({{"bb", 10}}, 5)}),
              HasSubstr("goes on with other training data"));
  v1::Data longer = before;
  longer.set_seq_len(7);
  EXPECT_THAT(*CompareData({before, Files({{"aa", 10}}, 5)}, {longer, Files({{"aa", 10}}, 4)}),
              HasSubstr("an epoch had 5 samples and now has 4"));
}

TEST(CompareDataTest, ACheckpointThatDoesNotSayIsNotCompared) {
  const v1::Data data = Data(v1::Dataset::FORMAT_TOKENS, "a");
  EXPECT_EQ(*CompareData({data, {}}, {data, Files({{"aa", 10}}, 5)}), "");
}

}  // namespace
}  // namespace penstock
