#include "core/artifact/manifest.h"

#include <limits>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/artifact/config_json.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

OrderedJson FilesJson(const std::vector<ManifestFile>& files) {
  OrderedJson list = OrderedJson::array();
  for (const ManifestFile& file : files) {
    OrderedJson item;
    item["path"] = file.path;
    item["size_bytes"] = file.size_bytes;
    item["sha256"] = file.sha256;
    list.push_back(std::move(item));
  }
  return list;
}

OrderedJson DatasetJson(const ManifestDataset& dataset) {
  OrderedJson item;
  item["use"] = dataset.use;
  item["sequences"] = dataset.sequences;
  item["sequence_length"] = dataset.sequence_length;
  item["sha256"] = dataset.sha256;
  return item;
}

OrderedJson SourcesJson(const std::vector<ManifestSource>& sources) {
  OrderedJson list = OrderedJson::array();
  for (const ManifestSource& source : sources) {
    OrderedJson item;
    item["name"] = source.name;
    item["size_bytes"] = source.size_bytes;
    item["header_xxh3"] = source.header_digest;
    if (!source.sha256.empty()) item["sha256"] = source.sha256;
    if (!source.dataset.use.empty()) {
      item["dataset"] = DatasetJson(source.dataset);
    }
    list.push_back(std::move(item));
  }
  return list;
}

OrderedJson GatesJson(const std::vector<ManifestGate>& gates) {
  OrderedJson list = OrderedJson::array();
  for (const ManifestGate& gate : gates) {
    OrderedJson item;
    item["gate"] = gate.gate;
    item["value"] = gate.value;
    item["passed"] = gate.passed;
    list.push_back(std::move(item));
  }
  return list;
}

OrderedJson StepsJson(const std::vector<ManifestStep>& steps) {
  OrderedJson list = OrderedJson::array();
  for (const ManifestStep& step : steps) {
    OrderedJson raised = OrderedJson::array();
    for (const ManifestRaise& raise : step.raised) {
      OrderedJson item;
      item["tensor"] = raise.tensor;
      item["from"] = raise.from;
      if (!raise.to.empty()) item["to"] = raise.to;
      raised.push_back(std::move(item));
    }
    OrderedJson item;
    item["gates"] = GatesJson(step.gates);
    item["raised"] = std::move(raised);
    list.push_back(std::move(item));
  }
  return list;
}

absl::Status Malformed(absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, Reason::kDigestMismatch,
                   absl::StrCat(kManifestName, ": ", what));
}

absl::StatusOr<ManifestFile> ParseFile(const OrderedJson& item) {
  ManifestFile file;
  if (!item.is_object()) return Malformed("a file entry is not an object");
  const auto path = item.find("path");
  const auto size = item.find("size_bytes");
  const auto sha = item.find("sha256");
  if (path == item.end() || !path->is_string() || size == item.end() ||
      !size->is_number_integer() || sha == item.end() || !sha->is_string()) {
    return Malformed("a file entry lacks path, size_bytes or sha256");
  }
  file.path = path->get<std::string>();
  file.size_bytes = size->get<int64_t>();
  file.sha256 = sha->get<std::string>();
  if (!IsRelativePath(file.path) || !IsSha256Hex(file.sha256)) {
    return Malformed(absl::StrCat("bad entry for \"", file.path, "\""));
  }
  return file;
}

absl::StatusOr<ManifestDataset> ParseDataset(const OrderedJson& item) {
  const auto has = [&](const char* key, auto is) {
    return item.is_object() && item.contains(key) && is(item[key]);
  };
  const auto text = [](const OrderedJson& v) { return v.is_string(); };
  const auto number = [](const OrderedJson& v) {
    return v.is_number_integer();
  };
  if (!has("use", text) || !has("sequences", number) ||
      !has("sequence_length", number) || !has("sha256", text)) {
    return Malformed(
        "a data set lacks use, sequences, sequence_length or sha256");
  }
  return ManifestDataset{
      .use = item["use"].get<std::string>(),
      .sequences = item["sequences"].get<int64_t>(),
      .sequence_length = item["sequence_length"].get<int64_t>(),
      .sha256 = item["sha256"].get<std::string>()};
}

absl::StatusOr<ManifestSource> ParseSource(const OrderedJson& item) {
  if (!item.is_object()) return Malformed("a source is not an object");
  ManifestSource source;
  const auto text = [&](const char* key, std::string& out) {
    const auto it = item.find(key);
    if (it != item.end() && it->is_string()) out = it->get<std::string>();
  };
  text("name", source.name);
  text("header_xxh3", source.header_digest);
  text("sha256", source.sha256);
  const auto size = item.find("size_bytes");
  if (source.name.empty() || size == item.end() || !size->is_number_integer()) {
    return Malformed("a source lacks name or size_bytes");
  }
  source.size_bytes = size->get<int64_t>();
  const auto dataset = item.find("dataset");
  if (dataset != item.end()) {
    QUANT_ASSIGN_OR_RETURN(source.dataset, ParseDataset(*dataset));
  }
  return source;
}

double NumberOf(const OrderedJson& value) {
  return value.is_number() ? value.get<double>()
                           : std::numeric_limits<double>::quiet_NaN();
}

