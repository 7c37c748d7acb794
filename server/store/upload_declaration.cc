#include "server/store/upload_declaration.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

using Json = nlohmann::json;

}  // namespace

absl::Status CheckDeclaration(const std::vector<StoredFile>& files) {
  const int64_t count = static_cast<int64_t>(files.size());
  if (count < 1 || count > kMaxUploadFiles) {
    return InvalidSpec(
        absl::StrCat(count, " files; 1 to ", kMaxUploadFiles, " are allowed"),
        "files");
  }
  std::set<std::string> paths;
  std::map<std::string, int64_t> sizes;
  for (size_t i = 0; i < files.size(); ++i) {
    const StoredFile& file = files[i];
    const std::string field = absl::StrCat("files[", i, "].");
    const std::string shown = absl::CHexEscape(file.path.substr(0, 200));
    if (!IsRelativePath(file.path)) {
      return InvalidSpec(absl::StrCat("path \"", shown,
                                      "\"; relative paths without empty, \".\" "
                                      "or \"..\" parts are allowed"),
                         field + "path");
    }
    if (!paths.insert(file.path).second) {
      return InvalidSpec(absl::StrCat("path \"", shown, "\" is listed twice"),
                         field + "path");
    }
    if (file.size_bytes < 0) {
      return InvalidSpec(absl::StrCat("size ", file.size_bytes),
                         field + "size_bytes");
    }
    if (!IsSha256Hex(file.sha256)) {
      return InvalidSpec("sha256 is not 64 lower-case hex digits",
                         field + "sha256");
    }
    const auto [it, fresh] = sizes.emplace(file.sha256, file.size_bytes);
    if (!fresh && it->second != file.size_bytes) {
      return InvalidSpec("one digest is declared with two sizes",
                         field + "size_bytes");
    }
  }
  for (const std::string& path : paths) {
    const auto next = paths.lower_bound(path + "/");
    if (next != paths.end() &&
        next->compare(0, path.size() + 1, path + "/") == 0) {
      return InvalidSpec(absl::StrCat("\"", absl::CHexEscape(path),
                                      "\" is a file and a directory"),
                         "files");
    }
  }
  return absl::OkStatus();
}

std::string DeclarationToJson(const UploadRecord& upload) {
  Json json = {{"create_time", upload.create_time}, {"files", Json::array()}};
  if (!upload.tenant.empty()) json["tenant"] = upload.tenant;
  for (const StoredFile& file : upload.files) {
    json["files"].push_back({{"path", file.path},
                             {"size_bytes", file.size_bytes},
                             {"sha256", file.sha256}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<UploadRecord> ParseDeclaration(const std::string& text) {
  UploadRecord upload;
  // nlohmann reports wrong types by exceptions; they end here.
  try {
    const Json json = Json::parse(text);
    upload.create_time = json.at("create_time").get<int64_t>();
    upload.tenant = json.value("tenant", "");
    for (const Json& item : json.at("files")) {
      upload.files.push_back({item.at("path").get<std::string>(),
                              item.at("size_bytes").get<int64_t>(),
                              item.at("sha256").get<std::string>()});
    }
  } catch (const Json::exception& error) {
    return absl::DataLossError(error.what());
  }
  QUANT_RETURN_IF_ERROR(CheckDeclaration(upload.files));
  return upload;
}

}  // namespace quant
