#include "server/store/artifact_record.h"

#include <nlohmann/json.hpp>

#include "core/base/digest.h"
#include "core/base/file.h"
#include "server/store/store_id.h"

namespace quant {

using Json = nlohmann::json;

std::string ArtifactRecordToJson(const ArtifactRecord& record) {
  Json json = {{"id", record.id},
               {"job_id", record.job_id},
               {"output", record.output},
               {"create_time", record.create_time},
               {"gate_failed", record.gate_failed},
               {"tenant", record.tenant},
               {"files", Json::array()}};
  for (const StoredFile& file : record.files) {
    json["files"].push_back({{"path", file.path},
                             {"size_bytes", file.size_bytes},
                             {"sha256", file.sha256}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<ArtifactRecord> ParseArtifactRecord(const std::string& text) {
  ArtifactRecord record;
  // nlohmann reports wrong types by exceptions; they end here.
  try {
    const Json json = Json::parse(text);
    record.id = json.at("id").get<std::string>();
    record.job_id = json.at("job_id").get<std::string>();
    record.output = json.at("output").get<std::string>();
    record.create_time = json.at("create_time").get<int64_t>();
    record.gate_failed = json.at("gate_failed").get<bool>();
    // Records from before there were tenants have none.
    record.tenant = json.value("tenant", "");
    for (const Json& item : json.at("files")) {
      record.files.push_back({item.at("path").get<std::string>(),
                              item.at("size_bytes").get<int64_t>(),
                              item.at("sha256").get<std::string>()});
    }
  } catch (const Json::exception& error) {
    return absl::DataLossError(error.what());
  }
  for (const StoredFile& file : record.files) {
    if (!IsRelativePath(file.path) || !IsSha256Hex(file.sha256)) {
      return absl::DataLossError("bad file entry");
    }
  }
  if (!IsStoreId(record.id)) return absl::DataLossError("bad id");
  return record;
}

}  // namespace quant
