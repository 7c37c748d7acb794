// Names of resources, as the API spells them. Ids are opaque: a name that can't
// be one is simply not found.
#ifndef QUANT_SERVER_API_NAMES_H_
#define QUANT_SERVER_API_NAMES_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

std::string JobName(absl::string_view id);
std::string JobLogName(absl::string_view id);
std::string ArtifactName(absl::string_view id);
std::string UploadName(absl::string_view id);
std::string FileResourceName(absl::string_view artifact_id,
                             absl::string_view path);
std::string BlobResourceName(absl::string_view upload_id,
                             absl::string_view sha256);

// The id in "jobs/{id}": INVALID_ARGUMENT INVALID_SPEC when empty, NOT_FOUND
// with the kind's reason when it can't be one. So the others.
absl::StatusOr<std::string> ParseJobName(absl::string_view name);
absl::StatusOr<std::string> ParseArtifactName(absl::string_view name);
absl::StatusOr<std::string> ParseUploadName(absl::string_view name);

// "jobs/{id}/log".
bool IsJobLogName(absl::string_view name);
absl::StatusOr<std::string> ParseJobLogName(absl::string_view name);

struct FileResource {
  std::string artifact_id;
  std::string path;
};
// "artifacts/{id}/files/{path}".
absl::StatusOr<FileResource> ParseFileResource(absl::string_view name);

struct BlobResource {
  std::string upload_id;
  std::string sha256;
};
// "uploads/{id}/blobs/{sha256}".
absl::StatusOr<BlobResource> ParseBlobResource(absl::string_view name);

}  // namespace quant

#endif  // QUANT_SERVER_API_NAMES_H_
