// compressed-tensors: which on-disk format carries a scheme, and the
// "quantization_config" that tells loaders.
#ifndef QUANT_CORE_ARTIFACT_CT_CONFIG_H_
#define QUANT_CORE_ARTIFACT_CT_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/artifact/format.h"

namespace quant {

inline constexpr absl::string_view kPackQuantized = "pack-quantized";
inline constexpr absl::string_view kIntQuantized = "int-quantized";
inline constexpr absl::string_view kFloatQuantized = "float-quantized";
inline constexpr absl::string_view kNaiveQuantized = "naive-quantized";
inline constexpr absl::string_view kNvfp4Quantized = "nvfp4-pack-quantized";
inline constexpr absl::string_view kMxfp4Quantized = "mxfp4-pack-quantized";
inline constexpr absl::string_view kMxfp8Quantized = "mxfp8-quantized";

// The format string, by the reference's priority: int with quantized
// activations -> int-quantized, int -> pack-quantized, FP8 with quantized
// activations -> float-quantized, FP8 -> naive-quantized; FP4 and powers of two
// as scales have formats of their own.
absl::string_view CtFormatOf(const Scheme& scheme);

// Files of before version 0.17, whose words hold no pieces of numbers of 3, 5,
// 6 and 7 bits: only to be read.
const ArtifactFormat& LooseCompressedTensors();

// INVALID_ARGUMENT UNSUPPORTED for schemes that no reader of the format takes.
absl::Status CheckCtScheme(const Scheme& scheme);

// The source's config.json with "quantization_config" added. One group per
// scheme: the most frequent one targets "Linear", the others exact names;
// Linear modules that stay as they are, are listed under "ignore".
absl::StatusOr<std::string> CtConfig(
    absl::string_view source_config,
    const std::vector<QuantizedModule>& modules);

}  // namespace quant

#endif  // QUANT_CORE_ARTIFACT_CT_CONFIG_H_
