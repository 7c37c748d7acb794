#include "server/store/local_artifact_store.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "server/store/artifact_record.h"
#include "server/store/store_id.h"

namespace quant {
namespace {

constexpr int64_t kMaxRecordBytes = 64 << 20;
constexpr char kRecordName[] = "record.json";

absl::Status NotFound(absl::string_view what) {
  return MakeError(absl::StatusCode::kNotFound, Reason::kArtifactNotFound,
                   absl::StrCat(what, ": no such artifact"));
}

class LocalReader final : public ArtifactFileReader {
 public:
  LocalReader(File file, int64_t size) : file_(std::move(file)), size_(size) {}
  int64_t size_bytes() const override { return size_; }
  absl::Status ReadAt(int64_t offset, absl::Span<uint8_t> out) override {
    return file_.ReadAt(offset, out);
  }

 private:
  File file_;
  int64_t size_;
};

// All regular files below `root`, relative, with their sizes.
absl::Status ListTree(const std::string& root, const std::string& prefix,
                      std::map<std::string, int64_t>& out) {
  QUANT_ASSIGN_OR_RETURN(const auto entries,
                         ListDirectory(JoinPath(root, prefix)));
  for (const DirEntry& entry : entries) {
    const std::string path =
        prefix.empty() ? entry.name : JoinPath(prefix, entry.name);
    if (entry.is_directory) {
      QUANT_RETURN_IF_ERROR(ListTree(root, path, out));
    } else {
      out[path] = entry.size_bytes;
    }
  }
  return absl::OkStatus();
}

// The directory holds the promised files, as long as promised, and no others.
absl::Status CheckFiles(const std::string& directory,
                        const std::vector<StoredFile>& files) {
  std::map<std::string, int64_t> found;
  QUANT_RETURN_IF_ERROR(ListTree(directory, "", found));
  const auto mismatch = [](const std::string& what) {
    return MakeError(absl::StatusCode::kDataLoss, Reason::kDigestMismatch,
                     what);
  };
  for (const StoredFile& file : files) {
    const auto it = found.find(file.path);
    if (it == found.end()) {
      return mismatch(absl::StrCat(file.path, ": promised but not there"));
    }
    if (it->second != file.size_bytes) {
      return mismatch(absl::StrCat(file.path, ": is ", it->second, " bytes; ",
                                   file.size_bytes, " were promised"));
    }
    found.erase(it);
  }
  if (found.empty()) return absl::OkStatus();
  return mismatch(absl::StrCat(found.begin()->first, ": was not promised"));
}

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
    if (auto known = Find(request.job_id, request.output); known.ok()) {
      QUANT_RETURN_IF_ERROR(RemoveTree(request.directory));
      return known;
    }
    QUANT_RETURN_IF_ERROR(CheckFiles(request.directory, request.files));
    ArtifactRecord record{.id = NewStoreId(options_.clock->NowMicros()),
                          .job_id = request.job_id,
                          .output = request.output,
                          .files = std::move(request.files),
                          .create_time = options_.clock->NowMicros(),
                          .gate_failed = request.gate_failed};
    std::sort(record.files.begin(), record.files.end(),
              [](const auto& a, const auto& b) { return a.path < b.path; });
    const std::string staging = JoinPath(
        Path("incoming"), absl::StrCat(record.job_id, ".", record.output));
    QUANT_RETURN_IF_ERROR(RemoveTree(staging));
    QUANT_RETURN_IF_ERROR(MakeDirectories(staging));
    QUANT_RETURN_IF_ERROR(WriteFileAtomically(JoinPath(staging, kRecordName),
                                              ArtifactRecordToJson(record),
                                              options_.sync));
    QUANT_RETURN_IF_ERROR(
        Rename(request.directory, JoinPath(staging, "files")));
    QUANT_RETURN_IF_ERROR(MoveIn(staging, record));
    Remember(record);
    return record;
  }

  absl::StatusOr<ArtifactRecord> Get(const std::string& id) override {
    std::lock_guard lock(mutex_);
    const auto it = records_.find(id);
    if (it == records_.end()) return NotFound(id);
    return it->second;
  }

  absl::StatusOr<std::vector<ArtifactRecord>> List(const std::string& job_id,
                                                   const std::string& before_id,
                                                   int limit) override {
    std::lock_guard lock(mutex_);
    std::vector<ArtifactRecord> out;
    auto it =
        before_id.empty() ? records_.end() : records_.lower_bound(before_id);
    while (it != records_.begin() && static_cast<int>(out.size()) < limit) {
      --it;
      if (job_id.empty() || it->second.job_id == job_id) {
        out.push_back(it->second);
      }
    }
    return out;
  }

