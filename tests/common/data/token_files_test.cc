#include "common/data/token_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/common/data/data_files.h"
#include "tests/common/scratch_dir.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::Dataset Dataset(v1::Dataset::Format format, const std::string& path) {
  v1::Dataset dataset;
  dataset.set_format(format);
  dataset.set_path(path);
  return dataset;
}

std::string FaultOf(const v1::Dataset& dataset) {
  const auto files = OpenTokenFiles(dataset);
  EXPECT_TRUE(absl::IsInvalidArgument(files.status())) << files.status();
  return std::string(files.status().message());
}

TEST(FilesNamedTest, PatternsMatchInTheOrderOfBytes) {
  const ScratchDir dir;
  for (const char* name : {"s_10.bin", "s_2.bin", "S_3.bin", "s_1.bin", "other"}) Spill(dir / name, "x");
  EXPECT_THAT(*FilesNamed(dir / "s_*.bin"), ElementsAre(dir / "s_1.bin", dir / "s_10.bin", dir / "s_2.bin"));
  EXPECT_THAT(*FilesNamed(dir / "[Ss]_[23].bin"), ElementsAre(dir / "S_3.bin", dir / "s_2.bin"));
  EXPECT_THAT(*FilesNamed(dir / "missing"), ElementsAre(dir / "missing")) << "not a pattern";
  const absl::Status none = FilesNamed(dir / "t_*.bin").status();
  EXPECT_TRUE(absl::IsNotFound(none));
  EXPECT_THAT(none.message(), HasSubstr("t_*.bin: no file matches"));
  EXPECT_TRUE(absl::IsNotFound(FilesNamed(dir / "nowhere/*.bin").status()));
}

TEST(FilesNamedTest, AFileWithSuchANameIsTakenAsItIs) {
  const ScratchDir dir;
  Spill(dir / "a[1].bin", "x");
  Spill(dir / "a1.bin", "x");
  EXPECT_THAT(*FilesNamed(dir / "a[1].bin"), ElementsAre(dir / "a[1].bin"));
}

TEST(TokenFilesTest, ShardsWithAndWithoutHeaderAreOneRun) {
  const ScratchDir dir;
  Spill(dir / "t_0.bin", Tokens16({1, 2, 3}));
  Spill(dir / "t_1.bin", TokenHeader(20240520, 1, 2) + Tokens16({4, 5}));
  const auto files = OpenTokenFiles(Dataset(v1::Dataset::FORMAT_TOKENS, dir / "t_*.bin"));
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->tokens(), 5);
  EXPECT_EQ(files->type, TokenType::kUint16);
  std::string raw(6, '\0');
  ASSERT_TRUE(files->run.ReadAt(4, raw.data(), raw.size()).ok());
  EXPECT_EQ(raw, Tokens16({3, 4, 5}));
  EXPECT_EQ(files->run.PlaceOf(6).path, dir / "t_1.bin");
  EXPECT_EQ(files->run.PlaceOf(8).byte, 1026u) << "the header counts in a place";
}

TEST(TokenFilesTest, AHeaderOfTheOtherKindMeansUint32) {
  const ScratchDir dir;
  Spill(dir / "t.bin", TokenHeader(20240801, 7, 2) + Tokens32({100000, 1}));
  const auto files = OpenTokenFiles(Dataset(v1::Dataset::FORMAT_TOKENS, dir / "t.bin"));
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->type, TokenType::kUint32);
  EXPECT_EQ(files->tokens(), 2);
}

TEST(TokenFilesTest, RefusesHeadersThatLie) {
  const ScratchDir dir;
  const v1::Dataset dataset = Dataset(v1::Dataset::FORMAT_TOKENS, dir / "t.bin");
  Spill(dir / "t.bin", TokenHeader(20240520, 2, 2) + Tokens16({4, 5}));
  EXPECT_THAT(FaultOf(dataset), HasSubstr("states version 2 (byte 4); version 1 is read"));
  for (const uint32_t count : {0u, 1u, 3u, 0x7fffffffu, 0xffffffffu}) {
    Spill(dir / "t.bin", TokenHeader(20240520, 1, count) + Tokens16({4, 5}));
    EXPECT_THAT(FaultOf(dataset), HasSubstr("its header states " + std::to_string(count) + " tokens (byte 8)"));
  }
  Spill(dir / "t.bin", TokenHeader(20240520, 1, 2).substr(0, 100));
  EXPECT_THAT(FaultOf(dataset), HasSubstr("which make a file of 1028 bytes; it has 100"));
  Spill(dir / "t.bin", TokenHeader(20240520, 1, 0));
  EXPECT_THAT(FaultOf(dataset), HasSubstr("states no tokens"));
}

