// GGUF files: one file, or splits of at most max_shard_bytes, with keys that
// say all there is to say of the model. Each tensor gets the type that the file
// type asks for (core/architecture/gguf_policy.h); a rule of the recipe goes
// before.
//
// Blocks of codes are stored as they come from the codec: rows follow each
// other, and the experts of a stack.
#include <algorithm>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/architecture/gguf_policy.h"
#include "core/artifact/format.h"
#include "core/artifact/gguf_facts.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/gguf.h"

namespace quant {
namespace {

// Of the block types as we write them: general.quantization_version.
constexpr uint32_t kQuantizationVersion = 2;

// What a tensor of this type is stored as when it is not quantized.
std::optional<GgmlType> PlainType(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return GgmlType::kF32;
    case DType::kF16:
      return GgmlType::kF16;
    case DType::kBF16:
      return GgmlType::kBF16;
    case DType::kF64:
      return GgmlType::kF64;
    case DType::kI8:
      return GgmlType::kI8;
    case DType::kI16:
      return GgmlType::kI16;
    case DType::kI32:
      return GgmlType::kI32;
    case DType::kI64:
      return GgmlType::kI64;
    default:
      return std::nullopt;
  }
}

GgmlType StoredType(const Scheme& scheme) {
  switch (scheme.type) {
    case NumberType::kF16:
      return GgmlType::kF16;
    case NumberType::kBF16:
      return GgmlType::kBF16;
    case NumberType::kF32:
      return GgmlType::kF32;
    default:
      return scheme.ggml;
  }
}

absl::string_view FileTypeName(const Scheme& scheme) {
  return scheme.is_cast() ? InfoOf(StoredType(scheme)).name
                          : absl::string_view(scheme.file_type);
}

// The preset that makes tensors of this type.
absl::StatusOr<Scheme> SchemeFor(GgmlType type) {
  return FindScheme(InfoOf(type).name);
}

class Gguf final : public ArtifactFormat {
 public:
  absl::Status CheckScheme(const Scheme& scheme) const override {
    if (scheme.is_cast() || scheme.type == NumberType::kGgml) {
      return absl::OkStatus();
    }
    const char* nearest = scheme.bits >= 8   ? "Q8_0"
                          : scheme.bits == 6 ? "Q6_K"
                          : scheme.bits == 5 ? "Q5_K_M"
                          : scheme.bits == 4 ? "Q4_K_M"
                          : scheme.bits == 3 ? "Q3_K_M"
                                             : "Q2_K";
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
        absl::StrCat("format \"gguf\" holds block types, not "
                     "scheme \"",
                     scheme.name, "\"; the nearest is \"", nearest, "\""));
  }

  std::string ShapeMisfit(const Scheme& scheme, const Shape& shape,
                          bool last_of_fused) const override {
    return "";  // that blocks fill rows is asked of every format
  }

  DType ScaleType(DType source) const override { return DType::kF32; }
  TensorNames Names() const override { return TensorNames::kGguf; }
  bool TakesStacks() const override { return true; }
  bool CarriesSideFiles() const override { return false; }

  absl::StatusOr<std::vector<TensorPolicy>> Policies(
      const PolicyRequest& request) const override {
    const GgufFileType* file_type =
        FindGgufFileType(FileTypeName(*request.scheme));
    if (file_type == nullptr) return CheckScheme(*request.scheme);
    QUANT_ASSIGN_OR_RETURN(const std::vector<GgufPolicyTensor> tensors,
                           PolicyTensors(request));
    QUANT_ASSIGN_OR_RETURN(GgufModelFacts facts, GgufFacts(*request.model));
    facts.has_importance = request.has_importance;
    const std::vector<GgufTypeChoice> choices =
        ChooseGgufTypes(*file_type, facts, tensors);
    std::vector<TensorPolicy> policies;
    for (size_t i = 0; i < choices.size(); ++i) {
      TensorPolicy& policy = policies.emplace_back();
      policy.reason = choices[i].reason;
      if (choices[i].type == tensors[i].stored) continue;
      QUANT_ASSIGN_OR_RETURN(policy.scheme, SchemeFor(choices[i].type));
    }
    return policies;
  }

