// The reports of an output: what its plan says, and what work found out.
#ifndef QUANT_CORE_PIPELINE_REPORTS_H_
#define QUANT_CORE_PIPELINE_REPORTS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/container/model_reader.h"
#include "core/evaluate/report.h"
#include "core/pipeline/execute.h"
#include "core/pipeline/journal.h"
#include "core/pipeline/plan.h"

namespace quant {

inline constexpr char kReportJson[] = "report.json";
inline constexpr char kReportHtml[] = "report.html";

// What is known of `output` before any work. `evaluation` may be null.
Report PlannedReport(const ModelReader& model, const OutputPlan& output,
                     const EvaluationText* evaluation,
                     const std::vector<Gate>& gates);

// Both files with the sizes that they will have.
std::vector<PlannedFile> PlannedReportFiles(const Report& report);

// The report of output `index`, whose finished files are in `made.directory`.
// Reads some rows of every quantized weight. CANCELLED when stopped.
struct ReportRequest {                 // pointers must outlive the call
  const ModelReader* model = nullptr;  // the viewed one
  const Plan* plan = nullptr;
  int index = 0;
  const Journal* journal = nullptr;
  const ExecutedOutput* made = nullptr;  // its directory and figures
  const std::vector<GateVerdict>* verdicts = nullptr;
  const ExecuteOptions* options = nullptr;
};
absl::StatusOr<Report> MakeReport(const ReportRequest& request);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_REPORTS_H_