TEST(TokenFilesTest, RefusesShardsThatDoNotBelongTogether) {
  const ScratchDir dir;
  Spill(dir / "t_0.bin", Tokens16({1}));
  Spill(dir / "t_1.bin", TokenHeader(20240801, 7, 1) + Tokens32({1}));
  const v1::Dataset dataset = Dataset(v1::Dataset::FORMAT_TOKENS, dir / "t_*.bin");
  EXPECT_EQ(FaultOf(dataset), dir / "t_1.bin" + ": its tokens are uint32, those of " + dir / "t_0.bin" +
                                  " uint16: one dataset has tokens of one type");
  Spill(dir / "t_1.bin", "");
  EXPECT_EQ(FaultOf(dataset), dir / "t_1.bin" + ": is empty");
  Spill(dir / "t_1.bin", "abc");
  EXPECT_THAT(FaultOf(dataset), HasSubstr("t_1.bin: has 3 bytes; tokens are 2 bytes each"));
}

class MegatronTest : public ::testing::Test {
 protected:
  // Writes the pair of files and opens it. 7 tokens of two bytes.
  absl::StatusOr<TokenFiles> Open(const std::string& index, const std::string& tokens = std::string(14, 'x')) {
    Spill(dir_ / "d.idx", index);
    Spill(dir_ / "d.bin", tokens);
    return OpenTokenFiles(Dataset(v1::Dataset::FORMAT_MEGATRON, dir_ / "d"));
  }
  std::string Fault(const std::function<void(MegatronIndex*)>& spoil) {
    MegatronIndex index;
    spoil(&index);
    const auto files = Open(index.Text());
    EXPECT_TRUE(absl::IsInvalidArgument(files.status())) << files.status();
    return std::string(files.status().message());
  }

  const ScratchDir dir_;
};

TEST_F(MegatronTest, ReadsBothTypesByAnyOfItsNames) {
  ASSERT_TRUE(Open(MegatronIndex().Text(), Tokens16({1, 2, 3, 4, 5, 6, 7})).ok());
  for (const char* name : {"d", "d.bin", "d.idx"}) {
    const auto files = OpenTokenFiles(Dataset(v1::Dataset::FORMAT_MEGATRON, dir_ / name));
    ASSERT_TRUE(files.ok()) << files.status();
    EXPECT_EQ(files->tokens(), 7);
    EXPECT_EQ(files->type, TokenType::kUint16);
  }
  MegatronIndex index;
  index.type = 4;
  index.begins = {0, 12, 12};
  const auto files = Open(index.Text(), Tokens32({1, 2, 3, 4, 5, 6, 70000}));
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->type, TokenType::kInt32);
  EXPECT_EQ(files->tokens(), 7);
}

TEST_F(MegatronTest, EveryFieldOfTheHeaderIsChecked) {
  EXPECT_THAT(Fault([](auto* i) { i->mark[3] = 'x'; }), HasSubstr("d.idx: does not begin with MMIDIDX"));
  EXPECT_THAT(Fault([](auto* i) { i->mark = std::string("TNTIDX\0\0\1", 9); }), HasSubstr("of the old kind (TNTIDX)"));
  EXPECT_THAT(Fault([](auto* i) { i->version = 2; }), HasSubstr("states version 2 (byte 9); version 1 is read"));
  EXPECT_THAT(Fault([](auto* i) { i->type = 7; }), HasSubstr("tokens of type 7 (byte 17), float32"));
  EXPECT_THAT(Fault([](auto* i) { i->type = 200; }), HasSubstr("tokens of type 200 (byte 17), which is none"));
  for (const uint64_t lie : {uint64_t{0}, uint64_t{2}, uint64_t{4}, uint64_t{1} << 61, ~uint64_t{0}}) {
    EXPECT_THAT(Fault([lie](auto* i) { i->sequences = lie; }),
                HasSubstr("states " + std::to_string(lie) + " sequences (byte 18)"));
    EXPECT_THAT(Fault([lie](auto* i) { i->document_entries = lie; }),
                HasSubstr(" and " + std::to_string(lie) + " entries of documents (byte 26)"));
  }
  // Together they make the right length, or seem to by wrapping around.
  EXPECT_THAT(Fault([](auto* i) { i->sequences = 1, i->document_entries = 6; }), HasSubstr("d.idx: "));
  EXPECT_THAT(Fault([](auto* i) {
                i->sequences = (uint64_t{1} << 62) + 3;
                i->document_entries = (uint64_t{1} << 61) + 3;
              }),
              HasSubstr("does not make its"));
  EXPECT_THAT(Fault([](auto* i) { *i = {.lengths = {}, .begins = {}, .documents = {0}, .sequences = 0}; }),
              HasSubstr("does not make its 42 bytes"));
  EXPECT_THAT(Fault([](auto* i) {
                *i = {.lengths = {}, .begins = {}, .documents = {0}, .sequences = 0, .document_entries = 1};
              }),
              HasSubstr("has no sequences"));
}

