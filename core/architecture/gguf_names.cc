#include "core/architecture/gguf_names.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/architecture/gguf_name_table.h"
#include "core/architecture/rope_config.h"
#include "core/base/error.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

// A name with its numbers taken out.
struct Pattern {
  std::string text;  // "model.layers.N.mlp.experts.E.up_proj.weight"
  int64_t layer = -1;
  int64_t expert = -1;
};

Pattern PatternOf(const DecoderConfig& config, absl::string_view name) {
  // Wrappers around text models: "language_model.model.x", and
  // "model.language_model.x" of newer versions.
  std::string plain(name);
  if (absl::StartsWith(plain, "language_model.")) {
    plain = plain.substr(15);
  } else if (absl::StartsWith(plain, "model.language_model.")) {
    plain = absl::StrCat("model.", plain.substr(21));
  }
  Pattern pattern;
  std::vector<std::string> parts = absl::StrSplit(plain, '.');
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i - 1] == "layers" && pattern.layer < 0) {
      if (const auto n = NumberBelow(parts[i], config.layers)) {
        pattern.layer = *n;
        parts[i] = "N";
      }
    } else if (parts[i - 1] == "experts" && pattern.expert < 0) {
      if (const auto n = NumberBelow(parts[i], config.experts)) {
        pattern.expert = *n;
        parts[i] = "E";
      }
    }
  }
  pattern.text = absl::StrJoin(parts, ".");
  return pattern;
}

// A tensor may also be called "N" where its number should stand.
bool Matches(const NameRow& row, const Pattern& pattern) {
  return row.hf == pattern.text &&
         absl::StrContains(row.hf, ".N.") == (pattern.layer >= 0) &&
         absl::StrContains(row.hf, ".E.") == (pattern.expert >= 0);
}

class Mapper {
 public:
  Mapper(const DecoderConfig& config, absl::Span<const TensorEntry> tensors)
      : config_(config), family_(config.family->family), tensors_(tensors) {
    vocab_ = config.vocab;
    for (const TensorEntry& tensor : tensors) {
      const std::string text = PatternOf(config, tensor.name).text;
      if (text == "lm_head.weight") has_head_ = true;
      if (text == "model.embed_tokens.weight" && vocab_ == 0 &&
          tensor.shape.size() == 2) {
        vocab_ = tensor.shape[0];
      }
    }
  }

  absl::StatusOr<GgufMap> Map() {
    QUANT_RETURN_IF_ERROR(CheckTied());
    for (size_t i = 0; i < tensors_.size(); ++i) {
      QUANT_RETURN_IF_ERROR(Add(static_cast<int>(i)));
    }
    DuplicateEmbedding();
    QUANT_RETURN_IF_ERROR(CheckComplete());
    AddRopeFactors();
    for (auto& [place, mapping] : found_) {
      map_.tensors.push_back(std::move(mapping));
    }
    return std::move(map_);
  }

 private:
  // Before the blocks, in them, behind them; layer; row of the table.
  using Place = std::tuple<int, int64_t, int64_t>;

  static Place PlaceOf(absl::string_view gguf, int64_t layer) {
    // Rows that lead to one name share the place of the first.
    int64_t row = 0;
    while (NameRows()[row].gguf != gguf) ++row;
    const int section = layer >= 0 ? 1 : absl::StartsWith(gguf, "output") * 2;
    return {section, layer, row};
  }

  bool tied() const {
    return config_.tied.value_or(config_.family->tied || !has_head_);
  }

  absl::Status CheckTied() const {
    if (tied() || has_head_) return absl::OkStatus();
    return ModelMalformed(
        "tensor \"lm_head.weight\" is missing; config.json says that "
        "embeddings are not tied");
  }

