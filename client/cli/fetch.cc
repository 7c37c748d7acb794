#include "client/cli/fetch.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/interrupt.h"
#include "client/cli/progress.h"
#include "client/library/target_directory.h"
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
    const std::string& directory, bool overwrite) {
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
    options.overwrite = overwrite;
    options.progress = [&](const TransferProgress& progress) {
      meter.Show(progress);
    };
    QUANT_ASSIGN_OR_RETURN(one.report,
                           Download(client, name, one.directory, options));
    all.push_back(std::move(one));
  }
  return all;
}

absl::Status CheckTarget(const std::string& directory, bool overwrite) {
  if (overwrite || !PathExists(directory)) return absl::OkStatus();
  QUANT_ASSIGN_OR_RETURN(const auto entries, ListDirectory(directory));
  // Folders: of a job with several outputs. The download looks into them.
  const bool may_be =
      std::any_of(entries.begin(), entries.end(), [](const DirEntry& entry) {
        return entry.is_directory || entry.name == "manifest.json" ||
               absl::EndsWith(entry.name, kPartSuffix);
      });
  if (entries.empty() || may_be) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kAlreadyExists, Reason::kOutputExists,
      absl::StrCat(directory,
                   ": is not empty; choose another directory or --overwrite"));
}

}  // namespace quant::cli
