// Local runs: where a result becomes visible, whole or not at all.
#ifndef QUANT_CORE_PIPELINE_PUBLISH_H_
#define QUANT_CORE_PIPELINE_PUBLISH_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/pipeline/execute.h"

namespace quant {

// Makes the work directory for `output_dir` ("<output_dir>.partial", a sibling)
// and answers it. ALREADY_EXISTS OUTPUT_EXISTS when output_dir holds anything
// and `overwrite` is not set; INVALID_ARGUMENT where none can be made.
absl::StatusOr<std::string> PrepareOutput(const std::string& output_dir,
                                          bool overwrite);

struct Publication {
  std::string work_dir;    // what PrepareOutput answered
  std::string output_dir;  // where the result goes
  bool overwrite = false;
  bool sync = true;
  std::string fingerprint = {};  // of the plan and all that the report tells
  std::string report = {};       // what TakePublished will answer
  // Called when the result is in its place.
  std::function<void()> placed = {};
};

// Moves the result to output_dir (several outputs: to output_dir/<name>) by one
// rename, and removes the work directory. With `overwrite`, what was there is
// replaced and then removed.
absl::Status PublishOutputs(const ExecuteResult& result,
                            const Publication& publication);

// When an earlier run with this fingerprint was interrupted after its result
// was in its place: does what was left to do and answers its report.
absl::StatusOr<std::optional<std::string>> TakePublished(
    const std::string& output_dir, const std::string& fingerprint);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_PUBLISH_H_
