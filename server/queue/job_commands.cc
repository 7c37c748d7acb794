#include "server/queue/job_commands.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/quota_subject.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr int64_t kRequestSweepMicros = 60'000'000;

absl::Status NotFound(const std::string& id) {
  return MakeError(absl::StatusCode::kNotFound, Reason::kJobNotFound,
                   absl::StrCat("jobs/", id, ": there is no such job"));
}

// Tenants choose their request ids without knowing of each other. No tenant has
// a line break in its name.
std::string RequestKey(const EnqueueRequest& request) {
  const std::string& tenant = request.owner.tenant;
  return tenant.empty() ? request.request_id
                        : absl::StrCat(tenant, "\n", request.request_id);
}

uint64_t JitterSeed(const QueueOptions& options) {
  if (options.jitter_seed != 0) return options.jitter_seed;
  std::random_device random;
  return static_cast<uint64_t>(random()) << 32 | random();
}

}  // namespace

JobCommands::JobCommands(JobTable& table, JobIndex& index,
                         const QueueOptions& options, const Clock& clock,
                         JobKey after)
    : table_(table),
      index_(index),
      options_(options),
      clock_(clock),
      ids_(after),
      tokens_(JobKey()),
      jitter_(JitterSeed(options)) {}

absl::Status JobCommands::Note(absl::Status status) {
  if (status.ok()) {
    wrote_ = true;
  } else if (storage_error_.ok()) {
    storage_error_ = status;
  }
  return status;
}

absl::Status JobCommands::Begin() {
  storage_error_ = absl::OkStatus();
  wrote_ = false;
  claimable_ = false;
  repeats_ = fenced_ = 0;
  changed_.clear();
  undo_.clear();
  old_control_.reset();
  return table_.Begin();
}

absl::Status JobCommands::Commit() {
  absl::Status status = table_.Commit();
  if (!status.ok()) {
    Rollback();
    return status;
  }
  for (const auto& [before, after] : undo_) {
    const bool ended = before && after && !before->lease_token.empty() &&
                       (after->state == JobState::kSucceeded ||
                        after->state == JobState::kFailed);
    if (ended) index_.Took(clock_.NowMicros() - before->start_time);
  }
  undo_.clear();
  index_.Settle();
  return status;
}

void JobCommands::Rollback() {
  table_.Rollback();
  for (auto it = undo_.rbegin(); it != undo_.rend(); ++it) {
    index_.Replace(it->second ? &*it->second : nullptr,
                   it->first ? &*it->first : nullptr);
  }
  undo_.clear();
  if (old_control_) index_.SetControl(*std::exchange(old_control_, {}));
  changed_.clear();
  claimable_ = false;
  index_.Settle();
}

void JobCommands::Index(const JobRecord* before, const JobRecord* after) {
  auto& [old_brief, new_brief] = undo_.emplace_back();
  if (before != nullptr) old_brief = BriefOf(*before);
  if (after != nullptr) new_brief = BriefOf(*after);
  index_.Replace(old_brief ? &*old_brief : nullptr,
                 new_brief ? &*new_brief : nullptr);
}

absl::StatusOr<JobRecord> JobCommands::Load(const std::string& id) {
  absl::StatusOr<std::optional<JobRecord>> found = table_.Find(id);
  if (!found.ok()) return Note(found.status());
  if (!found->has_value()) return NotFound(id);
  JobRecord job = **std::move(found);
  index_.Overlay(job);
  return job;
}

absl::StatusOr<JobRecord> JobCommands::LoadChecked(const std::string& id,
                                                   const std::string& etag) {
  QUANT_ASSIGN_OR_RETURN(JobRecord job, Load(id));
  if (!etag.empty() && etag != Etag(job)) {
    return MakeError(absl::StatusCode::kAborted, Reason::kEtagMismatch,
                     absl::StrCat("jobs/", id, ": its etag is ", Etag(job),
                                  ", not ", etag, "; read it again"));
  }
  return job;
}

absl::Status JobCommands::LeaseLost(const std::string& id) {
  ++fenced_;
  return MakeError(
      absl::StatusCode::kAborted, Reason::kLeaseLost,
      absl::StrCat("jobs/", id,
                   ": the lease is held by another attempt or has ended; stop "
                   "this one and publish nothing"));
}