  absl::StatusOr<std::unique_ptr<ArtifactFileReader>> Open(
      const std::string& id, const std::string& path) override {
    QUANT_ASSIGN_OR_RETURN(const ArtifactRecord record, Get(id));
    for (const StoredFile& file : record.files) {
      if (file.path != path) continue;
      QUANT_ASSIGN_OR_RETURN(
          File opened,
          File::OpenRead(
              JoinPath(Path("artifacts"), absl::StrCat(id, "/files/", path))));
      QUANT_ASSIGN_OR_RETURN(const int64_t size, opened.Size());
      if (size != file.size_bytes) {
        return MakeError(absl::StatusCode::kDataLoss, Reason::kDigestMismatch,
                         absl::StrCat(path, ": is ", size, " bytes; ",
                                      file.size_bytes, " were published"));
      }
      return std::make_unique<LocalReader>(std::move(opened), size);
    }
    return NotFound(absl::StrCat(id, "/", path));
  }

  absl::Status Delete(const std::string& id) override {
    {
      std::lock_guard lock(mutex_);
      const auto it = records_.find(id);
      if (it == records_.end()) return NotFound(id);
      by_output_.erase({it->second.job_id, it->second.output});
      records_.erase(it);
    }
    // Open files stay readable; the name is gone at once.
    const std::string trash = JoinPath(Path("trash"), id);
    QUANT_RETURN_IF_ERROR(Rename(JoinPath(Path("artifacts"), id), trash));
    return RemoveTree(trash);
  }

  absl::StatusOr<int64_t> Sweep(
      const std::vector<std::string>& keep_job_ids) override {
    const std::set<std::string> keep(keep_job_ids.begin(), keep_job_ids.end());
    int64_t freed = 0;
    for (const char* name : {"work", "incoming", "trash"}) {
      QUANT_ASSIGN_OR_RETURN(const auto entries, ListDirectory(Path(name)));
      for (const DirEntry& entry : entries) {
        if (name == std::string("work") && keep.count(entry.name) > 0) continue;
        const std::string path = JoinPath(Path(name), entry.name);
        std::map<std::string, int64_t> files;
        QUANT_RETURN_IF_ERROR(ListTree(path, "", files));
        for (const auto& [file, size] : files) freed += size;
        QUANT_RETURN_IF_ERROR(RemoveTree(path));
      }
    }
    return freed;
  }

  absl::StatusOr<int64_t> FreeBytes() override { return FreeDiskBytes(root_); }

  absl::StatusOr<int64_t> UsedBytes() override {
    std::lock_guard lock(mutex_);
    return used_bytes_locked();
  }

 private:
  std::string Path(absl::string_view name) const {
    return JoinPath(root_, name);
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

  // A crash after the files were moved, before the last rename: everything is
  // there. Anything less is left for Sweep.
  void FinishInterrupted(const std::string& name) {
    const std::string staging = JoinPath(Path("incoming"), name);
    const auto record = ReadRecord(staging);
    if (!record.ok()) return;
    if (!CheckFiles(JoinPath(staging, "files"), record->files).ok()) return;
    (void)MoveIn(staging, *record);
  }

  void Remember(ArtifactRecord record) {
    std::lock_guard lock(mutex_);
    by_output_[{record.job_id, record.output}] = record.id;
    std::string id = record.id;
    records_[std::move(id)] = std::move(record);
  }

  int64_t used_bytes_locked() const {
    int64_t used = 0;
    for (const auto& [id, record] : records_) {
      for (const StoredFile& file : record.files) used += file.size_bytes;
    }
    return used;
  }

  const std::string root_;
  const LocalArtifactStoreOptions options_;
  std::mutex publish_mutex_;  // one publication at a time
  std::mutex mutex_;          // guards what follows
  std::map<std::string, ArtifactRecord> records_;
  std::map<std::pair<std::string, std::string>, std::string> by_output_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenLocalArtifactStore(
    const std::string& root, const LocalArtifactStoreOptions& options) {
  auto store = std::make_unique<LocalArtifactStore>(root, options);
  QUANT_RETURN_IF_ERROR(store->Load());
  return store;
}

}  // namespace quant
