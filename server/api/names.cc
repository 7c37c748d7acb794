#include "server/api/names.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/digest.h"
#include "core/base/error.h"

namespace quant {
namespace {

constexpr size_t kMaxIdBytes = 128;
constexpr char kLogSuffix[] = "/log";

bool IsId(absl::string_view id) {
  return !id.empty() && id.size() <= kMaxIdBytes &&
         std::all_of(id.begin(), id.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  c == '-' || c == '_';
         });
}

absl::Status NotFound(Reason reason, absl::string_view name) {
  return MakeError(absl::StatusCode::kNotFound, reason,
                   absl::StrCat("there is no \"", name.substr(0, 200), "\""));
}

absl::StatusOr<std::string> ParseName(absl::string_view name,
                                      absl::string_view collection,
                                      Reason reason) {
  if (name.empty()) {
    return InvalidSpec(
        absl::StrCat("name is empty; expected \"", collection, "{id}\""),
        "name");
  }
  absl::string_view id = name;
  if (!absl::ConsumePrefix(&id, collection) || !IsId(id)) {
    return NotFound(reason, name);
  }
  return std::string(id);
}

}  // namespace

std::string JobName(absl::string_view id) { return absl::StrCat("jobs/", id); }

std::string JobLogName(absl::string_view id) {
  return absl::StrCat(JobName(id), kLogSuffix);
}

std::string ArtifactName(absl::string_view id) {
  return absl::StrCat("artifacts/", id);
}

std::string UploadName(absl::string_view id) {
  return absl::StrCat("uploads/", id);
}

std::string FileResourceName(absl::string_view artifact_id,
                             absl::string_view path) {
  return absl::StrCat("artifacts/", artifact_id, "/files/", path);
}

std::string BlobResourceName(absl::string_view upload_id,
                             absl::string_view sha256) {
  return absl::StrCat("uploads/", upload_id, "/blobs/", sha256);
}

absl::StatusOr<std::string> ParseJobName(absl::string_view name) {
  return ParseName(name, "jobs/", Reason::kJobNotFound);
}

absl::StatusOr<std::string> ParseArtifactName(absl::string_view name) {
  return ParseName(name, "artifacts/", Reason::kArtifactNotFound);
}

absl::StatusOr<std::string> ParseUploadName(absl::string_view name) {
  return ParseName(name, "uploads/", Reason::kUploadNotFound);
}

bool IsJobLogName(absl::string_view name) {
  return absl::StartsWith(name, "jobs/") && absl::EndsWith(name, kLogSuffix);
}

absl::StatusOr<std::string> ParseJobLogName(absl::string_view name) {
  absl::string_view job = name;
  if (!absl::ConsumeSuffix(&job, kLogSuffix)) {
    return NotFound(Reason::kJobNotFound, name);
  }
  return ParseJobName(job);
}

absl::StatusOr<FileResource> ParseFileResource(absl::string_view name) {
  absl::string_view rest = name;
  if (absl::ConsumePrefix(&rest, "artifacts/")) {
    const size_t slash = rest.find("/files/");
    if (slash != absl::string_view::npos && IsId(rest.substr(0, slash))) {
      return FileResource{std::string(rest.substr(0, slash)),
                          std::string(rest.substr(slash + 7))};
    }
  }
  return NotFound(Reason::kArtifactNotFound, name);
}

absl::StatusOr<BlobResource> ParseBlobResource(absl::string_view name) {
  absl::string_view rest = name;
  if (absl::ConsumePrefix(&rest, "uploads/")) {
    const size_t slash = rest.find("/blobs/");
    if (slash != absl::string_view::npos && IsId(rest.substr(0, slash)) &&
        IsSha256Hex(rest.substr(slash + 7))) {
      return BlobResource{std::string(rest.substr(0, slash)),
                          std::string(rest.substr(slash + 7))};
    }
  }
  return NotFound(Reason::kBlobNotFound, name);
}

}  // namespace quant
