// imatrix.h: the GGUF form, written.
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/container/gguf.h"
#include "core/container/imatrix.h"

namespace quant {
namespace {

GgufTensor FloatTensor(std::string name, Shape shape) {
  return {.name = std::move(name),
          .type = GgmlType::kF32,
          .shape = std::move(shape)};
}

std::vector<GgufKv> KeysOf(const Imatrix& matrix) {
  return {{"general.type", std::string("imatrix")},
          {"imatrix.datasets", GgufArray(matrix.datasets)},
          {"imatrix.chunk_count", static_cast<uint32_t>(matrix.chunks)},
          {"imatrix.chunk_size", static_cast<uint32_t>(matrix.chunk_tokens)}};
}

// Sums of squares, [E, in]: zero where no token was met.
std::vector<float> SumsOf(const ImatrixEntry& entry) {
  std::vector<float> sums(entry.means.size());
  const int64_t columns =
      static_cast<int64_t>(entry.means.size()) / entry.experts();
  for (size_t i = 0; i < sums.size(); ++i) {
    sums[i] = static_cast<float>(
        static_cast<double>(entry.means[i]) *
        static_cast<double>(entry.counts[static_cast<int64_t>(i) / columns]));
  }
  return sums;
}

}  // namespace

absl::Status WriteImatrix(const Imatrix& matrix, const std::string& path) {
  std::vector<GgufTensor> tensors;
  std::vector<std::vector<float>> values;
  for (const auto& [name, entry] : matrix.entries) {
    const int64_t experts = entry.experts();
    tensors.push_back(FloatTensor(
        absl::StrCat(name, ".in_sum2"),
        {experts, static_cast<int64_t>(entry.means.size()) / experts}));
    values.push_back(SumsOf(entry));
    tensors.push_back(FloatTensor(absl::StrCat(name, ".counts"), {experts, 1}));
    values.emplace_back(entry.counts.begin(), entry.counts.end());
  }
  QUANT_ASSIGN_OR_RETURN(const GgufLayout layout,
                         LayOutGguf(KeysOf(matrix), std::move(tensors)));
  std::string bytes(layout.file_size, '\0');
  std::memcpy(bytes.data(), layout.header.data(), layout.header.size());
  for (size_t i = 0; i < values.size(); ++i) {
    std::memcpy(bytes.data() + layout.tensors[i].begin, values[i].data(),
                values[i].size() * sizeof(float));
  }
  return WriteFileAtomically(path, bytes, /*sync=*/true);
}

}  // namespace quant
