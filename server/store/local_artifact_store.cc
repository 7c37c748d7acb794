#include "server/store/local_artifact_store.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "server/store/artifact_files.h"
#include "server/store/artifact_record.h"
#include "server/store/store_id.h"
#include "server/store/verified_files.h"

namespace quant {
namespace {

constexpr int64_t kMaxRecordBytes = 64 << 20;
constexpr char kRecordName[] = "record.json";

absl::Status NotFound(absl::string_view what) {
  return MakeError(absl::StatusCode::kNotFound, Reason::kArtifactNotFound,
                   absl::StrCat(what, ": no such artifact"));
}

// `verified` is shared: readers may outlive the store.
class LocalReader final : public ArtifactFileReader {
 public:
  LocalReader(File file, std::string name, const FileStamp& stamp,
              std::shared_ptr<VerifiedFiles> verified)
      : file_(std::move(file)),
        name_(std::move(name)),
        stamp_(stamp),
        verified_(std::move(verified)) {}
  int64_t size_bytes() const override { return stamp_.size_bytes; }
  bool verified() const override { return verified_->Contains(name_, stamp_); }
  void MarkVerified() override {
    const auto now = StampOf(file_.fd());
    if (now.ok() && *now == stamp_) verified_->Add(name_, stamp_);
  }
  absl::Status ReadAt(int64_t offset, absl::Span<uint8_t> out) override {
    return file_.ReadAt(offset, out);
  }

 private:
  File file_;
  std::string name_;
  FileStamp stamp_;  // when it was opened
  std::shared_ptr<VerifiedFiles> verified_;
};

class LocalArtifactStore final : public ArtifactStore {
 public:
  LocalArtifactStore(std::string root, const LocalArtifactStoreOptions& options)
      : root_(std::move(root)), options_(options) {}

