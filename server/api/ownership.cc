#include "server/api/ownership.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "quant/v1/job.pb.h"
#include "server/api/names.h"

namespace quant {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

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
  return FindUpload(env, caller, id).status();
}

std::vector<const Message*> PartsOf(const Message& message) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  std::vector<const Message*> parts;
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      parts.push_back(&reflection.GetMessage(message, field));
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      parts.push_back(&reflection.GetRepeatedMessage(message, field, i));
    }
  }
  return parts;
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

// By descriptors, so that a source in a field of tomorrow is looked at too. The
// depth of a parsed message is bounded by protobuf.
absl::Status CheckUploads(const ApiEnv& env, const Principal& caller,
                          const Message& message) {
  if (caller.sees_all()) return absl::OkStatus();
  if (message.GetDescriptor() == v1::Source::descriptor()) {
    return CheckUpload(env, caller, static_cast<const v1::Source&>(message));
  }
  for (const Message* part : PartsOf(message)) {
    QUANT_RETURN_IF_ERROR(CheckUploads(env, caller, *part));
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
