// How much the inputs of every weight of a network's blocks matter: their mean
// squares over a text, as an importance matrix.
#ifndef QUANT_CORE_CALIBRATE_IMPORTANCE_H_
#define QUANT_CORE_CALIBRATE_IMPORTANCE_H_

#include "absl/status/statusor.h"
#include "core/calibrate/input_summary.h"
#include "core/container/imatrix.h"
#include "core/container/model_reader.h"
#include "core/network/network.h"
#include "core/tokenizer/dataset.h"

namespace quant {

// Of a model whose inputs look like this. Entries have the names that weights
// get in GGUF files; experts are stacked as there. Errors of MapToGguf.
absl::StatusOr<Imatrix> ImportanceOf(const ModelReader& model,
                                     const InputSummaries& summaries);
// The same with what the matrix says of its text.
absl::StatusOr<Imatrix> ImportanceOf(const ModelReader& model,
                                     const DatasetFile& text,
                                     const InputSummaries& summaries);

// The same, and SummarizeInputs before it.
absl::StatusOr<Imatrix> MeasureImportance(const ModelReader& model,
                                          const DatasetFile& text,
                                          const RunOptions& options);

}  // namespace quant

#endif  // QUANT_CORE_CALIBRATE_IMPORTANCE_H_
