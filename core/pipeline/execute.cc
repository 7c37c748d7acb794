#include "core/pipeline/execute.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/pipeline/calibrated_stage.h"
#include "core/pipeline/evaluated_stage.h"
#include "core/pipeline/finish.h"
#include "core/pipeline/input_survey.h"
#include "core/pipeline/journal.h"
#include "core/pipeline/layout.h"
#include "core/pipeline/output_file.h"
#include "core/pipeline/tensor_runner.h"

namespace quant {
namespace {

// Of the time of a job with calibrated methods, for its progress.
constexpr double kCalibrationShare = 0.9;
// Of the time of a job that looks at inputs first.
constexpr double kSurveyShare = 0.3;
// Of all of it, where the outputs are evaluated.
constexpr double kEvaluationShare = 0.5;

// Work directory: lock, journal, calibrated/<name>/<blocks> and
// calibrated/inputs.survey, outputs/<name>/<files of the artifact>,
// evaluated/<name>/<figures>.
class Execution {
 public:
  Execution(const ModelReader& model, const Plan& plan,
            const ExecuteOptions& options)
      : source_(model),
        model_(ViewedModel(model, plan)),
        plan_(plan),
        options_(options) {
    if (!options.progress) return;
    options_.progress =
        [this, report = options.progress](const ProgressUpdate& update) {
          const double part = update.bytes_total <= 0
                                  ? 1
                                  : static_cast<double>(update.bytes_done) /
                                        static_cast<double>(update.bytes_total);
          ProgressUpdate whole = update;
          whole.fraction = stage_begin_ + (stage_end_ - stage_begin_) * part;
          report(whole);
        };
  }

  absl::StatusOr<ExecuteResult> Run() {
    QUANT_RETURN_IF_ERROR(MakeDirectories(options_.work_dir));
    QUANT_ASSIGN_OR_RETURN(
        const FileLock lock,
        FileLock::Acquire(JoinPath(options_.work_dir, "lock")));
    bool fresh = false;
    QUANT_ASSIGN_OR_RETURN(Journal journal,
                           Journal::Open(JoinPath(options_.work_dir, "journal"),
                                         plan_.fingerprint, &fresh));
    if (fresh) {
      QUANT_RETURN_IF_ERROR(RemoveTree(JoinPath(options_.work_dir, "outputs")));
      for (const char* name : {"calibrated", "evaluated"}) {
        QUANT_RETURN_IF_ERROR(RemoveTree(JoinPath(options_.work_dir, name)));
      }
    }
    QUANT_RETURN_IF_ERROR(OpenFiles());
    return RunStages(journal);
  }

 private:
  std::string Directory(const OutputPlan& output) const {
    return JoinPath(JoinPath(options_.work_dir, "outputs"),
                    output.request.name);
  }

