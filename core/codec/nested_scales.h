// Scales that are quantized themselves: bitsandbytes' double quantization.
//
//   s = map[code] * n + t      t: the tensor scale, the mean of all scales
//   n = max |s - t| of 256 consecutive scales; code: of the nearest map value
//
// in F32, without fused multiply-add. The map has 256 values in [-1, 1], denser
// around 0. Source: bitsandbytes, functional.py (create_dynamic_map).
#ifndef QUANT_CORE_CODEC_NESTED_SCALES_H_
#define QUANT_CORE_CODEC_NESTED_SCALES_H_

#include <array>
#include <cstdint>

#include "core/codec/codec.h"

namespace quant {

// Ascending; 0 at 127 and 1 at 255.
const std::array<float, 256>& NestedMap();

// The scale that loaders reconstruct.
float NestedScale(uint8_t code, float nested_scale, float tensor_scale);

// Replaces tile.scales by what their codes stand for, all of them > 0, and
// fills scale_codes, nested_scales and tensor_scale. The tile begins at a
// multiple of kNestedScales scales.
void QuantizeScales(float tensor_scale, CodeTile& tile);

}  // namespace quant

#endif  // QUANT_CORE_CODEC_NESTED_SCALES_H_