TEST_F(MegatronTest, EverySequenceAndDocumentIsChecked) {
  EXPECT_THAT(Fault([](auto* i) { i->lengths[1] = -1; }), HasSubstr("sequence 1 states -1 tokens"));
  EXPECT_THAT(Fault([](auto* i) { i->lengths[0] = 8; }),
              HasSubstr("sequence 0 has 8 tokens from byte 0 on; the file of tokens has 14 bytes: it is truncated"));
  EXPECT_THAT(Fault([](auto* i) { i->lengths[2] = 3; }), HasSubstr("its sequences end at byte 12"));
  EXPECT_THAT(Fault([](auto* i) { i->begins[1] = 4; }),
              HasSubstr("sequence 1 begins at byte 4 of the tokens, the one before it ends at 6"));
  EXPECT_THAT(Fault([](auto* i) { i->begins[0] = -2; }), HasSubstr("sequence 0 begins at byte -2"));
  EXPECT_THAT(Fault([](auto* i) { i->documents = {1, 2, 3}; }), HasSubstr("document 0 begins with sequence 1"));
  EXPECT_THAT(Fault([](auto* i) { i->documents = {0, 3, 2}; }), HasSubstr("document 2 begins with sequence 2"));
  EXPECT_THAT(Fault([](auto* i) { i->documents = {0, 2, 4}; }), HasSubstr("document 2 begins with sequence 4"));
  EXPECT_THAT(Fault([](auto* i) { i->documents = {0, 1, 2}; }), HasSubstr("end with sequence 2 of 3"));
}

TEST_F(MegatronTest, NeitherFileMayBeTruncatedOrMissing) {
  const std::string index = MegatronIndex().Text();
  for (size_t bytes = 0; bytes < index.size(); ++bytes) {
    EXPECT_FALSE(Open(index.substr(0, bytes)).ok()) << bytes;
  }
  for (size_t bytes = 0; bytes < 14; ++bytes) EXPECT_FALSE(Open(index, std::string(bytes, 'x')).ok()) << bytes;
  EXPECT_THAT(Open(index, std::string(13, 'x')).status().message(), HasSubstr("d.bin: has 13 bytes"));
  EXPECT_FALSE(Open(index, std::string(16, 'x')).ok());
  ASSERT_TRUE(RemoveTree(dir_ / "d.bin").ok());
  const auto missing = OpenTokenFiles(Dataset(v1::Dataset::FORMAT_MEGATRON, dir_ / "d"));
  EXPECT_TRUE(absl::IsNotFound(missing.status()));
  EXPECT_THAT(missing.status().message(), HasSubstr("d.bin"));
}

// Blocks of the index end between entries.
TEST_F(MegatronTest, AnIndexOfManyBlocksIsCheckedToItsEnd) {
  const int64_t count = 3 * 16384 + 5;
  MegatronIndex index;
  index.sequences = static_cast<uint64_t>(count);
  index.lengths.assign(count, 1);
  index.begins.clear();
  for (int64_t i = 0; i < count; ++i) index.begins.push_back(2 * i);
  index.documents = {0, count};
  index.document_entries = 2;
  const std::string tokens(static_cast<size_t>(2 * count), 'x');
  EXPECT_TRUE(Open(index.Text(), tokens).ok());
  for (const int64_t spoiled : {int64_t{16383}, int64_t{16384}, count - 1}) {
    MegatronIndex wrong = index;
    ++wrong.begins[spoiled];
    EXPECT_THAT(Open(wrong.Text(), tokens).status().message(),
                HasSubstr("sequence " + std::to_string(spoiled) + " begins"));
  }
}

}  // namespace
}  // namespace penstock
