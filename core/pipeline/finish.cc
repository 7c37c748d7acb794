#include "core/pipeline/finish.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/artifact/manifest.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/pipeline/layout.h"
#include "core/pipeline/reports.h"

namespace quant {
namespace {

constexpr int64_t kCopyChunkBytes = 1 << 20;

// Copies a side file and answers its SHA-256. It must be as long as planned.
absl::StatusOr<std::string> CopySideFile(const SideFile& side,
                                         const std::string& directory,
                                         bool sync) {
  const std::string path = JoinPath(directory, side.name);
  QUANT_RETURN_IF_ERROR(MakeDirectories(ParentPath(path)));
  QUANT_ASSIGN_OR_RETURN(const File from, File::OpenRead(side.path));
  QUANT_ASSIGN_OR_RETURN(const int64_t size, from.Size());
  if (size != side.size_bytes) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, Reason::kSourceChanged,
        absl::StrCat(side.path, ": is ", size, " bytes now; was ",
                     side.size_bytes, " when the job was planned"));
  }
  QUANT_ASSIGN_OR_RETURN(const File to, File::OpenWrite(path));
  QUANT_RETURN_IF_ERROR(to.Truncate(0));
  std::vector<uint8_t> buffer(std::min(size, kCopyChunkBytes));
  Sha256 sha;
  for (int64_t offset = 0; offset < size;) {
    const int64_t n = std::min<int64_t>(size - offset, kCopyChunkBytes);
    const auto chunk = absl::MakeSpan(buffer.data(), n);
    QUANT_RETURN_IF_ERROR(from.ReadAt(offset, chunk));
    QUANT_RETURN_IF_ERROR(to.WriteAt(offset, chunk));
    sha.Update(chunk);
    offset += n;
  }
  if (sync) QUANT_RETURN_IF_ERROR(to.Sync());
  return sha.Finish();
}

