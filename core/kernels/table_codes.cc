#include "core/kernels/table_codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/table_codes.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/accumulate-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

// 16 elements.
template <bool kSigns>
HWY_INLINE void EncodeBlock(const CodeTable& table, VF scale, const float* x,
                            uint8_t* codes, Accumulators& acc) {
  constexpr int kSteps = kSigns ? 7 : 15;
  const DF df;
  const DI di;
  const hn::Rebind<uint8_t, DI> du8;
  for (int r = 0; r < kRegisters; ++r) {
    const VF w = hn::LoadU(df, x + r * kFloatLanes);
    const VF quotient = hn::Div(w, scale);
    const VF at = kSigns ? hn::Abs(quotient) : quotient;
    VF value = hn::Set(df, table.values[table.codes[0]]);
    auto code = hn::Set(di, static_cast<int32_t>(table.codes[0]));
    for (int k = 0; k < kSteps; ++k) {
      const uint8_t next = table.codes[k + 1];
      const auto above = hn::Gt(at, hn::Set(df, table.thresholds[k]));
      value = hn::IfThenElse(above, hn::Set(df, table.values[next]), value);
      code = hn::IfThenElse(hn::RebindMask(di, above),
                            hn::Set(di, static_cast<int32_t>(next)), code);
    }
    if constexpr (kSigns) {
      value = hn::CopySignToAbs(value, quotient);
      const auto sign = hn::ShiftRight<31>(hn::BitCast(DU(), quotient));
      code = hn::Or(code, hn::BitCast(di, hn::ShiftLeft<3>(sign)));
    }
    acc.Add(r, w, hn::Sub(hn::Mul(value, scale), w));
    hn::StoreU(hn::DemoteTo(du8, code), du8, codes + r * kFloatLanes);
  }
}

template <bool kSigns>
void EncodeImpl(const TableRow& row, const float* x, uint8_t* codes,
                LaneSums& sums) {
  const CodeTable& table = TableOf(row.kind);
  Accumulators acc(sums);
  for (int64_t begin = 0, g = 0; begin < row.n; begin += row.group, ++g) {
    const int64_t n = std::min(row.group, row.n - begin);
    const VF scale = hn::Set(DF(), row.scales[g]);
    int64_t i = begin;
    for (; i + kVirtualLanes <= begin + n; i += kVirtualLanes) {
      EncodeBlock<kSigns>(table, scale, x + i, codes + i, acc);
    }
    const int64_t rest = begin + n - i;
    if (rest == 0) continue;
    // A zero encodes without error, so padding adds nothing.
    float padded[kVirtualLanes] = {};
    uint8_t padded_codes[kVirtualLanes];
    std::memcpy(padded, x + i, rest * sizeof(float));
    EncodeBlock<kSigns>(table, scale, padded, padded_codes, acc);
    std::memcpy(codes + i, padded_codes, rest);
  }
  acc.Store(sums);
}

void EncodeSigned(const TableRow& row, const float* x, uint8_t* codes,
                  LaneSums& sums) {
  EncodeImpl<true>(row, x, codes, sums);
}

void EncodeSorted(const TableRow& row, const float* x, uint8_t* codes,
                  LaneSums& sums) {
  EncodeImpl<false>(row, x, codes, sums);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {
namespace {

HWY_EXPORT(EncodeSigned);
HWY_EXPORT(EncodeSorted);

constexpr std::array<float, 16> kNf4Values = {-1.0f,
                                              -0.6961928009986877f,
                                              -0.5250730514526367f,
                                              -0.39491748809814453f,
                                              -0.28444138169288635f,
                                              -0.18477343022823334f,
                                              -0.09105003625154495f,
                                              0.0f,
                                              0.07958029955625534f,
                                              0.16093020141124725f,
                                              0.24611230194568634f,
                                              0.33791524171829224f,
                                              0.44070982933044434f,
                                              0.5626170039176941f,
                                              0.7229568362236023f,
                                              1.0f};

CodeTable MakeNf4() {
  CodeTable table{.signs = false, .steps = 15};
  table.values = kNf4Values;
  for (int i = 0; i < 16; ++i) table.codes[i] = static_cast<uint8_t>(i);
  for (int i = 0; i < 15; ++i) {
    table.thresholds[i] = (table.values[i] + table.values[i + 1]) / 2;
  }
  return table;
}

// `magnitudes` by code; `order` lists their codes upwards.
CodeTable MakeSigned(const std::array<float, 8>& magnitudes,
                     const std::array<uint8_t, 8>& order, bool ties_to_even) {
  CodeTable table{.signs = true, .steps = 7};
  for (int code = 0; code < 8; ++code) {
    table.values[code] = magnitudes[code];
    table.values[code + 8] = -magnitudes[code];
  }
  std::copy(order.begin(), order.end(), table.codes.begin());
  for (int i = 0; i < 7; ++i) {
    const uint8_t above = order[i + 1];
    const float middle = (magnitudes[order[i]] + magnitudes[above]) / 2;
    // Greater than the float below a tie is at least the tie.
    const bool up = ties_to_even && above % 2 == 0;
    table.thresholds[i] = up ? std::nextafter(middle, 0.0f) : middle;
  }
  table.largest = magnitudes[order[7]];
  return table;
}

CodeTable MakeE2m1() {
  return MakeSigned({0, 0.5f, 1, 1.5f, 2, 3, 4, 6}, {0, 1, 2, 3, 4, 5, 6, 7},
                    /*ties_to_even=*/true);
}

CodeTable MakeBnbFp4() {
  std::array<float, 8> magnitudes = {0, 0.0625f, 8, 12, 4, 6, 2, 3};
  for (float& m : magnitudes) m /= 12;
  return MakeSigned(magnitudes, {0, 1, 6, 7, 4, 5, 2, 3},
                    /*ties_to_even=*/false);
}

}  // namespace

const CodeTable& TableOf(TableKind kind) {
  static const CodeTable e2m1 = MakeE2m1();
  static const CodeTable nf4 = MakeNf4();
  static const CodeTable bnb_fp4 = MakeBnbFp4();
  switch (kind) {
    case TableKind::kE2M1:
      return e2m1;
    case TableKind::kNF4:
      return nf4;
    case TableKind::kBnbFp4:
      return bnb_fp4;
  }
  return e2m1;
}

void EncodeTableRow(const TableRow& row, const float* x, uint8_t* codes,
                    LaneSums& sums) {
  if (TableOf(row.kind).signs) {
    HWY_DYNAMIC_DISPATCH(EncodeSigned)(row, x, codes, sums);
  } else {
    HWY_DYNAMIC_DISPATCH(EncodeSorted)(row, x, codes, sums);
  }
}

void DecodeTableRow(const TableRow& row, const uint8_t* codes, float* out) {
  const std::array<float, 16>& values = TableOf(row.kind).values;
  for (int64_t begin = 0, g = 0; begin < row.n; begin += row.group, ++g) {
    const int64_t end = std::min(begin + row.group, row.n);
    const float scale = row.scales[g];
    for (int64_t i = begin; i < end; ++i) {
      out[i] = values[codes[i] & 15] * scale;
    }
  }
}

}  // namespace quant
#endif  // HWY_ONCE
