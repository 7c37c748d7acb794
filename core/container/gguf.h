// GGUF files: the head read with every check, and the layout of files to be
// written. Source: the GGUF description of the ggml project, and what its C++
// reader accepts (limits, exact types).
//
//   "GGUF"  version u32   tensors u64   keys u64
//   per key:     string key, i32 type, value
//   per tensor:  string name, u32 rank, rank x u64 dims, i32 type, u64 offset
//   zeros up to a multiple of the alignment (general.alignment, else 32)
//   tensors, each followed by zeros up to a multiple of the alignment
//
// A string is its length (u64) and its bytes; an array its element type (i32),
// its length (u64) and its elements. All little-endian. dims[0] is a row's
// length: the reverse of a Shape. Offsets count from the first tensor.
#ifndef QUANT_CORE_CONTAINER_GGUF_H_
#define QUANT_CORE_CONTAINER_GGUF_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/file.h"
#include "core/container/gguf_value.h"
#include "core/tensor/ggml_type.h"
#include "core/tensor/shape.h"

namespace quant {

inline constexpr char kGgufMagic[] = "GGUF";
// Of files without general.alignment.
inline constexpr int64_t kGgufAlignment = 32;

struct GgufTensor {
  std::string name;
  GgmlType type = GgmlType::kF32;
  Shape shape;        // [out, in] for matrices
  int64_t begin = 0;  // absolute in the file
  int64_t end = 0;    // exclusive, without the zeros behind

  bool operator==(const GgufTensor&) const = default;
};

struct GgufHeader {
  int version = 0;
  int64_t alignment = kGgufAlignment;
  std::vector<GgufKv> kvs;          // in file order, general.alignment included
  std::vector<GgufTensor> tensors;  // in file order
  int64_t data_start = 0;
  std::string digest;  // XXH3-128 of the head, hex
};

// Reads and checks the head of an open file, and nothing else. DATA_LOSS
// MODEL_MALFORMED, naming the key or tensor, for everything the reference
// reader refuses, empty tensors, and files that end before their tensors do.
// UNIMPLEMENTED UNSUPPORTED for block types that quantd does not know.
absl::StatusOr<GgufHeader> ReadGgufHeader(const File& file);

// A file to be written: where every byte goes. What is neither header nor
// tensor is zero.
struct GgufLayout {
  std::string header;               // up to the first tensor, zeros included
  std::vector<GgufTensor> tensors;  // in the given order, placed
  int64_t file_size = 0;            // with the zeros behind the last tensor
};

// Lays out `tensors` (begin and end are ignored) behind `kvs`, both in the
// given order. An alignment other than 32 becomes a key; a general.alignment in
// `kvs` must agree with it. INVALID_ARGUMENT for what ReadGgufHeader would
// refuse.
absl::StatusOr<GgufLayout> LayOutGguf(absl::Span<const GgufKv> kvs,
                                      std::vector<GgufTensor> tensors,
                                      int64_t alignment = kGgufAlignment);

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_GGUF_H_
