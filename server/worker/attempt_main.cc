#include "server/worker/attempt_main.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <stop_token>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/thread_pool.h"
#include "core/pipeline/execute.h"
#include "core/pipeline/request_files.h"
#include "core/pipeline/run.h"
#include "core/recipe/recipe.h"
#include "core/recipe/rpc_status.h"
#include "quant/worker/v1/attempt.pb.h"
#include "server/worker/attempt_metrics.h"
#include "server/worker/attempt_protocol.h"
#include "server/worker/sandbox.h"

namespace quant {
namespace {

using worker::v1::AttemptEvent;
using worker::v1::AttemptRequest;
using worker::v1::AttemptResult;

// No file is longer than the whole plan; journals are outside of it.
constexpr int64_t kFileSizeMarginBytes = 64 << 20;

std::atomic<bool> terminated{false};
void OnTerminate(int) { terminated = true; }

// The server comes first: it must answer while workers fill every core, and it
// must not be the one that an exhausted machine kills.
void BeModest() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  sched_param param{};
  (void)::sched_setscheduler(0, SCHED_BATCH, &param);
  (void)::nice(10);
  if (const auto file = File::OpenWrite("/proc/self/oom_score_adj");
      file.ok()) {
    (void)file->Append("500");
  }
}

// Of this program, that is, since its exec: getrusage(2) would count the
// server's memory, which is shared until then. 0: unknown.
int64_t PeakResidentBytes() {
  constexpr absl::string_view kLabel = "\nVmHWM:";
  const auto file = File::OpenRead("/proc/self/status");
  if (!file.ok()) return 0;
  char text[8192];
  const ssize_t n = ::read(file->fd(), text, sizeof text - 1);
  if (n <= 0) return 0;
  text[n] = '\0';
  const size_t at = absl::string_view(text).find(kLabel);
  if (at == absl::string_view::npos) return 0;
  return int64_t{1024} * std::atoll(text + at + kLabel.size());
}

// Listens to the server: its one message lets the work begin; the end of its
// side of the stream, or SIGTERM, asks for a stop.
class ServerWatcher {
 public:
  explicit ServerWatcher(int fd)
      : fd_(fd), thread_([this](std::stop_token t) { Watch(t); }) {}
  ~ServerWatcher() {
    thread_.request_stop();
    ::shutdown(fd_, SHUT_RD);  // ends the poll at once
  }
  std::stop_token token() const { return source_.get_token(); }

  // CANCELLED when a stop came first.
  absl::Status WaitForGo() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return go_ || source_.stop_requested(); });
    return go_ ? absl::OkStatus() : absl::CancelledError("stopped");
  }

 private:
  void Watch(std::stop_token over) {
    while (!over.stop_requested() && !source_.stop_requested()) {
      pollfd item{.fd = fd_, .events = POLLIN | POLLRDHUP, .revents = 0};
      const int ready = ::poll(&item, 1, 50);
      const bool ended = ready > 0 && item.revents != 0 && !TakeGo();
      if (terminated || ended) Stop();
    }
  }

  bool TakeGo() {
    worker::v1::AttemptGo go;
    const absl::StatusOr<bool> received = ReceiveMessage(fd_, go);
    if (!received.ok() || !*received) return false;
    std::lock_guard lock(mutex_);
    go_ = true;
    changed_.notify_all();
    return true;
  }

  void Stop() {
    std::lock_guard lock(mutex_);
    source_.request_stop();
    changed_.notify_all();
  }

  int fd_;
  std::stop_source source_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool go_ = false;  // guarded by mutex_
  std::jthread thread_;
};

class Attempt {
 public:
  explicit Attempt(int fd) : fd_(fd), server_(fd) {}

  absl::Status Run(const AttemptRequest& request) {
    const auto started = std::chrono::steady_clock::now();
    SendStage("PLANNING");
    QUANT_ASSIGN_OR_RETURN(const auto model, OpenModel(request.source_path()));
    QUANT_ASSIGN_OR_RETURN(PlanRequest plan_request,
                           ToPlanRequest(request.spec(), request.threads()));
    if (!request.imatrix_path().empty()) {
      QUANT_RETURN_IF_ERROR(
          LoadImportance(request.imatrix_path(), plan_request));
    }
    if (!request.calibration_path().empty()) {
      QUANT_RETURN_IF_ERROR(LoadCalibration(
          *model, CalibrationOf(request.spec(), request.calibration_path()),
          plan_request));
    }
    if (!request.evaluation_path().empty()) {
      QUANT_RETURN_IF_ERROR(LoadEvaluation(
          *model, EvaluationOf(request.spec(), request.evaluation_path()),
          plan_request));
    }
    ThreadPool pool(request.threads());
    plan_request.pool = &pool;
    QUANT_ASSIGN_OR_RETURN(const Plan plan, MakePlan(*model, plan_request));
    SendPlan(plan);
    LimitFileSize(plan.disk_bound_bytes + kFileSizeMarginBytes);
    SendPlanned(plan.memory_bound_bytes);
    QUANT_RETURN_IF_ERROR(server_.WaitForGo());
    ExecuteOptions options{
        .work_dir = request.work_dir(),
        .pool = &pool,
        .stop = server_.token(),
        .progress =
            [this](const ProgressUpdate& update) { SendProgress(update); },
        .journal = [this](int64_t done) { SendJournal(done); },
        .sync = !request.no_fsync()};
    QUANT_ASSIGN_OR_RETURN(const ExecuteResult result,
                           RunPlanned(*model, plan_request, plan, options));
    SendNotes(result.notes, /*warning=*/true);
    const std::chrono::duration<double> elapsed =
        std::chrono::steady_clock::now() - started;
    AttemptEvent event;
    *event.mutable_result() =
        ToAttemptResult(request.spec(), result, elapsed.count());
    event.mutable_result()->set_peak_rss_bytes(PeakResidentBytes());
    event.mutable_result()->set_memory_bound_bytes(plan.memory_bound_bytes);
    Send(event);
    return absl::OkStatus();
  }