absl::StatusOr<JobRecord> JobCommands::LoadLeased(const std::string& id,
                                                  const std::string& token) {
  absl::StatusOr<JobRecord> job = Load(id);
  if (!job.ok()) {
    if (job.status().code() == absl::StatusCode::kNotFound) {
      return LeaseLost(id);
    }
    return job.status();
  }
  if (token.empty() || job->lease_token != token) return LeaseLost(id);
  return job;
}

absl::Status JobCommands::WriteEvents(const JobChange& change) {
  const JobRecord& job = change.record;
  QUANT_RETURN_IF_ERROR(Note(table_.AppendEvents(job.id, change.events)));
  int64_t surplus = job.event_sequence - options_.max_events_per_job;
  if (surplus > 0) {
    QUANT_RETURN_IF_ERROR(Note(table_.CompactEvents(job.id, surplus)));
  }
  changed_.insert(job.id);
  return absl::OkStatus();
}

absl::StatusOr<JobRecord> JobCommands::Apply(const JobRecord& job,
                                             CauseInput input) {
  input.now = clock_.NowMicros();
  input.jitter = std::uniform_real_distribution<double>(-1.0, 1.0)(jitter_);
  QUANT_ASSIGN_OR_RETURN(JobChange change, ApplyCause(job, input, options_));
  if (change.events.empty()) return std::move(change.record);
  QUANT_RETURN_IF_ERROR(Note(table_.Update(change.record)));
  QUANT_RETURN_IF_ERROR(WriteEvents(change));
  Index(&job, &change.record);
  if (change.record.state == JobState::kQueued) claimable_ = true;
  return std::move(change.record);
}

absl::StatusOr<std::optional<JobRecord>> JobCommands::FindRepeat(
    const EnqueueRequest& request, int64_t now) {
  if (request.request_id.empty()) return std::nullopt;
  auto found = table_.FindRequest(RequestKey(request));
  if (!found.ok()) return Note(found.status());
  if (!found->has_value() || (*found)->expires <= now) return std::nullopt;
  if ((*found)->digest != request.request_digest) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     Reason::kRequestIdReused,
                     absl::StrCat("request_id \"", request.request_id,
                                  "\": was used for another request, which "
                                  "made jobs/",
                                  (*found)->job, "; use a new one"),
                     "request_id");
  }
  QUANT_ASSIGN_OR_RETURN(JobRecord job, Load((*found)->job));
  ++repeats_;
  return job;
}

absl::Status JobCommands::CheckOpenJobs(const JobOwner& owner,
                                        int64_t most) const {
  if (most == 0) return absl::OkStatus();
  const int64_t open = index_.OpenJobs(owner);
  if (open < most) return absl::OkStatus();
  const std::string& name = owner.principal;
  return MakeError(
      absl::StatusCode::kResourceExhausted, Reason::kQuotaExceeded,
      absl::StrCat(name.empty() ? "whoever connects" : name, " has ", open,
                   " jobs that have not ended; at most ", most, " are allowed"),
      PrincipalSubject(name));
}

absl::StatusOr<JobRecord> JobCommands::Enqueue(const EnqueueRequest& request) {
  int64_t now = clock_.NowMicros();
  if (request.max_attempts < 1) {
    return InvalidSpec(
        absl::StrCat("max_attempts: ", request.max_attempts, "; at least 1"));
  }
  if (request.priority < kLeastPriority || request.priority > kMostPriority) {
    return InvalidSpec(absl::StrCat("priority: ", request.priority, "; ",
                                    kLeastPriority, " to ", kMostPriority));
  }
  QUANT_ASSIGN_OR_RETURN(std::optional<JobRecord> repeat,
                         FindRepeat(request, now));
  if (repeat) return *std::move(repeat);
  QUANT_RETURN_IF_ERROR(request.refusal);
  QUANT_RETURN_IF_ERROR(CheckOpenJobs(request.owner, request.max_open_jobs));
  if (request.validate_only) return NewJob(request, "", now).record;
  JobChange change = NewJob(request, ids_.Next(now), now);
  QUANT_RETURN_IF_ERROR(Note(table_.Insert(change.record)));
  QUANT_RETURN_IF_ERROR(WriteEvents(change));
  if (!request.request_id.empty()) {
    QUANT_RETURN_IF_ERROR(Note(
        table_.PutRequest({.id = RequestKey(request),
                           .digest = request.request_digest,
                           .job = change.record.id,
                           .expires = now + options_.request_id_ttl_micros})));
  }
  if (now >= next_request_sweep_) {
    QUANT_RETURN_IF_ERROR(Note(table_.RemoveRequestsExpiredBy(now)));
    next_request_sweep_ = now + kRequestSweepMicros;
  }
  Index(nullptr, &change.record);
  claimable_ = true;
  return std::move(change.record);
}

