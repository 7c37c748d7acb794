#include "server/store/local_upload_store.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/checked_math.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "server/store/blob_writer.h"
#include "server/store/store_id.h"

namespace quant {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxDeclarationBytes = 64 << 20;
constexpr size_t kUploadIdLength = 26;

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

class LocalUploadStore final : public UploadStore {
 public:
  LocalUploadStore(std::string root, const LocalUploadStoreOptions& options)
      : root_(std::move(root)), options_(options) {}

  absl::Status Load() {
    QUANT_RETURN_IF_ERROR(MakeDirectories(JoinPath(root_, "blobs/incoming")));
    return MakeDirectories(JoinPath(root_, "uploads"));
  }

  absl::StatusOr<UploadRecord> Create(std::vector<StoredFile> files,
                                      const std::string& tenant) override {
    QUANT_RETURN_IF_ERROR(CheckDeclaration(files));
    if (!tenant.empty() && !IsPlainFileName(tenant)) {
      return InvalidSpec("tenant: not a plain name");
    }
    UploadRecord upload;
    upload.tenant = tenant;
    upload.files = std::move(files);
    std::sort(upload.files.begin(), upload.files.end(),
              [](const auto& a, const auto& b) { return a.path < b.path; });
    upload.id = Sha256Hex(DeclarationToJson(upload)).substr(0, kUploadIdLength);
    if (auto known = Get(upload.id); known.ok()) return known;
    upload.create_time = options_.clock->NowMicros();
    FillMissing(upload);
    QUANT_RETURN_IF_ERROR(CheckSpace(upload));
    QUANT_RETURN_IF_ERROR(
        MakeDirectories(JoinPath(BlobsOf(upload.tenant), "incoming")));
    QUANT_RETURN_IF_ERROR(WriteFileAtomically(
        DeclarationPath(upload.id), DeclarationToJson(upload), options_.sync));
    return upload;
  }

  absl::StatusOr<UploadRecord> Get(const std::string& id) override {
    if (!IsStoreId(id) || !PathExists(DeclarationPath(id))) {
      return MakeError(absl::StatusCode::kNotFound, Reason::kUploadNotFound,
                       absl::StrCat(absl::CHexEscape(id.substr(0, 100)),
                                    ": no such upload"));
    }
    QUANT_ASSIGN_OR_RETURN(const std::string text,
                           ReadFile(DeclarationPath(id), kMaxDeclarationBytes));
    QUANT_ASSIGN_OR_RETURN(UploadRecord upload, ParseDeclaration(text));
    upload.id = id;
    FillMissing(upload);
    return upload;
  }

  absl::StatusOr<std::unique_ptr<BlobWriter>> OpenBlob(
      const std::string& upload_id, const std::string& sha256) override {
    QUANT_ASSIGN_OR_RETURN(const Blob blob, Declared(upload_id, sha256));
    {
      std::lock_guard lock(mutex_);
      if (!busy_.insert(blob.incoming).second) {
        return MakeError(
            absl::StatusCode::kAborted, Reason::kBlobBusy,
            absl::StrCat("blob ", sha256, ": another writer holds it"));
      }
    }
    return OpenBlobWriter({.incoming = blob.incoming,
                           .finished = blob.finished,
                           .sha256 = sha256,
                           .size_bytes = blob.size_bytes,
                           .sync = options_.sync},
                          [this, key = blob.incoming] {
                            std::lock_guard lock(mutex_);
                            busy_.erase(key);
                          });
  }

  absl::StatusOr<WriteStatus> QueryBlob(const std::string& upload_id,
                                        const std::string& sha256) override {
    QUANT_ASSIGN_OR_RETURN(const Blob blob, Declared(upload_id, sha256));
    if (PathExists(blob.finished)) {
      return WriteStatus{.committed_size = blob.size_bytes, .complete = true};
    }
    const auto identity = IdentityOf(blob.incoming);
    return WriteStatus{.committed_size =
                           identity.ok() ? identity->size_bytes : 0};
  }

  absl::StatusOr<std::string> Directory(const std::string& id) override {
    QUANT_ASSIGN_OR_RETURN(const UploadRecord upload, Get(id));
    if (!upload.complete()) {
      return MakeError(absl::StatusCode::kFailedPrecondition,
                       Reason::kSourceMissing,
                       absl::StrCat("uploads/", id, ": ", upload.missing.size(),
                                    " of its files are not there yet, e.g. ",
                                    upload.missing[0].path));
    }
    const std::string path = JoinPath(JoinPath(root_, "uploads"), id);
    std::lock_guard lock(link_mutex_);
    if (!PathExists(path)) QUANT_RETURN_IF_ERROR(Link(upload, path));
    return path;
  }

