// quantized_model.h: which tensors are the codes of which weight.
//
// Shapes say most: bits and group sizes follow from them, whatever the
// configuration's patterns mean for a module. Every weight's guess is then
// turned into the outputs that our writer would make of it, and each of them
// must be there with that type and shape: nothing is read or allocated before.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/artifact/ct_config.h"
#include "core/artifact/output_bytes.h"
#include "core/artifact/quant_settings.h"
#include "core/artifact/quantized_model.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/kernels/pack.h"

namespace quant {
namespace {

constexpr int64_t kMaxStateBytes = 1 << 16;

// What a module's tensors say.
struct Guess {
  Scheme scheme;
  Shape shape;
  DType dtype = DType::kF32;  // whose scales are of the stored type
  bool loose = false;         // LooseCompressedTensors
  int packings = 0;           // ways to pack that the shapes allow
};

class Finder {
 public:
  Finder(const ModelReader& model, const QuantSettings& settings)
      : model_(model), settings_(settings) {}

  absl::StatusOr<std::vector<StoredWeight>> Run() {
    QUANT_ASSIGN_OR_RETURN(format_, FindFormat(settings_.format));
    std::vector<StoredWeight> weights;
    for (const TensorEntry& tensor : model_.tensors()) {
      const std::string module = ModuleOfCodes(tensor);
      if (module.empty()) continue;
      QUANT_ASSIGN_OR_RETURN(weights.emplace_back(), Weight(module, tensor));
      QUANT_RETURN_IF_ERROR(CheckAlone(module, weights.back()));
    }
    return weights;
  }

 private:
  const TensorEntry* Find(const std::string& name) const {
    const auto& all = model_.tensors();
    const auto it = std::lower_bound(
        all.begin(), all.end(), name,
        [](const TensorEntry& t, const std::string& n) { return t.name < n; });
    return it != all.end() && it->name == name ? &*it : nullptr;
  }

  // The module whose codes `tensor` holds; empty when it holds none.
  std::string ModuleOfCodes(const TensorEntry& tensor) const {
    absl::string_view name = tensor.name;
    if (absl::ConsumeSuffix(&name, ".qweight") ||
        absl::ConsumeSuffix(&name, ".weight_packed")) {
      return std::string(name);
    }
    if (!absl::ConsumeSuffix(&name, ".weight")) return "";
    const std::string module(name);
    for (const char* suffix :
         {".weight_scale", ".weight_scale_inv", ".SCB", ".weight.absmax"}) {
      if (Find(module + suffix) != nullptr) return module;
    }
    return "";
  }

  // A weight is stored once.
  absl::Status CheckAlone(const std::string& module,
                          const StoredWeight& weight) {
    if (!modules_.insert(module).second) {
      return Malformed(module, "has codes of two kinds");
    }
    const TensorEntry* plain = Find(weight.source.name);
    for (int output : weight.outputs) {
      if (plain == &model_.tensors()[output]) return absl::OkStatus();
    }
    if (plain == nullptr) return absl::OkStatus();
    return Malformed(module, "has a plain weight beside its codes");
  }

  absl::Status Malformed(const std::string& module,
                         absl::string_view what) const {
    return ModelMalformed(absl::StrCat(module, ": ", what));
  }

  // A tensor of a module with `rank` dimensions, each in 1 .. 2^40: products of
  // two with 8 bits don't overflow.
  absl::StatusOr<const TensorEntry*> Part(const std::string& module,
                                          absl::string_view suffix,
                                          size_t rank) const {
    const TensorEntry* part = Find(absl::StrCat(module, suffix));
    if (part == nullptr) {
      return Malformed(module, absl::StrCat("has codes, but no ", suffix));
    }
    bool good = part->shape.size() == rank;
    for (int64_t size : part->shape) {
      good &= size >= 1 && size <= int64_t{1} << 40;
    }
    if (good) return part;
    return Malformed(
        module, absl::StrCat(suffix, " is ", ShapeToString(part->shape), "; ",
                             rank, " dimensions are expected"));
  }

  absl::StatusOr<StoredWeight> Weight(const std::string& module,
                                      const TensorEntry& codes) const {
    absl::StatusOr<Guess> guess = Guessed(module, codes);
    QUANT_RETURN_IF_ERROR(guess.status());
    QUANT_RETURN_IF_ERROR(CheckSize(module, *guess));
    StoredWeight weight;
    weight.format = guess->loose ? &LooseCompressedTensors() : format_;
    QUANT_ASSIGN_OR_RETURN(weight.codec, MakeCodec(guess->scheme));
    weight.source = {.name = module + ".weight",
                     .dtype = guess->dtype,
                     .shape = guess->shape};
    if (const std::string misfit =
            weight.format->ShapeMisfit(guess->scheme, guess->shape, true);
        !misfit.empty()) {
      return Unsupported(module, misfit);
    }
    for (const OutputTensor& output :
         weight.format->Outputs(*weight.codec, weight.source)) {
      QUANT_ASSIGN_OR_RETURN(const int index, Place(module, output));
      weight.outputs.push_back(index);
    }
    return weight;
  }

