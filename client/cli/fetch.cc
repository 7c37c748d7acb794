#include "client/cli/fetch.h"

#include "absl/strings/str_cat.h"
#include "client/cli/interrupt.h"
#include "client/cli/progress.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

// The output's name, which comes from outside and becomes a folder.
absl::StatusOr<std::string> FolderOf(Client& client, const std::string& name,
                                     const std::string& directory) {
  QUANT_ASSIGN_OR_RETURN(const v1::Artifact artifact, client.GetArtifact(name));
  if (!IsPlainFileName(artifact.output())) {
    return absl::InternalError(absl::StrCat(
        name, ": its output's name can't be a folder: ", artifact.output()));
  }
  return JoinPath(directory, artifact.output());
}

}  // namespace

absl::StatusOr<std::vector<Fetched>> FetchArtifacts(
    Client& client, const std::vector<std::string>& artifacts,
    const std::string& directory) {
  InterruptScope interrupt;
  std::vector<Fetched> all;
  for (const std::string& name : artifacts) {
    Fetched one{directory, {}};
    if (artifacts.size() > 1) {
      QUANT_ASSIGN_OR_RETURN(one.directory, FolderOf(client, name, directory));
    }
    ProgressMeter meter("download");
    TransferOptions options;
    options.stop = interrupt.token();
    options.progress = [&](const TransferProgress& progress) {
      meter.Show(progress);
    };
    QUANT_ASSIGN_OR_RETURN(one.report,
                           Download(client, name, one.directory, options));
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace quant::cli
