#include "server/planner/planner.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/base/thread_pool.h"
#include "core/container/model_reader.h"
#include "core/pipeline/plan.h"
#include "core/pipeline/request_files.h"
#include "core/recipe/describe.h"
#include "core/recipe/recipe.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace quant {
namespace {

// Equal messages are equal bytes, also where they have maps.
std::string Deterministic(const google::protobuf::MessageLite& message) {
  std::string out;
  {
    google::protobuf::io::StringOutputStream stream(&out);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return out;
}

// The API says FAILED_PRECONDITION for a source that is not there: the request
// is fine, the world is not.
absl::Status AsSourceError(const absl::Status& status) {
  if (GetReason(status) != Reason::kSourceMissing ||
      status.code() == absl::StatusCode::kFailedPrecondition) {
    return status;
  }
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   Reason::kSourceMissing, status.message(), "source");
}

absl::StatusOr<std::unique_ptr<ModelReader>> OpenSource(
    const std::string& path) {
  auto model = OpenModel(path);
  if (!model.ok()) return AsSourceError(model.status());
  return model;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Planner>> Planner::Create(
    PlannerOptions options) {
  QUANT_ASSIGN_OR_RETURN(SourceResolver resolver,
                         SourceResolver::Create(options.model_roots));
  return std::unique_ptr<Planner>(
      new Planner(std::move(options), std::move(resolver)));
}

Planner::Planner(PlannerOptions options, SourceResolver resolver)
    : options_(std::move(options)),
      resolver_(std::move(resolver)),
      cache_(options_.cache_entries, options_.cache_bytes) {}

absl::StatusOr<std::string> Planner::Locate(const v1::Source& source) const {
  switch (source.kind_case()) {
    case v1::Source::kServerPath:
      return resolver_.Resolve(source.server_path());
    case v1::Source::kUpload: {
      absl::string_view id = source.upload();
      if (!absl::ConsumePrefix(&id, "uploads/") || id.empty()) {
        return InvalidSpec(absl::StrCat("upload \"", source.upload(),
                                        "\"; expected \"uploads/{id}\""),
                           "source.upload");
      }
      auto directory = options_.upload_directory(std::string(id));
      if (directory.ok()) return directory;
      if (!absl::IsNotFound(directory.status())) return directory.status();
      return MakeError(absl::StatusCode::kFailedPrecondition,
                       Reason::kSourceMissing, directory.status().message(),
                       "source.upload");
    }
    case v1::Source::KIND_NOT_SET:
      break;
  }
  return InvalidSpec("source is missing: set server_path or upload", "source");
}

absl::StatusOr<std::string> Planner::Identity(const v1::JobSpec& spec,
                                              const std::string& path) const {
  QUANT_ASSIGN_OR_RETURN(std::string identity, SourceIdentity(path));
  const auto add = [&](const v1::Source& source) -> absl::Status {
    QUANT_ASSIGN_OR_RETURN(const std::string file, ResolveSource(source));
    QUANT_ASSIGN_OR_RETURN(const std::string other, SourceIdentity(file));
    absl::StrAppend(&identity, "\n", other);
    return absl::OkStatus();
  };
  if (spec.has_imatrix()) QUANT_RETURN_IF_ERROR(add(spec.imatrix()));
  if (spec.has_calibration()) {
    QUANT_RETURN_IF_ERROR(add(spec.calibration().source()));
  }
  if (spec.has_evaluation()) {
    QUANT_RETURN_IF_ERROR(add(spec.evaluation().source()));
  }
  return identity;
}

absl::StatusOr<std::string> Planner::ResolveSource(
    const v1::Source& source) const {
  QUANT_ASSIGN_OR_RETURN(std::string path, Locate(source));
  if (source.kind_case() == v1::Source::kServerPath) {
    QUANT_RETURN_IF_ERROR(resolver_.CheckLinks(path));
  }
  return path;
}

std::shared_ptr<const PlannedSpec> Planner::Cached(const v1::JobSpec& spec) {
  std::shared_ptr<const PlannedSpec> entry = cache_.Get(Deterministic(spec));
  if (entry == nullptr) return nullptr;
  absl::StatusOr<std::string> path = Locate(spec.source());
  if (!path.ok() || *path != entry->source_path) return nullptr;
  absl::StatusOr<std::string> identity = Identity(spec, *path);
  if (!identity.ok() || *identity != entry->source_identity) return nullptr;
  return entry;
}

absl::StatusOr<std::shared_ptr<const PlannedSpec>> Planner::Plan(
    const v1::JobSpec& spec) {
  if (auto cached = Cached(spec)) return cached;
  QUANT_ASSIGN_OR_RETURN(PlanRequest request,
                         ToPlanRequest(spec, options_.threads));
  ThreadPool pool(NeedsPool(request) ? options_.threads : 1);
  request.pool = &pool;
  auto planned = std::make_shared<PlannedSpec>();
  QUANT_ASSIGN_OR_RETURN(planned->canonical, CanonicalSpec(spec));
  planned->canonical_bytes = Deterministic(planned->canonical);
  QUANT_ASSIGN_OR_RETURN(planned->source_path, ResolveSource(spec.source()));
  // Before the headers are read: a change in between shows as a difference.
  QUANT_ASSIGN_OR_RETURN(planned->source_identity,
                         Identity(spec, planned->source_path));
  QUANT_ASSIGN_OR_RETURN(std::unique_ptr<ModelReader> model,
                         OpenSource(planned->source_path));
  if (spec.has_imatrix()) {
    QUANT_ASSIGN_OR_RETURN(const std::string imatrix,
                           ResolveSource(spec.imatrix()));
    QUANT_RETURN_IF_ERROR(LoadImportance(imatrix, request));
  }
  if (spec.has_calibration()) {
    QUANT_ASSIGN_OR_RETURN(const std::string text,
                           ResolveSource(spec.calibration().source()));
    QUANT_RETURN_IF_ERROR(
        LoadCalibration(*model, CalibrationOf(spec, text), request));
  }
  if (spec.has_evaluation()) {
    QUANT_ASSIGN_OR_RETURN(const std::string text,
                           ResolveSource(spec.evaluation().source()));
    QUANT_RETURN_IF_ERROR(
        LoadEvaluation(*model, EvaluationOf(spec, text), request));
  }
  QUANT_ASSIGN_OR_RETURN(quant::Plan plan, MakePlan(*model, request));
  planned->plan = PlanToProto(*model, plan);
  cache_.Put(Deterministic(spec), planned);
  return std::shared_ptr<const PlannedSpec>(std::move(planned));
}

absl::StatusOr<v1::ModelInfo> Planner::InspectModel(
    const v1::InspectModelRequest& request) const {
  QUANT_ASSIGN_OR_RETURN(std::string path, ResolveSource(request.source()));
  QUANT_ASSIGN_OR_RETURN(std::unique_ptr<ModelReader> model, OpenSource(path));
  ThreadPool pool(request.dtypes() ? options_.threads : 1);
  return DescribeModel(*model, request.dtypes(), pool);
}

absl::StatusOr<v1::QuantizeTensorResponse> Planner::QuantizeTensor(
    const v1::QuantizeTensorRequest& request) const {
  if (request.values_size() > kMaxInlineTensorValues) {
    return InvalidSpec(absl::StrCat(request.values_size(), " values; at most ",
                                    kMaxInlineTensorValues),
                       "values");
  }
  return quant::QuantizeTensor(request);
}

v1::Capabilities Planner::Capabilities() const {
  return DescribeCapabilities();
}

}  // namespace quant
