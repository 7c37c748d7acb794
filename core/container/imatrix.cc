#include "core/container/imatrix.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/byte_cursor.h"
#include "core/container/gguf.h"
#include "core/container/json_events.h"
#include "core/container/weight_files.h"

namespace quant {
namespace {

constexpr char kSumsEnding[] = ".in_sum2";
constexpr char kCountsEnding[] = ".counts";
// Numbers up to this are exact in double; no run counts so many tokens.
constexpr float kMaxCount = 9007199254740992.0f;  // 2^53

std::string Label(absl::string_view name) {
  return absl::StrCat("entry ", QuotedName(name));
}

absl::Status CheckSums(absl::string_view name, absl::Span<const float> sums) {
  for (size_t i = 0; i < sums.size(); ++i) {
    if (std::isfinite(sums[i]) && sums[i] >= 0) continue;
    return ModelMalformed(
        absl::StrCat(Label(name), ": value ", i, " is ", sums[i],
                     "; sums of squares are finite and not negative"));
  }
  return absl::OkStatus();
}

// `sums` of one expert become means.
void Divide(double count, absl::Span<float> sums) {
  for (float& sum : sums) {
    sum = count == 0 ? 1.0f : static_cast<float>(sum / count);
  }
}

absl::Status AddEntry(std::string name, ImatrixEntry entry, Imatrix& matrix) {
  const auto [place, is_new] =
      matrix.entries.emplace(std::move(name), std::move(entry));
  if (is_new) return absl::OkStatus();
  return ModelMalformed(absl::StrCat(Label(place->first), ": is there twice"));
}

class LegacyReader {
 public:
  LegacyReader(const File& file, int64_t file_size)
      : cursor_(file, file_size) {}

  absl::StatusOr<Imatrix> Run() {
    QUANT_ASSIGN_OR_RETURN(const int64_t entries,
                           ReadCount("entries", kMaxTensorsPerModel));
    for (int64_t i = 0; i < entries; ++i) {
      if (absl::Status status = ReadEntry(); !status.ok()) {
        return Annotate(status, absl::StrCat("entry ", i));
      }
    }
    QUANT_RETURN_IF_ERROR(ReadTrailer());
    return std::move(matrix_);
  }

 private:
  absl::StatusOr<int64_t> ReadCount(absl::string_view what, int64_t limit) {
    QUANT_ASSIGN_OR_RETURN(const int32_t count, cursor_.Scalar<int32_t>());
    if (count > 0 && count <= limit) return count;
    return ModelMalformed(absl::StrCat(count, " ", what, "; 1 to ", limit,
                                       " are allowed: this is no importance "
                                       "matrix"));
  }

  absl::Status ReadEntry() {
    QUANT_ASSIGN_OR_RETURN(const int64_t length,
                           ReadCount("bytes of name", kMaxGgufTensorNameBytes));
    QUANT_ASSIGN_OR_RETURN(std::string name, cursor_.String(length));
    QUANT_ASSIGN_OR_RETURN(const int32_t calls, cursor_.Scalar<int32_t>());
    if (calls < 0) {
      return ModelMalformed(
          absl::StrCat(Label(name), ": has ", calls, " calls"));
    }
    QUANT_ASSIGN_OR_RETURN(const int64_t values,
                           ReadCount("values", kMaxImatrixBytes / 4));
    ImatrixEntry entry{.means = {}, .counts = {calls}};
    QUANT_ASSIGN_OR_RETURN(entry.means, cursor_.Array<float>(values));
    QUANT_RETURN_IF_ERROR(CheckSums(name, entry.means));
    Divide(calls, absl::MakeSpan(entry.means));
    return AddEntry(std::move(name), std::move(entry), matrix_);
  }

  absl::Status ReadTrailer() {
    if (cursor_.remaining() == 0) return absl::OkStatus();
    QUANT_ASSIGN_OR_RETURN(const int32_t chunks, cursor_.Scalar<int32_t>());
    matrix_.chunks = std::max(chunks, 0);
    QUANT_ASSIGN_OR_RETURN(const int32_t length, cursor_.Scalar<int32_t>());
    QUANT_ASSIGN_OR_RETURN(std::string dataset, cursor_.String(length));
    if (cursor_.remaining() > 0) {
      return ModelMalformed(absl::StrCat("has ", cursor_.remaining(),
                                         " more bytes behind its last field"));
    }
    if (!dataset.empty()) matrix_.datasets.push_back(std::move(dataset));
    return absl::OkStatus();
  }

  ByteCursor cursor_;
  Imatrix matrix_;
};

class GgufReader {
 public:
  explicit GgufReader(const File& file) : file_(file) {}

  absl::StatusOr<Imatrix> Run() {
    QUANT_ASSIGN_OR_RETURN(header_, ReadGgufHeader(file_));
    if (absl::Status status = ReadKeys(); !status.ok()) {
      return Annotate(status, file_.path());
    }
    for (const GgufTensor& tensor : header_.tensors)
      by_name_[tensor.name] = &tensor;
    for (const GgufTensor& tensor : header_.tensors) {
      if (absl::Status status = AddTensor(tensor); !status.ok()) {
        return Annotate(status, file_.path());
      }
    }
    return std::move(matrix_);
  }

 private:
  absl::Status ReadKeys() {
    QUANT_ASSIGN_OR_RETURN(const std::string type,
                           GetGguf<std::string>(header_.kvs, "general.type"));
    if (type != "imatrix") {
      return ModelMalformed(
          absl::StrCat("holds a ", QuotedName(type), "; an imatrix is needed"));
    }
    QUANT_ASSIGN_OR_RETURN(
        const auto* const datasets,
        GetGgufArray<std::string>(header_.kvs, "imatrix.datasets"));
    matrix_.datasets = *datasets;
    QUANT_ASSIGN_OR_RETURN(
        matrix_.chunks, GetGguf<uint32_t>(header_.kvs, "imatrix.chunk_count"));
    QUANT_ASSIGN_OR_RETURN(
        matrix_.chunk_tokens,
        GetGguf<uint32_t>(header_.kvs, "imatrix.chunk_size"));
    return absl::OkStatus();
  }

