#include "server/store/local_upload_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/bytes.h"
#include "core/base/checked_math.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "server/store/blob_writer.h"
#include "server/store/file_stamp.h"
#include "server/store/store_id.h"
#include "server/store/upload_declaration.h"

namespace quant {
namespace {

constexpr int64_t kMaxDeclarationBytes = 64 << 20;
constexpr size_t kUploadIdLength = 26;

class LocalUploadStore final : public UploadStore {
 public:
  LocalUploadStore(std::string root, const LocalUploadStoreOptions& options)
      : root_(std::move(root)), options_(options) {}

  absl::Status Load() {
    QUANT_RETURN_IF_ERROR(MakeDirectories(JoinPath(root_, "blobs/incoming")));
    QUANT_RETURN_IF_ERROR(MakeDirectories(Uploads()));
    QUANT_ASSIGN_OR_RETURN(const std::vector<std::string> ids, DeclaredIds());
    for (const std::string& id : ids) {
      // One that can't be read is the doctor's to tell of.
      if (const auto upload = Get(id); upload.ok()) Count(*upload, +1);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<UploadRecord> Create(
      std::vector<StoredFile> files, const std::string& tenant,
      const std::function<absl::Status(int64_t)>& admit) override {
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
    std::lock_guard changing(change_mutex_);
    if (auto known = Get(upload.id); known.ok()) {
      QUANT_RETURN_IF_ERROR(CheckSpace(*known));
      QUANT_RETURN_IF_ERROR(MarkUsed(upload.id));
      return known;
    }
    upload.create_time = options_.clock->NowMicros();
    FillMissing(upload);
    if (admit) QUANT_RETURN_IF_ERROR(admit(Growth(upload)));
    QUANT_RETURN_IF_ERROR(CheckSpace(upload));
    QUANT_RETURN_IF_ERROR(
        MakeDirectories(JoinPath(BlobsOf(upload.tenant), "incoming")));
    QUANT_RETURN_IF_ERROR(WriteFileAtomically(
        DeclarationPath(upload.id), DeclarationToJson(upload), options_.sync));
    Count(upload, +1);
    QUANT_RETURN_IF_ERROR(MarkUsed(upload.id));
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
    std::lock_guard changing(change_mutex_);
    QUANT_ASSIGN_OR_RETURN(const Blob blob, Declared(upload_id, sha256));
    QUANT_RETURN_IF_ERROR(MarkUsed(upload_id));
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
                          [this, key = blob.incoming, upload_id] {
                            // When this fails, it was used when it was opened.
                            MarkUsed(upload_id).IgnoreError();
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
    std::lock_guard changing(change_mutex_);
    QUANT_ASSIGN_OR_RETURN(const UploadRecord upload, Get(id));
    if (!upload.complete()) {
      return MakeError(absl::StatusCode::kFailedPrecondition,
                       Reason::kSourceMissing,
                       absl::StrCat("uploads/", id, ": ", upload.missing.size(),
                                    " of its files are not there yet, e.g. ",
                                    upload.missing[0].path));
    }
    QUANT_RETURN_IF_ERROR(MarkUsed(id));
    const std::string path = JoinPath(Uploads(), id);
    if (!PathExists(path)) QUANT_RETURN_IF_ERROR(Link(upload, path));
    return path;
  }

  absl::StatusOr<int64_t> TenantBytes(const std::string& tenant) override {
    std::lock_guard lock(mutex_);
    const auto found = tenants_.find(tenant);
    return found == tenants_.end() ? 0 : found->second.bytes;
  }

  absl::StatusOr<Swept> Sweep(const SweepRequest& request) override {
    std::lock_guard changing(change_mutex_);
    Swept swept;
    QUANT_ASSIGN_OR_RETURN(const std::vector<std::string> ids, DeclaredIds());
    for (const std::string& id : ids) {
      if (request.keep.count(id) > 0) continue;
      QUANT_ASSIGN_OR_RETURN(const FileStamp stamp,
                             StampOf(DeclarationPath(id)));
      if (stamp.mtime_ns / 1000 >= request.unused_since) continue;
      const auto upload = Get(id);
      if (!upload.ok() || IsBusy(*upload)) continue;
      QUANT_RETURN_IF_ERROR(RemoveTree(DeclarationPath(id)));
      Count(*upload, -1);
      ++swept.uploads;
    }
    QUANT_RETURN_IF_ERROR(SweepDirectories());
    QUANT_RETURN_IF_ERROR(SweepBlobs("", swept.bytes));
    const std::string tenants = JoinPath(root_, "tenants");
    if (!PathExists(tenants)) return swept;
    QUANT_ASSIGN_OR_RETURN(const auto entries, ListDirectory(tenants));
    for (const DirEntry& entry : entries) {
      QUANT_RETURN_IF_ERROR(SweepBlobs(entry.name, swept.bytes));
    }
    return swept;
  }

 private:
  // Where a declared blob is, or will be.
  struct Blob {
    std::string incoming;
    std::string finished;
    int64_t size_bytes = 0;
  };

  // What one tenant has declared.
  struct Tenant {
    struct Declared {
      int64_t size_bytes = 0;
      int uploads = 0;  // that name it
    };
    std::map<std::string, Declared> blobs;  // by SHA-256
    int64_t bytes = 0;                      // see TenantBytes
  };

  std::string Uploads() const { return JoinPath(root_, "uploads"); }

  absl::StatusOr<std::vector<std::string>> DeclaredIds() const {
    QUANT_ASSIGN_OR_RETURN(const auto entries, ListDirectory(Uploads()));
    std::vector<std::string> ids;
    for (const DirEntry& entry : entries) {
      absl::string_view name = entry.name;
      if (!absl::ConsumeSuffix(&name, ".json")) continue;
      if (IsStoreId(name)) ids.emplace_back(name);
    }
    return ids;
  }

  static std::map<std::string, int64_t> SizesOf(const UploadRecord& upload) {
    std::map<std::string, int64_t> sizes;
    for (const StoredFile& file : upload.files) {
      sizes[file.sha256] = file.size_bytes;
    }
    return sizes;
  }
  static int64_t DeclarationBytes(const UploadRecord& upload) {
    return static_cast<int64_t>(DeclarationToJson(upload).size());
  }
  static int64_t Sum(int64_t a, int64_t b) {
    return CheckedAdd(a, b).value_or(INT64_MAX);
  }

  // By how much a new declaration makes its tenant's bytes more.
  int64_t Growth(const UploadRecord& upload) {
    std::lock_guard lock(mutex_);
    const Tenant& tenant = tenants_[upload.tenant];
    int64_t bytes = DeclarationBytes(upload);
    for (const auto& [sha256, size] : SizesOf(upload)) {
      if (tenant.blobs.count(sha256) == 0) bytes = Sum(bytes, size);
    }
    return bytes;
  }

  // A declaration came (+1) or went (-1). Growth has refused what overflows.
  void Count(const UploadRecord& upload, int change) {
    std::lock_guard lock(mutex_);
    Tenant& tenant = tenants_[upload.tenant];
    tenant.bytes += change * DeclarationBytes(upload);
    for (const auto& [sha256, size] : SizesOf(upload)) {
      Tenant::Declared& blob = tenant.blobs[sha256];
      const int before = std::exchange(blob.uploads, blob.uploads + change);
      blob.size_bytes = size;
      if (before == 0 || blob.uploads == 0) tenant.bytes += change * size;
      if (blob.uploads == 0) tenant.blobs.erase(sha256);
    }
  }

  // Its declaration's time of change is that of its last use.
  absl::Status MarkUsed(const std::string& id) const {
    const std::string path = DeclarationPath(id);
    const int64_t now = options_.clock->NowMicros();
    const timespec time = {.tv_sec = now / 1'000'000,
                           .tv_nsec = now % 1'000'000 * 1000};
    const timespec times[] = {time, time};
    if (::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0) {
      return absl::OkStatus();
    }
    return ErrnoError(errno, path);
  }

  bool IsBusy(const UploadRecord& upload) {
    std::lock_guard lock(mutex_);
    for (const auto& [sha256, size] : SizesOf(upload)) {
      if (busy_.count(IncomingPath(upload.tenant, sha256)) > 0) return true;
    }
    return false;
  }

  // Those of uploads that are gone, and those that were never finished.
  absl::Status SweepDirectories() const {
    QUANT_ASSIGN_OR_RETURN(const auto entries, ListDirectory(Uploads()));
    for (const DirEntry& entry : entries) {
      if (!entry.is_directory || PathExists(DeclarationPath(entry.name))) {
        continue;
      }
      QUANT_RETURN_IF_ERROR(RemoveTree(JoinPath(Uploads(), entry.name)));
    }
    return absl::OkStatus();
  }

  // Blobs that no upload of the tenant declares.
  absl::Status SweepBlobs(const std::string& tenant, int64_t& freed) {
    const std::string blobs = BlobsOf(tenant);
    for (const std::string& path : {blobs, JoinPath(blobs, "incoming")}) {
      if (!PathExists(path)) continue;
      QUANT_ASSIGN_OR_RETURN(const auto entries, ListDirectory(path));
      for (const DirEntry& entry : entries) {
        const std::string file = JoinPath(path, entry.name);
        if (!entry.is_regular || IsWanted(tenant, entry.name)) continue;
        QUANT_RETURN_IF_ERROR(RemoveTree(file));
        freed += entry.size_bytes;
      }
    }
    return absl::OkStatus();
  }

  bool IsWanted(const std::string& tenant, const std::string& sha256) {
    std::lock_guard lock(mutex_);
    return tenants_[tenant].blobs.count(sha256) > 0 ||
           busy_.count(IncomingPath(tenant, sha256)) > 0;
  }

  std::string IncomingPath(const std::string& tenant,
                           const std::string& sha256) const {
    return JoinPath(BlobsOf(tenant), absl::StrCat("incoming/", sha256));
  }
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
                     absl::StrCat(FormatBytes(needed), " are to be sent; ",
                                  FormatBytes(free), " of disk are free"));
  }

  absl::StatusOr<Blob> Declared(const std::string& upload_id,
                                const std::string& sha256) {
    QUANT_ASSIGN_OR_RETURN(const UploadRecord upload, Get(upload_id));
    for (const StoredFile& file : upload.files) {
      if (file.sha256 != sha256) continue;
      return Blob{.incoming = IncomingPath(upload.tenant, sha256),
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
  std::mutex change_mutex_;     // one change of the declarations at a time
  std::mutex mutex_;            // guards what follows
  std::set<std::string> busy_;  // incoming paths that are being written
  std::map<std::string, Tenant> tenants_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<UploadStore>> OpenLocalUploadStore(
    const std::string& root, const LocalUploadStoreOptions& options) {
  auto store = std::make_unique<LocalUploadStore>(root, options);
  QUANT_RETURN_IF_ERROR(store->Load());
  return store;
}

}  // namespace quant
