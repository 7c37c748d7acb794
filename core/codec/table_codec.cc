// Numbers of four bits from a table (core/kernels/table_codes.h), with a scale
// per group: code = that of the number nearest to x / s. Scales:
// core/codec/scale_grid.h, core/codec/nested_scales.h.
#include <algorithm>

#include "core/codec/codec.h"
#include "core/codec/nested_scales.h"
#include "core/codec/scale_grid.h"
#include "core/kernels/table_codes.h"

namespace quant {
namespace {

TableKind KindOf(NumberType type) {
  switch (type) {
    case NumberType::kNF4:
      return TableKind::kNF4;
    case NumberType::kBnbFp4:
      return TableKind::kBnbFp4;
    default:
      return TableKind::kE2M1;
  }
}

class TableCodec final : public Codec {
 public:
  explicit TableCodec(const Scheme& scheme)
      : Codec(scheme),
        kind_(KindOf(scheme.type)),
        greatest_(TableOf(kind_).largest) {}

  ScaleZero FromRange(float lo, float hi, ScaleType scale_type) const override {
    return {.scale = ScaleOnGrid(scheme().scales,
                                 {.largest = std::max({-lo, hi, 0.0f}),
                                  .greatest_code = greatest_},
                                 scale_type)};
  }

  float TensorScale(float lo, float hi, double mean_scale) const override {
    if (scheme().scales == ScaleKind::kE4M3) {
      return E4m3TensorScale(std::max({-lo, hi, 0.0f}), greatest_);
    }
    return scheme().scales == ScaleKind::kNested
               ? static_cast<float>(mean_scale)
               : 1.0f;
  }

  void StoreScales(ScaleType scale_type, CodeTile& tile) const override {
    if (scheme().scales == ScaleKind::kNested) {
      QuantizeScales(scale_type.tensor_scale, tile);
    } else {
      Codec::StoreScales(scale_type, tile);
    }
  }

  void EncodeRow(const float* x, int64_t cols, const RowScales& scales,
                 uint8_t* codes, LaneSums& sums) const override {
    EncodeTableRow(ToRow(cols, scales), x, codes, sums);
  }

  void DecodeRow(const uint8_t* codes, int64_t cols, const RowScales& scales,
                 float* out) const override {
    DecodeTableRow(ToRow(cols, scales), codes, out);
  }

 private:
  TableRow ToRow(int64_t cols, const RowScales& scales) const {
    return {.n = cols,
            .group = scales.group,
            .scales = scales.scales,
            .kind = kind_};
  }

  TableKind kind_;
  float greatest_;
};

}  // namespace

std::unique_ptr<Codec> MakeTableCodec(const Scheme& scheme) {
  return std::make_unique<TableCodec>(scheme);
}

}  // namespace quant