  void SendConfined(const std::string& missing) {
    AttemptEvent event;
    event.mutable_confined()->set_missing(missing);
    Send(event);
  }

  void SendError(const absl::Status& status) {
    AttemptEvent event;
    *event.mutable_error() = ToRpcStatus(status);
    Send(event);
  }

 private:
  // A server that is gone ends the attempt by the ServerWatcher.
  void Send(const AttemptEvent& event) {
    std::lock_guard lock(mutex_);
    (void)SendMessage(fd_, event);
  }

  void SendStage(const char* stage) {
    AttemptEvent event;
    event.mutable_progress()->set_stage(stage);
    Send(event);
  }

  void SendLog(const std::string& event,
               const std::map<std::string, std::string>& fields,
               bool warning = false) {
    AttemptEvent message;
    worker::v1::LogLine& line = *message.mutable_log();
    line.set_event(event);
    line.mutable_fields()->insert(fields.begin(), fields.end());
    line.set_warning(warning);
    Send(message);
  }

  // What will be done, and what the outputs will lack.
  void SendPlan(const Plan& plan) {
    for (const OutputPlan& output : plan.outputs) {
      SendLog("planned",
              {{"output", output.request.name},
               {"tensors", absl::StrCat(output.tensors.size())},
               {"source_bytes", absl::StrCat(plan.source_bytes)},
               {"output_bytes", absl::StrCat(output.total_bytes)},
               {"memory_bound_bytes", absl::StrCat(plan.memory_bound_bytes)},
               {"disk_bound_bytes", absl::StrCat(plan.disk_bound_bytes)}});
    }
    for (const DroppedTensor& tensor : plan.dropped) {
      SendLog("tensor_dropped",
              {{"tensor", tensor.name}, {"msg", tensor.reason}}, true);
    }
    SendNotes(plan.notes);
  }

  void SendNotes(const std::vector<std::string>& notes, bool warning = false) {
    for (const std::string& note : notes) {
      SendLog("note", {{"msg", note}}, warning);
    }
  }

  void SendPlanned(int64_t memory_bound_bytes) {
    AttemptEvent event;
    event.mutable_planned()->set_memory_bound_bytes(memory_bound_bytes);
    Send(event);
  }

  void SendJournal(int64_t done) {
    AttemptEvent event;
    event.mutable_journal()->set_tensors_done(done);
    Send(event);
  }

  void SendProgress(const ProgressUpdate& update) {
    AttemptEvent event;
    v1::Progress& progress = *event.mutable_progress();
    progress.set_stage(update.stage);
    progress.set_tensors_done(update.tensors_done);
    progress.set_tensors_total(update.tensors_total);
    progress.set_bytes_done(update.bytes_done);
    progress.set_bytes_total(update.bytes_total);
    progress.set_tensor(update.tensor);
    progress.set_tensors_resumed(update.tensors_resumed);
    progress.set_tensors_redone(update.tensors_redone);
    progress.set_fraction(update.fraction);
    AddEta(update, progress);
    Send(event);
  }

  // From the speed of this attempt in its present stage so far.
  void AddEta(const ProgressUpdate& update, v1::Progress& progress) {
    const auto now = std::chrono::steady_clock::now();
    if (first_bytes_ < 0 || stage_ != update.stage) {
      stage_ = update.stage;
      first_bytes_ = update.bytes_done;
      first_time_ = now;
    }
    const std::chrono::duration<double> elapsed = now - first_time_;
    const double done = static_cast<double>(update.bytes_done - first_bytes_);
    if (elapsed.count() < 0.5 || done <= 0) return;
    const double left =
        static_cast<double>(update.bytes_total - update.bytes_done) *
        elapsed.count() / done;
    progress.mutable_eta()->set_seconds(static_cast<int64_t>(left + 0.5));
  }

  int fd_;
  ServerWatcher server_;
  std::mutex mutex_;
  std::string stage_;
  int64_t first_bytes_ = -1;
  std::chrono::steady_clock::time_point first_time_;
};

}  // namespace

int RunAttempt(int fd) {
  BeModest();
  ::signal(SIGTERM, OnTerminate);
  ::signal(SIGINT, SIG_IGN);
  AttemptRequest request;
  const auto received = ReceiveMessage(fd, request);
  if (!received.ok() || !*received) return 1;
  if (!request.traceparent().empty()) {
    ::setenv("TRACEPARENT", request.traceparent().c_str(), /*replace=*/1);
  }
  // While there is one thread, and nothing of the model was looked at.
  const std::string missing = EnterSandbox(request.work_dir());
  Attempt attempt(fd);
  attempt.SendConfined(missing);
  const absl::Status status = attempt.Run(request);
  if (!status.ok()) attempt.SendError(status);
  return status.ok() ? 0 : 1;
}

}  // namespace quant
