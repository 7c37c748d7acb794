#include "core/container/weight_files.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// Well under the usual limit of 1024 descriptors per process.
constexpr size_t kMaxOpenFiles = 128;

}  // namespace

absl::StatusOr<File> OpenWeightFile(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return ModelMalformed(absl::StrCat(path, ": is not a regular file"));
  }
  return File::OpenRead(path);
}

void WeightFiles::Add(File file, WeightFile description) {
  files_.push_back(std::move(description));
  paths_.push_back(file.path());
  open_.emplace_back();
  if (open_.size() <= kMaxOpenFiles) open_.back().emplace(std::move(file));
}

absl::Status WeightFiles::Read(const TensorEntry& tensor, int64_t begin,
                               absl::Span<uint8_t> out) const {
  const int64_t size = static_cast<int64_t>(out.size());
  if (tensor.file < 0 || tensor.file >= static_cast<int>(files_.size()) ||
      begin < 0 || begin > tensor.bytes || size > tensor.bytes - begin) {
    return MakeError(
        absl::StatusCode::kInternal, Reason::kInternal,
        absl::StrCat("tensor \"", tensor.name, "\": read of ", size,
                     " bytes at ", begin, " outside of its ", tensor.bytes));
  }
  const int64_t offset = tensor.offset + begin;
  absl::Status status;
  if (open_[tensor.file]) {
    status = open_[tensor.file]->ReadAt(offset, out);
  } else {
    QUANT_RETURN_IF_ERROR(CheckFileUnchanged(tensor.file));
    QUANT_ASSIGN_OR_RETURN(const File file,
                           File::OpenRead(paths_[tensor.file]));
    status = file.ReadAt(offset, out);
  }
  if (status.ok()) return status;
  // A file that lost its end was good when it was opened: say so.
  QUANT_RETURN_IF_ERROR(CheckFileUnchanged(tensor.file));
  return status;
}

absl::Status WeightFiles::CheckFileUnchanged(int file) const {
  auto now = IdentityOf(paths_[file]);
  const FileIdentity& then = files_[file].identity;
  if (now.ok() && now->size_bytes == then.size_bytes &&
      now->mtime_ns == then.mtime_ns) {
    return absl::OkStatus();
  }
  return MakeError(
      absl::StatusCode::kFailedPrecondition, Reason::kSourceChanged,
      absl::StrCat(paths_[file], ": ", now.ok() ? "changed" : "is gone",
                   " since it was opened; the weights must stay "
                   "as they are until the end"));
}

absl::Status WeightFiles::CheckUnchanged() const {
  for (size_t i = 0; i < files_.size(); ++i) {
    QUANT_RETURN_IF_ERROR(CheckFileUnchanged(static_cast<int>(i)));
  }
  return absl::OkStatus();
}

}  // namespace quant
