// Importance matrices: how much each input column of a weight matters, as the
// mean square of the activations that it met in a calibration run.
//
// Two forms are read, the first is written. Source: the imatrix program of the
// llama.cpp project.
//
//   GGUF: general.type "imatrix"; imatrix.datasets string[];
//     imatrix.chunk_count u32; imatrix.chunk_size u32; per weight <name> two
//     F32 tensors, <name>.in_sum2 [E, in] (sums of squares over tokens) and
//     <name>.counts [E, 1] (tokens)
//   older (.dat): i32 entries; per entry i32 length, name, i32 calls, i32
//     values, f32[values] (mean times calls); then, in newer files, i32 chunks,
//     i32 length, dataset
//
// E: experts of a stack of weights, 1 for a plain one; in: columns of the
// weight.
#ifndef QUANT_CORE_CONTAINER_IMATRIX_H_
#define QUANT_CORE_CONTAINER_IMATRIX_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quant {

struct ImatrixEntry {
  // [E][in] mean squares, finite and >= 0. Ones for an expert that met no
  // token: nothing is known of it.
  std::vector<float> means;
  // [E] tokens. The older form does not tell experts apart and counts calls:
  // one count, and E is 1 here whatever the weight's is.
  std::vector<int64_t> counts;

  int64_t experts() const { return static_cast<int64_t>(counts.size()); }
};

struct Imatrix {
  std::map<std::string, ImatrixEntry> entries;  // by the weight's name
  std::vector<std::string> datasets;
  int64_t chunks = 0;        // of text; 0: unknown
  int64_t chunk_tokens = 0;  // 0: unknown

  // The weights of tensor `name` with `experts` times `columns` columns, valid
  // as long as the matrix; empty when it has none. INVALID_ARGUMENT when it has
  // another number of columns: it was made for another model.
  absl::StatusOr<absl::Span<const float>> Find(absl::string_view name,
                                               int64_t experts,
                                               int64_t columns) const;
};

// Reads a file of either form. DATA_LOSS MODEL_MALFORMED for what is neither,
// entries that repeat, lack their other half or have no values, and values that
// are negative or not finite. RESOURCE_EXHAUSTED beyond kMaxImatrixBytes.
absl::StatusOr<Imatrix> ReadImatrix(const std::string& path);

// Writes the GGUF form, whole or not at all. The same matrix gives the same
// bytes. INVALID_ARGUMENT for names that loaders would refuse.
absl::Status WriteImatrix(const Imatrix& matrix, const std::string& path);

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_IMATRIX_H_
