// safetensors files: the header read with every check, and the layout of files
// to be written. Source: the safetensors format description and its reference
// reader (Rust crate `safetensors`).
//
//   0..8    N: u64 LE, header length in bytes, padding included
//   8..8+N  JSON object
//   8+N..   tensor bytes; offsets in the header are relative to here
#ifndef QUANT_CORE_CONTAINER_SAFETENSORS_H_
#define QUANT_CORE_CONTAINER_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/file.h"
#include "core/tensor/dtype.h"
#include "core/tensor/shape.h"

namespace quant {

struct SafetensorsTensor {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  int64_t begin = 0;  // byte offset relative to the data section
  int64_t end = 0;    // exclusive
};

struct SafetensorsHeader {
  std::vector<SafetensorsTensor> tensors;  // by ascending offset
  std::map<std::string, std::string> metadata;
  int64_t data_start = 0;  // 8 + N
};

// Checks and parses a header. `json` is the N bytes after the length, and
// `file_size` the size of the whole file. Never allocates more than a small
// multiple of json.size(). DATA_LOSS MODEL_MALFORMED, naming the tensor, for
// everything the reference reader refuses, and for duplicate keys.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json,
                                                         int64_t file_size);

// Reads and checks the header of an open file. Reads nothing else.
// FAILED_PRECONDITION UNSAFE_FORMAT when the bytes look like a pickle or a zip.
absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const File& file);

// The header text of an open file, with its length checked and nothing else:
// what ReadSafetensorsHeader hands to ParseSafetensorsHeader.
absl::StatusOr<std::string> ReadSafetensorsHeaderText(const File& file);

// A file to be written: where every byte goes.
struct SafetensorsLayout {
  std::string header;                      // the first data_start bytes
  std::vector<SafetensorsTensor> tensors;  // in file order
  int64_t file_size = 0;
};

// Lays out tensors (begin and end are ignored) as the reference writer does: by
// descending dtype, then by name; no gaps; the header padded with spaces to a
// multiple of 8. transformers wants the metadata that is the default.
// INVALID_ARGUMENT for duplicate names, overflow or a header beyond the cap.
absl::StatusOr<SafetensorsLayout> LayOutSafetensors(
    std::vector<SafetensorsTensor> tensors,
    const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_SAFETENSORS_H_