  absl::StatusOr<int64_t> TenantBytes(const std::string& tenant) override {
    int64_t bytes = 0;
    const std::string blobs = BlobsOf(tenant);
    for (const std::string& path : {blobs, JoinPath(blobs, "incoming")}) {
      const auto entries = ListDirectory(path);
      // A tenant without uploads has no directory.
      if (absl::IsNotFound(entries.status())) continue;
      if (!entries.ok()) return entries.status();
      for (const DirEntry& entry : *entries) {
        if (entry.is_regular) bytes += entry.size_bytes;
      }
    }
    return bytes;
  }

 private:
  // Where a declared blob is, or will be.
  struct Blob {
    std::string incoming;
    std::string finished;
    int64_t size_bytes = 0;
  };

  std::string BlobsOf(const std::string& tenant) const {
    return JoinPath(root_, tenant.empty()
                               ? std::string("blobs")
                               : absl::StrCat("tenants/", tenant, "/blobs"));
  }
  std::string BlobPath(const UploadRecord& upload,
                       const std::string& sha256) const {
    return JoinPath(BlobsOf(upload.tenant), sha256);
  }
  std::string DeclarationPath(const std::string& id) const {
    return JoinPath(root_, absl::StrCat("uploads/", id, ".json"));
  }

  void FillMissing(UploadRecord& upload) const {
    std::set<std::string> seen;
    for (const StoredFile& file : upload.files) {
      if (!seen.insert(file.sha256).second) continue;
      if (!PathExists(BlobPath(upload, file.sha256))) {
        upload.missing.push_back(file);
      }
    }
  }

  absl::Status CheckSpace(const UploadRecord& upload) const {
    int64_t needed = 0;
    for (const StoredFile& file : upload.missing) {
      needed = CheckedAdd(needed, file.size_bytes).value_or(INT64_MAX);
    }
    QUANT_ASSIGN_OR_RETURN(const int64_t free, FreeDiskBytes(root_));
    if (needed <= free) return absl::OkStatus();
    return MakeError(absl::StatusCode::kResourceExhausted, Reason::kStorageFull,
                     absl::StrCat("the upload needs ", needed, " bytes; ", free,
                                  " are free"));
  }

  absl::StatusOr<Blob> Declared(const std::string& upload_id,
                                const std::string& sha256) {
    QUANT_ASSIGN_OR_RETURN(const UploadRecord upload, Get(upload_id));
    for (const StoredFile& file : upload.files) {
      if (file.sha256 != sha256) continue;
      return Blob{.incoming = JoinPath(BlobsOf(upload.tenant),
                                       absl::StrCat("incoming/", sha256)),
                  .finished = BlobPath(upload, sha256),
                  .size_bytes = file.size_bytes};
    }
    return MakeError(
        absl::StatusCode::kNotFound, Reason::kBlobNotFound,
        absl::StrCat("uploads/", upload_id, " declares no such blob"));
  }

  // In a temporary directory first: the real one is always whole.
  absl::Status Link(const UploadRecord& upload, const std::string& path) {
    const std::string temporary = path + ".tmp";
    QUANT_RETURN_IF_ERROR(RemoveTree(temporary));
    for (const StoredFile& file : upload.files) {
      const std::string target = JoinPath(temporary, file.path);
      QUANT_RETURN_IF_ERROR(MakeDirectories(ParentPath(target)));
      if (::link(BlobPath(upload, file.sha256).c_str(), target.c_str()) != 0) {
        return ErrnoError(errno, target);
      }
    }
    return Rename(temporary, path);
  }

  const std::string root_;
  const LocalUploadStoreOptions options_;
  std::mutex link_mutex_;
  std::mutex mutex_;
  std::set<std::string> busy_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<UploadStore>> OpenLocalUploadStore(
    const std::string& root, const LocalUploadStoreOptions& options) {
  auto store = std::make_unique<LocalUploadStore>(root, options);
  QUANT_RETURN_IF_ERROR(store->Load());
  return store;
}

}  // namespace quant
