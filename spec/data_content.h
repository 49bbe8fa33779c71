// Whether the values in a job's data are such that its model can take them: looked at before anything starts, as far as
// that is quick. Thread-safe.
#ifndef PENSTOCK_SPEC_DATA_CONTENT_H_
#define PENSTOCK_SPEC_DATA_CONTENT_H_

#include <string>
#include <vector>

#include "common/diagnostic.h"
#include "model/model_info.h"
#include "proto/job.pb.h"
#include "spec/job_check.h"

namespace penstock {

// Adds an error for the first cell of a csv file that is no number, the first class and the first token that the model
// does not have. Reads at most some MiB of a file (a tenth of a second); workers check the rest when they load it.
// Args:     info: of the job's model, whole. notes: takes a sentence for each file about how much of it was read; may
//           be null.
// REQUIRES: CheckDataFiles found no fault.
void CheckDataContent(const v1::JobSpec& spec, const ModelInfo& info, const JobPlaces& places, Diagnostics* diagnostics,
                      std::vector<std::string>* notes);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_DATA_CONTENT_H_
