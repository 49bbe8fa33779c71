// Whether the training section of a job makes sense. Pure.
// Source: docs/reference.md, "train"; docs/training.md.
#ifndef PENSTOCK_SPEC_TRAIN_CHECK_H_
#define PENSTOCK_SPEC_TRAIN_CHECK_H_

#include "common/diagnostic.h"
#include "model/model_info.h"
#include "proto/job.pb.h"
#include "spec/job_check.h"

namespace penstock {

// Adds an error for each value of the section that is out of its range or does not fit another.
void CheckTrainSection(const v1::JobSpec& spec, const JobPlaces& places, Diagnostics* diagnostics);

// Adds an error for each pattern of names that is of no parameter.
// REQUIRES: `info` is whole.
void CheckParameterPatterns(const v1::JobSpec& spec, const ModelInfo& info, const JobPlaces& places,
                            Diagnostics* diagnostics);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_TRAIN_CHECK_H_
