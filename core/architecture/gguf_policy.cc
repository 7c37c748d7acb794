#include "core/architecture/gguf_policy.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace quant {
namespace {

enum class Part {
  kOutput,
  kTokenEmbd,
  kAttnV,  // alone or fused with its siblings
  kAttnK,
  kAttnQ,
  kAttnOutput,
  kFfnUp,
  kFfnGate,
  kFfnDown,
  kOther,
};

enum class When {
  kAlways,
  kManyQueriesPerKey,
  kFirstTwo,
  kFirstFour,
  kFirstEighth,
  kFirstSixteenth,
  kMoreBits,
  kFirstEighthWithImportance,
  kFirstEighthWithoutImportance,
  kStacked,
};

struct Rule {
  absl::string_view file_type;
  Part part;
  When when;
  GgmlType type;
};

struct Fallback {
  GgmlType from, to;
};

constexpr GgufFileType kFileTypes[] = {
#define GGUF_FILE_TYPE(name, id, base, output) \
  {name, id, GgmlType::base, GgmlType::output},
#include "core/architecture/gguf_policy.def"
};

constexpr GgufFileTypeAlias kAliases[] = {
#define GGUF_FILE_TYPE_ALIAS(alias, name) {alias, name},
#include "core/architecture/gguf_policy.def"
};

constexpr Rule kRules[] = {
#define GGUF_TYPE_RULE(file_type, part, when, type) \
  {file_type, Part::part, When::when, GgmlType::type},
#include "core/architecture/gguf_policy.def"
};

constexpr absl::string_view kEightExperts[] = {
#define GGUF_EIGHT_EXPERTS(file_type) file_type,
#include "core/architecture/gguf_policy.def"
};

constexpr Fallback kFallbacks[] = {
#define GGUF_FALLBACK(from, to) {GgmlType::from, GgmlType::to},
#include "core/architecture/gguf_policy.def"
};

struct PartName {
  absl::string_view in_name;
  Part part;
  absl::string_view shown;
};

// By the first of these that the tensor's name contains.
constexpr PartName kParts[] = {
    {"attn_qkv.weight", Part::kAttnV, "attn_qkv"},
    {"attn_v.weight", Part::kAttnV, "attn_v"},
    {"attn_k.weight", Part::kAttnK, "attn_k"},
    {"attn_q.weight", Part::kAttnQ, "attn_q"},
    {"attn_output.weight", Part::kAttnOutput, "attn_output"},
    {"ffn_up", Part::kFfnUp, "ffn_up"},
    {"ffn_gate", Part::kFfnGate, "ffn_gate"},
    {"ffn_down", Part::kFfnDown, "ffn_down"},
};
constexpr PartName kOutputPart = {"", Part::kOutput, "output"};
constexpr PartName kTokenEmbdPart = {"", Part::kTokenEmbd, "token_embd"};
constexpr PartName kOtherPart = {"", Part::kOther, "other"};

const PartName& PartOf(absl::string_view name) {
  if (name == "output.weight") return kOutputPart;
  if (name == "token_embd.weight") return kTokenEmbdPart;
  for (const PartName& part : kParts) {
    if (absl::StrContains(name, part.in_name)) return part;
  }
  return kOtherPart;
}

// N of "blk.N.x"; -1 for others, which come first.
int64_t LayerOf(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, "blk.")) return -1;
  int64_t layer = -1;
  if (!absl::SimpleAtoi(name.substr(0, name.find('.')), &layer)) return -1;
  return layer;
}

// Dimensions without the leading ones, as files store them.
int64_t Rank(const Shape& shape) {
  const auto first = std::find_if(shape.begin(), shape.end(),
                                  [](int64_t dim) { return dim != 1; });
  return shape.end() - first;
}

// Which of how many, where a rule depends on it.
struct Position {
  int64_t index = 0;
  int64_t count = 0;
};

