#include "server/api/model_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "server/api/job_proto.h"
#include "server/api/names.h"
#include "server/api/ownership.h"

namespace quant {
namespace {

constexpr CallInfo kCreateUpload = {"quant.v1.ModelService/CreateUpload",
                                    Lane::kIo, WhileDraining::kRefused};
constexpr CallInfo kGetUpload = {"quant.v1.ModelService/GetUpload"};
constexpr CallInfo kInspectModel = {"quant.v1.ModelService/InspectModel",
                                    Lane::kCompute, WhileDraining::kRefused};

absl::StatusOr<std::vector<StoredFile>> DeclaredFiles(
    const v1::CreateUploadRequest& request) {
  if (request.files_size() == 0 || request.files_size() > kMaxUploadFiles) {
    return InvalidSpec(absl::StrCat(request.files_size(),
                                    " files; expected 1..", kMaxUploadFiles),
                       "files");
  }
  std::vector<StoredFile> files;
  for (const v1::UploadFile& file : request.files()) {
    files.push_back({.path = file.path(),
                     .size_bytes = file.size_bytes(),
                     .sha256 = file.sha256()});
  }
  return files;
}

}  // namespace

grpc::ServerUnaryReactor* ModelService::CreateUpload(
    grpc::CallbackServerContext* context,
    const v1::CreateUploadRequest* request, v1::Upload* response) {
  return HandleNow(env_, kCreateUpload, context, [=, this](Caller caller) {
    QUANT_ASSIGN_OR_RETURN(std::vector<StoredFile> files,
                           DeclaredFiles(*request));
    QUANT_ASSIGN_OR_RETURN(UploadRecord record,
                           env_.uploads.Create(std::move(files), caller.tenant,
                                               [&](int64_t more_bytes) {
                                                 return CheckQuota(env_, caller,
                                                                   more_bytes);
                                               }));
    *response = UploadToProto(record);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ModelService::GetUpload(
    grpc::CallbackServerContext* context, const v1::GetUploadRequest* request,
    v1::Upload* response) {
  return HandleNow(env_, kGetUpload, context, [=, this](Caller caller) {
    QUANT_ASSIGN_OR_RETURN(std::string id, ParseUploadName(request->name()));
    QUANT_ASSIGN_OR_RETURN(UploadRecord record, FindUpload(env_, caller, id));
    *response = UploadToProto(record);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ModelService::InspectModel(
    grpc::CallbackServerContext* context,
    const v1::InspectModelRequest* request, v1::ModelInfo* response) {
  return HandleNow(env_, kInspectModel, context, [=, this](Caller caller) {
    QUANT_RETURN_IF_ERROR(CheckUploads(env_, caller, *request));
    QUANT_ASSIGN_OR_RETURN(*response, env_.planner.InspectModel(*request));
    return absl::OkStatus();
  });
}

}  // namespace quant
