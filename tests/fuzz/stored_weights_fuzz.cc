// A quantized model: a line of config.json, then a tensor per line, as
//
//   name DTYPE dimension... = bytes, repeated
//
// Weights that are found can be read as values, and their codes are in range.
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "core/artifact/quantized_model.h"
#include "core/base/error.h"
#include "tests/fuzz/memory_model.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {
namespace {

// Of one weight; larger ones are not read.
constexpr int64_t kMaxElements = 1 << 14;
constexpr size_t kMaxTensors = 64;

void AddTensor(const std::string& line, MemoryModel& model) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(line, absl::MaxSplits(" = ", 1));
  const std::vector<std::string> words = absl::StrSplit(parts.first, ' ');
  if (words.size() < 2 || words.size() > 8) return;
  const auto dtype = ParseDType(words[1]);
  if (!dtype) return;
  TensorEntry tensor{.name = words[0], .dtype = *dtype, .shape = {}};
  for (size_t i = 2; i < words.size(); ++i) {
    int64_t size = 0;
    if (!absl::SimpleAtoi(words[i], &size) || size < 0) return;
    tensor.shape.push_back(size);
  }
  model.Add(std::move(tensor), parts.second);
}

bool IsRefusal(const absl::Status& status) {
  const Reason reason = GetReason(status);
  return status.message().size() < 8192 &&
         (reason == Reason::kModelMalformed || reason == Reason::kUnsupported ||
          reason == Reason::kInvalidSpec);
}

void CheckWeight(const MemoryModel& stored, const QuantizedModel& model,
                 const StoredWeight& weight) {
  const auto elements = NumElements(weight.source.shape);
  QUANT_FUZZ_CHECK(elements && *elements >= 1);
  if (*elements > kMaxElements) return;
  CodeTile tile;
  const absl::Status status =
      ReadCodes(stored, weight, 0, weight.source.shape[0], tile);
  QUANT_FUZZ_CHECK(status.ok() || IsRefusal(status));
  if (!status.ok()) return;
  QUANT_FUZZ_CHECK(static_cast<int64_t>(tile.codes.size()) == *elements);
  const int half = 1 << (weight.codec->scheme().bits - 1);
  const bool integer = weight.codec->scheme().type == NumberType::kInt;
  for (uint8_t byte : tile.codes) {
    const int code = static_cast<int8_t>(byte);
    QUANT_FUZZ_CHECK(!integer || (code >= -half && code < half));
  }
  for (const TensorEntry& tensor : model.tensors()) {
    if (tensor.name != weight.source.name) continue;
    std::vector<uint8_t> values(tensor.bytes);
    QUANT_FUZZ_CHECK(model.Read(tensor, 0, absl::MakeSpan(values)).ok());
  }
}

}  // namespace

void StoredWeights(absl::string_view bytes) {
  const std::vector<std::string> lines =
      absl::StrSplit(bytes, absl::MaxSplits('\n', kMaxTensors));
  MemoryModel stored(lines[0]);
  for (size_t i = 1; i < lines.size(); ++i) AddTensor(lines[i], stored);
  const auto model = QuantizedModel::Make(stored);
  if (!model.ok()) {
    QUANT_FUZZ_CHECK(IsRefusal(model.status()));
    return;
  }
  if (*model == nullptr) return;
  const std::vector<TensorEntry>& tensors = (*model)->tensors();
  for (size_t i = 1; i < tensors.size(); ++i) {
    QUANT_FUZZ_CHECK(tensors[i - 1].name < tensors[i].name);
  }
  for (const StoredWeight& weight : (*model)->weights()) {
    CheckWeight(stored, **model, weight);
  }
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::StoredWeights)
