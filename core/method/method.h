// How codes are chosen, given rows. Adding a method: one file that implements
// QuantMethod, one line in methods.def.
//
// Legend: O out features, I in features, R rows of a tile.
#ifndef QUANT_CORE_METHOD_METHOD_H_
#define QUANT_CORE_METHOD_METHOD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/thread_pool.h"
#include "core/codec/codec.h"
#include "core/tensor/shape.h"

namespace quant {

enum class ScaleRule {
  kMinmax,  // covers the whole range
  kMse,     // the clipping of the range that minimizes the squared error
};

// What must be known about a weight's inputs before it can be quantized.
enum class Statistics {
  kNone,
  kRanges,   // the largest magnitude of every column
  kHessian,  // and of the squared error of outputs: 2 sum of x x^T
};

// The Hessian of all weights that have the same inputs.
struct HessianView {
  int64_t n = 0;                  // I
  const float* values = nullptr;  // [I, I], of which the upper triangle counts
};

struct MethodOptions;

// Weights [O, I], and how they will be quantized.
struct WeightView {
  const Codec* codec = nullptr;
  const MethodOptions* options = nullptr;
  const float* x = nullptr;
  int64_t rows = 0;  // O
};

// All weights that have the same inputs, and what these look like.
struct InputView {
  HessianView hessian;  // without values unless the method needs them
  absl::Span<const float> absmax;  // [I]
  // [I]: columns of the same number, 0..I - 1, must get the same factor.
  absl::Span<const int32_t> ties;
  absl::Span<const WeightView> weights;
};

// How calibrated methods work.
struct CalibratedOptions {
  // Columns by falling importance instead of as they come.
  bool act_order = false;
  // Groups stay those of consecutive columns, with scales from the weights as
  // they were.
  bool static_groups = false;
  // What is added to the Hessian's diagonal, in parts of its mean.
  double damping = 0.01;
  // How far the range of inputs moves to weights: 0 not at all, 1 all of it.
  double smoothing = 0.5;

  bool operator==(const CalibratedOptions&) const = default;
};

// What a method made of statistics, once for all weights with these inputs.
class Preparation {
 public:
  virtual ~Preparation() = default;

  int64_t dead_columns = 0;  // whose input was always 0
  double damping = 0;        // that it took
  bool usable = true;        // false: weights are rounded to nearest
};

// Sums over one tile or, combined in tile order, over one tensor.
struct ErrorSums {
  double noise = 0;   // sum of (x_hat - x)^2
  double signal = 0;  // sum of x^2
  float max_abs_error = 0;
  int64_t overflow = 0;   // casts: finite before, infinite after
  int64_t underflow = 0;  // casts: nonzero before, zero after

  void Add(const ErrorSums& other);
  // 10 log10(signal / noise); +inf without noise.
  double sqnr_db() const;
};

// What the passes over a tensor (or over all parts of a merged module) that
// come before encoding found: only schemes with something per tensor need any.
struct TensorStats {
  float lo = 0;
  float hi = 0;
  std::vector<double> candidate_noise;  // per clipping candidate
  // Of schemes with a tensor scale: the sum of all scales, in steps of 2^-24
  // so that the order of adding does not matter, and their number.
  double scale_sum = 0;
  int64_t scale_count = 0;

  double mean_scale() const {
    return scale_count == 0 ? 0 : scale_sum / static_cast<double>(scale_count);
  }
};

struct MethodOptions {
  ScaleRule scale = ScaleRule::kMinmax;
  DType scale_type = DType::kF32;  // stored type of scales
  bool narrow = false;             // weights and scales are F16 or BF16 values
  // For codecs that choose scales themselves.
  SearchLevel search = SearchLevel::kDefault;
  // How much an error in each input column matters: [matrices, I], each for
  // `matrix_rows` consecutive rows (stacked experts); null: equally.
  const float* importance = nullptr;
  int64_t matrix_rows = 0;
  // Of methods with statistics; null: nothing is known about the inputs.
  const Preparation* preparation = nullptr;
  CalibratedOptions calibrated = {};

