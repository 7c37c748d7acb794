// Which paths of this machine a request may name: those that, after all links
// are resolved, lie inside one of the server's model roots. Thread-safe.
#ifndef QUANT_SERVER_PLANNER_SOURCE_RESOLVER_H_
#define QUANT_SERVER_PLANNER_SOURCE_RESOLVER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

class SourceResolver {
 public:
  // Each root must be a directory that exists.
  static absl::StatusOr<SourceResolver> Create(
      const std::vector<std::string>& roots);

  // The real path of `path`, absolute or relative to a root (the first root
  // that has it). INVALID_ARGUMENT SOURCE_NOT_ALLOWED for what lies outside
  // the roots, whether or not it exists; FAILED_PRECONDITION SOURCE_MISSING for
  // what lies inside and does not exist. Errors blame "source.server_path".
  absl::StatusOr<std::string> Resolve(const std::string& path) const;

  // INVALID_ARGUMENT SOURCE_NOT_ALLOWED when the model at `real_path` (from
  // Resolve) has weights or JSON files that are links out of the roots. Links
  // within the roots, as in Hugging Face caches, are fine.
  absl::Status CheckLinks(const std::string& real_path) const;

 private:
  struct Root {
    std::string given;  // absolute, without "." and ".."
    std::string real;   // links resolved
  };
  explicit SourceResolver(std::vector<Root> roots) : roots_(std::move(roots)) {}
  bool Inside(const std::string& real_path) const;
  // By spelling alone, for paths that don't exist.
  bool LooksInside(const std::string& path) const;

  std::vector<Root> roots_;
};

// What tells two states of the model at `real_path` apart without reading it:
// names, sizes, times and inodes of the file, or of the directory's entries.
absl::StatusOr<std::string> SourceIdentity(const std::string& real_path);

}  // namespace quant

#endif  // QUANT_SERVER_PLANNER_SOURCE_RESOLVER_H_
