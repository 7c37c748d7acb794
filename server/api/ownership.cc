#include "server/api/ownership.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/recipe/sources.h"
#include "quant/v1/job.pb.h"
#include "server/api/names.h"

namespace quant {
namespace {

// The store's answer, unless it is of another tenant; one text for both kinds
// of "not found".
template <typename Record>
absl::StatusOr<Record> Visible(absl::StatusOr<Record> found, bool visible,
                               Reason reason, const std::string& name) {
  const bool missing = absl::IsNotFound(found.status());
  if (!missing && (!found.ok() || visible)) return found;
  return MakeError(absl::StatusCode::kNotFound, reason,
                   absl::StrCat("there is no \"", name, "\""));
}

absl::Status CheckUpload(const ApiEnv& env, const Principal& caller,
                         const v1::Source& source) {
  if (!source.has_upload()) return absl::OkStatus();
  QUANT_ASSIGN_OR_RETURN(const std::string id,
                         ParseUploadName(source.upload()));
  const absl::Status found = FindUpload(env, caller, id).status();
  if (!absl::IsNotFound(found)) return found;
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   Reason::kSourceMissing, found.message());
}

}  // namespace

absl::StatusOr<JobRecord> FindJob(const ApiEnv& env, const Principal& caller,
                                  const std::string& id) {
  absl::StatusOr<JobRecord> found = env.jobs.Get(id);
  const bool visible = found.ok() && caller.Sees(found->owner.tenant);
  return Visible(std::move(found), visible, Reason::kJobNotFound, JobName(id));
}

absl::StatusOr<ArtifactRecord> FindArtifact(const ApiEnv& env,
                                            const Principal& caller,
                                            const std::string& id) {
  absl::StatusOr<ArtifactRecord> found = env.artifacts.Get(id);
  const bool visible = found.ok() && caller.Sees(found->tenant);
  return Visible(std::move(found), visible, Reason::kArtifactNotFound,
                 ArtifactName(id));
}

absl::StatusOr<UploadRecord> FindUpload(const ApiEnv& env,
                                        const Principal& caller,
                                        const std::string& id) {
  absl::StatusOr<UploadRecord> found = env.uploads.Get(id);
  const bool visible = found.ok() && caller.Sees(found->tenant);
  return Visible(std::move(found), visible, Reason::kUploadNotFound,
                 UploadName(id));
}

absl::Status CheckUploads(const ApiEnv& env, const Principal& caller,
                          const google::protobuf::Message& message) {
  if (caller.sees_all()) return absl::OkStatus();
  for (const v1::Source* source : SourcesIn(message)) {
    QUANT_RETURN_IF_ERROR(CheckUpload(env, caller, *source));
  }
  return absl::OkStatus();
}

std::optional<std::string> VisibleTenant(const Principal& caller) {
  if (caller.sees_all()) return std::nullopt;
  return caller.tenant;
}

absl::Status CheckQuota(const ApiEnv& env, const Principal& caller,
                        int64_t more_bytes) {
  if (env.limiter == nullptr || env.limiter->limits().stored_bytes == 0) {
    return absl::OkStatus();
  }
  QUANT_ASSIGN_OR_RETURN(const int64_t artifacts,
                         env.artifacts.TenantBytes(caller.tenant));
  QUANT_ASSIGN_OR_RETURN(const int64_t uploads,
                         env.uploads.TenantBytes(caller.tenant));
  return env.limiter->CheckBytes(
      caller, CheckedAdd(artifacts, uploads).value_or(INT64_MAX), more_bytes);
}

JobOwner OwnerOf(const Principal& caller) {
  return {.tenant = caller.tenant, .principal = caller.name};
}

}  // namespace quant