// Removes what an attempt that died here left: half-written temporaries.
absl::Status RemoveStrangers(const OutputPlan& plan,
                             const std::string& directory) {
  QUANT_ASSIGN_OR_RETURN(const auto entries, ListDirectory(directory));
  for (const DirEntry& entry : entries) {
    const bool planned = std::any_of(
        plan.files.begin(), plan.files.end(),
        [&](const PlannedFile& file) { return file.path == entry.name; });
    if (!planned) {
      QUANT_RETURN_IF_ERROR(RemoveTree(JoinPath(directory, entry.name)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Digests> WriteEverything(const OutputPlan& plan,
                                        const std::string& directory,
                                        std::vector<OutputFile>& files,
                                        bool sync) {
  Digests digests;
  for (OutputFile& file : files) {
    if (sync) QUANT_RETURN_IF_ERROR(file.Sync());
    digests[file.name()] = file.FinishHash();
  }
  for (const TextFile& text : plan.layout.texts) {
    QUANT_RETURN_IF_ERROR(
        WriteFileAtomically(JoinPath(directory, text.path), text.text, sync));
    digests[text.path] = Sha256Hex(text.text);
  }
  for (const SideFile& side : plan.layout.side_files) {
    QUANT_ASSIGN_OR_RETURN(digests[side.name],
                           CopySideFile(side, directory, sync));
  }
  return digests;
}

// Removes what is not part of the artifact: a killed attempt may have left
// temporary files.
absl::Status RemoveStrays(const std::string& root, const std::string& prefix,
                          const std::set<std::string>& planned) {
  QUANT_ASSIGN_OR_RETURN(const std::vector<DirEntry> entries,
                         ListDirectory(JoinPath(root, prefix)));
  for (const DirEntry& entry : entries) {
    const std::string path = JoinPath(prefix, entry.name);
    if (planned.count(path) > 0) continue;
    const auto below = planned.lower_bound(absl::StrCat(path, "/"));
    if (below != planned.end() && absl::StartsWith(*below, path + "/")) {
      QUANT_RETURN_IF_ERROR(RemoveStrays(root, path, planned));
    } else {
      QUANT_RETURN_IF_ERROR(RemoveTree(JoinPath(root, path)));
    }
  }
  return absl::OkStatus();
}

std::map<std::string, double> MetricsOf(const OutputPlan& plan, int index,
                                        const Journal& journal) {
  ErrorSums total;
  double min_sqnr = std::numeric_limits<double>::infinity();
  int64_t quantized = 0, zeroed = 0;
  for (const auto& [tensor, record] : journal.done()) {
    const OutputRecord& output = record.outputs[index];
    zeroed += output.zeroed;
    if (!plan.tensors[tensor].quantized) continue;
    ++quantized;
    total.Add(output.sums);
    min_sqnr = std::min(min_sqnr, output.sums.sqnr_db());
  }
  std::map<std::string, double> metrics = {
      {"size_bytes", static_cast<double>(plan.total_bytes)},
      {"bits_per_weight", plan.bits_per_weight},
      {"quantized_tensors", static_cast<double>(quantized)},
      {"max_abs_error", total.max_abs_error},
      {"overflow_count", static_cast<double>(total.overflow)},
      {"underflow_count", static_cast<double>(total.underflow)},
      {"nonfinite_zeroed", static_cast<double>(zeroed)}};
  // -inf (weights so large that a code's value is infinite) is a loss, too.
  if (min_sqnr < std::numeric_limits<double>::infinity()) {
    metrics["min_sqnr_db"] = min_sqnr;
    metrics["sqnr_db"] = total.sqnr_db();
  }
  return metrics;
}

absl::Status WriteReports(const ReportRequest& request, Digests& digests) {
  QUANT_ASSIGN_OR_RETURN(const Report report, MakeReport(request));
  for (const PlannedFile& file : request.plan->outputs[request.index].reports) {
    const std::string text = file.path == kReportJson
                                 ? ReportToJson(report, file.size_bytes)
                                 : ReportToHtml(report, file.size_bytes);
    if (static_cast<int64_t>(text.size()) != file.size_bytes) {
      return MakeError(absl::StatusCode::kInternal, Reason::kInternal,
                       absl::StrCat(file.path, ": is not as long as planned"));
    }
    QUANT_RETURN_IF_ERROR(
        WriteFileAtomically(JoinPath(request.made->directory, file.path), text,
                            request.options->sync));
    digests[file.path] = Sha256Hex(text);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FinishedFiles> FinishFiles(const ModelReader& model,
                                          const Plan& plan, int index,
                                          const std::string& directory,
                                          const Journal& journal,
                                          std::vector<OutputFile>& files,
                                          bool sync) {
  const OutputPlan& output = plan.outputs[index];
  QUANT_RETURN_IF_ERROR(RemoveStrangers(output, directory));
  FinishedFiles finished;
  QUANT_ASSIGN_OR_RETURN(finished.digests,
                         WriteEverything(output, directory, files, sync));
  std::set<std::string> planned;
  for (const PlannedFile& file : output.files) planned.insert(file.path);
  QUANT_RETURN_IF_ERROR(RemoveStrays(directory, "", planned));
  finished.output = {.name = output.request.name,
                     .directory = directory,
                     .files = {},
                     .metrics = MetricsOf(output, index, journal),
                     .errors = {},
                     .steps = output.request.steps};
  finished.output.errors.resize(output.tensors.size());
  for (const auto& [tensor, record] : journal.done()) {
    finished.output.errors[tensor] = record.outputs[index].sums;
  }
  return finished;
}

absl::StatusOr<ExecutedOutput> FinishManifest(
    const ModelReader& model, const Plan& plan, int index,
    const Journal& journal, FinishedFiles finished,
    const std::vector<std::string>& source_sha256,
    const ExecuteOptions& options) {
  const OutputPlan& output = plan.outputs[index];
  ExecutedOutput result = std::move(finished.output);
  std::vector<GateVerdict> verdicts;
  for (const Gate& gate : plan.gates) {
    if (!AppliesTo(gate, result.name)) continue;
    verdicts.push_back(Judge(gate, result.metrics));
  }
  if (!output.reports.empty()) {
    QUANT_RETURN_IF_ERROR(WriteReports({.model = &model,
                                        .plan = &plan,
                                        .index = index,
                                        .journal = &journal,
                                        .made = &result,
                                        .verdicts = &verdicts,
                                        .options = &options},
                                       finished.digests));
  }
  Manifest manifest =
      PlannedManifest(model, output, plan.evaluation.get(), plan.gates);
  for (ManifestFile& file : manifest.files) {
    file.sha256 = finished.digests.at(file.path);
  }
  if (output.request.source_digest) {
    // The weight files come first.
    for (size_t i = 0; i < source_sha256.size(); ++i) {
      manifest.sources[i].sha256 = source_sha256[i];
    }
  }
  SetFindings(result.metrics, verdicts, manifest);
  const std::string text =
      ManifestToJson(manifest, output.layout.manifest_bytes);
  if (static_cast<int64_t>(text.size()) != output.layout.manifest_bytes) {
    return MakeError(absl::StatusCode::kInternal, Reason::kInternal,
                     "the manifest is not as long as planned");
  }
  QUANT_RETURN_IF_ERROR(WriteFileAtomically(
      JoinPath(result.directory, kManifestName), text, options.sync));
  for (const PlannedFile& file : output.files) {
    const auto it = finished.digests.find(file.path);
    result.files.push_back(
        {file.path, file.size_bytes,
         it != finished.digests.end() ? it->second : Sha256Hex(text)});
  }
  return result;
}

}  // namespace quant
