// Whether a job's data files are there and hold enough. Reads sizes, and of csv files the lines; the values in them are
// data_content.h's. Thread-safe.
#ifndef PENSTOCK_SPEC_DATA_CHECK_H_
#define PENSTOCK_SPEC_DATA_CHECK_H_

#include "common/diagnostic.h"
#include "proto/job.pb.h"
#include "spec/job_check.h"

namespace penstock {

// Adds an error for a data file that is missing, no file, empty, shorter than one sequence in its part, of half a
// token, without its target column, or whose columns do not fill the model's input.
void CheckDataFiles(const v1::JobSpec& spec, const JobPlaces& places, Diagnostics* diagnostics);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_DATA_CHECK_H_
