#include "server/worker/attempt_metrics.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "core/recipe/recipe.h"
#include "server/store/file_stamp.h"

namespace quant {
namespace {

// How a metric of several outputs becomes one of the job.
double Merge(const std::string& name, double a, double b) {
  if (absl::EndsWith(name, "sqnr_db") || name == "top1_agreement") {
    return std::min(a, b);
  }
  if (name == "size_bytes" || absl::EndsWith(name, "_count") ||
      name == "quantized_tensors" || name == "nonfinite_zeroed") {
    return a + b;
  }
  return std::max(a, b);
}

void AddMetrics(const ExecuteResult& result,
                google::protobuf::Map<std::string, double>& metrics) {
  for (const ExecutedOutput& output : result.outputs) {
    for (const auto& [name, value] : output.metrics) {
      const auto it = metrics.find(name);
      metrics[name] =
          it == metrics.end() ? value : Merge(name, it->second, value);
      if (result.outputs.size() > 1) {
        metrics[absl::StrCat(output.name, "/", name)] = value;
      }
    }
  }
}

worker::v1::FileStamp ToProto(const FileStamp& stamp) {
  worker::v1::FileStamp out;
  out.set_device(stamp.device);
  out.set_inode(stamp.inode);
  out.set_mtime_ns(stamp.mtime_ns);
  out.set_ctime_ns(stamp.ctime_ns);
  return out;
}

}  // namespace

worker::v1::AttemptResult ToAttemptResult(const v1::JobSpec& spec,
                                          const ExecuteResult& result,
                                          double seconds) {
  worker::v1::AttemptResult out;
  for (const ExecutedOutput& output : result.outputs) {
    worker::v1::OutputResult& item = *out.add_outputs();
    item.set_name(output.name);
    item.set_directory(output.directory);
    for (const ResultFile& file : output.files) {
      worker::v1::FileResult& entry = *item.add_files();
      entry.set_path(file.path);
      entry.set_size_bytes(file.size_bytes);
      entry.set_sha256(file.sha256);
      const auto stamp = StampOf(JoinPath(output.directory, file.path));
      if (stamp.ok()) *entry.mutable_stamp() = ToProto(*stamp);
    }
  }
  auto& metrics = *out.mutable_metrics();
  AddMetrics(result, metrics);
  metrics["seconds"] = seconds;
  metrics["tensors_total"] = static_cast<double>(result.tensors_total);
  metrics["tensors_resumed"] = static_cast<double>(result.tensors_resumed);
  metrics["tensors_redone"] = static_cast<double>(result.tensors_redone);
  if (result.blocks_resumed > 0) {
    metrics["blocks_resumed"] = static_cast<double>(result.blocks_resumed);
    metrics["blocks_skipped"] = static_cast<double>(result.blocks_skipped);
  }
  for (v1::GateResult& verdict : EvaluateGates(spec, result)) {
    *out.add_gates() = std::move(verdict);
  }
  for (v1::EscalationStep& step : EscalationOf(result)) {
    *out.add_escalation() = std::move(step);
  }
  for (const auto& [stage, value] : result.stage_seconds) {
    (*out.mutable_stage_seconds())[stage] = value;
  }
  return out;
}

}  // namespace quant
