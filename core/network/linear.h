// Weights of one block in memory, as float32.
//
// Legend: O out features, I in features.
#ifndef QUANT_CORE_NETWORK_LINEAR_H_
#define QUANT_CORE_NETWORK_LINEAR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "core/base/thread_pool.h"
#include "core/codec/activations.h"
#include "core/container/model_reader.h"

namespace quant {

struct Linear {
  std::string name;  // of the module: "model.layers.0.self_attn.q_proj"
  int64_t out = 0;
  int64_t in = 0;
  std::vector<float> weight;  // [O, I]
  std::vector<float> bias;    // [O], or empty
  InputRounding rounding;     // what its inputs are rounded to first

  // x [rows, I] -> y [rows, O], rows of y `y_stride` apart.
  void Apply(ThreadPool& pool, const float* x, int64_t rows, float* y,
             int64_t y_stride) const;
};

// Finds tensors by name and checks them against the shape that is expected.
class WeightLoader {
 public:
  // `model` must outlive this. Linears get the roundings of their modules.
  explicit WeightLoader(const ModelReader& model,
                        InputRoundings roundings = {});

  bool Has(const std::string& tensor) const { return index_.contains(tensor); }
  // DATA_LOSS MODEL_MALFORMED when it is missing or has another shape;
  // INVALID_ARGUMENT UNSUPPORTED when it is not of F16, BF16, F32 or F64
  // (quantized weights are read through a view of them as floats).
  absl::StatusOr<std::vector<float>> Load(const std::string& tensor,
                                          const Shape& shape) const;
  // Some rows of a matrix [rows, cols].
  absl::Status LoadRows(const std::string& tensor, const Shape& shape,
                        int64_t first, int64_t count, float* out) const;
  absl::StatusOr<Linear> LoadLinear(const std::string& module, int64_t out,
                                    int64_t in, bool bias) const;
  InputRounding RoundingOf(const std::string& module) const;

 private:
  absl::StatusOr<const TensorEntry*> Find(const std::string& tensor,
                                          const Shape& shape) const;

  const ModelReader& model_;
  const InputRoundings roundings_;
  absl::flat_hash_map<std::string, const TensorEntry*> index_;
};

}  // namespace quant

#endif  // QUANT_CORE_NETWORK_LINEAR_H_
