#include "spec/schedule_csv.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/action.h"
#include "common/diagnostic.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/schedule_kind.h"
#include "common/status_macros.h"
#include "coordinator/plan/table.h"
#include "coordinator/plan/validate.h"

namespace penstock {
namespace {

// A table, and where in a file each of its actions stands.
struct WrittenTable {
  struct Row {
    std::vector<v1::SourceLocation> at;  // by action
    v1::SourceLocation end;              // where the next one would stand
  };
  ActionTable table;
  std::vector<Row> rows;

  v1::SourceLocation At(const TablePlace& place) const {
    const Row& row = rows[place.rank];
    return place.position < row.at.size() ? row.at[place.position] : row.end;
  }
};

// Appends the actions of a word, one or a fused pair.
void AddWord(absl::string_view word, const v1::SourceLocation& at, Diagnostics* diagnostics, ActionList* list,
             WrittenTable::Row* row) {
  const absl::StatusOr<ActionList> actions = ListFromText(word);
  if (!actions.ok()) {
    diagnostics->Error(at, actions.status().message(), static_cast<int>(word.size()));
    return;
  }
  for (const Action& action : *actions) {
    list->push_back(action);
    row->at.push_back(at);
  }
}

// One line a rank, cells between commas; an empty cell is idle time, and says nothing.
WrittenTable ParseCsv(absl::string_view text, const std::string& file, Diagnostics* diagnostics) {
  WrittenTable written;
  std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  while (!lines.empty() && absl::StripAsciiWhitespace(lines.back()).empty()) lines.pop_back();
  for (size_t rank = 0; rank < lines.size(); ++rank) {
    ActionList& list = written.table.emplace_back();
    WrittenTable::Row& row = written.rows.emplace_back();
    row.end.set_file(file);
    row.end.set_line(static_cast<uint32_t>(rank + 1));
    for (const absl::string_view cell : absl::StrSplit(lines[rank], ',')) {
      const absl::string_view word = absl::StripAsciiWhitespace(cell);
      v1::SourceLocation at = row.end;
      at.set_column(static_cast<uint32_t>(word.data() - lines[rank].data() + 1));
      AddWord(word, at, diagnostics, &list, &row);
    }
    row.end.set_column(static_cast<uint32_t>(absl::StripTrailingAsciiWhitespace(lines[rank]).size() + 1));
  }
  return written;
}

WrittenTable ReadFileOf(const YamlNode& node, const std::string& path, const std::string& folder, YamlErrors* errors) {
  const std::optional<std::string> name = ToText(node, path, errors);
  if (!name.has_value()) return {};
  const std::string file = (std::filesystem::path(folder) / *name).lexically_normal().string();
  const absl::StatusOr<std::string> text = ReadFile(file, limits::kMaxYamlBytes);
  if (!text.ok()) {
    errors->Add(node, path, text.status().message());
    return {};
  }
  WrittenTable written = ParseCsv(*text, file, errors->diagnostics());
  if (written.table.empty()) errors->Add(node, path, absl::StrCat(file, " has no lines; it needs one for each rank"));
  return written;
}

WrittenTable ReadNodes(const YamlNode& node, const std::string& path, YamlErrors* errors) {
  WrittenTable written;
  for (size_t rank = 0; rank < node.items.size(); ++rank) {
    const YamlNode& list = node.items[rank];
    const std::string list_path = absl::StrCat(path, "[", rank, "]");
    if (!list.IsSequence()) {
      errors->Add(list, list_path,
                  absl::StrCat(list_path, ": expected a list of actions such as [0F0, 0B0], found ", list.Describe()));
      continue;
    }
    ActionList& actions = written.table.emplace_back();
    WrittenTable::Row& row = written.rows.emplace_back();
    row.end = list.At();
    for (size_t i = 0; i < list.items.size(); ++i) {
      const std::string word_path = absl::StrCat(list_path, "[", i, "]");
      const std::optional<std::string> word = ToText(list.items[i], word_path, errors);
      if (word.has_value()) AddWord(*word, list.items[i].At(), errors->diagnostics(), &actions, &row);
    }
  }
  if (node.items.empty()) errors->Add(node, path, absl::StrCat(path, " has no lists; it needs one for each rank"));
  return written;
}

// Adds the first fault of the table at its place.
// Returns: how many stages it has; none if it has a fault.
std::optional<int> Check(const WrittenTable& written, std::optional<int> micro_batches, Diagnostics* diagnostics) {
  TablePlace place;
  const absl::StatusOr<Placement> placement = PlacementOfTable(written.table, &place);
  absl::Status status = placement.status();
  if (status.ok() && micro_batches.has_value()) {
    status = ValidateComputeActions(written.table, *placement, *micro_batches, PassKind::kTraining, &place);
  }
  if (status.ok()) return placement->num_stages();
  diagnostics->Error(written.At(place), status.message());
  return std::nullopt;
}

}  // namespace

std::optional<int> ReadScheduleCsv(const YamlNode& node, const std::string& path, const std::string& folder,
                                   std::optional<int> micro_batches, YamlErrors* errors, v1::Pipeline* pipeline) {
  const int before = errors->diagnostics()->count();
  const WrittenTable written =
      node.IsSequence() ? ReadNodes(node, path, errors) : ReadFileOf(node, path, folder, errors);
  if (errors->diagnostics()->count() != before) return std::nullopt;
  const std::optional<int> stages = Check(written, micro_batches, errors->diagnostics());
  if (!stages.has_value()) return std::nullopt;
  for (const ActionList& list : written.table) *pipeline->add_csv() = ToProto(list);
  return stages;
}

absl::StatusOr<ActionTable> ReadScheduleCsvFile(const std::string& file) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string text, ReadFile(file, limits::kMaxYamlBytes));
  Diagnostics diagnostics;
  WrittenTable written = ParseCsv(text, file, &diagnostics);
  PENSTOCK_RETURN_IF_ERROR(diagnostics.ToStatus());
  if (written.table.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(file, " has no lines; it needs one for each rank"));
  }
  int64_t micro_batches = 0;
  for (const ActionList& list : written.table) {
    for (const Action& action : list) micro_batches = std::max(micro_batches, int64_t{action.micro_batch} + 1);
  }
  if (micro_batches > kMaxMicroBatches) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, " has a micro-batch ", micro_batches - 1, "; at most ", kMaxMicroBatches, " are possible"));
  }
  Check(written, static_cast<int>(micro_batches), &diagnostics);
  PENSTOCK_RETURN_IF_ERROR(diagnostics.ToStatus());
  return std::move(written.table);
}

std::string ScheduleCsvToYaml(const v1::Pipeline& pipeline) {
  std::vector<std::string> lists;
  for (const v1::RankActions& proto : pipeline.csv()) {
    const absl::StatusOr<ActionList> list = FromProto(proto);
    lists.push_back(absl::StrCat("[", absl::StrJoin(ToWords(list.value_or(ActionList())), ", "), "]"));
  }
  return absl::StrCat("[", absl::StrJoin(lists, ", "), "]");
}

}  // namespace penstock
