// How much the inputs of every weight of a network's blocks matter: their mean
// squares over a text, as an importance matrix.
#ifndef QUANT_CORE_CALIBRATE_IMPORTANCE_H_
#define QUANT_CORE_CALIBRATE_IMPORTANCE_H_

#include "absl/status/statusor.h"
#include "core/container/imatrix.h"
#include "core/container/model_reader.h"
#include "core/network/network.h"
#include "core/tokenizer/dataset.h"

namespace quant {

// Runs the text through the model as it is. Entries have the names that weights
// get in GGUF files; experts are stacked as there. Errors of Network::Open,
// CheckSequences and MapToGguf; CANCELLED when stopped.
absl::StatusOr<Imatrix> MeasureImportance(const ModelReader& model,
                                          const DatasetFile& text,
                                          const RunOptions& options);

}  // namespace quant

#endif  // QUANT_CORE_CALIBRATE_IMPORTANCE_H_
