// Answers that need no job: what is in a model, what one array becomes, what
// this engine can do.
#ifndef QUANT_CORE_RECIPE_DESCRIBE_H_
#define QUANT_CORE_RECIPE_DESCRIBE_H_

#include "absl/status/statusor.h"
#include "core/base/thread_pool.h"
#include "core/container/model_reader.h"
#include "quant/v1/catalog.pb.h"
#include "quant/v1/model.pb.h"
#include "quant/v1/tensor.pb.h"

namespace quant {

// Reads headers; with `dtypes` also every floating-point value, in tiles.
absl::StatusOr<v1::ModelInfo> DescribeModel(const ModelReader& model,
                                            bool dtypes, ThreadPool& pool);

absl::StatusOr<v1::QuantizeTensorResponse> QuantizeTensor(
    const v1::QuantizeTensorRequest& request);

v1::Capabilities DescribeCapabilities();

}  // namespace quant

#endif  // QUANT_CORE_RECIPE_DESCRIBE_H_
