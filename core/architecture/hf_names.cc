#include "core/architecture/hf_names.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "core/architecture/gguf_name_table.h"
#include "core/base/error.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

// A name of the file with its number taken out: "blk.N.attn_q.weight".
struct Pattern {
  std::string text;
  int64_t layer = -1;
};

Pattern PatternOf(const DecoderConfig& config, const std::string& name) {
  std::vector<std::string> parts = absl::StrSplit(name, '.');
  if (parts.size() < 3 || parts[0] != "blk") return {.text = name};
  const auto layer = NumberBelow(parts[1], config.layers);
  if (!layer) return {.text = name};
  parts[1].assign(1, 'N');
  return {.text = absl::StrJoin(parts, "."), .layer = *layer};
}

// Files don't keep leading ones of a shape.
Shape WithoutOnes(const Shape& shape) {
  return {std::find_if(shape.begin(), shape.end(),
                       [](int64_t dim) { return dim != 1; }),
          shape.end()};
}

// Rows for stacks as newer checkpoints have them: theirs are read, but what
// is written is one tensor per expert.
bool IsStackInCheckpoint(const NameRow& row) {
  return absl::StrContains(row.hf, ".experts.") &&
         !absl::StrContains(row.hf, ".E.");
}

class Mapper {
 public:
  Mapper(const DecoderConfig& config, absl::Span<const TensorEntry> tensors)
      : config_(config), tensors_(tensors) {
    for (const NameRow& row : NameRows()) {
      if ((row.families & config.family->family) == 0) continue;
      // Of rows with one name in files, the first is written.
      if (!IsStackInCheckpoint(row)) rows_.emplace(row.gguf, &row);
    }
  }

  absl::StatusOr<std::vector<HfMapping>> Map() {
    for (size_t i = 0; i < tensors_.size(); ++i) {
      QUANT_RETURN_IF_ERROR(Add(static_cast<int>(i)));
    }
    QUANT_RETURN_IF_ERROR(CheckComplete());
    std::sort(mappings_.begin(), mappings_.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    return std::move(mappings_);
  }

 private:
  absl::Status Add(int index) {
    const TensorEntry& tensor = tensors_[index];
    if (IsRopeFactors(tensor.name)) return absl::OkStatus();
    const Pattern pattern = PatternOf(config_, tensor.name);
    const auto it = rows_.find(pattern.text);
    if (it == rows_.end() ||
        absl::StrContains(pattern.text, ".N.") != (pattern.layer >= 0)) {
      return Unknown(tensor, pattern);
    }
    const NameRow& row = *it->second;
    QUANT_RETURN_IF_ERROR(CheckTensor(tensor, row));
    found_.insert({&row, pattern.layer});
    AddRow(index, row, pattern.layer);
    return absl::OkStatus();
  }

  absl::Status Unknown(const TensorEntry& tensor,
                       const Pattern& pattern) const {
    std::vector<std::string> known;
    for (const auto& [name, row] : rows_) known.push_back(name);
    const std::string nearest = NearestName(pattern.text, known);
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
        absl::StrCat("tensor ", QuotedName(tensor.name), ": checkpoints of ",
                     config_.family->class_name, " have no place for it",
                     nearest.empty()
                         ? ""
                         : absl::StrCat("; the nearest is \"", nearest,
                                        "\", N below ", config_.layers)));
  }

  absl::Status CheckTensor(const TensorEntry& tensor,
                           const NameRow& row) const {
    if (!IsWeightFloat(tensor.dtype)) {
      return ModelMalformed(absl::StrCat("tensor ", QuotedName(tensor.name),
                                         ": has type ", TypeName(tensor),
                                         "; numbers of a weight are needed"));
    }
    Shape wanted = ShapeOfRow(row, config_, config_.vocab);
    if (row.rewrite == Rewrite::kStack) {
      wanted.insert(wanted.begin(), config_.experts);
    }
    if (WithoutOnes(tensor.shape) == WithoutOnes(wanted)) {
      return absl::OkStatus();
    }
    return ModelMalformed(
        absl::StrCat("tensor ", QuotedName(tensor.name), ": has shape ",
                     ShapeToString(tensor.shape), "; the file's keys make it ",
                     ShapeToString(wanted)));
  }

  void AddRow(int index, const NameRow& row, int64_t layer) {
    HfMapping mapping{.name = NameOf(row, layer, 0),
                      .shape = ShapeOfRow(row, config_, config_.vocab),
                      .tensor = index};
    const FamilyInfo& family = *config_.family;
    switch (row.rewrite) {
      case Rewrite::kNorm:
        mapping.subtracts_one = family.adds_one;
        break;
      case Rewrite::kQuery:
      case Rewrite::kQueryBias:
        mapping.heads = family.permutes ? config_.heads : 0;
        break;
      case Rewrite::kKey:
      case Rewrite::kKeyBias:
        mapping.heads = family.permutes ? config_.kv_heads : 0;
        break;
      case Rewrite::kStack:
        for (int64_t expert = 0; expert < config_.experts; ++expert) {
          mapping.name = NameOf(row, layer, expert);
          mapping.first = expert * *NumElements(mapping.shape);
          mappings_.push_back(mapping);
        }
        return;
      default:
        break;
    }
    mappings_.push_back(std::move(mapping));
  }

  static std::string NameOf(const NameRow& row, int64_t layer, int64_t expert) {
    return absl::StrReplaceAll(row.hf,
                               {{".N.", absl::StrCat(".", layer, ".")},
                                {".E.", absl::StrCat(".", expert, ".")}});
  }

  // Optional tensors of the blocks are biases: attention, or the MLP, has all
  // of them in all layers, or none.
  static absl::string_view GroupOf(const NameRow& row) {
    return absl::StrContains(row.hf, ".self_attn.") ? "attention" : "mlp";
  }

  absl::Status CheckComplete() const {
    std::map<absl::string_view, const NameRow*> biased;
    for (const auto& [row, layer] : found_) {
      if (!row->needed && layer >= 0) biased[GroupOf(*row)] = row;
    }
    for (const auto& [name, row] : rows_) {
      const bool blocks = absl::StrContains(name, ".N.");
      const auto bias = biased.find(GroupOf(*row));
      const bool wanted = row->needed || (blocks && bias != biased.end());
      if (!wanted) continue;
      for (int64_t layer = blocks ? 0 : -1;
           layer < (blocks ? config_.layers : 0); ++layer) {
        if (found_.count({row, layer}) > 0) continue;
        return ModelMalformed(absl::StrCat(
            "tensor \"", WithLayer(name, layer), "\" is missing",
            row->needed ? ""
                        : absl::StrCat(", while there are others like ",
                                       bias->second->gguf, "; checkpoints of ",
                                       config_.family->class_name,
                                       " have all of these biases or none")));
      }
    }
    return absl::OkStatus();
  }

  const DecoderConfig& config_;
  const absl::Span<const TensorEntry> tensors_;
  std::map<std::string, const NameRow*> rows_;          // by the name in files
  std::set<std::pair<const NameRow*, int64_t>> found_;  // with the layer or -1
  std::vector<HfMapping> mappings_;
};

}  // namespace

bool IsRopeFactors(absl::string_view gguf_name) {
  return gguf_name == "rope_freqs.weight" ||
         gguf_name == "rope_factors_long.weight" ||
         gguf_name == "rope_factors_short.weight";
}

absl::StatusOr<std::vector<HfMapping>> MapFromGguf(
    const DecoderConfig& config, absl::Span<const TensorEntry> tensors) {
  return Mapper(config, tensors).Map();
}

}  // namespace quant
