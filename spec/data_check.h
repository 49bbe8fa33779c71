// Whether the data of a job make sense, and whether their files are there and hold enough. Thread-safe.
// Source: docs/reference.md, "data".
#ifndef PENSTOCK_SPEC_DATA_CHECK_H_
#define PENSTOCK_SPEC_DATA_CHECK_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "common/diagnostic.h"
#include "model/model_info.h"
#include "proto/job.pb.h"
#include "spec/job_check.h"

namespace penstock {

// Sequences longer than this are a typo: attention alone would need a tebibyte.
inline constexpr uint32_t kMaxSeqLen = 1 << 20;

// Adds an error for each value of the data section that is out of its range or does not fit another. Pure.
void CheckDataSection(const v1::JobSpec& spec, const JobPlaces& places, Diagnostics* diagnostics);

// Adds an error for each layer whose vocabulary is smaller than `needed`: the embeddings, and the output. Pure.
// Args: why: "text is bytes, which need 256".
void CheckVocabulary(const v1::JobSpec& spec, const ModelInfo& info, int64_t needed, absl::string_view why,
                     Diagnostics* diagnostics);

// Adds an error for a data file that is missing, no file, empty, shorter than one sequence in its part, of half a
// token, with a header that contradicts it, without its target column, or whose samples do not fill the model's input;
// and for a tokenizer that cannot be read or does not fit the model's vocabulary. Reads headers, indexes and, of csv
// files, the lines; what the samples hold is checked where they are loaded (worker/data).
// Args: info: what follows from the model, as CheckJob returned it.
void CheckDataFiles(const v1::JobSpec& spec, const ModelInfo& info, const JobPlaces& places, Diagnostics* diagnostics);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_DATA_CHECK_H_