absl::string_view ShownWhen(When when) {
  switch (when) {
    case When::kManyQueriesPerKey:
      return ", 4 or more query heads share it";
    case When::kFirstTwo:
      return ", one of the first 2";
    case When::kFirstFour:
      return ", one of the first 4";
    case When::kFirstEighth:
    case When::kFirstEighthWithImportance:
    case When::kFirstEighthWithoutImportance:
      return ", in the first eighth";
    case When::kFirstSixteenth:
      return ", in the first sixteenth";
    case When::kMoreBits:
      return ", one of the layers with more bits";
    case When::kStacked:
      return ", stacked experts";
    case When::kAlways:
      break;
  }
  return "";
}

class Chooser {
 public:
  Chooser(const GgufFileType& file_type, const GgufModelFacts& facts,
          absl::Span<const GgufPolicyTensor> tensors)
      : file_type_(file_type), facts_(facts) {
    for (const GgufPolicyTensor& tensor : tensors) {
      const Part part = PartOf(tensor.name).part;
      values_.count += part == Part::kAttnV;
      tied_ = tied_ && part != Part::kOutput;
    }
    downs_.count = facts.layers;
  }

  // Call in the order of the layers.
  GgufTypeChoice Choose(const GgufPolicyTensor& tensor) {
    std::string never = WhyNeverQuantized(tensor);
    if (!never.empty()) return {tensor.stored, std::move(never)};
    const int64_t cols = tensor.shape.back();
    if (tensor.forced) return FitGgufType(*tensor.forced, cols, "rule");
    if (!InfoOf(file_type_.base).quantized()) {
      return {file_type_.base, absl::StrCat("cast to ", file_type_.name)};
    }
    const PartName& part = PartOf(tensor.name);
    if (part.part == Part::kOutput ||
        (tied_ && part.part == Part::kTokenEmbd)) {
      return Output(cols);
    }
    GgufTypeChoice choice = ByRules(tensor, part);
    if (part.part == Part::kAttnV) ++values_.index;
    if (part.part == Part::kFfnDown) ++downs_.index;
    return FitGgufType(choice.type, cols, choice.reason);
  }

 private:
  GgufTypeChoice Output(int64_t cols) const {
    const absl::string_view what =
        tied_ ? "policy: token_embd is the output too" : "policy: output";
    const int block = InfoOf(file_type_.base).block_elems;
    if (cols % block == 0) {
      return FitGgufType(file_type_.output, cols, what);
    }
    return FitGgufType(GgmlType::kQ8_0, cols,
                       absl::StrCat(what, ", ", cols, " % ", block, " != 0"));
  }

  GgufTypeChoice ByRules(const GgufPolicyTensor& tensor, const PartName& part) {
    GgufTypeChoice choice = {file_type_.base,
                             absl::StrCat("base type of ", file_type_.name)};
    const Position position = PositionOf(tensor, part.part);
    for (const Rule& rule : kRules) {
      if (rule.file_type != file_type_.name || rule.part != part.part) continue;
      if (!Applies(rule.when, position, tensor)) continue;
      choice = {rule.type,
                absl::StrCat("policy: ", part.shown, ShownWhen(rule.when))};
      break;
    }
    Override(part, choice);
    return choice;
  }

  Position PositionOf(const GgufPolicyTensor& tensor, Part part) const {
    if (part == Part::kAttnV) return values_;
    Position position = downs_;
    // Expert tensors of a layer are several: count layers, not tensors.
    if (facts_.experts > 1) position.index = LayerOf(tensor.name);
    return position;
  }

  bool Applies(When when, Position at, const GgufPolicyTensor& tensor) const {
    switch (when) {
      case When::kAlways:
        return true;
      case When::kManyQueriesPerKey:
        return ManyQueriesPerKey();
      case When::kFirstTwo:
        return at.index < 2;
      case When::kFirstFour:
        return at.index < 4;
      case When::kFirstEighth:
        return at.index < at.count / 8;
      case When::kFirstEighthWithImportance:
        return facts_.has_importance && at.index < at.count / 8;
      case When::kFirstEighthWithoutImportance:
        return !facts_.has_importance && at.index < at.count / 8;
      case When::kFirstSixteenth:
        return at.index < at.count / 16;
      case When::kMoreBits:
        return GgufMoreBits(at.index, at.count);
      case When::kStacked:
        return Rank(tensor.shape) == 3;
    }
    return false;
  }

