#include "core/transform/load_rows.h"

#include <cmath>
#include <cstring>

#include "core/kernels/convert.h"

namespace quant {

LoadResult LoadRows(DType dtype, absl::Span<const uint8_t> bytes,
                    Nonfinite policy, absl::Span<float> out) {
  LoadResult result;
  const int64_t count = static_cast<int64_t>(out.size());
  if (ConvertToF32(dtype, bytes.data(), count, out.data())) return result;
  for (int64_t i = 0; i < count; ++i) {
    if (std::isfinite(out[i])) continue;
    if (result.first_nonfinite < 0) result.first_nonfinite = i;
    if (policy == Nonfinite::kError) return result;
    out[i] = 0;
    ++result.zeroed;
  }
  return result;
}

LoadResult ScrubNonfinite(DType dtype, Nonfinite policy,
                          absl::Span<uint8_t> bytes) {
  LoadResult result;
  const int64_t size = DTypeBits(dtype) / 8;
  const int64_t count = static_cast<int64_t>(bytes.size()) / size;
  if (AllFinite(dtype, bytes.data(), count)) return result;
  for (int64_t i = 0; i < count; ++i) {
    if (AllFinite(dtype, bytes.data() + i * size, 1)) continue;
    if (result.first_nonfinite < 0) result.first_nonfinite = i;
    if (policy == Nonfinite::kError) return result;
    std::memset(bytes.data() + i * size, 0, size);
    ++result.zeroed;
  }
  return result;
}

}  // namespace quant
