#include "common/data/identity.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/data/file_run.h"
#include "common/data/format.h"
#include "common/data/image_files.h"
#include "common/data/token_files.h"
#include "common/file.h"
#include "common/sha256.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

constexpr uint64_t kBlockBytes = uint64_t{64} << 10;
constexpr uint64_t kBlocks = 256;
constexpr uint64_t kMinBlocks = 2;  // the first and the last

absl::StatusOr<v1::DataFile> Describe(const std::string& path, uint64_t blocks) {
  PENSTOCK_ASSIGN_OR_RETURN(const File file, File::OpenToRead(path));
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t bytes, file.Bytes());
  const bool whole = bytes <= blocks * kBlockBytes;
  if (whole) blocks = (bytes + kBlockBytes - 1) / kBlockBytes;
  Sha256 sha;
  std::string block;
  for (uint64_t i = 0; i < blocks; ++i) {
    // Of a file that is not read whole, the last block ends where the file does.
    const uint64_t begin = whole ? i * kBlockBytes : (bytes - kBlockBytes) / (blocks - 1) * i;
    const uint64_t at = !whole && i + 1 == blocks ? bytes - kBlockBytes : begin;
    block.resize(static_cast<size_t>(std::min(kBlockBytes, bytes - at)));
    PENSTOCK_RETURN_IF_ERROR(file.ReadAt(at, block.data(), block.size()));
    sha.Update(block.data(), block.size());
  }
  v1::DataFile described;
  described.set_name(BaseName(path));
  described.set_bytes(bytes);
  described.set_sha256(sha.HexDigest());
  return described;
}

// What of a data section says which samples there are.
std::string Named(const v1::Data& data) {
  v1::Data named;
  *named.mutable_train() = data.train();
  named.set_seq_len(data.seq_len());
  if (data.has_tokenizer()) *named.mutable_tokenizer() = data.tokenizer();
  return named.SerializeAsString();
}

std::string Size(const v1::DataFile& file) { return absl::StrCat(file.bytes(), " bytes"); }

// The first difference, as a sentence; empty: there is none.
std::string Difference(const v1::DataIdentity& before, const v1::DataIdentity& now) {
  const int common = std::min(before.files_size(), now.files_size());
  for (int i = 0; i < common; ++i) {
    const v1::DataFile &was = before.files(i), &is = now.files(i);
    if (was.bytes() == is.bytes() && was.sha256() == is.sha256()) continue;
    const std::string name = was.name() == is.name() ? is.name() : absl::StrCat(is.name(), ", then ", was.name(), ",");
    if (was.bytes() != is.bytes()) return absl::StrCat(name, " had ", Size(was), " and now has ", Size(is));
    return absl::StrCat(name, " has other contents of the same length");
  }
  if (before.files_size() != now.files_size()) {
    return absl::StrCat("there were ", before.files_size(), " files and now there are ", now.files_size());
  }
  if (before.samples() == now.samples()) return "";
  return absl::StrCat("an epoch had ", before.samples(), " samples and now has ", now.samples());
}

}  // namespace

absl::StatusOr<std::vector<std::string>> DataPathsOf(const v1::Data& data) {
  std::vector<std::string> paths;
  const v1::Dataset& train = data.train();
  if (HasImages(train.format())) {
    PENSTOCK_ASSIGN_OR_RETURN(paths, ImagePathsOf(train));
  } else if (train.format() == v1::Dataset::FORMAT_MEGATRON) {
    const MegatronPaths megatron = MegatronPathsOf(train.path());
    paths = {megatron.index, megatron.tokens};
  } else {
    PENSTOCK_ASSIGN_OR_RETURN(paths, FilesNamed(train.path()));
  }
  if (train.format() != v1::Dataset::FORMAT_TEXT || !data.has_tokenizer()) return paths;
  const std::string& tokenizer = data.tokenizer().path();
  if (data.tokenizer().kind() == v1::Tokenizer::SENTENCEPIECE) {
    paths.push_back(tokenizer);
  } else {
    for (const char* name : {"vocab.json", "merges.txt"}) paths.push_back(JoinPath(tokenizer, name));
  }
  return paths;
}

absl::StatusOr<v1::DataIdentity> IdentityOf(const v1::Data& data) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<std::string> paths, DataPathsOf(data));
  const uint64_t blocks = std::max<uint64_t>(kBlocks / std::max<size_t>(paths.size(), 1), kMinBlocks);
  v1::DataIdentity identity;
  for (const std::string& path : paths) {
    PENSTOCK_ASSIGN_OR_RETURN(*identity.add_files(), Describe(path, blocks));
  }
  return identity;
}

absl::StatusOr<std::string> CompareData(const TrainedOn& before, const TrainedOn& now) {
  if (before.identity.files().empty() || now.identity.files().empty()) return "";
  const std::string difference = Difference(before.identity, now.identity);
  if (difference.empty()) return "";
  if (Named(before.data) == Named(now.data)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the training data ", now.data.train().path(), " have changed since the checkpoint: ", difference,
                     "; bring the old data back, or give the new ones another path to go on with them on purpose"));
  }
  return absl::StrCat("the job goes on with other training data than the checkpoint's: ", difference);
}

}  // namespace penstock
