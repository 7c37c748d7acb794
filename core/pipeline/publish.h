// Local runs: where a result becomes visible, whole or not at all.
#ifndef QUANT_CORE_PIPELINE_PUBLISH_H_
#define QUANT_CORE_PIPELINE_PUBLISH_H_

#include <string>

#include "absl/status/statusor.h"
#include "core/pipeline/execute.h"

namespace quant {

// The work directory for `output_dir` ("<output_dir>.partial", a sibling).
// ALREADY_EXISTS OUTPUT_EXISTS when output_dir holds anything and `overwrite`
// is not set.
absl::StatusOr<std::string> PrepareOutput(const std::string& output_dir,
                                          bool overwrite);

// Moves the result to output_dir (several outputs: to output_dir/<name>) by one
// rename, and removes the work directory. With `overwrite`, what was there is
// replaced and then removed.
absl::Status PublishOutputs(const ExecuteResult& result,
                            const std::string& work_dir,
                            const std::string& output_dir, bool overwrite,
                            bool sync);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_PUBLISH_H_