absl::Status ParseFindings(const OrderedJson& json, Manifest& manifest) {
  if (const auto found = json.find("evaluation"); found != json.end()) {
    if (!found->is_object()) return Malformed("evaluation is not an object");
    for (const auto& [name, value] : found->items()) {
      manifest.evaluation.push_back({.name = name, .value = NumberOf(value)});
    }
  }
  const auto gates = json.find("gates");
  if (gates == json.end()) return absl::OkStatus();
  if (!gates->is_array()) return Malformed("gates is not a list");
  for (const OrderedJson& item : *gates) {
    if (!item.is_object() || !item.contains("gate") ||
        !item["gate"].is_string() || !item.contains("value") ||
        !item.contains("passed") || !item["passed"].is_boolean()) {
      return Malformed("a gate lacks gate, value or passed");
    }
    manifest.gates.push_back({.gate = item["gate"].get<std::string>(),
                              .value = NumberOf(item["value"]),
                              .passed = item["passed"].get<bool>()});
  }
  return absl::OkStatus();
}

absl::Status ListFiles(const std::string& root, const std::string& prefix,
                       std::set<std::string>& out) {
  QUANT_ASSIGN_OR_RETURN(const std::vector<DirEntry> entries,
                         ListDirectory(JoinPath(root, prefix)));
  for (const DirEntry& entry : entries) {
    const std::string path =
        prefix.empty() ? entry.name : JoinPath(prefix, entry.name);
    if (entry.is_directory) {
      QUANT_RETURN_IF_ERROR(ListFiles(root, path, out));
    } else {
      out.insert(path);
    }
  }
  return absl::OkStatus();
}

void VerifyFile(const std::string& directory, const ManifestFile& file,
                VerifyReport& report) {
  const std::string path = JoinPath(directory, file.path);
  const absl::StatusOr<FileIdentity> identity = IdentityOf(path);
  if (!identity.ok()) {
    report.problems.push_back(absl::StrCat(file.path, ": missing"));
    return;
  }
  if (identity->size_bytes != file.size_bytes) {
    report.problems.push_back(absl::StrCat(file.path, ": is ",
                                           identity->size_bytes, " bytes; ",
                                           file.size_bytes, " are listed"));
    return;
  }
  const absl::StatusOr<std::string> sha = Sha256OfFile(path);
  if (!sha.ok()) {
    report.problems.push_back(
        absl::StrCat(file.path, ": ", std::string(sha.status().message())));
  } else if (*sha != file.sha256) {
    report.problems.push_back(absl::StrCat(file.path, ": SHA-256 is ", *sha,
                                           "; ", file.sha256, " is listed"));
  }
  ++report.files;
  report.bytes += identity->size_bytes;
}

}  // namespace

std::string ManifestToJson(const Manifest& manifest, int64_t least_bytes) {
  OrderedJson json;
  json["engine"] = "quantd";
  json["engine_version"] = manifest.engine_version;
  OrderedJson recipe = OrderedJson::parse(manifest.recipe_json, nullptr, false);
  if (recipe.is_discarded()) recipe = nullptr;
  json["recipe"] = std::move(recipe);
  json["sources"] = SourcesJson(manifest.sources);
  if (!manifest.evaluation.empty()) {
    for (const ManifestFigure& figure : manifest.evaluation) {
      json["evaluation"][figure.name] = figure.value;
    }
  }
  if (!manifest.gates.empty()) json["gates"] = GatesJson(manifest.gates);
  if (!manifest.escalation.empty()) {
    json["escalation"] = StepsJson(manifest.escalation);
  }
  json["files"] = FilesJson(manifest.files);
  std::string text = DumpConfig(json);
  const int64_t missing = least_bytes - static_cast<int64_t>(text.size());
  if (missing > 0) text.insert(text.size() - 1, missing, ' ');
  return text;
}

absl::StatusOr<Manifest> ParseManifest(const std::string& text) {
  const OrderedJson json = OrderedJson::parse(text, nullptr, false);
  if (!json.is_object()) return Malformed("is not a JSON object");
  Manifest manifest;
  const auto version = json.find("engine_version");
  if (version != json.end() && version->is_string()) {
    manifest.engine_version = version->get<std::string>();
  }
  if (json.contains("recipe")) manifest.recipe_json = json["recipe"].dump();
  if (const auto sources = json.find("sources");
      sources != json.end() && sources->is_array()) {
    for (const OrderedJson& item : *sources) {
      QUANT_ASSIGN_OR_RETURN(ManifestSource source, ParseSource(item));
      manifest.sources.push_back(std::move(source));
    }
  }
  QUANT_RETURN_IF_ERROR(ParseFindings(json, manifest));
  const auto files = json.find("files");
  if (files == json.end() || !files->is_array()) {
    return Malformed("has no list of files");
  }
  for (const OrderedJson& item : *files) {
    QUANT_ASSIGN_OR_RETURN(ManifestFile file, ParseFile(item));
    manifest.files.push_back(std::move(file));
  }
  return manifest;
}

absl::StatusOr<VerifyReport> VerifyArtifact(const std::string& directory) {
  QUANT_ASSIGN_OR_RETURN(
      const std::string text,
      ReadFile(JoinPath(directory, kManifestName), kMaxIndexBytes));
  QUANT_ASSIGN_OR_RETURN(const Manifest manifest, ParseManifest(text));
  VerifyReport report;
  std::set<std::string> present;
  QUANT_RETURN_IF_ERROR(ListFiles(directory, "", present));
  present.erase(kManifestName);
  for (const ManifestFile& file : manifest.files) {
    present.erase(file.path);
    VerifyFile(directory, file, report);
  }
  for (const std::string& extra : present) {
    report.problems.push_back(absl::StrCat(extra, ": not listed"));
  }
  return report;
}

}  // namespace quant