  absl::Status Unsupported(const std::string& module,
                           absl::string_view why) const {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, Reason::kUnsupported,
        absl::StrCat(module,
                     ": is quantized in a way that is not read: ", why));
  }

  // Before anything is computed from the shape.
  absl::Status CheckSize(const std::string& module, const Guess& guess) const {
    const auto elements = NumElements(guess.shape);
    const bool good = guess.shape.size() == 2 && elements &&
                      guess.shape[0] >= 1 && guess.shape[1] >= 1 &&
                      guess.shape[1] <= kMaxRowElements &&
                      CheckedMul(*elements, 32).has_value();
    if (good) return absl::OkStatus();
    return Malformed(module, absl::StrCat("its weight would be ",
                                          ShapeToString(guess.shape)));
  }

  // The index of what the format would have written.
  absl::StatusOr<int> Place(const std::string& module,
                            const OutputTensor& output) const {
    const TensorEntry* stored = Find(output.name);
    if (stored == nullptr) {
      return Malformed(module, absl::StrCat("lacks ", output.name));
    }
    const bool one = output.bytes == stored->bytes &&
                     NumElements(output.shape) == 1;  // [] and [1]
    const bool text = IsFreeText(output.name) && stored->shape.size() == 1 &&
                      stored->bytes <= kMaxStateBytes;
    if (stored->dtype != output.dtype ||
        (stored->shape != output.shape && !one && !text)) {
      return Malformed(
          module, absl::StrCat(output.name, " is ", DTypeName(stored->dtype),
                               " ", ShapeToString(stored->shape), "; ",
                               DTypeName(output.dtype), " ",
                               ShapeToString(output.shape),
                               " goes with its other tensors"));
    }
    return static_cast<int>(stored - model_.tensors().data());
  }

  absl::StatusOr<Guess> Guessed(const std::string& module,
                                const TensorEntry& codes) const {
    if (settings_.format == "gptq" || settings_.format == "gptq_v2") {
      return Gptq(module);
    }
    if (settings_.format == "awq") return Awq(module);
    if (settings_.format == "fp8") return Fp8(module);
    if (settings_.format == "bitsandbytes") return BitsAndBytes(module, codes);
    return CompressedTensors(module, codes);
  }

  // Groups of `count` along `in`: whole ones only.
  absl::Status SetGroups(const std::string& module, int64_t in, int64_t count,
                         Scheme& scheme) const {
    if (count == 1 && scheme.scales == ScaleKind::kFloat) {
      scheme.granularity = Granularity::kChannel;
      return absl::OkStatus();
    }
    if (in % count != 0) {
      return Malformed(module,
                       absl::StrCat(count, " groups of ", in, " inputs"));
    }
    scheme.granularity = Granularity::kGroup;
    scheme.group_size = in / count;
    return absl::OkStatus();
  }

  static DType ScalesLike(const TensorEntry& scales) {
    return IsWeightFloat(scales.dtype) ? scales.dtype : DType::kF32;
  }

  absl::StatusOr<Guess> Gptq(const std::string& module) const {
    QUANT_ASSIGN_OR_RETURN(const auto* words, Part(module, ".qweight", 2));
    QUANT_ASSIGN_OR_RETURN(const auto* zeros, Part(module, ".qzeros", 2));
    QUANT_ASSIGN_OR_RETURN(const auto* scales, Part(module, ".scales", 2));
    const int64_t out = scales->shape[1];
    const int64_t bits = zeros->shape[1] * 32 / out;
    if (bits < 2 || bits > 8) {
      return Malformed(module, absl::StrCat(bits, " bits by .qzeros"));
    }
    if (bits > 4 && bits < 8) {
      return Unsupported(module, absl::StrCat(bits, " bits lie in planes"));
    }
    // Zero points are always read: those of symmetric files are the middle.
    Guess guess{.scheme = {.name = "GPTQ", .bits = static_cast<int>(bits)},
                .shape = {out, words->shape[0] * 32 / bits},
                .dtype = ScalesLike(*scales)};
    guess.scheme.symmetric = false;
    QUANT_RETURN_IF_ERROR(
        SetGroups(module, guess.shape[1], scales->shape[0], guess.scheme));
    return guess;
  }

