// Files beside the model for the outputs of a request: an importance matrix, a
// text to calibrate with.
#ifndef QUANT_CORE_PIPELINE_REQUEST_FILES_H_
#define QUANT_CORE_PIPELINE_REQUEST_FILES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/text_limits.h"
#include "core/container/model_reader.h"
#include "core/pipeline/request.h"
#include "core/tokenizer/dataset.h"

namespace quant {

// Reads the file `path` (or the one file of the directory `path`) and gives it
// to every output of `request`. Errors of ReadImatrix; INVALID_ARGUMENT for a
// directory that does not hold just one file.
absl::Status LoadImportance(const std::string& path, PlanRequest& request);

struct TextSource {
  std::string path;             // as above: what LoadDataset takes
  int64_t sequence_length = 0;  // 0: the model's own context, at most 2048
  int64_t max_sequences = 0;    // 0: all there are
  BosPolicy bos = BosPolicy::kDocument;
  int64_t max_text_bytes = kMaxJobTextBytes;
};

// The data set of a text for `model`, cut by its own tokenizer (of a GGUF file:
// that in its keys). `use` is what errors call it, and their field. Errors of
// LoadDataset, Tokenizer::Of and ParseNetworkConfig; INVALID_ARGUMENT for
// sequences longer than the model's context, and RESOURCE_EXHAUSTED for texts
// larger than the source says.
absl::StatusOr<DatasetFile> LoadText(const ModelReader& model,
                                     const TextSource& source,
                                     absl::string_view use);

// The same for the text that the outputs of `request` are evaluated on.
absl::Status LoadEvaluation(const ModelReader& model, const TextSource& source,
                            PlanRequest& request);

// The same for a calibration text, to outputs whose method or scheme uses it;
// it is an error when none does. A directory of statistics (core/calibrate/
// statistics_files.h) may stand for the text: what the source says of sequences
// means nothing then. Errors of StoredStatistics::Open, and INVALID_ARGUMENT
// for statistics that don't serve an output.
absl::Status LoadCalibration(const ModelReader& model, const TextSource& source,
                             PlanRequest& request);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_REQUEST_FILES_H_
