// What loaders do to the inputs of a weight whose scheme quantizes activations,
// as far as values go: rounded, and put back.
//
//   int8   x_hat = s clamp(rint(x / s), -128, 127)    s = max|x| / 127.5
//   FP8    x_hat = s E4M3(clamp(x / s, -448, 448))     s = max|x| / 448
//
// max|x| is that of a token, of 128 neighbours in it, or, of static kinds, the
// one that calibration saw. Ties go to even. Source: compressed-tensors 0.18,
// whose arithmetic the formats follow; vLLM's int8 kernels divide by 127.
#ifndef QUANT_CORE_CODEC_ACTIVATIONS_H_
#define QUANT_CORE_CODEC_ACTIVATIONS_H_

#include <cstdint>
#include <map>
#include <string>

#include "core/codec/scheme.h"
#include "core/tensor/dtype.h"

namespace quant {

struct InputRounding {
  Activations kind = Activations::kNone;
  float scale = 1;  // of static kinds, > 0

  bool operator==(const InputRounding&) const = default;
};

// By module: "model.layers.0.self_attn.q_proj".
using InputRoundings = std::map<std::string, InputRounding>;

// One token's inputs x [n], finite, in place.
void RoundInputs(const InputRounding& rounding, float* x, int64_t n);

// The scale of a static kind that covers [-absmax, absmax], rounded upwards to
// `stored` (F16, BF16 or F32) where that has one; 1 for inputs that were always
// zero.
float StaticInputScale(Activations kind, float absmax, DType stored);

}  // namespace quant

#endif  // QUANT_CORE_CODEC_ACTIVATIONS_H_