  absl::Status OpenFiles() {
    for (const OutputPlan& output : plan_.outputs) {
      if (!IsPlainFileName(output.request.name)) {
        return InvalidSpec(absl::StrCat("output name \"", output.request.name,
                                        "\" is not a plain file name"));
      }
      QUANT_RETURN_IF_ERROR(MakeDirectories(Directory(output)));
      std::vector<OutputFile>& files = files_.emplace_back();
      for (const LayoutFile& layout : output.layout.files) {
        bool made = false;
        QUANT_ASSIGN_OR_RETURN(
            OutputFile file,
            OutputFile::Open(Directory(output), layout, &made));
        files.push_back(std::move(file));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<ExecuteResult> RunStages(Journal& journal) {
    ExecuteResult result;
    result.started_over = journal.displaced();
    StartClock();
    QUANT_RETURN_IF_ERROR(Survey(journal, result));
    QUANT_RETURN_IF_ERROR(Calibrate(journal, result));
    TensorRunner runner(model_, plan_, options_, journal, files_, calibrated_);
    QUANT_RETURN_IF_ERROR(runner.VerifyResumed());
    result.stage_seconds["VERIFYING"] = StopClock();
    QUANT_RETURN_IF_ERROR(runner.Run());
    result.stage_seconds["QUANTIZING"] = StopClock();
    QUANT_RETURN_IF_ERROR(model_.CheckUnchanged());
    result.tensors_total = static_cast<int64_t>(plan_.order.size());
    result.tensors_resumed = runner.resumed();
    result.tensors_redone = journal.redone();
    ReportFinishing(result);
    QUANT_ASSIGN_OR_RETURN(const auto source_sha256, SourceDigests());
    std::vector<FinishedFiles> finished;
    for (size_t i = 0; i < plan_.outputs.size(); ++i) {
      QUANT_ASSIGN_OR_RETURN(FinishedFiles files,
                             FinishFiles(model_, plan_, static_cast<int>(i),
                                         Directory(plan_.outputs[i]), journal,
                                         files_[i], options_.sync));
      AddCalibration(static_cast<int>(i), files.output);
      finished.push_back(std::move(files));
    }
    result.stage_seconds["FINISHING"] = StopClock();
    QUANT_RETURN_IF_ERROR(Evaluate(finished, result));
    for (size_t i = 0; i < plan_.outputs.size(); ++i) {
      QUANT_ASSIGN_OR_RETURN(
          ExecutedOutput output,
          FinishManifest(model_, plan_, static_cast<int>(i), journal,
                         std::move(finished[i]), source_sha256, options_));
      const std::string& directory = output.directory;
      if (options_.sync) QUANT_RETURN_IF_ERROR(SyncDirectory(directory));
      result.outputs.push_back(std::move(output));
    }
    result.stage_seconds["FINISHING"] += StopClock();
    return result;
  }

  // What has to be known of inputs whatever the method.
  absl::Status Survey(Journal& journal, ExecuteResult& result) {
    const std::vector<OutputPlan>& outputs = plan_.outputs;
    if (std::none_of(outputs.begin(), outputs.end(), NeedsSurvey)) {
      return absl::OkStatus();
    }
    stage_end_ = kSurveyShare * Writing();
    QUANT_RETURN_IF_ERROR(journal.Claim());
    const std::string directory = JoinPath(options_.work_dir, "calibrated");
    QUANT_RETURN_IF_ERROR(MakeDirectories(directory));
    QUANT_ASSIGN_OR_RETURN(
        survey_, SurveyInputs(source_, JoinPath(directory, "inputs.survey"),
                              options_, plan_));
    result.notes = survey_.notes;
    result.stage_seconds["CALIBRATING"] += StopClock();
    stage_begin_ = stage_end_;
    return absl::OkStatus();
  }

  // Runs source and outputs over the evaluation text, if there is one.
  absl::Status Evaluate(std::vector<FinishedFiles>& finished,
                        ExecuteResult& result) {
    if (plan_.evaluation == nullptr) return absl::OkStatus();
    std::vector<std::string> directories;
    for (const FinishedFiles& files : finished) {
      directories.push_back(files.output.directory);
    }
    stage_begin_ = 1 - kEvaluationShare;
    stage_end_ = 1;
    QUANT_ASSIGN_OR_RETURN(
        const std::vector<Evaluation> evaluations,
        RunEvaluatedStage(source_, plan_, directories, options_));
    for (size_t i = 0; i < finished.size(); ++i) {
      const auto figures = evaluations[i].Metrics();
      const std::map<std::string, double> values(figures.begin(),
                                                 figures.end());
      for (const std::string& name : EvaluationMetrics()) {
        finished[i].output.metrics[name] = values.at(name);
      }
      finished[i].output.layers = evaluations[i].layers;
    }
    result.stage_seconds["EVALUATING"] = StopClock();
    return absl::OkStatus();
  }

  // The codes of calibrated methods, which the tiles then take.
  absl::Status Calibrate(Journal& journal, ExecuteResult& result) {
    const size_t count = plan_.outputs.size();
    summaries_.resize(count);
    for (size_t i = 0; i < count; ++i) {
      const std::string& name = plan_.outputs[i].request.name;
      auto codes = std::make_unique<CalibratedCodes>(
          JoinPath(JoinPath(options_.work_dir, "calibrated"), name), model_,
          plan_, static_cast<int>(i));
      if (codes->layers() == 0) {
        calibrated_.push_back(nullptr);
        continue;
      }
      stage_end_ =
          std::max(stage_begin_, kCalibrationShare * Writing() *
                                     static_cast<double>(i + 1) / count);
      // From here on what lies in the work directory belongs to this plan.
      QUANT_RETURN_IF_ERROR(journal.Claim());
      QUANT_ASSIGN_OR_RETURN(
          summaries_[i], RunCalibratedStage(model_, plan_, static_cast<int>(i),
                                            options_, *codes));
      result.blocks_resumed += summaries_[i].blocks_resumed;
      result.blocks_skipped += summaries_[i].blocks_skipped;
      result.notes.insert(result.notes.end(), summaries_[i].notes.begin(),
                          summaries_[i].notes.end());
      QUANT_RETURN_IF_ERROR(DivideInputs(*codes, plan_.outputs[i]));
      calibrated_.push_back(std::move(codes));
      result.stage_seconds["CALIBRATING"] += StopClock();
      stage_begin_ = stage_end_;
    }
    stage_end_ = Writing();
    return absl::OkStatus();
  }

  // What static activations cover, where the stage scaled inputs.
  static absl::Status DivideInputs(const CalibratedCodes& codes,
                                   OutputPlan& output) {
    for (size_t i = 0; i < output.tensors.size(); ++i) {
      TensorPlan& tensor = output.tensors[i];
      if (!tensor.scaled || tensor.inputs == nullptr) continue;
      QUANT_ASSIGN_OR_RETURN(const std::vector<float> factors,
                             codes.ReadFactors(static_cast<int>(i)));
      std::vector<float> inputs = *tensor.inputs;
      for (size_t c = 0; c < inputs.size(); ++c) inputs[c] /= factors[c];
      tensor.inputs =
          std::make_shared<const std::vector<float>>(std::move(inputs));
    }
    return absl::OkStatus();
  }

  // The part of the work that makes the outputs.
  double Writing() const {
    return plan_.evaluation == nullptr ? 1 : 1 - kEvaluationShare;
  }

  void AddCalibration(int index, ExecutedOutput& output) const {
    if (HasStaticInputs(plan_.outputs[index].request)) {
      output.metrics["unseen_inputs"] = static_cast<double>(survey_.unseen);
    }
    if (calibrated_[index] == nullptr) return;
    const CalibrationSummary& summary = summaries_[index];
    output.metrics["calibrated_tensors"] = static_cast<double>(summary.tensors);
    output.metrics["calibration_fallbacks"] =
        static_cast<double>(summary.rounded);
    output.metrics["dead_columns"] = static_cast<double>(summary.dead_columns);
    output.metrics["scaled_inputs"] = static_cast<double>(summary.scaled);
  }

  absl::StatusOr<std::vector<std::string>> SourceDigests() const {
    std::vector<std::string> digests;
    bool wanted = false;
    for (const OutputPlan& output : plan_.outputs) {
      wanted |= output.request.source_digest;
    }
    for (size_t i = 0; wanted && i < model_.files().size(); ++i) {
      if (options_.stop.stop_requested()) {
        return absl::CancelledError("stopped while hashing the source");
      }
      QUANT_ASSIGN_OR_RETURN(
          std::string sha,
          Sha256OfFile(model_.weight_path(static_cast<int>(i))));
      digests.push_back(std::move(sha));
    }
    return digests;
  }

  void ReportFinishing(const ExecuteResult& result) const {
    if (!options_.progress) return;
    options_.progress({.stage = "FINISHING",
                       .tensors_done = result.tensors_total,
                       .tensors_total = result.tensors_total,
                       .bytes_done = plan_.source_bytes,
                       .bytes_total = plan_.source_bytes,
                       .tensor = "",
                       .tensors_resumed = result.tensors_resumed,
                       .tensors_redone = result.tensors_redone});
  }

  void StartClock() { started_ = std::chrono::steady_clock::now(); }
  double StopClock() {
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double> elapsed = now - started_;
    started_ = now;
    return elapsed.count();
  }

  const ModelReader& source_;  // as it was opened
  const ModelReader& model_;   // as the outputs see it
  Plan plan_;                  // and what the survey adds to it
  ExecuteOptions options_;
  // The part of the progress that the present stage has.
  double stage_begin_ = 0;
  double stage_end_ = 1;
  std::vector<OutputFiles> files_;
  CalibratedOutputs calibrated_;
  SurveyResult survey_;
  std::vector<CalibrationSummary> summaries_;
  std::chrono::steady_clock::time_point started_;
};

}  // namespace

absl::StatusOr<ExecuteResult> Execute(const ModelReader& model,
                                      const Plan& plan,
                                      const ExecuteOptions& options) {
  return Execution(model, plan, options).Run();
}

}  // namespace quant
