#include "common/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/sha256.h"
#include "tests/common/scratch_dir.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const float kMatrix[] = {1, 2, 3, 4, 5, 6};
const int64_t kCount[] = {7};

TensorToWrite Matrix() { return {"h.0.weight", "F32", {2, 3}, kMatrix}; }
TensorToWrite Count() { return {"count", "I64", {}, kCount}; }
TensorToWrite Nothing() { return {"nothing", "F32", {0, 2}, nullptr}; }

// The 8-byte length in front of a header, and data behind it.
std::string Raw(const std::string& header, const std::string& data = "") {
  std::string length(8, '\0');
  const uint64_t bytes = header.size();
  std::memcpy(length.data(), &bytes, 8);
  return length + header + data;
}

absl::StatusOr<SafetensorsFile> OpenRaw(const ScratchDir& dir, const std::string& contents) {
  Spill(dir / "raw", contents);
  return SafetensorsFile::Open(dir / "raw");
}

// Everything that a reader learns from a header.
std::string Summary(const SafetensorsFile& file) {
  std::string text;
  for (const auto& [name, tensor] : file.tensors()) {
    absl::StrAppend(&text, name, " ", tensor.dtype, " ", tensor.begin, " ", tensor.bytes);
    for (const int64_t size : tensor.shape) absl::StrAppend(&text, ",", size);
    absl::StrAppend(&text, "\n");
  }
  for (const auto& [key, value] : file.metadata()) absl::StrAppend(&text, key, "=", value, "\n");
  return text;
}

TEST(SafetensorsTest, WritesTheDocumentedBytes) {
  const ScratchDir dir;
  const auto written = WriteSafetensors(dir / "f", {Matrix(), Count()});
  ASSERT_TRUE(written.ok()) << written.status();
  // 8 bytes of length, the header padded so that data begin at a multiple of 64; wider elements lie first.
  std::string header = R"({"count":{"data_offsets":[0,8],"dtype":"I64","shape":[]},)"
                       R"("h.0.weight":{"data_offsets":[8,32],"dtype":"F32","shape":[2,3]}})";
  header.resize(184, ' ');
  const std::string data =
      std::string(reinterpret_cast<const char*>(kCount), 8) + std::string(reinterpret_cast<const char*>(kMatrix), 24);
  EXPECT_EQ(Slurp(dir / "f"), Raw(header, data));
  EXPECT_EQ(written->bytes, 8 + 184 + 32u);
  ASSERT_EQ(written->tensors.size(), 2u);
  EXPECT_EQ(written->tensors[0].name(), "count");
  EXPECT_EQ(written->tensors[1].name(), "h.0.weight");
  EXPECT_EQ(written->tensors[1].dtype(), "F32");
  EXPECT_THAT(written->tensors[1].shape(), ElementsAre(2, 3));
  EXPECT_EQ(written->tensors[1].sha256(), Sha256Hex(data.substr(8)));
}

TEST(SafetensorsTest, ReadsBackWhatItWrote) {
  const ScratchDir dir;
  ASSERT_TRUE(WriteSafetensors(dir / "f", {Nothing(), Matrix(), Count()}, {{"job", "kjv"}}).ok());
  const auto file = SafetensorsFile::Open(dir / "f");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata().at("job"), "kjv");
  EXPECT_THAT(file->tensors().at("nothing").shape, ElementsAre(0, 2));
  float out[6] = {};
  EXPECT_EQ(file->Read("h.0.weight", out, sizeof(out)).value(), HashTensor(Matrix())->sha256());
  EXPECT_TRUE(std::equal(out, out + 6, kMatrix));
  EXPECT_EQ(file->Hash("h.0.weight").value(), HashTensor(Matrix())->sha256());
  EXPECT_EQ(file->Hash("nothing").value(), Sha256Hex(""));
  EXPECT_TRUE(absl::IsInvalidArgument(file->Read("h.0.weight", out, 23).status()));
  EXPECT_TRUE(absl::IsNotFound(file->Read("h.1.weight", out, 24).status()));
}

