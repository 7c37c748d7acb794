// Downloading artifacts into folders, with progress on stderr.
#ifndef QUANT_CLIENT_CLI_FETCH_H_
#define QUANT_CLIENT_CLI_FETCH_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/library/client.h"
#include "client/library/download.h"

namespace quant::cli {

struct Fetched {
  std::string directory;
  DownloadReport report;
};

// One artifact goes into `directory`, several into directory/<output name>.
// CANCELLED after Ctrl-C; the same command takes it up again. With `overwrite`,
// what was there is replaced.
absl::StatusOr<std::vector<Fetched>> FetchArtifacts(
    Client& client, const std::vector<std::string>& artifacts,
    const std::string& directory, bool overwrite);

// Before there is an artifact: refuses a directory that can't be one's, such as
// that of the source.
absl::Status CheckTarget(const std::string& directory, bool overwrite);

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_FETCH_H_
