// The block types of GGUF files: codes of a row are its blocks, scales
// included. Formulas and searches are those of the kernels
// (core/kernels/ggml_*.cc).
#include <vector>

#include "core/codec/codec.h"
#include "core/kernels/error_sums.h"
#include "core/kernels/ggml_blocks.h"

namespace quant {
namespace {

// Elements that are decoded at a time to measure the error: whole blocks.
constexpr int64_t kChunk = 1024;

class GgmlCodec final : public Codec {
 public:
  explicit GgmlCodec(const Scheme& scheme)
      : Codec(scheme),
        info_(InfoOf(scheme.ggml)),
        kernels_(GgmlKernelsOf(scheme.ggml)) {}

  int64_t row_bytes(int64_t cols) const override {
    return cols / info_.block_elems * info_.block_bytes;
  }

  ScaleZero FromRange(float lo, float hi, ScaleType scale_type) const override {
    return {};
  }

  void EncodeRow(const float* x, int64_t cols, const RowScales& scales,
                 uint8_t* codes, LaneSums& sums) const override {
    if (kernels_.encode_measured != nullptr) {
      kernels_.encode_measured(x, cols, scales.weights, scales.search, codes,
                               sums);
      return;
    }
    kernels_.encode(x, cols, scales.weights, scales.search, codes);
    float back[kChunk];
    for (int64_t i = 0; i < cols; i += kChunk) {
      const int64_t n = std::min(kChunk, cols - i);
      kernels_.decode(codes + row_bytes(i), n, back);
      AddErrors(x + i, back, n, sums);
    }
  }

  void DecodeRow(const uint8_t* codes, int64_t cols, const RowScales& scales,
                 float* out) const override {
    kernels_.decode(codes, cols, out);
  }

 private:
  const GgmlTypeInfo& info_;
  GgmlKernels kernels_;
};

}  // namespace

std::unique_ptr<Codec> MakeGgmlCodec(const Scheme& scheme) {
  return std::make_unique<GgmlCodec>(scheme);
}

}  // namespace quant