TEST(SafetensorsTest, ReadsTensorsLargerThanOnePiece) {
  const ScratchDir dir;
  std::vector<uint8_t> large((size_t{3} << 20) + 17);
  std::mt19937 random(1);
  for (uint8_t& byte : large) byte = static_cast<uint8_t>(random());
  const auto size = static_cast<int64_t>(large.size());
  const auto written = WriteSafetensors(dir / "f", {{"large", "U8", {size}, large.data()}, Matrix()});
  const std::string expected = Sha256Hex({reinterpret_cast<const char*>(large.data()), large.size()});
  EXPECT_EQ(written->tensors[1].sha256(), expected);
  const auto file = SafetensorsFile::Open(dir / "f");
  std::vector<uint8_t> out(large.size());
  EXPECT_EQ(file->Read("large", out.data(), out.size()).value(), expected);
  EXPECT_EQ(out, large);
  EXPECT_EQ(file->Hash("large").value(), expected);
}

TEST(SafetensorsTest, TheOrderOfTensorsDoesNotChangeTheFile) {
  const ScratchDir dir;
  ASSERT_TRUE(WriteSafetensors(dir / "a", {Nothing(), Matrix(), Count()}).ok());
  ASSERT_TRUE(WriteSafetensors(dir / "b", {Count(), Nothing(), Matrix()}).ok());
  EXPECT_EQ(Slurp(dir / "a"), Slurp(dir / "b"));
}

TEST(SafetensorsTest, WritingAgainReplacesTheFileAndAnInterruptedOne) {
  const ScratchDir dir;
  Spill(dir / "f.partial", "left by a process that was killed");
  ASSERT_TRUE(WriteSafetensors(dir / "f", {Matrix()}).ok());
  const std::string first = Slurp(dir / "f");
  ASSERT_TRUE(WriteSafetensors(dir / "f", {Matrix()}).ok());
  EXPECT_EQ(Slurp(dir / "f"), first);
  EXPECT_FALSE(std::filesystem::exists(dir / "f.partial"));
}

// Made by the reference implementation: safetensors.numpy.save({"b": [[1,2,3],[4,5,6]] float32, "a": [7] int64,
// "e": float32 of shape [0, 2], "s": float32 0.5}, metadata={"format": "pt"}), safetensors 0.6.
TEST(SafetensorsTest, ReadsWhatTheReferenceImplementationWrites) {
  const ScratchDir dir;
  std::string header = R"({"__metadata__":{"format":"pt"},"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
                       R"("b":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},"e":{"dtype":"F32","shape":[0,2],)"
                       R"("data_offsets":[32,32]},"s":{"dtype":"F32","shape":[],"data_offsets":[32,36]}})";
  while (header.size() % 8 != 0) header += ' ';
  const float half = 0.5;
  std::string data(reinterpret_cast<const char*>(kCount), 8);
  data.append(reinterpret_cast<const char*>(kMatrix), 24).append(reinterpret_cast<const char*>(&half), 4);
  const auto file = OpenRaw(dir, Raw(header, data));
  ASSERT_TRUE(file.ok()) << file.status();
  float out[6];
  ASSERT_TRUE(file->Read("b", out, sizeof(out)).ok());
  EXPECT_EQ(out[5], 6);
  ASSERT_TRUE(file->Read("s", out, sizeof(float)).ok());
  EXPECT_EQ(out[0], 0.5);
  EXPECT_EQ(file->metadata().at("format"), "pt");
}

