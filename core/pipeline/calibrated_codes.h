// What the calibrated stage found, block by block, on its way to the tiles: one
// file per block of the network, written whole or not at all.
//
//   per tensor of the block: facts, codes [O, I], scales F32 [O, G], zero
//   points I8 [O, G] and groups of columns I32 [I] where the scheme has them,
//   factors of columns F32 [I] and divisors of rows F32 [O] where the plan has
//   them
//   per norm and bias that is divided: its values F32, those of its type
//   last 8 bytes: XXH3 of all before
//
// Offsets follow from the plan. Host byte order: the files stay in the work
// directory.
//
// Legend: O out features, I in features, G scales per row.
#ifndef QUANT_CORE_PIPELINE_CALIBRATED_CODES_H_
#define QUANT_CORE_PIPELINE_CALIBRATED_CODES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/codec/codec.h"
#include "core/pipeline/plan.h"

namespace quant {

// How a tensor's codes came about.
struct CalibrationFacts {
  enum State : int64_t {
    kCalibrated = 0,
    kStarved = 1,     // too few tokens: rounded to nearest
    kUnfactored = 2,  // no damping helped: rounded to nearest
  };
  int64_t state = kCalibrated;
  int64_t tokens = 0;
  int64_t dead_columns = 0;
  double damping = 0;
  int64_t scaled = 0;  // 1: any factor of its columns is not 1
};

// One tensor in its block's file.
struct CodesPlace {
  int index = 0;  // position in Plan::order
  std::string tensor;
  int64_t layer = 0;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t group = 0;  // columns of each
  int64_t groups = 0;
  bool zeros = false;
  bool permuted = false;
  bool scaled = false;   // TensorPlan::scaled
  bool divided = false;  // TensorPlan::divided
  int64_t offset = 0;    // of its facts

  int64_t codes_at() const;
  int64_t scales_at() const;
  int64_t zeros_at() const;
  int64_t columns_at() const;
  int64_t factors_at() const;
  int64_t divisors_at() const;
  int64_t end() const;
};

// A tensor that is copied but for being divided, in its block's file.
struct ValuesPlace {
  int index = 0;  // position in Plan::order
  std::string tensor;
  int64_t layer = 0;
  DType dtype = DType::kF32;
  int64_t count = 0;
  int64_t offset = 0;

  int64_t end() const;
};

// The bytes of one block's file in memory.
class CalibratedBlock {
 public:
  explicit CalibratedBlock(int64_t bytes) : bytes_(bytes, '\0') {}

  void PutFacts(const CodesPlace& place, const CalibrationFacts& facts);
  // Rows from `row` on. Threads may put different rows at the same time.
  void Put(const CodesPlace& place, int64_t row, const CodeTile& tile);
  void Get(const CodesPlace& place, int64_t row, int64_t rows,
           CodeTile& out) const;
  // At factors_at(), divisors_at() or a ValuesPlace::offset.
  void PutFloats(int64_t at, absl::Span<const float> values);
  std::vector<float> GetFloats(int64_t at, int64_t count) const;

  std::string& bytes() { return bytes_; }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// All blocks of one output.
class CalibratedCodes {
 public:
  // `directory` is the output's own.
  CalibratedCodes(std::string directory, const ModelReader& model,
                  const Plan& plan, int output);

  const std::string& directory() const { return directory_; }
  int64_t layers() const { return static_cast<int64_t>(layers_.size()); }
  // The tensors of a layer, by their order in the plan.
  const std::vector<CodesPlace>& places(int64_t layer) const {
    return layers_[layer];
  }
  const std::vector<ValuesPlace>& values(int64_t layer) const {
    return values_[layer];
  }
  int64_t block_bytes(int64_t layer) const;
  // Of all files.
  int64_t total_bytes() const;

  // The block of an earlier attempt; nothing when it isn't there or is damaged.
  absl::StatusOr<std::optional<CalibratedBlock>> Load(int64_t layer) const;
  absl::Status Store(int64_t layer, CalibratedBlock& block, bool sync) const;

  // Rows of the tensor at plan.order[index] from its block's file.
  absl::Status Read(int index, int64_t row, int64_t rows, CodeTile& out) const;
  absl::StatusOr<CalibrationFacts> ReadFacts(const CodesPlace& place) const;
  // Of all columns, or of some rows, of the tensor at plan.order[index]; ones
  // where it has none.
  absl::StatusOr<std::vector<float>> ReadFactors(int index) const;
  absl::StatusOr<std::vector<float>> ReadDivisors(int index, int64_t row,
                                                  int64_t rows) const;
  // Values of a divided norm or bias, as bytes of its type.
  absl::Status ReadValues(int index, int64_t first, int64_t count,
                          uint8_t* out) const;

 private:
  std::string PathOf(int64_t layer) const;
  absl::StatusOr<std::vector<float>> ReadFloats(int64_t layer, int64_t at,
                                                int64_t count) const;

  std::string directory_;
  std::vector<std::vector<CodesPlace>> layers_;
  std::vector<std::vector<ValuesPlace>> values_;  // as many
  std::map<int, const CodesPlace*> by_index_;
  std::map<int, const ValuesPlace*> values_by_index_;
};

// One per output of a job; null where the method needs no statistics.
using CalibratedOutputs = std::vector<std::unique_ptr<CalibratedCodes>>;

// The number in "model.layers.7.mlp.down_proj"; -1 for other names.
int64_t LayerOf(absl::string_view module);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_CALIBRATED_CODES_H_