  bool ManyQueriesPerKey() const {
    return facts_.kv_heads > 0 && facts_.heads / facts_.kv_heads >= 4;
  }

  // The shapes of the largest models of 2023: values are small there.
  bool HasSmallValues() const {
    if (facts_.layers != 80) return false;
    return facts_.architecture == "qwen2" ||
           (facts_.architecture == "llama" && facts_.heads != facts_.kv_heads);
  }

  void Override(const PartName& part, GgufTypeChoice& choice) const {
    if (part.part == Part::kAttnV && HasSmallValues() &&
        (choice.type == GgmlType::kQ3_K || choice.type == GgmlType::kQ4_K)) {
      choice = {GgmlType::kQ5_K,
                absl::StrCat("policy: ", part.shown, " is small in 80 layers")};
    }
    if (facts_.experts != 8 || file_type_.name == "MXFP4_MOE") return;
    const std::string why =
        absl::StrCat("policy: ", part.shown, " is small beside 8 experts");
    if (part.part == Part::kAttnV || part.part == Part::kAttnK) {
      choice = {GgmlType::kQ8_0, why};
    } else if (part.part == Part::kAttnOutput) {
      const bool listed =
          std::find(std::begin(kEightExperts), std::end(kEightExperts),
                    file_type_.name) != std::end(kEightExperts);
      choice = listed ? GgufTypeChoice{GgmlType::kQ5_K, why}
                      : GgufTypeChoice{
                            file_type_.base,
                            absl::StrCat("base type of ", file_type_.name)};
    }
  }

  const GgufFileType& file_type_;
  const GgufModelFacts& facts_;
  Position values_, downs_;
  bool tied_ = true;
};

}  // namespace

absl::Span<const GgufFileType> GgufFileTypes() { return kFileTypes; }

absl::Span<const GgufFileTypeAlias> GgufFileTypeAliases() { return kAliases; }

const GgufFileType* FindGgufFileType(absl::string_view name) {
  for (const GgufFileTypeAlias& alias : kAliases) {
    if (absl::EqualsIgnoreCase(alias.alias, name)) name = alias.name;
  }
  for (const GgufFileType& file_type : kFileTypes) {
    if (absl::EqualsIgnoreCase(file_type.name, name)) return &file_type;
  }
  return nullptr;
}

std::string WhyNeverQuantized(const GgufPolicyTensor& tensor) {
  if (Rank(tensor.shape) < 2) return "kept: one dimension";
  if (!absl::EndsWith(tensor.name, "weight")) return "kept: not a weight";
  if (absl::StrContains(tensor.name, "_norm.weight")) return "kept: a norm";
  if (absl::StrContains(tensor.name, "ffn_gate_inp.weight")) {
    return "kept: a router";
  }
  return "";
}

std::vector<GgufTypeChoice> ChooseGgufTypes(
    const GgufFileType& file_type, const GgufModelFacts& facts,
    absl::Span<const GgufPolicyTensor> tensors) {
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const std::string& x = tensors[a].name;
    const std::string& y = tensors[b].name;
    return std::make_tuple(LayerOf(x), absl::string_view(x)) <
           std::make_tuple(LayerOf(y), absl::string_view(y));
  });
  Chooser chooser(file_type, facts, tensors);
  std::vector<GgufTypeChoice> choices(tensors.size());
  for (size_t i : order) choices[i] = chooser.Choose(tensors[i]);
  return choices;
}

GgufTypeChoice FitGgufType(GgmlType type, int64_t cols,
                           absl::string_view reason) {
  GgufTypeChoice choice = {type, std::string(reason)};
  while (cols % InfoOf(choice.type).block_elems != 0) {
    const int block = InfoOf(choice.type).block_elems;
    GgmlType next = GgmlType::kF16;
    for (const Fallback& fallback : kFallbacks) {
      if (fallback.from == choice.type) next = fallback.to;
    }
    choice = {next,
              absl::StrCat("fallback: ", cols, " % ", block, " != 0, ",
                           InfoOf(type).name, " becomes ", InfoOf(next).name)};
  }
  return choice;
}

bool GgufMoreBits(int64_t i, int64_t n) {
  return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

}  // namespace quant
