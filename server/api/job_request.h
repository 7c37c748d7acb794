// The checks of JobService requests that need neither planner nor store.
#ifndef QUANT_SERVER_API_JOB_REQUEST_H_
#define QUANT_SERVER_API_JOB_REQUEST_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/map.h"
#include "quant/v1/job_service.pb.h"
#include "server/queue/job_store.h"

namespace quant {

using LabelMap = google::protobuf::Map<std::string, std::string>;

// At most 64, keys [a-z0-9._/-]{1,63}, values up to 256 bytes.
absl::Status CheckLabels(const LabelMap& labels);
// Empty, or 1..64 characters of [A-Za-z0-9_.:/-].
absl::Status CheckRequestId(absl::string_view id);

// SHA-256 of what a request asks for; equal for equal requests, however they
// were spelled. `canonical_spec`: deterministic serialization.
std::string RequestDigest(absl::string_view canonical_spec,
                          const std::map<std::string, std::string>& labels);

struct ListJobsQuery {
  ListQuery query;     // limit is one more than the page
  std::string filter;  // what page tokens are bound to
  int page_size = 0;
};
// `tenant`: whose jobs; nothing = all.
absl::StatusOr<ListJobsQuery> ParseListJobs(const v1::ListJobsRequest& request,
                                            std::optional<std::string> tenant,
                                            absl::string_view token_key);

}  // namespace quant

#endif  // QUANT_SERVER_API_JOB_REQUEST_H_
