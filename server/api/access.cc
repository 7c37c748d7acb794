#include "server/api/access.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// Health tells only whether the server serves, to probes and balancers that
// have no credentials. Reflection is gRPC's own service, and describes an
// interface that is public.
constexpr MethodAccess kMethods[] = {
    {"quant.v1.JobService/CreateJob", Role::kSubmitter},
    {"quant.v1.JobService/GetJob", Role::kViewer},
    {"quant.v1.JobService/ListJobs", Role::kViewer},
    {"quant.v1.JobService/WatchJob", Role::kViewer},
    {"quant.v1.JobService/CancelJob", Role::kSubmitter},
    {"quant.v1.JobService/RetryJob", Role::kSubmitter},
    {"quant.v1.JobService/DeleteJob", Role::kSubmitter},
    {"quant.v1.JobService/PlanJob", Role::kSubmitter},
    {"quant.v1.ArtifactService/ListArtifacts", Role::kViewer},
    {"quant.v1.ArtifactService/GetArtifact", Role::kViewer},
    {"quant.v1.ArtifactService/DeleteArtifact", Role::kSubmitter},
    {"quant.v1.ModelService/CreateUpload", Role::kSubmitter},
    {"quant.v1.ModelService/GetUpload", Role::kViewer},
    {"quant.v1.ModelService/InspectModel", Role::kSubmitter},
    {"quant.v1.QueueService/GetQueue", Role::kOperator},
    {"quant.v1.QueueService/PauseQueue", Role::kOperator},
    {"quant.v1.QueueService/DrainQueue", Role::kOperator},
    {"quant.v1.QueueService/ResumeQueue", Role::kOperator},
    {"quant.v1.TensorService/QuantizeTensor", Role::kSubmitter},
    {"quant.v1.CatalogService/GetCapabilities", Role::kViewer},
    {"google.bytestream.ByteStream/Read", Role::kViewer},
    {"google.bytestream.ByteStream/Write", Role::kSubmitter},
    {"google.bytestream.ByteStream/QueryWriteStatus", Role::kViewer},
    {"grpc.health.v1.Health/Check", Role::kNobody},
    {"grpc.health.v1.Health/Watch", Role::kNobody},
};

absl::Status Denied(absl::string_view message) {
  return MakeError(absl::StatusCode::kPermissionDenied,
                   Reason::kPermissionDenied, message);
}

std::string Text(grpc::string_ref text) {
  return std::string(text.data(), text.size());
}

Credentials CredentialsOf(const grpc::CallbackServerContext& context) {
  Credentials out;
  const auto& metadata = context.client_metadata();
  const auto [begin, end] = metadata.equal_range("authorization");
  for (auto it = begin; it != end; ++it) {
    out.authorization.push_back(Text(it->second));
  }
  const auto peer = context.auth_context();
  if (peer == nullptr || !peer->IsPeerAuthenticated()) return out;
  for (const char* property :
       {"x509_common_name", "x509_subject_alternative_name"}) {
    for (grpc::string_ref name : peer->FindPropertyValues(property)) {
      out.certificate_names.push_back(Text(name));
    }
  }
  return out;
}

PrincipalPtr Unnamed(Role role) {
  Principal out = Anyone();
  out.role = role;
  return std::make_shared<const Principal>(std::move(out));
}

}  // namespace

absl::Span<const MethodAccess> MethodTable() { return kMethods; }

absl::StatusOr<PrincipalPtr> Authorize(
    const ApiEnv& env, absl::string_view method,
    const grpc::CallbackServerContext& context) {
  static const auto* anyone = new PrincipalPtr(Unnamed(Role::kAdmin));
  static const auto* nobody = new PrincipalPtr(Unnamed(Role::kNobody));
  const MethodAccess* row = nullptr;
  for (const MethodAccess& candidate : kMethods) {
    if (candidate.method == method) row = &candidate;
  }
  if (row == nullptr) return Denied("the method is open to nobody");
  if (row->needs == Role::kNobody) return *nobody;
  if (env.authenticator == nullptr) return *anyone;
  QUANT_ASSIGN_OR_RETURN(PrincipalPtr caller, env.authenticator->Authenticate(
                                                  CredentialsOf(context)));
  if (caller->role >= row->needs) return caller;
  return Denied(absl::StrCat(method, ": is for the role ", RoleName(row->needs),
                             "; ", caller->name, " is ",
                             RoleName(caller->role)));
}

}  // namespace quant
