#include "server/maintenance/doctor.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/file.h"
#include "core/pipeline/journal.h"
#include "server/queue/queue_file.h"
#include "server/store/artifact_files.h"
#include "server/store/artifact_record.h"

namespace quant {
namespace {

constexpr int64_t kMaxRecordBytes = 64 << 20;
constexpr size_t kSha256HexLength = 64;
// A server beside it moves things between one look and the next: what is
// wrong is looked at again until two looks agree.
constexpr int kMostLooks = 4;

class Doctor {
 public:
  explicit Doctor(const DoctorOptions& options) : options_(options) {}

  std::vector<Finding> Examine() {
    if (!IsDirectory(options_.data_dir)) {
      Add(Severity::kFailure, "data-dir",
          absl::StrCat(options_.data_dir, ": is no directory"));
      return std::move(findings_);
    }
    ExamineQueue();
    ExamineArtifacts();
    ExamineUploads();
    ExamineWork();
    ExamineDisk();
    return std::move(findings_);
  }

 private:
  void Add(Severity severity, const char* check, std::string detail) {
    findings_.push_back({severity, check, std::move(detail)});
  }
  void Fail(const char* check, const absl::Status& status) {
    Add(Severity::kFailure, check, std::string(status.message()));
  }
  std::string Path(absl::string_view name) const {
    return JoinPath(options_.data_dir, name);
  }
  // Empty when the directory is not there yet.
  std::vector<DirEntry> Entries(const char* check, const std::string& path) {
    if (!PathExists(path)) return {};
    auto entries = ListDirectory(path);
    if (entries.ok()) return *std::move(entries);
    Fail(check, entries.status());
    return {};
  }

  void ExamineQueue() {
    if (!PathExists(Path("queue.sqlite"))) {
      Add(Severity::kWarning, "queue", "queue.sqlite: no server ran here yet");
      return;
    }
    auto report = InspectQueueFile(Path("queue.sqlite"));
    if (!report.ok()) return Fail("queue", report.status());
    for (const std::string& damage : report->damage) {
      Add(Severity::kFailure, "queue",
          absl::StrCat("queue.sqlite: ", damage,
                       "; stop the server and restore a backup"));
    }
    for (QueueFileReport::Job& job : report->jobs) {
      jobs_.emplace(job.id, std::move(job));
    }
    if (report->damage.empty()) {
      Add(Severity::kOk, "queue",
          absl::StrCat(jobs_.size(), " jobs, schema version ",
                       report->schema_version));
    }
    known_jobs_ = true;
  }

  void ExamineArtifacts() {
    const size_t before = Failures();
    int64_t files = 0;
    for (const DirEntry& entry : Entries("artifacts", Path("artifacts"))) {
      files += ExamineArtifact(entry.name);
    }
    for (const auto& [id, job] : jobs_) {
      if (job.state != JobState::kSucceeded) continue;
      for (const std::string& artifact : job.artifacts) {
        if (artifacts_.count(artifact) > 0) continue;
        Add(Severity::kWarning, "artifacts",
            absl::StrCat(artifact, ": is not stored, and job ", id,
                         " made it: deleted, or lost"));
      }
    }
    if (Failures() > before) return;
    Add(Severity::kOk, "artifacts",
        absl::StrCat(artifacts_.size(), " artifacts, ", files,
                     options_.digests ? " files with the digests they should "
                                        "have"
                                      : " files with the sizes they should "
                                        "have; --digests reads them all"));
  }

  // Answers how many files it has.
  int64_t ExamineArtifact(const std::string& id) {
    const std::string directory = JoinPath(Path("artifacts"), id);
    const auto text =
        ReadFile(JoinPath(directory, "record.json"), kMaxRecordBytes);
    const auto record = text.ok() ? ParseArtifactRecord(*text) : text.status();
    if (!record.ok() || record->id != id) {
      Add(Severity::kFailure, "artifacts",
          absl::StrCat(id,
                       ": has no sound record.json; the server does not "
                       "list it"));
      return 0;
    }
    artifacts_.insert(id);
    if (known_jobs_ && jobs_.count(record->job_id) == 0) {
      Add(Severity::kWarning, "artifacts",
          absl::StrCat(id, ": is of job ", record->job_id,
                       ", which the queue does not know (deleted, or younger "
                       "than a restored backup)"));
    }
    const std::string files = JoinPath(directory, "files");
    const absl::Status sizes = CheckArtifactFiles(files, record->files);
    if (!sizes.ok()) {
      Add(Severity::kFailure, "artifacts",
          absl::StrCat(id, ": ", sizes.message()));
    } else if (options_.digests) {
      for (const StoredFile& file : record->files) {
        CheckDigest("artifacts", JoinPath(files, file.path), file.sha256);
      }
    }
    return static_cast<int64_t>(record->files.size());
  }

