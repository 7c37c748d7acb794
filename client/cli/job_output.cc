#include "client/cli/job_output.h"

#include <iostream>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "core/recipe/recipe.h"
#include "core/recipe/schedule.h"

namespace quant::cli {
namespace {

using Facts = std::vector<std::pair<std::string, std::string>>;

std::string SourceText(const v1::Source& source) {
  return source.has_upload() ? source.upload()
                             : absl::StrCat("server:", source.server_path());
}

void AddProgress(const v1::Job& job, Facts& facts) {
  if (job.state() == v1::Job::QUEUED && job.has_queue()) {
    facts.emplace_back("queue", QueueText(job.queue()));
  }
  if (job.state() == v1::Job::RUNNING && job.has_progress()) {
    const v1::Progress& progress = job.progress();
    facts.emplace_back(
        "progress",
        absl::StrFormat("%.0f %%, %s, %d of %d tensors",
                        progress.fraction() * 100, progress.stage(),
                        progress.tensors_done(), progress.tensors_total()));
  }
}

// Sorted: a proto map has no order.
void AddMap(const std::string& key,
            const google::protobuf::Map<std::string, std::string>& values,
            Facts& facts) {
  const std::map<std::string, std::string> sorted(values.begin(), values.end());
  for (const auto& [name, value] : sorted) {
    facts.emplace_back(key, absl::StrCat(name, "=", value));
  }
}

}  // namespace

std::string SchemesOf(const v1::JobSpec& spec) {
  std::vector<std::string> schemes;
  for (const v1::Output& output : spec.outputs()) {
    const v1::Recipe& recipe = output.recipe();
    schemes.push_back(recipe.keep_codes() ? "as stored" : recipe.scheme());
  }
  return absl::StrJoin(schemes, ",");
}

std::string QueueText(const v1::QueueInfo& queue) {
  std::string text = absl::StrCat(queue.position(), " before it");
  if (queue.paused()) return absl::StrCat(text, ", the queue is paused");
  if (!queue.has_estimated_start_time()) return text;
  return absl::StrCat(text, ", starts about ",
                      TimeText(queue.estimated_start_time()));
}

std::string StateText(const v1::Job& job) {
  std::string text = v1::Job::State_Name(job.state());
  if (!job.state_reason().empty()) {
    absl::StrAppend(&text, " ", job.state_reason());
  }
  if (job.state() == v1::Job::RUNNING && job.has_progress()) {
    absl::StrAppendFormat(&text, " %.0f %%", job.progress().fraction() * 100);
  }
  return text;
}

std::string GateText(const v1::GateResult& result) {
  return absl::StrFormat("%s on %s: %.6g, %s", GateToString(result.gate()),
                         result.output(), result.value(),
                         result.passed() ? "passed" : "FAILED");
}

std::string StepText(const v1::EscalationStep& step) {
  std::string text = absl::StrCat("escalated ", step.output(), ":");
  for (const v1::GateResult& gate : step.gates()) {
    if (gate.passed()) continue;
    absl::StrAppendFormat(&text, " %s was %.6g;", GateToString(gate.gate()),
                          gate.value());
  }
  absl::StrAppend(&text, " raised");
  for (const auto& tensor : step.tensors()) {
    absl::StrAppend(&text, " ", tensor.name(), " to ",
                    tensor.to().empty() ? "the source's" : tensor.to());
  }
  return text;
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S",
                          absl::FromUnixSeconds(time.seconds()),
                          absl::LocalTimeZone());
}

void PrintJob(const v1::Job& job, OutputFormat format) {
  if (format == OutputFormat::kName) {
    std::cout << Printable(job.name()) << std::endl;
    return;
  }
  if (format != OutputFormat::kTable) return PrintMessage(job, format);
  Facts facts = {
      {"job", job.name()},
      {"state", StateText(job)},
      {"source", SourceText(job.spec().source())},
      {"schemes", SchemesOf(job.spec())},
      {"attempt", absl::StrCat(job.attempt(), " of ", job.max_attempts())},
      {"created", TimeText(job.create_time())}};
  if (job.has_start_time()) {
    facts.emplace_back("started", TimeText(job.start_time()));
  }
  if (job.has_end_time()) {
    facts.emplace_back("ended", TimeText(job.end_time()));
  }
  if (job.has_expire_time()) {
    facts.emplace_back("expires", TimeText(job.expire_time()));
  }
  if (PriorityOf(job.spec()) != v1::JobSpec::NORMAL) {
    facts.emplace_back("priority",
                       v1::JobSpec::Priority_Name(PriorityOf(job.spec())));
  }
  AddProgress(job, facts);
  AddMap("label", job.labels(), facts);
  for (const std::string& name : job.artifacts()) {
    facts.emplace_back("artifact", name);
  }
  for (const v1::EscalationStep& step : job.escalation()) {
    facts.emplace_back("step", StepText(step));
  }
  for (const v1::GateResult& gate : job.gates()) {
    facts.emplace_back("gate", GateText(gate));
  }
  const std::map<std::string, double> metrics(job.metrics().begin(),
                                              job.metrics().end());
  for (const auto& [name, value] : metrics) {
    facts.emplace_back(name, absl::StrFormat("%.10g", value));
  }
  if (job.has_error()) facts.emplace_back("error", job.error().message());
  PrintFacts(facts);
}

}  // namespace quant::cli