  std::vector<OutputTensor> Outputs(const Codec& codec,
                                    const TensorEntry& source) const override {
    const GgmlTypeInfo& info = InfoOf(StoredType(codec.scheme()));
    OutputTensor output{.name = source.name,
                        .shape = source.shape,
                        .bytes = *NumElements(source.shape) / info.block_elems *
                                 info.block_bytes};
    if (info.quantized()) {
      output.dtype = DType::kU8;
      output.block_type = info.type;
    } else {
      output.dtype = info.type == GgmlType::kF16    ? DType::kF16
                     : info.type == GgmlType::kBF16 ? DType::kBF16
                                                    : DType::kF32;
    }
    return {output};
  }

  int64_t RowMultiple(const Codec& codec) const override { return 1; }

  std::vector<ByteRange> TileRanges(const Codec& codec,
                                    const TensorEntry& source, int64_t row,
                                    int64_t rows) const override {
    const int64_t row_bytes =
        codec.row_bytes(source.shape.empty() ? 1 : source.shape.back());
    return {
        {.output = 0, .offset = row * row_bytes, .bytes = rows * row_bytes}};
  }

  void Pack(const Codec& codec, const TensorEntry& source, const CodeTile& tile,
            PackedTile& out) const override {
    out.data = {absl::MakeConstSpan(tile.codes)};
  }

  absl::Status Unpack(const Codec& codec, const TensorEntry& source,
                      absl::Span<const absl::Span<const uint8_t>> bytes,
                      CodeTile& out) const override {
    out.cols = source.shape.back();
    out.rows = *NumElements(source.shape) / out.cols;
    out.codes.assign(bytes[0].begin(), bytes[0].end());
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Config(
      absl::string_view source_config,
      const std::vector<QuantizedModule>& modules) const override {
    return std::string();
  }

  absl::StatusOr<ArtifactLayout> LayOut(
      const LayoutRequest& request) const override {
    std::vector<OutputTensor*> order = FileOrder(request);
    const std::vector<size_t> ends = SplitEnds(order, request.max_shard_bytes);
    if (ends.size() > static_cast<size_t>(kMaxShardsPerModel)) {
      return InvalidSpec(
          absl::StrCat("max_shard_bytes ", request.max_shard_bytes, " makes ",
                       ends.size(), " files; readers take at most ",
                       kMaxShardsPerModel),
          "max_shard_bytes");
    }
    ArtifactLayout layout;
    size_t begin = 0;
    for (size_t i = 0; i < ends.size(); ++i) {
      const auto part = absl::MakeSpan(order).subspan(begin, ends[i] - begin);
      QUANT_ASSIGN_OR_RETURN(
          LayoutFile file,
          LayOutFile(Keys(request, i, ends.size(), order.size()), part,
                     static_cast<int>(i)));
      file.path = FileName(FileTypeName(*request.scheme), i, ends.size());
      layout.files.push_back(std::move(file));
      begin = ends[i];
    }
    return layout;
  }

 private:
  static absl::StatusOr<std::vector<GgufPolicyTensor>> PolicyTensors(
      const PolicyRequest& request) {
    std::vector<GgufPolicyTensor> tensors;
    for (size_t i = 0; i < request.model->tensors().size(); ++i) {
      const TensorEntry& tensor = request.model->tensors()[i];
      const std::optional<GgmlType> stored =
          tensor.block_type ? tensor.block_type : PlainType(tensor.dtype);
      if (!stored) {
        return MakeError(absl::StatusCode::kFailedPrecondition,
                         Reason::kPlanRefused,
                         absl::StrCat("tensor \"", tensor.name, "\" is ",
                                      DTypeName(tensor.dtype),
                                      ", which GGUF files can't hold"));
      }
      GgufPolicyTensor& out = tensors.emplace_back();
      out.name = tensor.name;
      out.shape = tensor.shape;
      out.stored = *stored;
      const RuleChoice& rule = request.rules[i];
      if (!rule.matched) continue;
      out.forced = rule.scheme ? StoredType(*rule.scheme) : *stored;
    }
    return tensors;
  }

  // Embeddings, what belongs to no block, blocks by number, the head last.
  static std::vector<OutputTensor*> FileOrder(const LayoutRequest& request) {
    std::vector<OutputTensor*> order;
    for (absl::Span<OutputTensor> group : request.groups) {
      for (OutputTensor& output : group) order.push_back(&output);
    }
    const auto key = [](const OutputTensor* output) {
      const absl::string_view name = output->name;
      int64_t block = -1;
      const size_t dot = name.find('.', 4);
      if (absl::StartsWith(name, "blk.") && dot != absl::string_view::npos &&
          absl::SimpleAtoi(name.substr(4, dot - 4), &block)) {
        return std::make_tuple(2, block, name);
      }
      const int place = absl::StartsWith(name, "token_embd") ? 0
                        : absl::StartsWith(name, "output")   ? 3
                                                             : 1;
      return std::make_tuple(place, int64_t{-1}, name);
    };
    std::sort(order.begin(), order.end(),
              [&](const auto* a, const auto* b) { return key(a) < key(b); });
    return order;
  }

  // Where each file ends, as a position in `order`. At least one file.
  static std::vector<size_t> SplitEnds(const std::vector<OutputTensor*>& order,
                                       int64_t max_bytes) {
    std::vector<size_t> ends;
    int64_t filled = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      if (filled > 0 && order[i]->bytes > max_bytes - filled) {
        ends.push_back(i);
        filled = 0;
      }
      filled += order[i]->bytes;
    }
    ends.push_back(order.size());
    return ends;
  }