  absl::StatusOr<Guess> Awq(const std::string& module) const {
    QUANT_ASSIGN_OR_RETURN(const auto* words, Part(module, ".qweight", 2));
    QUANT_ASSIGN_OR_RETURN(const auto* scales, Part(module, ".scales", 2));
    Guess guess{.scheme = {.name = "AWQ", .bits = 4},
                .shape = {scales->shape[1], words->shape[0]},
                .dtype = DType::kF16};
    guess.scheme.symmetric = false;
    QUANT_RETURN_IF_ERROR(
        SetGroups(module, guess.shape[1], scales->shape[0], guess.scheme));
    return guess;
  }

  absl::StatusOr<Guess> Fp8(const std::string& module) const {
    QUANT_ASSIGN_OR_RETURN(const auto* codes, Part(module, ".weight", 2));
    Guess guess{.scheme = {.name = "FP8", .type = NumberType::kF8E4M3},
                .shape = codes->shape};
    if (Find(module + ".weight_scale_inv") == nullptr) {
      guess.scheme.granularity = Granularity::kTensor;
      return guess;
    }
    guess.scheme.granularity = Granularity::kBlock;
    guess.scheme.block_rows = settings_.block_rows;
    guess.scheme.block_cols = settings_.block_cols;
    if (settings_.block_rows > 0) return guess;
    return Malformed(module,
                     "has scales of blocks, but no weight_block_size is given");
  }

  absl::StatusOr<Guess> BitsAndBytes(const std::string& module,
                                     const TensorEntry& codes) const {
    if (Find(module + ".SCB") != nullptr) {
      return Guess{.scheme = {.name = "LLM_INT8",
                              .granularity = Granularity::kChannel,
                              .scales = ScaleKind::kRowMax127},
                   .shape = codes.shape};
    }
    const std::string prefix =
        absl::StrCat(module, ".weight.quant_state.bitsandbytes__");
    const TensorEntry* nf4 = Find(prefix + "nf4");
    const TensorEntry* state = nf4 ? nf4 : Find(prefix + "fp4");
    if (state == nullptr || state->bytes > kMaxStateBytes) {
      return Malformed(module, "has no quant_state");
    }
    std::vector<uint8_t> text(state->bytes);
    QUANT_RETURN_IF_ERROR(model_.Read(*state, 0, absl::MakeSpan(text)));
    return FromState(module, nf4 ? NumberType::kNF4 : NumberType::kBnbFp4,
                     text);
  }

  absl::StatusOr<Guess> FromState(const std::string& module, NumberType type,
                                  const std::vector<uint8_t>& text) const {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    const auto number = [](const nlohmann::json& value) {
      return value.is_number_integer() ? value.get<int64_t>() : 0;
    };
    if (!json.is_object() || !json.contains("shape") ||
        !json["shape"].is_array() || json["shape"].size() != 2 ||
        !json.contains("blocksize")) {
      return Malformed(module, "its quant_state is not the expected object");
    }
    const bool nested = json.contains("nested_offset");
    if (nested && (!json.contains("nested_blocksize") ||
                   number(json["nested_blocksize"]) != kNestedScales)) {
      return Unsupported(module, "nested blocks are not of 256 scales");
    }
    return Guess{
        .scheme = {.name = "BNB",
                   .type = type,
                   .bits = 4,
                   .granularity = Granularity::kGroup,
                   .group_size = number(json["blocksize"]),
                   .scales = nested ? ScaleKind::kNested : ScaleKind::kFloat},
        .shape = {number(json["shape"][0]), number(json["shape"][1])}};
  }

