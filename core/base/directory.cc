// The part of file.h that walks directories.
#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "core/base/error.h"
#include "core/base/file.h"

namespace quant {

absl::StatusOr<std::vector<DirEntry>> ListDirectory(const std::string& path) {
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) return ErrnoError(errno, path);
  std::vector<DirEntry> entries;
  while (dirent* item = ::readdir(directory)) {
    DirEntry entry{.name = item->d_name};
    if (entry.name == "." || entry.name == "..") continue;
    struct stat info;
    if (::stat(JoinPath(path, entry.name).c_str(), &info) == 0) {
      entry.is_directory = S_ISDIR(info.st_mode);
      entry.is_regular = S_ISREG(info.st_mode);
      entry.size_bytes = info.st_size;
    }
    entries.push_back(std::move(entry));
  }
  ::closedir(directory);
  std::sort(
      entries.begin(), entries.end(),
      [](const DirEntry& a, const DirEntry& b) { return a.name < b.name; });
  return entries;
}

absl::Status MakeDirectories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return ErrnoError(error.value(), path);
  return absl::OkStatus();
}

absl::Status RemoveTree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return ErrnoError(error.value(), path);
  return absl::OkStatus();
}

}  // namespace quant
