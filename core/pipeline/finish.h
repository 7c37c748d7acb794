// The last stage: text files, side files, metrics; verdicts and manifest.
#ifndef QUANT_CORE_PIPELINE_FINISH_H_
#define QUANT_CORE_PIPELINE_FINISH_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/pipeline/execute.h"
#include "core/pipeline/journal.h"
#include "core/pipeline/output_file.h"

namespace quant {

using Digests = std::map<std::string, std::string>;  // SHA-256 by path

// An output that lacks its manifest only.
struct FinishedFiles {
  ExecutedOutput output;  // without `files`
  Digests digests;
};

// Completes the files of output `index` in `directory`, whose weight files are
// written and hashed.
absl::StatusOr<FinishedFiles> FinishFiles(const ModelReader& model,
                                          const Plan& plan, int index,
                                          const std::string& directory,
                                          const Journal& journal,
                                          std::vector<OutputFile>& files,
                                          bool sync);

// Judges the gates by the output's metrics, and writes reports and manifest.
// `source_sha256`: one per weight file of the source, or empty.
absl::StatusOr<ExecutedOutput> FinishManifest(
    const ModelReader& model, const Plan& plan, int index,
    const Journal& journal, FinishedFiles finished,
    const std::vector<std::string>& source_sha256,
    const ExecuteOptions& options);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_FINISH_H_
