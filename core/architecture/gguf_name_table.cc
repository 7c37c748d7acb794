#include "core/architecture/gguf_name_table.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace quant {
namespace {

constexpr uint32_t kAll = ~uint32_t{0};
constexpr uint32_t kExperts = kMixtral | kQwen2Moe | kQwen3Moe;
constexpr uint32_t kDense = kAll & ~kExperts;

constexpr NameRow kNames[] = {
#define GGUF_TENSOR(families, hf, gguf, rewrite, shape, needed) \
  {families, hf, gguf, Rewrite::rewrite, shape, needed},
#define GGUF_DROPPED(...)
#include "core/architecture/gguf_names.def"
#undef GGUF_TENSOR
#undef GGUF_DROPPED
};

constexpr DropRow kDrops[] = {
#define GGUF_TENSOR(...)
#define GGUF_DROPPED(families, part, reason) {families, part, reason},
#include "core/architecture/gguf_names.def"
#undef GGUF_TENSOR
#undef GGUF_DROPPED
};

int64_t SizeOf(char letter, const DecoderConfig& config, int64_t vocab) {
  const int64_t q = config.heads * config.head_dim;
  const int64_t k = config.kv_heads * config.head_dim;
  switch (letter) {
    case 'V':
      return vocab;
    case 'H':
      return config.hidden;
    case 'Q':
      return q;
    case 'K':
      return k;
    case 'A':
      return q + 2 * k;
    case 'D':
      return config.head_dim;
    case 'F':
      return config.ffn;
    case 'G':
      return 2 * config.ffn;
    case 'E':
      return config.experts;
    case 'X':
      return config.expert_ffn;
    case 'Y':
      return 2 * config.expert_ffn;
    case 'S':
      return config.shared_expert_ffn;
    default:
      return 1;
  }
}

}  // namespace

absl::Span<const NameRow> NameRows() { return kNames; }

absl::Span<const DropRow> DropRows() { return kDrops; }

Shape ShapeOfRow(const NameRow& row, const DecoderConfig& config,
                 int64_t vocab) {
  Shape shape;
  for (char letter : row.shape) {
    shape.push_back(SizeOf(letter, config, vocab));
  }
  return shape;
}

std::string WithLayer(absl::string_view gguf, int64_t layer) {
  return absl::StrReplaceAll(gguf, {{".N.", absl::StrCat(".", layer, ".")}});
}

std::optional<int64_t> NumberBelow(absl::string_view text, int64_t count) {
  int64_t number = -1;
  if (text.size() > 9 || !absl::SimpleAtoi(text, &number) || number < 0 ||
      number >= count || absl::StrCat(number) != text) {
    return std::nullopt;
  }
  return number;
}

}  // namespace quant
