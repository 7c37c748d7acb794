// The files of an artifact as they lie on disk. Private to server/store.
#ifndef QUANT_SERVER_STORE_ARTIFACT_FILES_H_
#define QUANT_SERVER_STORE_ARTIFACT_FILES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/store/artifact_store.h"

namespace quant {

// DATA_LOSS DIGEST_MISMATCH unless `directory` holds exactly these regular
// files, with these sizes. Links are refused: what they point at may change.
absl::Status CheckArtifactFiles(const std::string& directory,
                                const std::vector<StoredFile>& files);

// Bytes of the regular files below `path`; 0 for what can't be read.
int64_t TreeBytes(const std::string& path);

// Whether `path`, links resolved, lies below `parent`.
bool IsBelow(const std::string& path, const std::string& parent);

}  // namespace quant

#endif  // QUANT_SERVER_STORE_ARTIFACT_FILES_H_
