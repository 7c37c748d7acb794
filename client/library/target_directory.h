// What lies where an artifact is to be downloaded.
#ifndef QUANT_CLIENT_LIBRARY_TARGET_DIRECTORY_H_
#define QUANT_CLIENT_LIBRARY_TARGET_DIRECTORY_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "quant/v1/artifact.pb.h"

namespace quant {

// What a file is called until it is complete: its name and this.
inline constexpr absl::string_view kPartSuffix = ".part";

// Relative paths.
struct TargetContents {
  std::set<std::string> complete;  // of the artifact, with the right digest
  // What neither is of the artifact nor a part of one of its files: other
  // files, links, files of its names with other bytes.
  std::vector<std::string> foreign;
};

// Reads the files of the artifact that are there. A directory that is not
// there holds nothing.
absl::StatusOr<TargetContents> LookInto(const std::string& directory,
                                        const v1::Artifact& artifact);

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_TARGET_DIRECTORY_H_
