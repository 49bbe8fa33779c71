#include "spec/job_file.h"

#include <filesystem>
#include <utility>

#include "common/diagnostic.h"
#include "common/status_macros.h"
#include "common/yaml.h"
#include "model/layer_kind.h"
#include "spec/data_check.h"
#include "spec/data_content.h"
#include "spec/file_kind.h"
#include "spec/job_check.h"
#include "spec/job_sections.h"
#include "spec/model_file.h"
#include "spec/override.h"
#include "spec/pipeline_section.h"
#include "spec/train_section.h"

namespace penstock {
namespace {

// What a job is when its file leaves the section out: one stage, one micro-batch.
v1::Pipeline DefaultPipeline() {
  v1::Pipeline pipeline;
  pipeline.set_stages(1);
  pipeline.set_split(v1::Pipeline::SPLIT_AUTO);
  pipeline.set_micro_batches(1);
  pipeline.set_schedule("gpipe");
  pipeline.set_chunks(1);
  return pipeline;
}

// Reads every section into `spec`; the model's layers apart.
ModelSection ReadSections(YamlMapping* file, const std::string& folder, YamlErrors* errors, v1::JobSpec* spec) {
  CheckFileHeader(file, errors);
  file->Require({"name", "model", "data", "train"});
  file->Refuse("restart", "restart: this version does not restart a job by itself: submit it again with --resume");
  spec->set_name(file->Text("name").value_or(""));
  *spec->mutable_data() = ReadDataSection(file->Mapping("data"), folder, errors);
  ModelSection section = ReadModelSection(file->Mapping("model"), spec->data(), errors);
  *spec->mutable_model() = section.model;
  YamlMapping pipeline = file->Mapping("pipeline");
  *spec->mutable_pipeline() = pipeline.present() ? ReadPipelineSection(pipeline, folder, errors) : DefaultPipeline();
  *spec->mutable_train() = ReadTrainSection(file->Mapping("train"), errors, spec->mutable_model());
  YamlMapping eval = file->Mapping("eval");
  if (eval.present() || spec->data().has_eval()) *spec->mutable_eval() = ReadEvalSection(eval, errors);
  *spec->mutable_checkpoint() = ReadCheckpointSection(file->Mapping("checkpoint"), folder, errors);
  *spec->mutable_log() = ReadLogSection(file->Mapping("log"), errors);
  *spec->mutable_transport() = ReadTransportSection(file->Mapping("transport"));
  file->Finish();
  return section;
}

v1::SourceLocation PlaceOf(const YamlNode* node) { return node == nullptr ? v1::SourceLocation() : node->KeyAt(); }

}  // namespace

// 1. ReadYamlFile, ApplyOverride.  2. ReadSections: keys and types.  3. CheckJob: the sense of it, with the places of 1
// and without what 2 found faulty.  4. CheckDataFiles, CheckDataContent.  5. FillDefaults.
absl::StatusOr<v1::JobSpec> ReadJobFile(const std::string& path, const std::vector<std::string>& overrides,
                                        std::vector<std::string>* data_notes) {
  Diagnostics diagnostics;
  PENSTOCK_ASSIGN_OR_RETURN(YamlNode root, ReadYamlFile(path, &diagnostics));
  const bool readable = diagnostics.ok() || root.IsMapping();
  for (const std::string& text : overrides) ApplyOverride(text, &root, &diagnostics);
  if (!readable) return diagnostics.ToStatus();
  YamlErrors errors(&diagnostics);
  if (IsOfAnotherKind(FileKind::kJob, root, &errors)) return diagnostics.ToStatus();
  YamlMapping file(&root, "", &errors);
  if (!file.present()) return diagnostics.ToStatus();
  const std::string folder = std::filesystem::absolute(path).parent_path().string();
  v1::JobSpec spec;
  const ModelSection section = ReadSections(&file, folder, &errors, &spec);
  *spec.mutable_model()->mutable_at() = PlaceOf(root.Find("model"));
  *spec.mutable_pipeline()->mutable_at() = PlaceOf(root.Find("pipeline"));
  const JobPlaces places(&root, &errors);
  const ModelInfo info = CheckJob(spec, places, section.faulty_layers, section.whole, &diagnostics);
  CheckDataFiles(spec, info, places, &diagnostics);
  if (diagnostics.ok()) CheckDataContent(spec, info, places, &diagnostics, data_notes);
  PENSTOCK_RETURN_IF_ERROR(diagnostics.ToStatus());
  FillDefaults(spec.mutable_model());
  return spec;
}

absl::Status CheckJobSpec(const v1::JobSpec& spec) {
  Diagnostics diagnostics(Diagnostics::Source::kHidden);
  CheckJob(spec, JobPlaces(), {}, true, &diagnostics);
  return diagnostics.ToStatus();
}

}  // namespace penstock
