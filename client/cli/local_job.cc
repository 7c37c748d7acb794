#include "client/cli/local_job.h"

#include <iostream>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/exit_code.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_output.h"
#include "client/cli/progress.h"
#include "core/base/bytes.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/thread_pool.h"
#include "core/pipeline/execute.h"
#include "core/pipeline/publish.h"
#include "core/pipeline/run.h"
#include "core/recipe/recipe.h"

namespace quant::cli {
namespace {

// What did not pass a gate must not lie where what passed is looked for.
constexpr char kGateFailedSuffix[] = ".gate-failed";

// Replacing the output must never remove the model itself.
absl::Status CheckApart(const ModelReader& model, const std::string& output) {
  if (!PathExists(output)) return absl::OkStatus();
  QUANT_ASSIGN_OR_RETURN(const std::string out, ResolvePath(output));
  if (model.path() == out || absl::StartsWith(model.path(), out + "/")) {
    return InvalidSpec(
        absl::StrCat("--output: ", output, " holds the model itself"));
  }
  return absl::OkStatus();
}

void PrintOutput(const std::string& path, const ExecutedOutput& output) {
  std::cout << Printable(path) << " (" << Printable(output.name) << ")\n";
  Table files({"  FILE", "BYTES", "SHA-256"});
  for (const ResultFile& file : output.files) {
    files.Add({"  " + file.path, absl::StrCat(file.size_bytes), file.sha256});
  }
  files.Print();
  Table metrics({"  METRIC", "VALUE"});
  for (const auto& [name, value] : output.metrics) {
    metrics.Add({"  " + name, absl::StrFormat("%.10g", value)});
  }
  metrics.Print();
}

}  // namespace

void LocalJob::Add(CLI::App& app) {
  app.add_option("--output", output_, "Directory for the result")->required();
  app.add_flag("--overwrite", overwrite_,
               "Replace what is in the output directory");
  threads_.Add(app);
  app.add_flag("--no-fsync", no_fsync_,
               "Don't wait for the disk: faster, unsafe on power failure");
  AddFormatFlag(app, format_);
}

absl::StatusOr<int> LocalJob::Run(const std::string& model,
                                  const v1::JobSpec& spec,
                                  const RecipeFiles& files) {
  model_ = model;
  while (output_.size() > 1 && output_.back() == '/') output_.pop_back();
  QUANT_ASSIGN_OR_RETURN(spec_, CanonicalSpec(spec));
  const int threads = threads_.Get();
  QUANT_ASSIGN_OR_RETURN(const LocalPlan local,
                         PlanHere(model_, spec_, threads, files));
  QUANT_RETURN_IF_ERROR(CheckApart(*local.model, output_));
  for (const std::string& note : local.plan.notes) {
    std::cerr << "quantctl: note: " << Printable(note) << "\n";
  }
  // Gates are of the spec alone: a verdict on others is not to be repeated.
  fingerprint_ = absl::StrCat(local.plan.fingerprint, " ",
                              Xxh3Hex(spec_.SerializeAsString()));
  QUANT_ASSIGN_OR_RETURN(const std::optional<std::string> published,
                         TakePublished(output_, fingerprint_));
  if (published) return FinishedBefore(*published);
  QUANT_ASSIGN_OR_RETURN(work_dir_, PrepareOutput(output_, overwrite_));
  const absl::StatusOr<ExecuteResult> result = Work(local, threads);
  if (!result.ok()) return Failed(result.status());
  return Finish(*result);
}

absl::StatusOr<ExecuteResult> LocalJob::Work(const LocalPlan& local,
                                             int threads) const {
  InterruptScope interrupt;
  ThreadPool pool(threads);
  ProgressMeter meter("quantize");
  ExecuteOptions options;
  options.work_dir = work_dir_;
  options.pool = &pool;
  options.stop = interrupt.token();
  options.sync = !no_fsync_;
  options.progress = [&](const ProgressUpdate& update) {
    meter.Show(
        update.stage, update.fraction,
        absl::StrCat(FormatBytes(update.bytes_done), " of ",
                     FormatBytes(update.bytes_total), "  ", update.tensor));
  };
  return RunPlanned(*local.model, local.request, local.plan, options);
}

// An exit code of its own: the command line was right, the work failed.
int LocalJob::Failed(const absl::Status& status) const {
  if (absl::IsCancelled(status) && WasInterrupted()) {
    std::cerr << "quantctl: interrupted; the same command takes the work up "
                 "again (it is in "
              << Printable(work_dir_) << ")\n";
    return kExitInterrupted;
  }
  std::cerr << "quantctl: " << Printable(status.message()) << "\n"
            << "quantctl: what was done so far is in " << Printable(work_dir_)
            << "; the same command takes it up again\n";
  return ExitCodeOfFailure(status);
}

absl::StatusOr<int> LocalJob::Finish(const ExecuteResult& result) const {
  v1::Job job = ToJob(result);
  const bool passed = job.state() == v1::Job::SUCCEEDED;
  const std::string target =
      passed ? output_ : absl::StrCat(output_, kGateFailedSuffix);
  for (const ExecutedOutput& output : result.outputs) {
    job.add_artifacts(
        result.outputs.size() == 1 ? target : JoinPath(target, output.name));
  }
  QUANT_RETURN_IF_ERROR(
      PublishOutputs(result, {.work_dir = work_dir_,
                              .output_dir = target,
                              .overwrite = overwrite_ || !passed,
                              .sync = !no_fsync_,
                              .fingerprint = fingerprint_,
                              .report = job.SerializeAsString()}));
  for (const std::string& note : result.notes) {
    std::cerr << "quantctl: " << Printable(note) << "\n";
  }
  Print(job, &result);
  return Verdict(job);
}

// A run of the same command was interrupted when it had only to tidy up.
absl::StatusOr<int> LocalJob::FinishedBefore(const std::string& report) const {
  v1::Job job;
  if (!job.ParseFromString(report)) {
    return MakeError(absl::StatusCode::kDataLoss, Reason::kInternal,
                     absl::StrCat(output_,
                                  ": is finished, but its report is "
                                  "damaged; quantctl verify checks "
                                  "its files"));
  }
  std::cerr << "quantctl: an earlier run of this command had finished\n";
  Print(job, nullptr);
  return Verdict(job);
}

int LocalJob::Verdict(const v1::Job& job) const {
  if (job.state() == v1::Job::SUCCEEDED) return kExitOk;
  for (const v1::GateResult& gate : job.gates()) {
    if (!gate.passed()) {
      std::cerr << "quantctl: gate failed: " << GateText(gate) << "\n";
    }
  }
  std::cerr << "quantctl: the result is kept in "
            << Printable(output_ + kGateFailedSuffix) << "\n";
  return kExitGateFailed;
}

// The run as a server would describe it; artifacts are directories here.
v1::Job LocalJob::ToJob(const ExecuteResult& result) const {
  v1::Job job;
  *job.mutable_spec() = spec_;
  job.mutable_spec()->mutable_source()->set_server_path(model_);
  job.set_state(v1::Job::SUCCEEDED);
  for (v1::GateResult& gate : EvaluateGates(spec_, result)) {
    if (!gate.passed()) {
      job.set_state(v1::Job::FAILED);
      job.set_state_reason(std::string(ReasonName(Reason::kGateFailed)));
    }
    *job.add_gates() = std::move(gate);
  }
  for (v1::EscalationStep& step : EscalationOf(result)) {
    *job.add_escalation() = std::move(step);
  }
  auto& metrics = *job.mutable_metrics();
  for (const ExecutedOutput& output : result.outputs) {
    for (const auto& [name, value] : output.metrics) {
      metrics[result.outputs.size() == 1
                  ? name
                  : absl::StrCat(output.name, "/", name)] = value;
    }
  }
  metrics["tensors_resumed"] = static_cast<double>(result.tensors_resumed);
  metrics["tensors_redone"] = static_cast<double>(result.tensors_redone);
  if (result.blocks_resumed > 0) {
    metrics["blocks_resumed"] = static_cast<double>(result.blocks_resumed);
    metrics["blocks_skipped"] = static_cast<double>(result.blocks_skipped);
  }
  return job;
}

// `result` is null when an earlier run had it.
void LocalJob::Print(const v1::Job& job, const ExecuteResult* result) const {
  if (format_ != OutputFormat::kTable && format_ != OutputFormat::kName) {
    return PrintMessage(job, format_);
  }
  if (format_ == OutputFormat::kName || result == nullptr) {
    for (const std::string& path : job.artifacts()) {
      std::cout << Printable(path) << "\n";
    }
  }
  if (format_ == OutputFormat::kName) return;
  for (size_t i = 0; result != nullptr && i < result->outputs.size(); ++i) {
    PrintOutput(job.artifacts(static_cast<int>(i)), result->outputs[i]);
  }
  for (const v1::EscalationStep& step : job.escalation()) {
    std::cout << Printable(StepText(step)) << "\n";
  }
  for (const v1::GateResult& gate : job.gates()) {
    std::cout << "gate " << Printable(GateText(gate)) << "\n";
  }
  if (result != nullptr && result->tensors_resumed > 0) {
    std::cout << "resumed: " << result->tensors_resumed << " of "
              << result->tensors_total << " tensors\n";
  }
}

}  // namespace quant::cli