  absl::Status CheckTensor(const TensorEntry& tensor,
                           const NameRow& row) const {
    if (!IsWeightFloat(tensor.dtype)) {
      return ModelMalformed(absl::StrCat(
          "tensor ", QuotedName(tensor.name), ": has type ",
          DTypeName(tensor.dtype), "; F16, BF16, F32 and F64 are converted"));
    }
    const Shape wanted = ShapeOfRow(row, config_, vocab_);
    if (tensor.shape == wanted) return absl::OkStatus();
    return ModelMalformed(
        absl::StrCat("tensor ", QuotedName(tensor.name), ": has shape ",
                     ShapeToString(tensor.shape), "; config.json makes it ",
                     ShapeToString(wanted)));
  }

  absl::Status Add(int index) {
    const TensorEntry& tensor = tensors_[index];
    const Pattern pattern = PatternOf(config_, tensor.name);
    if (pattern.text == "lm_head.weight" && tied()) {
      map_.dropped.push_back({tensor.name, "the embedding is the output too"});
      return absl::OkStatus();
    }
    bool known = false;
    for (const NameRow& row : NameRows()) {
      if ((row.families & family_) == 0 || !Matches(row, pattern)) continue;
      known = true;
      QUANT_RETURN_IF_ERROR(CheckTensor(tensor, row));
      QUANT_RETURN_IF_ERROR(AddRow(index, pattern, row));
    }
    return known ? absl::OkStatus() : Drop(tensor, pattern);
  }

