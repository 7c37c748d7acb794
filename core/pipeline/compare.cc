#include "core/pipeline/compare.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/kernels/convert.h"

namespace quant {
namespace {

// Values that are read and compared at a time.
constexpr int64_t kChunkValues = 1 << 17;

// Buffers of one worker.
struct Scratch {
  std::vector<uint8_t> bytes[2];
  std::vector<float> values[2];
};

void AddValue(float r, float o, ValueDifference& sums) {
  ++sums.total;
  const bool both_nan = std::isnan(r) && std::isnan(o);
  if (std::isfinite(r)) sums.signal += static_cast<double>(r) * r;
  if (r == o || both_nan) return;
  ++sums.different;
  double error = std::numeric_limits<double>::infinity();
  if (std::isfinite(r) && std::isfinite(o)) {
    error = std::abs(static_cast<double>(o) - r);
  }
  sums.noise += error * error;
  sums.max_abs_error = std::max(sums.max_abs_error, error);
}

// Elements of other types are equal or not.
void AddBytes(const uint8_t* r, const uint8_t* o, int64_t size,
              ValueDifference& sums) {
  ++sums.total;
  if (std::memcmp(r, o, size) != 0) ++sums.different;
}

class Comparison {
 public:
  Comparison(const ValueModel& reference, const ValueModel& other)
      : models_{&reference, &other} {}

  absl::StatusOr<ModelDifference> Run(ThreadPool& pool) {
    QUANT_RETURN_IF_ERROR(Match());
    sums_.resize(chunks_.size());
    pool.RunOnAll([this](int) { Work(); });
    QUANT_RETURN_IF_ERROR(status_);
    for (size_t i = 0; i < chunks_.size(); ++i) {
      result_.tensors[chunks_[i].pair].values.Add(sums_[i]);
    }
    for (const TensorDifference& tensor : result_.tensors) {
      result_.values.Add(tensor.values);
    }
    std::sort(result_.tensors.begin(), result_.tensors.end(), Worse);
    return std::move(result_);
  }

 private:
  struct Pair {
    const TensorEntry* tensors[2];
    bool floats = true;
  };
  struct Chunk {
    size_t pair = 0;
    int64_t first = 0;
    int64_t count = 0;
  };

  static bool Worse(const TensorDifference& a, const TensorDifference& b) {
    const double left = a.values.sqnr_db(), right = b.values.sqnr_db();
    if (left != right) return left < right;
    const bool equal[] = {a.values.different == 0, b.values.different == 0};
    return equal[0] != equal[1] ? equal[1] : a.name < b.name;
  }

  const std::vector<TensorEntry>& Tensors(int side) const {
    return models_[side]->values().tensors();
  }

  // Both lists are sorted by name.
  absl::Status Match() {
    size_t i = 0, j = 0;
    while (i < Tensors(0).size() || j < Tensors(1).size()) {
      const bool left = i < Tensors(0).size(), right = j < Tensors(1).size();
      const int order = !left ? 1
                        : !right
                            ? -1
                            : Tensors(0)[i].name.compare(Tensors(1)[j].name);
      if (order < 0) {
        result_.only_in_reference.push_back(Tensors(0)[i++].name);
      } else if (order > 0) {
        result_.only_in_other.push_back(Tensors(1)[j++].name);
      } else {
        QUANT_RETURN_IF_ERROR(Add(Tensors(0)[i++], Tensors(1)[j++]));
      }
    }
    if (!pairs_.empty()) return absl::OkStatus();
    return InvalidSpec(absl::StrCat(models_[0]->stored().path(), " and ",
                                    models_[1]->stored().path(),
                                    " have no tensor of one name; compare "
                                    "models of one architecture and layout"));
  }

  absl::Status Add(const TensorEntry& a, const TensorEntry& b) {
    const bool floats = IsWeightFloat(a.dtype) && IsWeightFloat(b.dtype);
    if (a.shape != b.shape || (!floats && a.dtype != b.dtype)) {
      return InvalidSpec(absl::StrCat(
          "tensor \"", a.name, "\": ", TypeName(a), " ", ShapeToString(a.shape),
          " and ", TypeName(b), " ", ShapeToString(b.shape),
          "; only tensors of one shape can be compared"));
    }
    const int64_t elements = *NumElements(a.shape);
    for (int64_t at = 0; at < elements; at += kChunkValues) {
      chunks_.push_back({.pair = pairs_.size(),
                         .first = at,
                         .count = std::min(kChunkValues, elements - at)});
    }
    pairs_.push_back({.tensors = {&a, &b}, .floats = floats});
    result_.tensors.push_back({.name = a.name,
                               .shape = a.shape,
                               .reference = models_[0]->StorageOf(a),
                               .other = models_[1]->StorageOf(b),
                               .values = {}});
    return absl::OkStatus();
  }

  void Work() {
    Scratch scratch;
    for (size_t i = next_++; i < chunks_.size(); i = next_++) {
      const absl::Status status = Compare(chunks_[i], scratch, sums_[i]);
      if (status.ok()) continue;
      next_ = chunks_.size();
      std::lock_guard lock(mutex_);
      if (status_.ok()) status_ = status;
      return;
    }
  }

  absl::Status Compare(const Chunk& chunk, Scratch& scratch,
                       ValueDifference& sums) const {
    const Pair& pair = pairs_[chunk.pair];
    for (int side = 0; side < 2; ++side) {
      const TensorEntry& tensor = *pair.tensors[side];
      const int64_t size = DTypeBits(tensor.dtype) / 8;
      std::vector<uint8_t>& bytes = scratch.bytes[side];
      bytes.resize(chunk.count * size);
      QUANT_RETURN_IF_ERROR(models_[side]->values().Read(
          tensor, chunk.first * size, absl::MakeSpan(bytes)));
      if (!pair.floats) continue;
      scratch.values[side].resize(chunk.count);
      (void)ConvertToF32(tensor.dtype, bytes.data(), chunk.count,
                         scratch.values[side].data());
    }
    const int64_t size = DTypeBits(pair.tensors[0]->dtype) / 8;
    for (int64_t i = 0; i < chunk.count; ++i) {
      if (pair.floats) {
        AddValue(scratch.values[0][i], scratch.values[1][i], sums);
      } else {
        AddBytes(scratch.bytes[0].data() + i * size,
                 scratch.bytes[1].data() + i * size, size, sums);
      }
    }
    return absl::OkStatus();
  }

  const ValueModel* models_[2];
  ModelDifference result_;
  std::vector<Pair> pairs_;  // parallel to result_.tensors until it is sorted
  std::vector<Chunk> chunks_;
  std::vector<ValueDifference> sums_;  // per chunk
  std::atomic<size_t> next_{0};
  std::mutex mutex_;
  absl::Status status_;
};

}  // namespace

void ValueDifference::Add(const ValueDifference& other) {
  signal += other.signal;
  noise += other.noise;
  max_abs_error = std::max(max_abs_error, other.max_abs_error);
  different += other.different;
  total += other.total;
}

double ValueDifference::sqnr_db() const {
  if (noise == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(signal / noise);
}

absl::StatusOr<ModelDifference> CompareModels(const ValueModel& reference,
                                              const ValueModel& other,
                                              ThreadPool& pool) {
  return Comparison(reference, other).Run(pool);
}

}  // namespace quant
