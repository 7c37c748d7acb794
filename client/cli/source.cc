#include "client/cli/source.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/interrupt.h"
#include "client/cli/progress.h"
#include "client/library/upload.h"
#include "core/base/file.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

constexpr absl::string_view kServerPrefix = "server:";

template <typename Rows>
absl::Status CheckName(absl::string_view kind, const std::string& name,
                       const Rows& rows) {
  std::vector<std::string> known;
  for (const auto& row : rows) known.push_back(row.name());
  if (name.empty() ||
      std::find(known.begin(), known.end(), name) != known.end())
    return absl::OkStatus();
  return UnknownNameError(kind, name, known);
}

}  // namespace

bool IsServerPath(const std::string& argument) {
  return absl::StartsWith(argument, kServerPrefix);
}

namespace {

using Uploading = absl::StatusOr<UploadReport> (*)(Client&, const std::string&,
                                                   const TransferOptions&);

absl::StatusOr<v1::Source> Resolve(Client& client, const std::string& argument,
                                   Uploading upload) {
  v1::Source source;
  if (IsServerPath(argument)) {
    source.set_server_path(argument.substr(kServerPrefix.size()));
    return source;
  }
  InterruptScope interrupt;
  ProgressMeter meter("upload");
  TransferOptions options;
  options.stop = interrupt.token();
  options.progress = [&](const TransferProgress& progress) {
    meter.Show(progress);
  };
  QUANT_ASSIGN_OR_RETURN(const UploadReport report,
                         upload(client, argument, options));
  source.set_upload(report.upload.name());
  return source;
}

}  // namespace

absl::StatusOr<v1::Source> ResolveSource(Client& client,
                                         const std::string& argument) {
  return Resolve(client, argument, Upload);
}

absl::Status ResolveFiles(Client& client, const RecipeFiles& files,
                          v1::JobSpec& spec) {
  if (!files.imatrix.empty()) {
    QUANT_ASSIGN_OR_RETURN(*spec.mutable_imatrix(),
                           Resolve(client, files.imatrix, UploadFile));
  }
  if (!files.calibration.empty()) {
    QUANT_ASSIGN_OR_RETURN(
        *spec.mutable_calibration()->mutable_source(),
        Resolve(client, files.calibration,
                IsDirectory(files.calibration) ? Upload : UploadFile));
  }
  if (!files.evaluation.empty()) {
    QUANT_ASSIGN_OR_RETURN(*spec.mutable_evaluation()->mutable_source(),
                           Resolve(client, files.evaluation, UploadFile));
  }
  return absl::OkStatus();
}

absl::Status CheckNames(Client& client, const v1::JobSpec& spec) {
  QUANT_ASSIGN_OR_RETURN(const v1::Capabilities known, client.Capabilities());
  for (const v1::Output& output : spec.outputs()) {
    const v1::Recipe& recipe = output.recipe();
    QUANT_RETURN_IF_ERROR(
        CheckName("scheme", recipe.scheme(), known.schemes()));
    QUANT_RETURN_IF_ERROR(
        CheckName("method", recipe.method(), known.methods()));
    QUANT_RETURN_IF_ERROR(
        CheckName("format", recipe.format(), known.formats()));
    QUANT_RETURN_IF_ERROR(
        CheckName("loader", recipe.loader(), known.loaders()));
  }
  return absl::OkStatus();
}

}  // namespace quant::cli