  // That of row `row` of a tensor with rows of `cols`.
  const float* ImportanceOf(int64_t row, int64_t cols) const {
    return importance ? importance + row / matrix_rows * cols : nullptr;
  }
};

// Scratch of one worker, reused from tile to tile.
struct MethodScratch {
  std::vector<uint8_t> codes;
  std::vector<float> lo, hi;
  std::vector<float> row;
  std::vector<float> weights;  // of the values of a row
  // Of methods with statistics.
  std::vector<float> columns;  // of a tile, next to each other
  std::vector<float> block;
  std::vector<float> open;
};

class QuantMethod {
 public:
  virtual ~QuantMethod() = default;

  virtual Statistics Needs() const = 0;
  // Of methods with statistics: whether weights are quantized after their
  // columns were multiplied by factors, by which their inputs are divided.
  virtual bool ScalesInputs() const { return false; }
  // Of methods with statistics: what it looks at of CalibratedOptions, and
  // "true_sequential" where a block's weights may be quantized in turn.
  virtual std::vector<absl::string_view> Options() const { return {}; }
  // INVALID_ARGUMENT UNSUPPORTED when the method can't do this.
  virtual absl::Status Check(const Scheme& scheme) const = 0;

  // Of methods that scale inputs: the factors [I], finite and > 0.
  virtual std::vector<float> InputScales(ThreadPool& pool,
                                         const CalibratedOptions& options,
                                         const InputView& inputs) const {
    return {};
  }
  // Of methods with statistics; of inputs as they are once they were divided.
  // Null when nothing needs to be prepared.
  virtual std::unique_ptr<Preparation> Prepare(
      ThreadPool& pool, const CalibratedOptions& options,
      const HessianView& hessian) const {
    return nullptr;
  }
  // Bytes of a preparation or of finding factors, and of one worker's scratch
  // for `rows` rows.
  virtual int64_t PreparationBytes(int64_t cols) const { return 0; }
  virtual int64_t ScratchBytes(int64_t rows, int64_t cols) const { return 0; }

  // Passes over the whole tensor before Quantize: 0, 1 or 2. Methods with one
  // scale per group or row need none of these three.
  virtual int ReducePasses(const Codec& codec,
                           const MethodOptions& options) const {
    return 0;
  }
  // One pass over one tile: x [R, I]. `before` is what earlier passes found.
  virtual TensorStats Reduce(int pass, const Codec& codec,
                             const MethodOptions& options, const float* x,
                             int64_t rows, int64_t cols,
                             const TensorStats& before,
                             MethodScratch& scratch) const {
    return {};
  }
  // Adds the next tile's findings, in tile order.
  virtual void Combine(int pass, const TensorStats& tile,
                       TensorStats& tensor) const {}

  // x [R, I] finite -> codes and scales in `out`; returns the error.
  virtual ErrorSums Quantize(const Codec& codec, const MethodOptions& options,
                             const TensorStats& stats, const float* x,
                             int64_t rows, int64_t cols, CodeTile& out,
                             MethodScratch& scratch) const = 0;

  // A shorter way to what Quantize gives, bit for bit, from the bytes of F16 or
  // BF16 rows as they lie in the source. Nothing where there is none, or where
  // an element is not finite; `out` then means nothing.
  virtual std::optional<ErrorSums> QuantizeSource(
      const Codec& codec, const MethodOptions& options, DType dtype,
      const uint8_t* x, int64_t rows, int64_t cols, CodeTile& out,
      MethodScratch& scratch) const {
    return std::nullopt;
  }
};

struct MethodInfo {
  absl::string_view name;
  absl::string_view description;
};
std::vector<MethodInfo> Methods();
// INVALID_ARGUMENT UNKNOWN_NAME with the nearest name.
absl::StatusOr<const QuantMethod*> FindMethod(absl::string_view name);

// OK when the method looks at `option` (QuantMethod::Options); else
// INVALID_ARGUMENT, with those that do.
absl::Status CheckTakesOption(absl::string_view method,
                              absl::string_view option);

// OK for integers with one float scale per group or row. INVALID_ARGUMENT
// UNSUPPORTED for others, with the nearest. `does`: "it fits scales of
// integers".
absl::Status CheckGroupedIntegers(absl::string_view method,
                                  absl::string_view does, const Scheme& scheme);

}  // namespace quant

#endif  // QUANT_CORE_METHOD_METHOD_H_
