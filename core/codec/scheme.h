// A scheme says what numbers come out: type, bits, symmetry, granularity. It
// has a preset name that everyone knows, and says nothing of how codes are
// chosen (method) or how they lie on disk (format).
#ifndef QUANT_CORE_CODEC_SCHEME_H_
#define QUANT_CORE_CODEC_SCHEME_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/tensor/ggml_type.h"

namespace quant {

enum class NumberType {
  kInt,
  kF8E4M3,
  kF8E5M2,
  kF4E2M1,  // OCP FP4: NVFP4 and MXFP4
  kNF4,     // bitsandbytes' quantiles of a normal distribution
  kBnbFp4,  // bitsandbytes' own FP4
  kF16,
  kBF16,
  kF32,
  kGgml
};

// What shares one scale. kNone: a plain cast without scales. kInner: scales lie
// inside the blocks of codes, as the type says.
enum class Granularity { kNone, kTensor, kChannel, kGroup, kBlock, kInner };

// Which numbers scales are.
enum class ScaleKind {
  kFloat,     // of the type that the format stores, rounded upwards
  kE8M0,      // powers of two (MX)
  kE4M3,      // FP8 E4M3, divided by one F32 of the tensor (NVFP4)
  kNested,    // 8-bit codes of bitsandbytes' double quantization
  kRowMax127  // F32 max|row| / 127 (LLM.int8)
};

// How activations are quantized at run time; part of the scheme because loaders
// read it from the checkpoint's configuration.
enum class Activations {
  kNone,
  kInt8TokenDynamic,
  kFp8TokenDynamic,
  kFp8Group128Dynamic,
  // With one scale per weight, which calibration finds.
  kInt8TensorStatic,
  kFp8TensorStatic
};

inline bool IsStatic(Activations activations) {
  return activations == Activations::kInt8TensorStatic ||
         activations == Activations::kFp8TensorStatic;
}
inline bool IsInt8(Activations activations) {
  return activations == Activations::kInt8TokenDynamic ||
         activations == Activations::kInt8TensorStatic;
}

struct Scheme {
  std::string name;  // preset name it started from
  NumberType type = NumberType::kInt;
  int bits = 8;
  bool symmetric = true;
  Granularity granularity = Granularity::kChannel;
  int64_t group_size = 0;  // with kGroup: elements along the input dimension
  int64_t block_rows = 0;  // with kBlock
  int64_t block_cols = 0;
  Activations activations = Activations::kNone;
  ScaleKind scales = ScaleKind::kFloat;
  GgmlType ggml = GgmlType::kF32;  // with kGgml: the block type
  // GGUF file type: which tensors get which block type ("Q4_K_M"). Empty for
  // what is no scheme of GGUF files.
  std::string file_type = "";
  // Which columns make a group is listed per weight (g_idx), because they were
  // quantized in another order than they lie in.
  bool act_order = false;
  // Asymmetric integers of which no zero point is the lowest code: files that
  // store one less can't say it.
  bool zero_above_lowest = false;

  bool has_inner_scales() const { return granularity == Granularity::kInner; }
  // Whether scales depend on the whole tensor (see Codec::TensorScale).
  bool has_tensor_scale() const {
    return scales == ScaleKind::kE4M3 || scales == ScaleKind::kNested;
  }
  // Numbers of four bits from a table.
  bool is_table() const {
    return type == NumberType::kF4E2M1 || type == NumberType::kNF4 ||
           type == NumberType::kBnbFp4;
  }
  bool is_cast() const { return granularity == Granularity::kNone; }
  bool operator==(const Scheme&) const = default;
};

// "int4 sym group 128", for people.
std::string DescribeScheme(const Scheme& scheme);
// "tensor", "channel", "group", "block", "inner", "none".
absl::string_view GranularityName(Granularity granularity);

// One row of the tables of presets (presets.def, gguf_presets.def).
struct Preset {
  Scheme scheme;
  absl::string_view description;
  absl::string_view unavailable;  // why not yet, and what instead; else empty
};
absl::Span<const Preset> Presets();

// The preset's scheme. INVALID_ARGUMENT UNKNOWN_NAME with the nearest name;
// UNSUPPORTED for one that is known but not available, naming the nearest.
absl::StatusOr<Scheme> FindScheme(absl::string_view name);

}  // namespace quant

#endif  // QUANT_CORE_CODEC_SCHEME_H_
