#include "core/network/hidden_states.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr int64_t kFloatBytes = sizeof(float);

// A file without a name: it ends with the process, however that ends.
absl::StatusOr<File> NamelessFile(const std::string& directory, int64_t bytes) {
  const std::string path =
      JoinPath(directory, absl::StrCat("quant-hidden-states-", getpid()));
  QUANT_ASSIGN_OR_RETURN(File file, File::OpenWrite(path));
  QUANT_RETURN_IF_ERROR(RemoveTree(path));
  QUANT_RETURN_IF_ERROR(file.Allocate(bytes));
  return file;
}

}  // namespace

absl::StatusOr<HiddenStates> HiddenStates::Create(int64_t rows, int64_t cols,
                                                  const SpillOptions& options) {
  const auto count = CheckedMul(rows, cols);
  const auto bytes = CheckedMul(count.value_or(0), kFloatBytes);
  if (!count || !bytes) {
    return InvalidSpec(absl::StrCat("hidden states: ", rows, " x ", cols,
                                    "; fewer sequences are allowed"));
  }
  HiddenStates states(rows, cols);
  if (*bytes <= options.memory_bytes) {
    states.memory_.resize(*count);
  } else {
    QUANT_ASSIGN_OR_RETURN(states.file_,
                           NamelessFile(options.directory, *bytes));
  }
  return states;
}

absl::Status HiddenStates::Load(int64_t first_row, int64_t rows,
                                float* out) const {
  const int64_t at = first_row * cols_;
  const int64_t count = rows * cols_;
  if (file_) {
    return file_->ReadAt(
        at * kFloatBytes,
        absl::MakeSpan(reinterpret_cast<uint8_t*>(out), count * kFloatBytes));
  }
  std::copy_n(memory_.data() + at, count, out);
  return absl::OkStatus();
}

absl::Status HiddenStates::Store(int64_t first_row, int64_t rows,
                                 const float* values) {
  const int64_t at = first_row * cols_;
  const int64_t count = rows * cols_;
  if (file_) {
    return file_->WriteAt(
        at * kFloatBytes,
        absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(values),
                            count * kFloatBytes));
  }
  std::copy_n(values, count, memory_.data() + at);
  return absl::OkStatus();
}

}  // namespace quant
