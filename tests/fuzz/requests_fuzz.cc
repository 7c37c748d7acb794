// Requests of clients, as they come off the wire: the first byte says which,
// the others are the message. What is accepted is within its bounds.
#include <google/protobuf/stubs/logging.h>

#include <string>

#include "core/base/error.h"
#include "core/recipe/recipe.h"
#include "quant/v1/job_service.pb.h"
#include "server/api/job_request.h"
#include "server/api/names.h"
#include "server/api/page_token.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {
namespace {

constexpr char kKey[] = "a key of the server's own";

template <typename Request>
bool Parse(absl::string_view bytes, Request& request) {
  return request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

void CheckStatus(const absl::Status& status) {
  if (status.ok()) return;
  QUANT_FUZZ_CHECK(status.message().size() < 8192);
  QUANT_FUZZ_CHECK(GetReason(status) != Reason::kInternal);
}

void Create(absl::string_view bytes) {
  v1::CreateJobRequest request;
  if (!Parse(bytes, request)) return;
  CheckStatus(CheckRequestId(request.request_id()));
  const absl::Status labels = CheckLabels(request.labels());
  CheckStatus(labels);
  QUANT_FUZZ_CHECK(!labels.ok() || request.labels_size() <= 64);
  const auto canonical = CanonicalSpec(request.spec());
  CheckStatus(canonical.status());
  const auto plan = ToPlanRequest(request.spec(), 1);
  CheckStatus(plan.status());
  if (!canonical.ok()) return;
  const auto again = CanonicalSpec(*canonical);
  QUANT_FUZZ_CHECK(again.ok());
  QUANT_FUZZ_CHECK(again->SerializeAsString() ==
                   canonical->SerializeAsString());
}

void List(absl::string_view bytes) {
  v1::ListJobsRequest request;
  if (!Parse(bytes, request)) return;
  const auto query = ParseListJobs(request, "tenant", kKey);
  CheckStatus(query.status());
  if (!query.ok()) return;
  QUANT_FUZZ_CHECK(query->page_size >= 1 && query->page_size <= 1000);
  // Nobody but the server makes a token.
  QUANT_FUZZ_CHECK(request.page_token().empty());
}

void Names(absl::string_view bytes) {
  CheckStatus(ParseJobName(bytes).status());
  CheckStatus(ParseArtifactName(bytes).status());
  CheckStatus(ParseUploadName(bytes).status());
  CheckStatus(ParseJobLogName(bytes).status());
  CheckStatus(ParseBlobResource(bytes).status());
  const auto file = ParseFileResource(bytes);
  CheckStatus(file.status());
  if (!file.ok()) return;
  QUANT_FUZZ_CHECK(FileResourceName(file->artifact_id, file->path) == bytes);
}

}  // namespace

void Requests(absl::string_view bytes) {
  static const google::protobuf::LogSilencer silence;  // on text that is none
  if (bytes.empty()) return;
  const char which = bytes.front();
  bytes.remove_prefix(1);
  if (which == 'c') Create(bytes);
  if (which == 'l') List(bytes);
  if (which == 'n') Names(bytes);
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::Requests)
