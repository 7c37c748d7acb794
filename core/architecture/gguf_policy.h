// GGUF file types ("Q4_K_M") and the type that each of them gives to each
// tensor of a model. The table is gguf_policy.def.
//
// A policy knows names and shapes only, so whole models are planned without
// their weights.
#ifndef QUANT_CORE_ARCHITECTURE_GGUF_POLICY_H_
#define QUANT_CORE_ARCHITECTURE_GGUF_POLICY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/tensor/ggml_type.h"
#include "core/tensor/shape.h"

namespace quant {

struct GgufFileType {
  absl::string_view name;  // "Q4_K_M"
  uint32_t id;             // general.file_type
  GgmlType base;           // what tensors get without a reason for another
  GgmlType output;         // what the output matrix gets
};

// All of them, best quality first.
absl::Span<const GgufFileType> GgufFileTypes();
// By name or alias ("Q4_K"), in any case; null when it is none.
const GgufFileType* FindGgufFileType(absl::string_view name);
// Aliases with what they stand for.
struct GgufFileTypeAlias {
  absl::string_view alias;
  absl::string_view name;
};
absl::Span<const GgufFileTypeAlias> GgufFileTypeAliases();

// What the policy asks of a model.
struct GgufModelFacts {
  std::string architecture;  // general.architecture
  int64_t layers = 0;
  int64_t heads = 1;
  int64_t kv_heads = 1;
  int64_t experts = 0;
  bool has_importance = false;
};

struct GgufPolicyTensor {
  std::string name;  // in the GGUF file
  Shape shape;       // [out, in], stacked experts [experts, out, in]
  GgmlType stored = GgmlType::kF32;  // what it stays when it is not quantized
  std::optional<GgmlType> forced;    // a rule of the recipe decides
};

struct GgufTypeChoice {
  GgmlType type = GgmlType::kF32;
  std::string reason;  // never empty
};

// Why the tensor keeps its stored type in every file ("kept: a norm"), or
// empty.
std::string WhyNeverQuantized(const GgufPolicyTensor& tensor);

// One choice per tensor. Does not depend on the order of `tensors`: layers are
// counted in the order of their numbers. Tensors that are forced don't count.
std::vector<GgufTypeChoice> ChooseGgufTypes(
    const GgufFileType& file_type, const GgufModelFacts& facts,
    absl::Span<const GgufPolicyTensor> tensors);

// `type`, or what takes its place in rows of `cols` elements.
GgufTypeChoice FitGgufType(GgmlType type, int64_t cols,
                           absl::string_view reason);

// Whether layer `i` of `n` gets more bits in the _M types: the first and the
// last eighth, and every third between.
bool GgufMoreBits(int64_t i, int64_t n);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_GGUF_POLICY_H_
