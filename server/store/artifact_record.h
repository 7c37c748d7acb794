// ArtifactRecord as the JSON file that lies beside an artifact's files.
#ifndef QUANT_SERVER_STORE_ARTIFACT_RECORD_H_
#define QUANT_SERVER_STORE_ARTIFACT_RECORD_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/store/artifact_store.h"

namespace quant {

std::string ArtifactRecordToJson(const ArtifactRecord& record);
// DATA_LOSS when the text is not such a record.
absl::StatusOr<ArtifactRecord> ParseArtifactRecord(const std::string& text);

}  // namespace quant

#endif  // QUANT_SERVER_STORE_ARTIFACT_RECORD_H_