  void CheckDigest(const char* check, const std::string& path,
                   const std::string& wanted) {
    const auto found = Sha256OfFile(path);
    if (!found.ok()) return Fail(check, found.status());
    if (*found == wanted) return;
    Add(Severity::kFailure, check,
        absl::StrCat(path, ": has SHA-256 ", *found, ", not ", wanted));
  }

  void ExamineUploads() {
    const size_t before = Failures();
    int64_t blobs = ExamineBlobs(Path("blobs"));
    const std::string tenants = Path("tenants");
    if (PathExists(tenants)) {
      for (const DirEntry& tenant : Entries("uploads", tenants)) {
        blobs += ExamineBlobs(JoinPath(tenants, tenant.name + "/blobs"));
      }
    }
    if (Failures() > before) return;
    Add(Severity::kOk, "uploads", absl::StrCat(blobs, " uploaded files"));
  }

  int64_t ExamineBlobs(const std::string& path) {
    int64_t blobs = 0;
    for (const DirEntry& entry : Entries("uploads", path)) {
      if (!entry.is_regular || entry.name.size() != kSha256HexLength) continue;
      ++blobs;
      if (options_.digests) {
        CheckDigest("uploads", JoinPath(path, entry.name), entry.name);
      }
    }
    return blobs;
  }

  void ExamineWork() {
    const size_t before = findings_.size();
    int64_t tensors = 0, directories = 0;
    for (const DirEntry& entry : Entries("work", Path("work"))) {
      ++directories;
      tensors += ExamineJournal(entry.name);
    }
    if (findings_.size() > before) return;
    Add(Severity::kOk, "work",
        absl::StrCat(directories, " work directories, ", tensors,
                     " tensors done"));
  }

  int64_t ExamineJournal(const std::string& id) {
    const std::string directory = JoinPath(Path("work"), id);
    if (known_jobs_ && jobs_.count(id) == 0) {
      Add(Severity::kWarning, "work",
          absl::StrCat(id,
                       ": is of no known job; goes when the server "
                       "starts"));
      return 0;
    }
    const std::string path = JoinPath(directory, "journal");
    if (!PathExists(path)) return 0;
    const auto report = Journal::Inspect(path);
    if (!report.ok()) {
      Fail("work", report.status());
      return 0;
    }
    if (report->sound_bytes < report->bytes) {
      Add(Severity::kWarning, "work",
          absl::StrCat(path, ": ", report->bytes - report->sound_bytes,
                       " bytes at the end are torn; the next attempt redoes "
                       "what they said"));
    }
    if (report->tensors_done > 0 &&
        !IsDirectory(JoinPath(directory, "outputs"))) {
      Add(Severity::kWarning, "work",
          absl::StrCat(path, ": tells of ", report->tensors_done,
                       " tensors, and there are no outputs; the next attempt "
                       "starts over"));
    }
    return report->tensors_done;
  }

  void ExamineDisk() {
    const auto free = FreeDiskBytes(options_.data_dir);
    if (!free.ok()) return Fail("disk", free.status());
    const bool low = *free < options_.low_disk_bytes;
    Add(low ? Severity::kWarning : Severity::kOk, "disk",
        absl::StrCat(*free, " bytes free",
                     low ? "; delete artifacts or give it more" : ""));
  }

  size_t Failures() const {
    return std::count_if(findings_.begin(), findings_.end(),
                         [](const Finding& finding) {
                           return finding.severity == Severity::kFailure;
                         });
  }

  const DoctorOptions& options_;
  std::vector<Finding> findings_;
  bool known_jobs_ = false;
  std::map<std::string, QueueFileReport::Job> jobs_;
  std::set<std::string> artifacts_;
};

}  // namespace

std::vector<Finding> Examine(const DoctorOptions& options) {
  std::vector<Finding> found = Doctor(options).Examine();
  for (int looks = 1; looks < kMostLooks; ++looks) {
    if (WorstOf(found) == Severity::kOk) break;
    std::vector<Finding> again = Doctor(options).Examine();
    if (again == found) break;
    found = std::move(again);
  }
  return found;
}

Severity WorstOf(const std::vector<Finding>& findings) {
  Severity worst = Severity::kOk;
  for (const Finding& finding : findings) {
    worst = std::max(worst, finding.severity);
  }
  return worst;
}

}  // namespace quant