  // Reads an entry at its sums; at its counts only checks that they have sums.
  absl::Status AddTensor(const GgufTensor& tensor) {
    absl::string_view name = tensor.name;
    const bool is_sums = absl::ConsumeSuffix(&name, kSumsEnding);
    if ((!is_sums && !absl::ConsumeSuffix(&name, kCountsEnding)) ||
        name.empty()) {
      return ModelMalformed(absl::StrCat("tensor ", QuotedName(tensor.name),
                                         ": names must end in ", kSumsEnding,
                                         " or ", kCountsEnding));
    }
    const auto other = by_name_.find(
        absl::StrCat(name, is_sums ? kCountsEnding : kSumsEnding));
    if (other == by_name_.end()) {
      return ModelMalformed(absl::StrCat(
          Label(name), ": ", is_sums ? "counts" : "sums", " are missing"));
    }
    return is_sums ? AddPair(name, tensor, *other->second) : absl::OkStatus();
  }

  absl::Status AddPair(absl::string_view name, const GgufTensor& sums,
                       const GgufTensor& counts) {
    const int64_t experts = *NumElements(counts.shape);
    const int64_t values = *NumElements(sums.shape);
    const int64_t columns = sums.shape.empty() ? 1 : sums.shape.back();
    const bool one_count_per_row =
        values == experts * columns &&
        (counts.shape.empty() || counts.shape.back() == 1);
    if (sums.type != GgmlType::kF32 || counts.type != GgmlType::kF32 ||
        !one_count_per_row) {
      return ModelMalformed(absl::StrCat(
          Label(name), ": has sums ", InfoOf(sums.type).name, " ",
          ShapeToString(sums.shape), " and counts ", InfoOf(counts.type).name,
          " ", ShapeToString(counts.shape),
          "; F32 [E, in] and F32 [E, 1] are needed"));
    }
    ImatrixEntry entry;
    QUANT_ASSIGN_OR_RETURN(entry.means, ReadFloats(sums));
    QUANT_ASSIGN_OR_RETURN(const std::vector<float> tokens, ReadFloats(counts));
    QUANT_RETURN_IF_ERROR(CheckSums(name, entry.means));
    for (int64_t e = 0; e < experts; ++e) {
      if (!(tokens[e] >= 0 && tokens[e] <= kMaxCount)) {
        return ModelMalformed(
            absl::StrCat(Label(name), ": count ", e, " is ", tokens[e]));
      }
      entry.counts.push_back(std::llround(tokens[e]));
      Divide(static_cast<double>(entry.counts.back()),
             absl::MakeSpan(entry.means).subspan(e * columns, columns));
    }
    return AddEntry(std::string(name), std::move(entry), matrix_);
  }

  // The file holds these bytes: the header was checked against its size.
  absl::StatusOr<std::vector<float>> ReadFloats(
      const GgufTensor& tensor) const {
    std::vector<float> values(*NumElements(tensor.shape));
    QUANT_RETURN_IF_ERROR(file_.ReadAt(
        tensor.begin,
        absl::MakeSpan(reinterpret_cast<uint8_t*>(values.data()),
                       static_cast<size_t>(tensor.end - tensor.begin))));
    return values;
  }

  const File& file_;
  GgufHeader header_;
  std::map<std::string, const GgufTensor*> by_name_;
  Imatrix matrix_;
};

bool HasGgufMagic(const File& file, int64_t file_size) {
  char magic[4] = {};
  const auto out =
      absl::MakeSpan(reinterpret_cast<uint8_t*>(magic), sizeof(magic));
  return file_size >= static_cast<int64_t>(sizeof(magic)) &&
         file.ReadAt(0, out).ok() &&
         absl::string_view(magic, sizeof(magic)) == kGgufMagic;
}

}  // namespace

absl::StatusOr<absl::Span<const float>> Imatrix::Find(absl::string_view name,
                                                      int64_t experts,
                                                      int64_t columns) const {
  const auto found = entries.find(std::string(name));
  if (found == entries.end()) return absl::Span<const float>();
  const ImatrixEntry& entry = found->second;
  const auto wanted = CheckedMul(experts, columns);
  if (wanted && static_cast<int64_t>(entry.means.size()) == *wanted &&
      (entry.experts() == 1 || entry.experts() == experts)) {
    return entry.means;
  }
  return InvalidSpec(
      absl::StrCat("the importance matrix has ", entry.means.size(),
                   " columns of ", entry.experts(), " experts for tensor ",
                   QuotedName(name), ", which has ", columns, " columns of ",
                   experts, " experts; it was made for another model"));
}

absl::StatusOr<Imatrix> ReadImatrix(const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(const File file, OpenWeightFile(path));
  QUANT_ASSIGN_OR_RETURN(const int64_t size, file.Size());
  if (size > kMaxImatrixBytes) {
    return MakeError(absl::StatusCode::kResourceExhausted,
                     Reason::kModelMalformed,
                     absl::StrCat(path, ": has ", size, " bytes; at most ",
                                  kMaxImatrixBytes, " are read"));
  }
  if (HasGgufMagic(file, size)) return GgufReader(file).Run();
  auto matrix = LegacyReader(file, size).Run();
  if (!matrix.ok()) return Annotate(matrix.status(), path);
  return matrix;
}

}  // namespace quant
