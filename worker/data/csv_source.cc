// csv data, held in memory: it is small, and checking it whole finds every bad cell before training starts.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/file.h"
#include "common/status_macros.h"
#include "common/csv_file.h"
#include "worker/data/sources.h"

namespace penstock {
namespace {

// Larger tables belong into a binary format.
constexpr size_t kMaxCsvBytes = size_t{1} << 30;

struct CsvSamples {
  std::vector<float> features;   // sample by sample
  std::vector<int64_t> classes;  // one of these two
  std::vector<float> values;
};

class CsvSource final : public DataSource {
 public:
  CsvSource(CsvSamples samples, int64_t count, const FeatureOptions& options)
      : data_(std::move(samples)), count_(count), features_(data_.features.size() / count) {
    layout_.input_dtype = v1::DTYPE_FLOAT32;
    layout_.input_shape = options.input_shape;
    layout_.input_bytes = features_ * sizeof(float);
    layout_.target_dtype = options.class_targets ? v1::DTYPE_INT64 : v1::DTYPE_FLOAT32;
    if (!options.class_targets) layout_.target_shape = {1};
    layout_.target_bytes = options.class_targets ? sizeof(int64_t) : sizeof(float);
  }

  int64_t samples() const override { return count_; }
  const SampleLayout& layout() const override { return layout_; }

  absl::Status Read(absl::Span<const SampleRef> samples, char* inputs, char* targets) const override {
    for (const SampleRef& sample : samples) {
      if (inputs != nullptr) inputs = PutBytes(&data_.features[sample.index * features_], layout_.input_bytes, inputs);
      if (targets == nullptr) continue;
      if (layout_.target_dtype == v1::DTYPE_INT64) {
        const int64_t target = sample.counted ? data_.classes[sample.index] : kIgnoredTarget;
        targets = PutBytes(&target, sizeof(target), targets);
      } else {
        const float target = sample.counted ? data_.values[sample.index] : std::numeric_limits<float>::quiet_NaN();
        targets = PutBytes(&target, sizeof(target), targets);
      }
    }
    return absl::OkStatus();
  }

 private:
  const CsvSamples data_;
  const int64_t count_;
  const size_t features_;
  SampleLayout layout_;
};

// Where a cell stands, for errors.
struct CellPlace {
  const std::string& path;
  int line;
  const std::string& column;
};

absl::Status Fault(const CellPlace& place, double value, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(place.path, ":", place.line, ": error: column '", place.column, "': ", value, what));
}

absl::Status AddClass(double value, int64_t classes, const CellPlace& place, std::vector<int64_t>* to) {
  const int64_t bound = classes > 0 ? classes : std::numeric_limits<int32_t>::max();
  if (value < 0 || value >= static_cast<double>(bound) || value != std::floor(value)) {
    return Fault(place, value,
                 absl::StrCat(" is not a class: with cross_entropy, targets are whole numbers from 0 to ", bound - 1));
  }
  to->push_back(static_cast<int64_t>(value));
  return absl::OkStatus();
}

absl::Status AddFloat(double value, const CellPlace& place, std::vector<float>* to) {
  if (std::abs(value) > std::numeric_limits<float>::max()) return Fault(place, value, " does not fit into float32");
  to->push_back(static_cast<float>(value));
  return absl::OkStatus();
}

absl::StatusOr<CsvSamples> Select(const CsvTable& table, const v1::Dataset& dataset, size_t target, Part part,
                                  const FeatureOptions& options) {
  const double scale = dataset.scale() == 0 ? 1 : dataset.scale();
  const size_t columns = table.columns.size();
  CsvSamples samples;
  samples.features.reserve((columns - 1) * static_cast<size_t>(part.end - part.begin));
  for (int64_t row = part.begin; row < part.end; ++row) {
    for (size_t column = 0; column < columns; ++column) {
      const double value = table.cells[row * columns + column];
      const CellPlace place{dataset.path(), table.lines[row], table.columns[column]};
      if (column != target) {
        PENSTOCK_RETURN_IF_ERROR(AddFloat(value * scale, place, &samples.features));
      } else if (options.class_targets) {
        PENSTOCK_RETURN_IF_ERROR(AddClass(value, options.classes, place, &samples.classes));
      } else {
        PENSTOCK_RETURN_IF_ERROR(AddFloat(value, place, &samples.values));
      }
    }
  }
  return samples;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> OpenCsv(const v1::Dataset& dataset, const FeatureOptions& options) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string text, ReadFile(dataset.path(), kMaxCsvBytes));
  PENSTOCK_ASSIGN_OR_RETURN(const CsvTable table, ParseCsv(text, dataset.path()));
  const auto target = std::find(table.columns.begin(), table.columns.end(), dataset.target());
  if (target == table.columns.end()) {
    return absl::InvalidArgumentError(absl::StrCat(dataset.path(), ": has no column '", dataset.target(),
                                                   "' (data's target); it has: ", absl::StrJoin(table.columns, ", ")));
  }
  int64_t needed = 1;
  for (const int64_t size : options.input_shape) needed *= size;
  if (needed < 1 || static_cast<int64_t>(table.columns.size()) - 1 != needed) {
    return absl::InvalidArgumentError(
        absl::StrCat(dataset.path(), ": has ", table.columns.size() - 1, " feature columns beside '", dataset.target(),
                     "'; the model's input [", absl::StrJoin(options.input_shape, ", "), "] needs ", needed));
  }
  PENSTOCK_ASSIGN_OR_RETURN(const Part part, PartOf(dataset, static_cast<int64_t>(table.rows())));
  PENSTOCK_ASSIGN_OR_RETURN(CsvSamples samples, Select(table, dataset, target - table.columns.begin(), part, options));
  return std::make_unique<CsvSource>(std::move(samples), part.end - part.begin, options);
}

}  // namespace penstock