  absl::Status Load() {
    for (const char* name : {"work", "artifacts", "incoming", "trash"}) {
      QUANT_RETURN_IF_ERROR(MakeDirectories(Path(name)));
    }
    QUANT_ASSIGN_OR_RETURN(const auto incoming,
                           ListDirectory(Path("incoming")));
    for (const DirEntry& entry : incoming) FinishInterrupted(entry.name);
    QUANT_ASSIGN_OR_RETURN(const auto stored, ListDirectory(Path("artifacts")));
    for (const DirEntry& entry : stored) {
      auto record = ReadRecord(JoinPath(Path("artifacts"), entry.name));
      // A directory without a record was never published by us: not listed.
      if (record.ok() && record->id == entry.name) Remember(*std::move(record));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> WorkDirectory(
      const std::string& job_id) override {
    QUANT_RETURN_IF_ERROR(CheckJobId(job_id));
    const std::string path = JoinPath(Path("work"), job_id);
    QUANT_RETURN_IF_ERROR(MakeDirectories(path));
    return path;
  }

  absl::Status RemoveWorkDirectory(const std::string& job_id) override {
    QUANT_RETURN_IF_ERROR(CheckJobId(job_id));
    return RemoveTree(JoinPath(Path("work"), job_id));
  }

  absl::StatusOr<ArtifactRecord> Publish(PublishRequest request) override {
    QUANT_RETURN_IF_ERROR(CheckJobId(request.job_id));
    if (!IsPlainFileName(request.output)) {
      return InvalidSpec(absl::StrCat("output name \"", request.output, "\""));
    }
    std::lock_guard publishing(publish_mutex_);
    const bool ours =
        IsBelow(request.directory, JoinPath(Path("work"), request.job_id));
    if (auto known = Find(request.job_id, request.output); known.ok()) {
      if (ours) QUANT_RETURN_IF_ERROR(RemoveTree(request.directory));
      return known;
    }
    const std::string name = absl::StrCat(request.job_id, ".", request.output);
    // An earlier try that failed at the last rename left everything ready.
    if (auto ready = FinishInterrupted(name)) {
      Remember(*ready);
      return *std::move(ready);
    }
    if (!ours) {
      return MakeError(absl::StatusCode::kFailedPrecondition,
                       Reason::kSourceNotAllowed,
                       absl::StrCat(request.directory,
                                    ": is not below the job's work directory"));
    }
    QUANT_RETURN_IF_ERROR(CheckArtifactFiles(request.directory, request.files));
    const std::string directory = request.directory;
    const std::map<std::string, FileStamp> hashed = request.hashed;
    const ArtifactRecord record = NewRecord(std::move(request));
    const std::string staging = JoinPath(Path("incoming"), name);
    QUANT_RETURN_IF_ERROR(RemoveTree(staging));
    QUANT_RETURN_IF_ERROR(MakeDirectories(staging));
    QUANT_RETURN_IF_ERROR(WriteFileAtomically(JoinPath(staging, kRecordName),
                                              ArtifactRecordToJson(record),
                                              options_.sync));
    QUANT_RETURN_IF_ERROR(Rename(directory, JoinPath(staging, "files")));
    QUANT_RETURN_IF_ERROR(MoveIn(staging, record));
    TrustUntouched(record, hashed);
    Remember(record);
    return record;
  }

  absl::StatusOr<ArtifactRecord> Get(const std::string& id) override {
    std::lock_guard lock(mutex_);
    const auto it = records_.find(id);
    if (it == records_.end()) return NotFound(id);
    return it->second;
  }

  absl::StatusOr<std::vector<ArtifactRecord>> List(
      const ArtifactQuery& query) override {
    std::lock_guard lock(mutex_);
    if (!query.job_id.empty()) return ListJobLocked(query);
    if (query.tenant) return ListTenantLocked(query);
    std::vector<ArtifactRecord> out;
    auto it = query.before_id.empty() ? records_.end()
                                      : records_.lower_bound(query.before_id);
    while (it != records_.begin() &&
           static_cast<int>(out.size()) < query.limit) {
      out.push_back((--it)->second);
    }
    return out;
  }

  absl::StatusOr<std::unique_ptr<ArtifactFileReader>> Open(
      const std::string& id, const std::string& path) override {
    QUANT_ASSIGN_OR_RETURN(const ArtifactRecord record, Get(id));
    for (const StoredFile& file : record.files) {
      if (file.path != path) continue;
      absl::StatusOr<File> opened = File::OpenRead(FilePath(id, path));
      // It may have been deleted since; otherwise the file is lost.
      if (!opened.ok() && !Get(id).ok()) return NotFound(id);
      if (absl::IsNotFound(opened.status())) {
        return MakeError(absl::StatusCode::kDataLoss, Reason::kDigestMismatch,
                         absl::StrCat(path, ": is gone"));
      }
      if (!opened.ok()) return opened.status();
      QUANT_ASSIGN_OR_RETURN(const FileStamp stamp, StampOf(opened->fd()));
      if (stamp.size_bytes != file.size_bytes) {
        return MakeError(
            absl::StatusCode::kDataLoss, Reason::kDigestMismatch,
            absl::StrCat(path, ": is ", stamp.size_bytes, " bytes; ",
                         file.size_bytes, " were published"));
      }
      return std::make_unique<LocalReader>(
          *std::move(opened), absl::StrCat(id, "/", path), stamp, verified_);
    }
    return NotFound(absl::StrCat(id, "/", path));
  }

  absl::Status Delete(const std::string& id) override {
    // Not beside Sweep: two that empty the trash get in each other's way.
    std::lock_guard publishing(publish_mutex_);
    const std::string trash = JoinPath(Path("trash"), id);
    {
      std::lock_guard lock(mutex_);
      const auto it = records_.find(id);
      if (it == records_.end()) return NotFound(id);
      // Open files stay readable; the name is gone at once.
      const absl::Status moved = Rename(JoinPath(Path("artifacts"), id), trash);
      if (!moved.ok() && !absl::IsNotFound(moved)) return moved;
      used_bytes_ -= BytesOf(it->second);
      Tenant& tenant = tenants_[it->second.tenant];
      tenant.bytes -= BytesOf(it->second);
      tenant.ids.erase(id);
      by_output_.erase({it->second.job_id, it->second.output});
      records_.erase(it);
    }
    verified_->Remove(absl::StrCat(id, "/"));
    if (options_.sync) QUANT_RETURN_IF_ERROR(SyncDirectory(Path("artifacts")));
    // What can't be removed now is the sweeper's.
    RemoveTree(trash).IgnoreError();
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> Sweep(
      const std::vector<std::string>& keep_job_ids) override {
    std::lock_guard publishing(publish_mutex_);
    const std::set<std::string> keep(keep_job_ids.begin(), keep_job_ids.end());
    int64_t freed = 0;
    for (const char* name : {"work", "incoming", "trash"}) {
      QUANT_ASSIGN_OR_RETURN(const auto entries, ListDirectory(Path(name)));
      for (const DirEntry& entry : entries) {
        if (name == std::string("work") && keep.count(entry.name) > 0) continue;
        const std::string path = JoinPath(Path(name), entry.name);
        freed += TreeBytes(path);
        QUANT_RETURN_IF_ERROR(RemoveTree(path));
      }
    }
    return freed;
  }

  absl::StatusOr<int64_t> FreeBytes() override { return FreeDiskBytes(root_); }

  absl::StatusOr<int64_t> UsedBytes() override {
    std::lock_guard lock(mutex_);
    return used_bytes_;
  }

  absl::StatusOr<int64_t> TenantBytes(const std::string& tenant) override {
    std::lock_guard lock(mutex_);
    const auto it = tenants_.find(tenant);
    return it == tenants_.end() ? 0 : it->second.bytes;
  }

 private:
  // What one tenant has.
  struct Tenant {
    int64_t bytes = 0;
    std::set<std::string> ids;
  };

  std::string Path(absl::string_view name) const {
    return JoinPath(root_, name);
  }

  std::string FilePath(const std::string& id, const std::string& path) const {
    return JoinPath(Path("artifacts"), absl::StrCat(id, "/files/", path));
  }

  static absl::Status CheckJobId(const std::string& job_id) {
    if (IsStoreId(job_id)) return absl::OkStatus();
    return InvalidSpec(absl::StrCat("job id \"", job_id, "\""));
  }

  static absl::StatusOr<ArtifactRecord> ReadRecord(
      const std::string& directory) {
    QUANT_ASSIGN_OR_RETURN(
        const std::string text,
        ReadFile(JoinPath(directory, kRecordName), kMaxRecordBytes));
    return ParseArtifactRecord(text);
  }

  absl::StatusOr<ArtifactRecord> Find(const std::string& job_id,
                                      const std::string& output) {
    std::lock_guard lock(mutex_);
    const auto it = by_output_.find({job_id, output});
    if (it == by_output_.end()) return NotFound(job_id);
    return records_.at(it->second);
  }

  absl::Status MoveIn(const std::string& staging,
                      const ArtifactRecord& record) {
    if (options_.sync) QUANT_RETURN_IF_ERROR(SyncDirectory(staging));
    QUANT_RETURN_IF_ERROR(
        Rename(staging, JoinPath(Path("artifacts"), record.id)));
    if (!options_.sync) return absl::OkStatus();
    return SyncDirectory(Path("artifacts"));
  }

  void TrustUntouched(const ArtifactRecord& record,
                      const std::map<std::string, FileStamp>& hashed) {
    for (const StoredFile& file : record.files) {
      const auto it = hashed.find(file.path);
      if (it == hashed.end()) continue;
      const auto now = StampOf(FilePath(record.id, file.path));
      if (now.ok() && *now == it->second) {
        verified_->Add(absl::StrCat(record.id, "/", file.path), *now);
      }
    }
  }

  // A crash after the files were moved, before the last rename: everything is
  // there. Anything less is left for Sweep.
  std::optional<ArtifactRecord> FinishInterrupted(const std::string& name) {
    const std::string staging = JoinPath(Path("incoming"), name);
    const auto record = ReadRecord(staging);
    if (!record.ok() ||
        !CheckArtifactFiles(JoinPath(staging, "files"), record->files).ok() ||
        !MoveIn(staging, *record).ok()) {
      return std::nullopt;
    }
    return *record;
  }

  void Remember(ArtifactRecord record) {
    std::lock_guard lock(mutex_);
    latest_micros_ = std::max(latest_micros_, record.create_time);
    used_bytes_ += BytesOf(record);
    Tenant& tenant = tenants_[record.tenant];
    tenant.bytes += BytesOf(record);
    tenant.ids.insert(record.id);
    by_output_[{record.job_id, record.output}] = record.id;
    std::string id = record.id;
    records_[std::move(id)] = std::move(record);
  }

  static int64_t BytesOf(const ArtifactRecord& record) {
    int64_t bytes = 0;
    for (const StoredFile& file : record.files) bytes += file.size_bytes;
    return bytes;
  }

  // Ids ascend even when the clock stands still or goes back. Under
  // publish_mutex_.
  ArtifactRecord NewRecord(PublishRequest request) {
    constexpr int64_t kIdResolutionMicros = 1000;
    int64_t now = options_.clock->NowMicros();
    {
      std::lock_guard lock(mutex_);
      now = std::max(now, latest_micros_ + kIdResolutionMicros);
    }
    ArtifactRecord record{.id = NewStoreId(now),
                          .job_id = std::move(request.job_id),
                          .output = std::move(request.output),
                          .files = std::move(request.files),
                          .create_time = now,
                          .gate_failed = request.gate_failed,
                          .tenant = std::move(request.tenant)};
    std::sort(record.files.begin(), record.files.end(),
              [](const auto& a, const auto& b) { return a.path < b.path; });
    return record;
  }

  std::vector<ArtifactRecord> ListTenantLocked(
      const ArtifactQuery& query) const {
    std::vector<ArtifactRecord> out;
    const auto tenant = tenants_.find(*query.tenant);
    if (tenant == tenants_.end()) return out;
    const std::set<std::string>& ids = tenant->second.ids;
    auto it =
        query.before_id.empty() ? ids.end() : ids.lower_bound(query.before_id);
    while (it != ids.begin() && static_cast<int>(out.size()) < query.limit) {
      out.push_back(records_.at(*--it));
    }
    return out;
  }

  static bool IsOf(const ArtifactQuery& query, const ArtifactRecord& record) {
    return !query.tenant || *query.tenant == record.tenant;
  }

  std::vector<ArtifactRecord> ListJobLocked(const ArtifactQuery& query) const {
    std::vector<ArtifactRecord> out;
    for (auto it = by_output_.lower_bound({query.job_id, ""});
         it != by_output_.end() && it->first.first == query.job_id; ++it) {
      const ArtifactRecord& record = records_.at(it->second);
      if (!query.before_id.empty() && record.id >= query.before_id) continue;
      if (IsOf(query, record)) out.push_back(record);
    }
    std::sort(out.begin(), out.end(),
              [](const auto& a, const auto& b) { return a.id > b.id; });
    if (static_cast<int>(out.size()) > query.limit) {
      out.resize(std::max(query.limit, 0));
    }
    return out;
  }

  const std::string root_;
  const LocalArtifactStoreOptions options_;
  const std::shared_ptr<VerifiedFiles> verified_ =
      std::make_shared<VerifiedFiles>();
  std::mutex publish_mutex_;  // one change of the disk at a time
  std::mutex mutex_;          // guards what follows
  std::map<std::string, ArtifactRecord> records_;
  std::map<std::pair<std::string, std::string>, std::string> by_output_;
  int64_t used_bytes_ = 0;
  std::map<std::string, Tenant> tenants_;
  int64_t latest_micros_ = 0;  // of the newest record
};

}  // namespace

absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenLocalArtifactStore(
    const std::string& root, const LocalArtifactStoreOptions& options) {
  auto store = std::make_unique<LocalArtifactStore>(root, options);
  QUANT_RETURN_IF_ERROR(store->Load());
  return store;
}

}  // namespace quant