  absl::StatusOr<Guess> CompressedTensors(const std::string& module,
                                          const TensorEntry& codes) const {
    const TensorEntry* scales = Find(module + ".weight_scale");
    if (scales == nullptr) return Malformed(module, "lacks weight_scale");
    if (codes.shape.size() != 2) {
      return Unsupported(module, "its weight is not a matrix");
    }
    Guess guess{.scheme = {.name = "CT"},
                .shape = codes.shape,
                .dtype = ScalesLike(*scales)};
    Scheme& scheme = guess.scheme;
    scheme.symmetric = Find(module + ".weight_zero_point") == nullptr;
    scheme.act_order = Find(module + ".weight_g_idx") != nullptr;
    if (codes.dtype != DType::kI32 && (!scheme.symmetric || scheme.act_order)) {
      return Unsupported(
          module, "zero points and weight_g_idx are read of packed integers");
    }
    const bool small = scales->dtype == DType::kU8;
    if (codes.dtype == DType::kU8) {
      QUANT_RETURN_IF_ERROR(TwiceAsWide(module, guess.shape));
      scheme.type = NumberType::kF4E2M1;
      scheme.bits = 4;
      scheme.scales = small ? ScaleKind::kE8M0 : ScaleKind::kE4M3;
    } else if (codes.dtype == DType::kF8E4M3) {
      scheme.type = NumberType::kF8E4M3;
      scheme.scales = small ? ScaleKind::kE8M0 : ScaleKind::kFloat;
    } else if (codes.dtype == DType::kI32) {
      QUANT_RETURN_IF_ERROR(UseWords(module, guess));
    } else {
      // 8-bit integers as they are.
      scheme.activations = Activations::kInt8TokenDynamic;
    }
    QUANT_RETURN_IF_ERROR(UseScaleShape(module, scales->shape, guess));
    return guess;
  }

  absl::Status TwiceAsWide(const std::string& module, Shape& shape) const {
    if (shape[1] > kMaxRowElements) return Malformed(module, "rows too long");
    shape[1] *= 2;
    return absl::OkStatus();
  }

  // Bits from the words of a row.
  absl::Status UseWords(const std::string& module, Guess& guess) const {
    QUANT_ASSIGN_OR_RETURN(const auto* stored,
                           Part(module, ".weight_shape", 1));
    if (stored->dtype != DType::kI64 || stored->shape[0] != 2) {
      return Malformed(module, "weight_shape is not two I64");
    }
    const int64_t words = guess.shape[1];
    guess.shape.assign(2, 0);
    QUANT_RETURN_IF_ERROR(model_.Read(
        *stored, 0,
        absl::MakeSpan(reinterpret_cast<uint8_t*>(guess.shape.data()), 16)));
    QUANT_RETURN_IF_ERROR(CheckSize(module, guess));
    for (int bits = 2; bits <= 8; ++bits) {
      if (!settings_.bits.empty() && settings_.bits.count(bits) == 0) continue;
      AddPacking(bits, words, guess);
    }
    if (guess.packings == 1) return absl::OkStatus();
    return Unsupported(
        module,
        absl::StrCat("rows of ", guess.shape[1], " weights in ", words,
                     " words are ",
                     guess.packings == 0
                         ? "of no width that the configuration names"
                         : "packed in one of two ways; the configuration's "
                           "version would tell"));
  }

  // Whether rows of so many words can be of `bits`, packed in either way.
  void AddPacking(int bits, int64_t words, Guess& guess) const {
    using Packing = QuantSettings::Packing;
    const bool one_way = 32 % bits == 0;
    const bool dense = PackedWords(guess.shape[1], bits) == words &&
                       (one_way || settings_.packing != Packing::kLoose);
    const bool loose = LooseWords(guess.shape[1], bits) == words && !one_way &&
                       settings_.packing != Packing::kDense;
    if (!dense && !loose) return;
    guess.scheme.bits = bits;
    guess.loose = loose;
    guess.packings += (dense ? 1 : 0) + (loose ? 1 : 0);
  }

  absl::Status UseScaleShape(const std::string& module, const Shape& scales,
                             Guess& guess) const {
    const int64_t out = guess.shape[0], in = guess.shape[1];
    Scheme& scheme = guess.scheme;
    if (scales.empty() || scales == Shape{1}) {
      scheme.granularity = Granularity::kTensor;
      return absl::OkStatus();
    }
    if (scales.size() != 2 || scales[0] < 1 || scales[1] < 1) {
      return Malformed(module,
                       absl::StrCat("weight_scale is ", ShapeToString(scales)));
    }
    if (scales[0] == out) return SetGroups(module, in, scales[1], scheme);
    // Blocks: the only size in use.
    scheme.granularity = Granularity::kBlock;
    scheme.block_rows = scheme.block_cols = 128;
    return absl::OkStatus();
  }

  const ModelReader& model_;
  const QuantSettings& settings_;
  const ArtifactFormat* format_ = nullptr;
  std::set<std::string> modules_;  // whose weights were found
};

}  // namespace

absl::StatusOr<std::vector<StoredWeight>> FindStoredWeights(
    const ModelReader& model) {
  QUANT_ASSIGN_OR_RETURN(const QuantSettings settings,
                         ReadQuantSettings(model));
  if (settings.format.empty()) return std::vector<StoredWeight>();
  return Finder(model, settings).Run();
}

}  // namespace quant