TEST(SafetensorsTest, RefusesToWriteWhatCannotBeRead) {
  const ScratchDir dir;
  EXPECT_TRUE(absl::IsInvalidArgument(WriteSafetensors(dir / "f", {Matrix(), Matrix()}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(WriteSafetensors(dir / "f", {{"", "F32", {}, kMatrix}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(WriteSafetensors(dir / "f", {{"__metadata__", "F32", {}, kMatrix}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(WriteSafetensors(dir / "f", {{"x", "F31", {}, kMatrix}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(WriteSafetensors(dir / "f", {{"x", "F32", {-1}, kMatrix}}).status()));
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  EXPECT_TRUE(absl::IsNotFound(WriteSafetensors(dir / "no/f", {Matrix()}).status()));
}

TEST(SafetensorsTest, CountsBytesWithoutOverflow) {
  EXPECT_EQ(TensorBytes("BF16", {3, 5}).value(), 30u);
  EXPECT_EQ(TensorBytes("F64", {}).value(), 8u);
  EXPECT_EQ(TensorBytes("F32", {0, 5}).value(), 0u);
  EXPECT_FALSE(TensorBytes("F32", {int64_t{1} << 31, int64_t{1} << 31}).ok());
  EXPECT_FALSE(TensorBytes("U8", {std::numeric_limits<int64_t>::max(), 2}).ok());
}

struct BadHeader {
  std::string header;
  std::string data;
  std::string complaint;
};

TEST(SafetensorsTest, RefusesMaliciousHeaders) {
  const auto tensor = [](const std::string& entry) { return absl::StrCat(R"({"x":)", entry, "}"); };
  const std::vector<BadHeader> cases = {
      {"", "", "JSON"},
      {"[]", "", "not a JSON object"},
      {"{", "", "JSON"},
      {"{}garbage", "", "JSON"},
      {std::string("{}\0garbage", 10), "", "JSON"},
      {std::string("{\"\xff\":1}"), "", "JSON"},
      {"{}", "x", "1 bytes belong to no tensor"},
      {tensor("7"), "", "nothing else"},
      {tensor(R"({"dtype":"U8","shape":[1]})"), "x", "nothing else"},
      {tensor(R"({"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1})"), "x", "nothing else"},
      {tensor(R"({"dtype":8,"shape":[1],"data_offsets":[0,1]})"), "x", "not a text"},
      {tensor(R"({"dtype":"U9","shape":[1],"data_offsets":[0,1]})"), "x", "unknown dtype 'U9'"},
      {tensor(R"({"dtype":"U8","shape":1,"data_offsets":[0,1]})"), "x", "not a list"},
      {tensor(R"({"dtype":"U8","shape":[-1],"data_offsets":[0,1]})"), "x", "not a size"},
      {tensor(R"({"dtype":"U8","shape":[1.0],"data_offsets":[0,1]})"), "x", "not a size"},
      {tensor(R"({"dtype":"U8","shape":[1e0],"data_offsets":[0,1]})"), "x", "not a size"},
      {tensor(R"({"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,1]})"), "x", "not a size"},
      {tensor(R"({"dtype":"U8","shape":[99999999999999999999999],"data_offsets":[0,1]})"), "x", "not a size"},
      {tensor(R"({"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]})"), "", "64 bits"},
      {tensor(R"({"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]})"), "", "64 bits"},
      {tensor(R"({"dtype":"U8","shape":[1],"data_offsets":[0]})"), "x", "[begin, end]"},
      {tensor(R"({"dtype":"U8","shape":[1],"data_offsets":[-1,0]})"), "x", "[begin, end]"},
      {tensor(R"({"dtype":"U8","shape":[1],"data_offsets":[1,0]})"), "x", "do not span"},
      {tensor(R"({"dtype":"U8","shape":[2],"data_offsets":[0,1]})"), "x", "do not span its 2 bytes"},
      {tensor(R"({"dtype":"U8","shape":[1],"data_offsets":[1,2]})"), "xx", "begins at byte 1"},
      {tensor(R"({"dtype":"U8","shape":[2],"data_offsets":[0,2]})"), "x", "1 bytes behind the end"},
      {tensor(R"({"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]})"), "x",
       "behind the end"},
      {tensor(R"({"dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615]})"), "x",
       "begins at byte"},
      {R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
       "abc", "'y' begins at byte 1"},
      {R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       "ab", "'x' stands twice"},
      {tensor(R"({"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]})"), "x", "'dtype' stands twice"},
      {R"({"__metadata__":[]})", "", "not an object"},
      {R"({"__metadata__":{"a":1}})", "", "not a text"},
      {tensor(R"({"dtype":"U8","shape":[[1]],"data_offsets":[0,1]})"), "x", "nested deeper than 3"},
      {std::string(5'000'000, '['), "", "nested deeper than 3"},
  };
  const ScratchDir dir;
  for (const BadHeader& bad : cases) {
    const auto file = OpenRaw(dir, Raw(bad.header, bad.data));
    EXPECT_TRUE(absl::IsDataLoss(file.status())) << bad.header.substr(0, 100) << ": " << file.status();
    EXPECT_THAT(file.status().message(), HasSubstr(bad.complaint)) << bad.header.substr(0, 100);
    EXPECT_THAT(file.status().message(), HasSubstr(dir / "raw"));
  }
}

TEST(SafetensorsTest, RefusesHeadersThatAreNotInTheFileOrTooLarge) {
  const ScratchDir dir;
  for (const uint64_t stated : {uint64_t{3}, uint64_t{1} << 40, ~uint64_t{0}, ~uint64_t{0} - 7}) {
    std::string contents = Raw("{}");
    std::memcpy(contents.data(), &stated, 8);
    const auto file = OpenRaw(dir, contents);
    EXPECT_TRUE(absl::IsDataLoss(file.status()));
    EXPECT_THAT(file.status().message(), HasSubstr(absl::StrCat("header of ", stated, " bytes")));
  }
  // A sparse file that does have the bytes: still more than the format allows.
  std::string contents = Raw("{}");
  const uint64_t stated = (uint64_t{100} << 20) + 1;
  std::memcpy(contents.data(), &stated, 8);
  Spill(dir / "raw", contents);
  ASSERT_EQ(::truncate((dir / "raw").c_str(), static_cast<off_t>(8 + stated)), 0);
  EXPECT_TRUE(absl::IsDataLoss(SafetensorsFile::Open(dir / "raw").status()));
}

TEST(SafetensorsTest, EveryTruncationIsReported) {
  const ScratchDir dir;
  ASSERT_TRUE(WriteSafetensors(dir / "f", {Matrix(), Count()}, {{"a", "b"}}).ok());
  const std::string whole = Slurp(dir / "f");
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    EXPECT_TRUE(absl::IsDataLoss(OpenRaw(dir, whole.substr(0, bytes)).status())) << bytes;
  }
  EXPECT_TRUE(absl::IsDataLoss(OpenRaw(dir, whole + "x").status()));
}

TEST(SafetensorsTest, EveryFlippedBitOfTheHeaderIsRefusedOrSeen) {
  const ScratchDir dir;
  ASSERT_TRUE(WriteSafetensors(dir / "f", {Matrix(), Count()}, {{"a", "b"}}).ok());
  const std::string whole = Slurp(dir / "f");
  const std::string summary = Summary(*SafetensorsFile::Open(dir / "f"));
  for (size_t bit = 0; bit < (whole.size() - 32) * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    const auto file = OpenRaw(dir, flipped);
    if (file.ok()) {
      EXPECT_NE(Summary(*file), summary) << "byte " << bit / 8 << " bit " << bit % 8;
    } else {
      EXPECT_TRUE(absl::IsDataLoss(file.status())) << file.status();
    }
  }
}

TEST(SafetensorsTest, RandomDamageNeverReadsOutsideOfTheFile) {
  const ScratchDir dir;
  ASSERT_TRUE(WriteSafetensors(dir / "f", {Matrix(), Count(), Nothing()}, {{"a", "b"}}).ok());
  const std::string whole = Slurp(dir / "f");
  std::mt19937 random(7);
  const std::string alphabet = "0123456789{}[]\",:-.eE xU\\";
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = whole;
    for (int i = 1 + static_cast<int>(random() % 4); i > 0; --i) {
      damaged[8 + random() % (damaged.size() - 8)] = alphabet[random() % alphabet.size()];
    }
    const auto file = OpenRaw(dir, damaged);
    if (!file.ok()) continue;
    for (const auto& [name, tensor] : file->tensors()) {
      EXPECT_LE(tensor.begin + tensor.bytes, damaged.size());
      EXPECT_TRUE(file->Hash(name).ok());
    }
  }
}

TEST(SafetensorsTest, AFileThatShrinksAfterItWasOpenedIsAnErrorNotACrash) {
  const ScratchDir dir;
  ASSERT_TRUE(WriteSafetensors(dir / "f", {Matrix()}).ok());
  const auto file = SafetensorsFile::Open(dir / "f");
  ASSERT_EQ(::truncate((dir / "f").c_str(), 100), 0);
  float out[6];
  EXPECT_TRUE(absl::IsDataLoss(file->Read("h.0.weight", out, sizeof(out)).status()));
  EXPECT_TRUE(absl::IsDataLoss(file->Hash("h.0.weight").status()));
}

}  // namespace
}  // namespace penstock
