#include "core/artifact/gguf_facts.h"

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/container/gguf_value.h"

namespace quant {
namespace {

// A count, or the first of one count per layer; `fallback` when there is none.
absl::StatusOr<int64_t> Count(const ModelReader& model, const std::string& key,
                              int64_t fallback) {
  const GgufValue* value = FindGgufValue(model.kvs(), key);
  if (value != nullptr && TypeOf(*value) == GgufType::kArray) {
    QUANT_ASSIGN_OR_RETURN(const std::vector<uint32_t>* layers,
                           GetGgufArray<uint32_t>(model.kvs(), key));
    return layers->empty() ? fallback : static_cast<int64_t>((*layers)[0]);
  }
  QUANT_ASSIGN_OR_RETURN(const uint32_t* found,
                         FindGguf<uint32_t>(model.kvs(), key));
  return found == nullptr ? fallback : static_cast<int64_t>(*found);
}

}  // namespace

absl::StatusOr<GgufModelFacts> GgufFacts(const ModelReader& model) {
  GgufModelFacts facts;
  QUANT_ASSIGN_OR_RETURN(
      facts.architecture,
      GetGguf<std::string>(model.kvs(), "general.architecture"));
  const std::string prefix = facts.architecture + ".";
  QUANT_ASSIGN_OR_RETURN(facts.layers, Count(model, prefix + "block_count", 0));
  QUANT_ASSIGN_OR_RETURN(facts.heads,
                         Count(model, prefix + "attention.head_count", 1));
  QUANT_ASSIGN_OR_RETURN(
      facts.kv_heads,
      Count(model, prefix + "attention.head_count_kv", facts.heads));
  QUANT_ASSIGN_OR_RETURN(facts.experts,
                         Count(model, prefix + "expert_count", 0));
  return facts;
}

}  // namespace quant
