// What exists for a caller: what its tenant has; for an admin, everything. What
// others have is answered exactly like what nobody has.
#ifndef QUANT_SERVER_API_OWNERSHIP_H_
#define QUANT_SERVER_API_OWNERSHIP_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "server/api/env.h"
#include "server/auth/principal.h"

namespace quant {

// NOT_FOUND with the kind's reason. They read the stores.
absl::StatusOr<JobRecord> FindJob(const ApiEnv& env, const Principal& caller,
                                  const std::string& id);
absl::StatusOr<ArtifactRecord> FindArtifact(const ApiEnv& env,
                                            const Principal& caller,
                                            const std::string& id);
absl::StatusOr<UploadRecord> FindUpload(const ApiEnv& env,
                                        const Principal& caller,
                                        const std::string& id);

// FAILED_PRECONDITION SOURCE_MISSING when a quant.v1.Source anywhere in
// `message` names an upload that does not exist for the caller.
absl::Status CheckUploads(const ApiEnv& env, const Principal& caller,
                          const google::protobuf::Message& message);

// The tenant whose things lists show; nothing = all.
std::optional<std::string> VisibleTenant(const Principal& caller);

// Whether the caller's tenant may store so many bytes more: RESOURCE_EXHAUSTED
// QUOTA_EXCEEDED. Reads the stores.
absl::Status CheckQuota(const ApiEnv& env, const Principal& caller,
                        int64_t more_bytes);

JobOwner OwnerOf(const Principal& caller);

}  // namespace quant

#endif  // QUANT_SERVER_API_OWNERSHIP_H_
