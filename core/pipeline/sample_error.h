// How much error schemes make in a tensor, estimated from some of its rows.
#ifndef QUANT_CORE_PIPELINE_SAMPLE_ERROR_H_
#define QUANT_CORE_PIPELINE_SAMPLE_ERROR_H_

#include <vector>

#include "absl/status/statusor.h"
#include "core/container/model_reader.h"
#include "core/pipeline/request.h"

namespace quant {

struct SampledErrors {
  std::vector<double> noise;  // per scheme: sum of w (x_hat - x)^2
  double signal = 0;          // sum of w x^2
};

// Quantizes up to 64 rows of tensor `index`, spread evenly and the same in
// every run, as the pipeline would, and scales the sums up to the whole. The
// weight w of a column is its importance where the request has one that the
// schemes use, divided by the mean over the tensor's sampled values: 1 on
// average, so that tensors with and without importance can be compared. NaN
// and infinities count as zero: whoever reads all rows reports them. Reads and
// works on about one tile.
absl::StatusOr<SampledErrors> SampleErrors(const ModelReader& model, int index,
                                           const OutputRequest& request,
                                           const std::vector<Scheme>& schemes);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_SAMPLE_ERROR_H_
