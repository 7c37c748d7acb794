// Answers that need no job: what is in a model, what one array becomes, what
// this engine can do.
#ifndef QUANT_CORE_RECIPE_DESCRIBE_H_
#define QUANT_CORE_RECIPE_DESCRIBE_H_

#include <string>

#include "absl/status/statusor.h"
#include "core/base/thread_pool.h"
#include "core/container/model_reader.h"
#include "quant/v1/catalog.pb.h"
#include "quant/v1/diff.pb.h"
#include "quant/v1/model.pb.h"
#include "quant/v1/tensor.pb.h"

namespace quant {

// Reads headers; with `dtypes` also every floating-point value, in tiles.
absl::StatusOr<v1::ModelInfo> DescribeModel(const ModelReader& model,
                                            bool dtypes, ThreadPool& pool);

absl::StatusOr<v1::QuantizeTensorResponse> QuantizeTensor(
    const v1::QuantizeTensorRequest& request);

// Compares the weights of two models or artifacts here. Reads all values.
absl::StatusOr<v1::ModelDiff> DescribeDiff(const std::string& reference,
                                           const std::string& other,
                                           ThreadPool& pool);

v1::Capabilities DescribeCapabilities();

}  // namespace quant

#endif  // QUANT_CORE_RECIPE_DESCRIBE_H_
