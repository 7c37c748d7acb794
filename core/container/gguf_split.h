// Models that are split over several GGUF files, which find each other by
// name: <prefix>-00001-of-00003.gguf.
#ifndef QUANT_CORE_CONTAINER_GGUF_SPLIT_H_
#define QUANT_CORE_CONTAINER_GGUF_SPLIT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/file.h"
#include "core/container/gguf_value.h"

namespace quant {

struct SplitName {
  std::string prefix;
  int number = 0;  // from 1
  int count = 0;

  std::string FileName() const;
};

// Nothing when `name` is not that of a split file.
std::optional<SplitName> ParseSplitName(absl::string_view name);

// What the keys of one file say of the set that it is part of.
struct SplitKeys {
  int number = 0;                  // from 0
  int count = 1;                   // 1: not split
  std::optional<int64_t> tensors;  // of all files together
};

// DATA_LOSS MODEL_MALFORMED for keys of the wrong type or beyond the limits.
absl::StatusOr<SplitKeys> ReadSplitKeys(absl::Span<const GgufKv> kvs);

// Whether `key` is one of those: they describe files, not the model.
bool IsSplitKey(absl::string_view key);

// The one GGUF model among the files of a directory: its file, or the first of
// its files. Empty when there is none; NOT_FOUND SOURCE_MISSING, naming some,
// when there are several.
absl::StatusOr<std::string> FindGgufFile(const std::string& directory,
                                         absl::Span<const DirEntry> entries);

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_GGUF_SPLIT_H_
