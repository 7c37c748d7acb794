#include "server/api/artifact_service.h"

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "server/api/job_proto.h"
#include "server/api/names.h"
#include "server/api/ownership.h"
#include "server/api/page_token.h"

namespace quant {
namespace {

constexpr CallInfo kListArtifacts = {"quant.v1.ArtifactService/ListArtifacts"};
constexpr CallInfo kGetArtifact = {"quant.v1.ArtifactService/GetArtifact"};
constexpr CallInfo kDeleteArtifact = {
    "quant.v1.ArtifactService/DeleteArtifact"};

// The job to filter by; empty for all.
absl::StatusOr<std::string> JobFilter(const std::string& job) {
  if (job.empty()) return std::string();
  absl::StatusOr<std::string> id = ParseJobName(job);
  if (id.ok()) return id;
  return InvalidSpec(
      absl::StrCat("job \"", job.substr(0, 200), "\"; expected \"jobs/{id}\""),
      "job");
}

}  // namespace

grpc::ServerUnaryReactor* ArtifactService::ListArtifacts(
    grpc::CallbackServerContext* context,
    const v1::ListArtifactsRequest* request,
    v1::ListArtifactsResponse* response) {
  return HandleNow(env_, kListArtifacts, context, [=, this](Caller caller) {
    const std::string& key = env_.options.page_token_key;
    QUANT_ASSIGN_OR_RETURN(int page_size, PageSize(request->page_size()));
    ArtifactQuery query = {.tenant = VisibleTenant(caller),
                           .limit = page_size + 1};
    QUANT_ASSIGN_OR_RETURN(query.job_id, JobFilter(request->job()));
    const std::string filter =
        absl::StrCat("artifacts ", query.job_id, TenantText(query.tenant));
    QUANT_ASSIGN_OR_RETURN(query.before_id,
                           ParsePageToken(key, filter, request->page_token()));
    QUANT_ASSIGN_OR_RETURN(std::vector<ArtifactRecord> records,
                           env_.artifacts.List(query));
    if (records.size() > static_cast<size_t>(page_size)) {
      records.resize(page_size);
      response->set_next_page_token(
          MakePageToken(key, filter, records.back().id));
    }
    for (const ArtifactRecord& record : records) {
      *response->add_artifacts() = ArtifactToProto(record);
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ArtifactService::GetArtifact(
    grpc::CallbackServerContext* context, const v1::GetArtifactRequest* request,
    v1::Artifact* response) {
  return HandleNow(env_, kGetArtifact, context, [=, this](Caller caller) {
    QUANT_ASSIGN_OR_RETURN(std::string id, ParseArtifactName(request->name()));
    QUANT_ASSIGN_OR_RETURN(ArtifactRecord record,
                           FindArtifact(env_, caller, id));
    *response = ArtifactToProto(record);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ArtifactService::DeleteArtifact(
    grpc::CallbackServerContext* context,
    const v1::DeleteArtifactRequest* request,
    google::protobuf::Empty* response) {
  return HandleNow(env_, kDeleteArtifact, context, [=, this](Caller caller) {
    QUANT_ASSIGN_OR_RETURN(std::string id, ParseArtifactName(request->name()));
    QUANT_RETURN_IF_ERROR(FindArtifact(env_, caller, id).status());
    return env_.artifacts.Delete(id);
  });
}

}  // namespace quant
