#include "core/kernels/reference.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/tensor/float_formats.h"

namespace quant {
namespace {

// `index` counts from the start of the group: groups fill lanes from 0.
void Add(int64_t index, float value, float error, LaneSums& sums) {
  const int64_t lane = index % kVirtualLanes;
  sums.noise[lane] += static_cast<double>(error) * error;
  sums.signal[lane] += static_cast<double>(value) * value;
  sums.max_abs_error = std::max(sums.max_abs_error, std::fabs(error));
}

// One run in float, as RunSums: false where it needs double.
bool AddRun(const float* values, const float* errors, int64_t n,
            LaneSums& sums) {
  float noise[kVirtualLanes] = {}, signal[kVirtualLanes] = {};
  for (int64_t i = 0; i < n; ++i) {
    const int64_t lane = i % kVirtualLanes;
    noise[lane] += errors[i] * errors[i];
    signal[lane] += values[i] * values[i];
  }
  for (const auto& lanes : {noise, signal}) {
    const auto [least, most] =
        std::minmax_element(lanes, lanes + kVirtualLanes);
    if (!(*least >= kLeastRunSum && *most <= kMostRunSum)) return false;
  }
  for (int lane = 0; lane < kVirtualLanes; ++lane) {
    sums.noise[lane] += noise[lane];
    sums.signal[lane] += signal[lane];
  }
  for (int64_t i = 0; i < n; ++i) {
    sums.max_abs_error = std::max(sums.max_abs_error, std::fabs(errors[i]));
  }
  return true;
}

void AddInRuns(const float* values, const float* errors, int64_t n,
               LaneSums& sums) {
  for (int64_t begin = 0; begin < n; begin += kRunElems) {
    const int64_t count = std::min(kRunElems, n - begin);
    if (AddRun(values + begin, errors + begin, count, sums)) continue;
    for (int64_t i = begin; i < begin + count; ++i) {
      Add(i, values[i], errors[i], sums);
    }
  }
}

// The code whose number is nearest to `at`. Of two equally near: the even one
// of E2M1, the smaller magnitude of bitsandbytes' FP4, the lower number of NF4.
// Midpoints are the F32 ones, as bitsandbytes compares with them.
uint8_t NearestTableCode(TableKind kind, float at) {
  const CodeTable& table = TableOf(kind);
  const int first = table.signs && std::signbit(at) ? 8 : 0;
  const int count = table.signs ? 8 : 16;
  int best = first;
  for (int code = first + 1; code < first + count; ++code) {
    const float a = table.values[best], b = table.values[code];
    const float middle = (a + b) / 2;
    const bool beyond = b > a ? at > middle : at < middle;
    const bool tie_wins = kind == TableKind::kE2M1 ? code % 2 == 0
                          : table.signs            ? std::fabs(b) < std::fabs(a)
                                                   : b < a;
    if (beyond || (at == middle && tie_wins)) best = code;
  }
  return static_cast<uint8_t>(best);
}

}  // namespace

void ReferenceAddErrors(const float* x, const float* back, int64_t n,
                        LaneSums& sums) {
  std::vector<float> errors(n);
  for (int64_t i = 0; i < n; ++i) errors[i] = back[i] - x[i];
  AddInRuns(x, errors.data(), n, sums);
}

void ReferenceEncodeTableRow(const TableRow& row, const float* x,
                             uint8_t* codes, LaneSums& sums) {
  for (int64_t i = 0; i < row.n; ++i) {
    const float scale = row.scales[i / row.group];
    codes[i] = NearestTableCode(row.kind, x[i] / scale);
    const float value = TableOf(row.kind).values[codes[i]];
    Add(i % row.group, x[i], value * scale - x[i], sums);
  }
}

void ReferenceEncodeIntRow(const IntRow& row, const float* x, int8_t* codes,
                           LaneSums& sums) {
  std::vector<float> errors(row.n);
  for (int64_t i = 0; i < row.n; ++i) {
    const int64_t group = i / row.group;
    const float scale = row.scales[group];
    const int zero = row.zero_points ? row.zero_points[group] : 0;
    // Beyond +-1024 every code is clamped.
    const float quotient = std::clamp(x[i] / scale, -1024.0f, 1024.0f);
    const int q = std::clamp(static_cast<int>(std::nearbyint(quotient)) + zero,
                             row.q_min, row.q_max);
    codes[i] = static_cast<int8_t>(q);
    const float back = static_cast<float>(q - zero) * scale;
    errors[i] = back - x[i];
  }
  const int64_t span = SummedTogether(row.group);
  for (int64_t begin = 0; begin < row.n; begin += span) {
    AddInRuns(x + begin, errors.data() + begin, std::min(span, row.n - begin),
              sums);
  }
}

void ReferenceDecodeIntRow(const IntRow& row, const int8_t* codes, float* out) {
  for (int64_t i = 0; i < row.n; ++i) {
    const int64_t group = i / row.group;
    const int zero = row.zero_points ? row.zero_points[group] : 0;
    out[i] = static_cast<float>(codes[i] - zero) * row.scales[group];
  }
}

HqqSums ReferenceHqqStep(const HqqGroup& group, const float* x) {
  double noise[kVirtualLanes] = {}, u[kVirtualLanes] = {};
  double d[kVirtualLanes] = {}, ud[kVirtualLanes] = {}, dd[kVirtualLanes] = {};
  for (int64_t i = 0; i < group.n; ++i) {
    const int64_t lane = i % kVirtualLanes;
    const float steps = std::clamp(x[i] / group.scale, -1024.0f, 1024.0f);
    const int q =
        std::clamp(static_cast<int>(std::nearbyint(steps)) + group.zero,
                   group.q_min, group.q_max);
    const float code = static_cast<float>(q - group.zero);
    const float error = code * group.scale - x[i];
    const float missed = steps - code;
    const float size = std::fabs(missed);
    const float root = std::sqrt(std::sqrt(std::max(size, kHqqSmallestMiss)));
    const float kept = std::max(size - group.inverse_beta / root, 0.0f);
    const float target = steps - std::copysign(kept, missed);
    noise[lane] += static_cast<double>(error) * error;
    u[lane] += target;
    d[lane] += code;
    ud[lane] += static_cast<double>(target) * code;
    dd[lane] += static_cast<double>(code) * code;
  }
  return {.noise = CombineLanes(noise),
          .u = CombineLanes(u),
          .d = CombineLanes(d),
          .ud = CombineLanes(ud),
          .dd = CombineLanes(dd)};
}

void ReferenceEncodeFp8Row(const Fp8Row& row, const float* x, uint8_t* codes,
                           LaneSums& sums) {
  const bool e4m3 = row.kind == Fp8Kind::kE4M3;
  for (int64_t i = 0; i < row.n; ++i) {
    const float scale = row.scales[i / row.group];
    const float quotient = x[i] / scale;
    codes[i] = e4m3 ? F32ToE4m3(quotient) : F32ToE5m2(quotient);
    const float value = e4m3 ? E4m3ToF32(codes[i]) : E5m2ToF32(codes[i]);
    Add(i % row.group, x[i], value * scale - x[i], sums);
  }
}

void ReferenceEncodeHalfRow(HalfKind kind, const float* x, int64_t n,
                            uint16_t* out, LaneSums& sums) {
  for (int64_t i = 0; i < n; ++i) {
    const bool f16 = kind == HalfKind::kF16;
    out[i] = f16 ? F32ToF16(x[i]) : F32ToBf16(x[i]);
    const float back = f16 ? F16ToF32(out[i]) : Bf16ToF32(out[i]);
    const bool overflow = std::isinf(back);
    sums.overflow += overflow;
    sums.underflow += back == 0 && x[i] != 0;
    Add(i, x[i], overflow ? 0.0f : back - x[i], sums);
  }
}

void ReferenceGptqBlock(const GptqBlock& block, const float* original,
                        const float* w, float* deltas, int8_t* codes) {
  for (int64_t r = 0; r < block.rows; ++r) {
    for (int64_t i = 0; i < block.columns; ++i) {
      const int64_t at = i * block.rows + r;
      float v = w[at];
      for (int64_t j = 0; j < i; ++j) {
        v += block.s[i * block.s_stride + j] * deltas[j * block.rows + r];
      }
      const int64_t cell = block.groups[i] * block.rows + r;
      const float q = std::clamp(
          std::nearbyint(v / block.scales[cell]) + block.zeros[cell],
          static_cast<float>(block.q_min), static_cast<float>(block.q_max));
      deltas[at] = original[at] - (q - block.zeros[cell]) * block.scales[cell];
      codes[at] = static_cast<int8_t>(q);
    }
  }
}

}  // namespace quant
