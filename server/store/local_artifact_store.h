// The embedded ArtifactStore: directories on a local disk.
//
//   work/<job id>/                    work directories
//   artifacts/<id>/record.json        what it is; written before the rename
//   artifacts/<id>/files/...          the files
//   incoming/<job id>.<output>/       an artifact on its way; the same inside
//   trash/<id>/                       on its way out
//
// An artifact appears by one rename of its whole directory.
#ifndef QUANT_SERVER_STORE_LOCAL_ARTIFACT_STORE_H_
#define QUANT_SERVER_STORE_LOCAL_ARTIFACT_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "server/store/artifact_store.h"

namespace quant {

struct LocalArtifactStoreOptions {
  bool sync = true;  // fsync records and directories
  const Clock* clock = &Clock::System();
};

// Makes the directories under `root` that are not there, finishes publications
// that a crash interrupted after their record was written, and reads all
// records.
absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenLocalArtifactStore(
    const std::string& root, const LocalArtifactStoreOptions& options = {});

}  // namespace quant

#endif  // QUANT_SERVER_STORE_LOCAL_ARTIFACT_STORE_H_