  static std::string FileName(absl::string_view type, size_t index,
                              size_t count) {
    if (count == 1) return absl::StrCat("model-", type, ".gguf");
    return absl::StrFormat("model-%s-%05d-of-%05d.gguf", type, index + 1,
                           count);
  }

  // The keys of file `index`: all of the model's in the first.
  static std::vector<GgufKv> Keys(const LayoutRequest& request, size_t index,
                                  size_t count, size_t tensors) {
    std::vector<GgufKv> keys;
    if (index == 0) {
      for (const GgufKv& kv : request.model->kvs()) {
        if (kv.key != "general.file_type" &&
            kv.key != "general.quantization_version" &&
            !absl::StartsWith(kv.key, "quantize.imatrix.")) {
          keys.push_back(kv);
        }
      }
      const GgufFileType* type =
          FindGgufFileType(FileTypeName(*request.scheme));
      if (type != nullptr) keys.push_back({"general.file_type", type->id});
      keys.push_back({"general.quantization_version", kQuantizationVersion});
      keys.insert(keys.end(), request.keys.begin(), request.keys.end());
    }
    if (count > 1) {
      keys.push_back({"split.no", static_cast<uint16_t>(index)});
      keys.push_back({"split.count", static_cast<uint16_t>(count)});
      keys.push_back({"split.tensors.count", static_cast<int32_t>(tensors)});
    }
    return keys;
  }

  static absl::StatusOr<LayoutFile> LayOutFile(
      const std::vector<GgufKv>& keys, absl::Span<OutputTensor* const> outputs,
      int index) {
    std::vector<GgufTensor> tensors;
    for (const OutputTensor* output : outputs) {
      tensors.push_back(
          {.name = output->name,
           .type = output->block_type
                       ? *output->block_type
                       : PlainType(output->dtype).value_or(GgmlType::kF32),
           .shape = output->shape});
    }
    QUANT_ASSIGN_OR_RETURN(GgufLayout placed,
                           LayOutGguf(keys, std::move(tensors)));
    LayoutFile file{.path = {},
                    .header = std::move(placed.header),
                    .tensors = {},
                    .file_size = placed.file_size};
    for (size_t i = 0; i < outputs.size(); ++i) {
      const GgufTensor& tensor = placed.tensors[i];
      file.tensors.push_back({tensor.name, tensor.begin, tensor.end});
      outputs[i]->file = index;
      outputs[i]->offset = tensor.begin;
    }
    return file;
  }
};

}  // namespace

const ArtifactFormat& GgufFormat() {
  static const Gguf format;
  return format;
}

}  // namespace quant