  absl::Status Drop(const TensorEntry& tensor, const Pattern& pattern) {
    for (const DropRow& row : DropRows()) {
      if ((row.families & family_) == 0) continue;
      if (!absl::StrContains(pattern.text, row.part)) continue;
      map_.dropped.push_back({tensor.name, std::string(row.reason)});
      return absl::OkStatus();
    }
    std::vector<std::string> known;
    for (const NameRow& row : NameRows()) {
      if ((row.families & family_) != 0) known.emplace_back(row.hf);
    }
    const std::string nearest = NearestName(pattern.text, known);
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
        absl::StrCat(
            "tensor ", QuotedName(tensor.name), ": loaders of GGUF files of ",
            config_.family->gguf_name, " have no place for it",
            nearest.empty() ? ""
                            : absl::StrCat("; the nearest is \"", nearest,
                                           "\", N below ", config_.layers)));
  }

  absl::Status AddRow(int index, const Pattern& pattern, const NameRow& row) {
    const TensorEntry& tensor = tensors_[index];
    GgufMapping& mapping = found_[PlaceOf(row.gguf, pattern.layer)];
    const bool fresh = mapping.tensors.empty();
    if (fresh) mapping = Describe(tensor, pattern, row);
    const bool stacked = row.rewrite == Rewrite::kStack;
    const size_t slot = stacked ? static_cast<size_t>(pattern.expert) : 0;
    if (stacked != (mapping.source == GgufSource::kStacked) ||
        mapping.tensors[slot] >= 0) {
      return ModelMalformed(absl::StrCat("tensor ", QuotedName(tensor.name),
                                         ": is a second source of ",
                                         mapping.name));
    }
    const DType dtype = StoredType(tensor, row);
    if (dtype != mapping.dtype) {
      return ModelMalformed(absl::StrCat(
          "tensor ", QuotedName(tensor.name), ": has type ", DTypeName(dtype),
          "; other experts have ", DTypeName(mapping.dtype)));
    }
    mapping.tensors[slot] = index;
    return absl::OkStatus();
  }

  static DType StoredType(const TensorEntry& tensor, const NameRow& row) {
    const bool weights =
        row.rewrite == Rewrite::kCopy || row.rewrite == Rewrite::kQuery ||
        row.rewrite == Rewrite::kKey || row.rewrite == Rewrite::kStack ||
        row.rewrite == Rewrite::kFirstHalf ||
        row.rewrite == Rewrite::kSecondHalf;
    // Loaders don't compute with F64.
    return weights && tensor.dtype != DType::kF64 ? tensor.dtype : DType::kF32;
  }

  GgufMapping Describe(const TensorEntry& tensor, const Pattern& pattern,
                       const NameRow& row) const {
    GgufMapping mapping = {.name = WithLayer(row.gguf, pattern.layer),
                           .shape = tensor.shape,
                           .dtype = StoredType(tensor, row),
                           .tensors = {-1}};
    switch (row.rewrite) {
      case Rewrite::kCopy:
      case Rewrite::kFloat:
        break;
      case Rewrite::kNorm:
        mapping.adds_one = config_.family->adds_one;
        break;
      case Rewrite::kQuery:
      case Rewrite::kQueryBias:
        mapping.heads = config_.family->permutes ? config_.heads : 0;
        break;
      case Rewrite::kKey:
      case Rewrite::kKeyBias:
        mapping.heads = config_.family->permutes ? config_.kv_heads : 0;
        break;
      case Rewrite::kStack:
        mapping.source = GgufSource::kStacked;
        mapping.shape.insert(mapping.shape.begin(), config_.experts);
        mapping.tensors.assign(config_.experts, -1);
        break;
      case Rewrite::kFirstHalf:
      case Rewrite::kSecondHalf:
        mapping.source = row.rewrite == Rewrite::kFirstHalf
                             ? GgufSource::kFirstHalf
                             : GgufSource::kSecondHalf;
        mapping.shape[1] /= 2;
        break;
    }
    return mapping;
  }

  // Loaders of this family take no file without an output.
  void DuplicateEmbedding() {
    if (!tied() || family_ != kQwen2Moe) return;
    const auto embedding = found_.find(PlaceOf("token_embd.weight", -1));
    if (embedding == found_.end()) return;
    GgufMapping output = embedding->second;
    output.name = "output.weight";
    found_[PlaceOf(output.name, -1)] = std::move(output);
  }

  absl::Status CheckComplete() const {
    for (const NameRow& row : NameRows()) {
      if (!row.needed || (row.families & family_) == 0) continue;
      const bool blocks = absl::StrContains(row.gguf, ".N.");
      const int64_t end = blocks ? config_.layers : 0;
      for (int64_t layer = blocks ? 0 : -1; layer < end; ++layer) {
        const auto it = found_.find(PlaceOf(row.gguf, layer));
        if (it == found_.end()) return Missing(row, layer, 0);
        const auto& sources = it->second.tensors;
        const auto gap = std::find(sources.begin(), sources.end(), -1);
        if (gap != sources.end()) {
          return Missing(row, layer, gap - sources.begin());
        }
      }
    }
    return absl::OkStatus();
  }

  static absl::Status Missing(const NameRow& row, int64_t layer,
                              int64_t expert) {
    const std::string name =
        absl::StrReplaceAll(row.hf, {{".N.", absl::StrCat(".", layer, ".")},
                                     {".E.", absl::StrCat(".", expert, ".")}});
    return ModelMalformed(absl::StrCat("tensor \"", name,
                                       "\" is missing; loaders need ",
                                       WithLayer(row.gguf, layer)));
  }

  void AddRopeFactors() {
    const RopeConfig& rope = config_.rope;
    if (rope.scaling == RopeScaling::kLlama3) {
      Generate("rope_freqs.weight", Llama3FrequencyFactors(rope));
    } else if (rope.scaling == RopeScaling::kLongRope) {
      Generate("rope_factors_long.weight",
               {rope.long_factors.begin(), rope.long_factors.end()});
      Generate("rope_factors_short.weight",
               {rope.short_factors.begin(), rope.short_factors.end()});
    }
  }

  void Generate(const char* name, std::vector<float> values) {
    const int64_t place =
        static_cast<int64_t>(NameRows().size()) + generated_++;
    found_[Place(0, -1, place)] = {
        .name = name,
        .shape = {static_cast<int64_t>(values.size())},
        .source = GgufSource::kGenerated,
        .values = std::move(values)};
  }

  const DecoderConfig& config_;
  const uint32_t family_;
  const absl::Span<const TensorEntry> tensors_;
  int64_t vocab_ = 0;
  bool has_head_ = false;
  int64_t generated_ = 0;
  std::map<Place, GgufMapping> found_;
  GgufMap map_;
};

}  // namespace

absl::StatusOr<GgufMap> MapToGguf(const DecoderConfig& config,
                                  absl::Span<const TensorEntry> tensors) {
  return Mapper(config, tensors).Map();
}

}  // namespace quant