absl::StatusOr<JobRecord> JobCommands::Claim(const std::string& owner) {
  int64_t now = clock_.NowMicros();
  std::optional<std::string> id = index_.NextDue(now);
  if (!id) {
    return MakeError(absl::StatusCode::kNotFound, Reason::kJobNotFound,
                     "queue: no job is due, or none may be started");
  }
  QUANT_ASSIGN_OR_RETURN(JobRecord job, Load(*id));
  return Apply(job, {.cause = Cause::kClaim,
                     .owner = owner,
                     .new_lease_token = tokens_.Next(now)});
}

absl::StatusOr<JobRecord> JobCommands::RequestCancel(const std::string& id,
                                                     const std::string& etag) {
  QUANT_ASSIGN_OR_RETURN(JobRecord job, LoadChecked(id, etag));
  return Apply(job, {.cause = Cause::kRequestCancel});
}

absl::StatusOr<JobRecord> JobCommands::Retry(const std::string& id,
                                             const std::string& etag,
                                             int64_t max_open_jobs) {
  QUANT_ASSIGN_OR_RETURN(JobRecord job, LoadChecked(id, etag));
  if (job.state == JobState::kFailed || job.state == JobState::kCancelled) {
    QUANT_RETURN_IF_ERROR(CheckOpenJobs(job.owner, max_open_jobs));
  }
  return Apply(job, {.cause = Cause::kRetry});
}

absl::StatusOr<JobRecord> JobCommands::Delete(const std::string& id,
                                              const std::string& etag) {
  QUANT_ASSIGN_OR_RETURN(JobRecord job, LoadChecked(id, etag));
  if (!IsTerminal(job.state)) {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     Reason::kJobNotTerminal,
                     absl::StrCat("jobs/", id, ": is ", JobStateName(job.state),
                                  "; cancel it first"));
  }
  QUANT_RETURN_IF_ERROR(Note(table_.Remove(id)));
  Index(&job, nullptr);
  changed_.insert(id);
  return job;
}

absl::StatusOr<JobRecord> JobCommands::Heartbeat(const std::string& id,
                                                 const std::string& token) {
  QUANT_ASSIGN_OR_RETURN(JobRecord job, LoadLeased(id, token));
  JobRecord next = job;
  next.lease_until = clock_.NowMicros() + options_.lease_ttl_micros;
  QUANT_RETURN_IF_ERROR(Note(table_.Update(next)));
  Index(&job, &next);
  return next;
}

absl::StatusOr<JobRecord> JobCommands::Finish(const FinishRequest& request) {
  QUANT_ASSIGN_OR_RETURN(JobRecord job,
                         LoadLeased(request.id, request.lease_token));
  return Apply(job, {.cause = CauseOf(request.outcome), .finish = &request});
}

absl::StatusOr<int64_t> JobCommands::EndLeases(
    Cause cause,
    const std::function<bool(const std::string& owner, int64_t until)>& match) {
  int64_t ended = 0;
  for (const std::string& id : index_.Leases(match)) {
    QUANT_ASSIGN_OR_RETURN(JobRecord job, Load(id));
    QUANT_RETURN_IF_ERROR(Apply(job, {.cause = cause}).status());
    ++ended;
  }
  return ended;
}

absl::StatusOr<QueueControl> JobCommands::SetMode(
    QueueMode mode, const std::string& principal) {
  const QueueControl before = index_.Control();
  if (before.mode == mode) return before;
  const QueueControl next = {
      .mode = mode, .time = clock_.NowMicros(), .principal = principal};
  QUANT_RETURN_IF_ERROR(Note(table_.PutControl(next)));
  if (!old_control_) old_control_ = before;
  index_.SetControl(next);
  claimable_ = true;
  return next;
}

absl::Status JobCommands::WriteProgress() {
  for (const std::string& id : index_.TakeUnwritten()) {
    absl::StatusOr<JobRecord> job = Load(id);
    if (!job.ok()) continue;
    QUANT_RETURN_IF_ERROR(Note(table_.Update(*job)));
  }
  return absl::OkStatus();
}

}  // namespace quant
