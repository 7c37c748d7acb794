#include <chrono>
#include <iostream>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/choice.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_output.h"
#include "client/cli/output.h"
#include "client/cli/server_flags.h"
#include "client/library/retry.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPoll{500};

using Call = absl::StatusOr<v1::Queue> (Client::*)();

void Print(const v1::Queue& queue, OutputFormat format) {
  if (format == OutputFormat::kName) {
    std::cout << v1::Queue::Mode_Name(queue.mode()) << std::endl;
    return;
  }
  if (format != OutputFormat::kTable) return PrintMessage(queue, format);
  std::vector<std::pair<std::string, std::string>> facts = {
      {"mode", v1::Queue::Mode_Name(queue.mode())}};
  if (queue.has_mode_time()) {
    facts.emplace_back("since", TimeText(queue.mode_time()));
  }
  if (!queue.mode_by().empty()) facts.emplace_back("by", queue.mode_by());
  facts.emplace_back("queued", absl::StrCat(queue.queued()));
  facts.emplace_back("running", absl::StrCat(queue.running()));
  facts.emplace_back("cancelling", absl::StrCat(queue.cancelling()));
  if (queue.has_oldest_create_time()) {
    facts.emplace_back("oldest", TimeText(queue.oldest_create_time()));
  }
  if (queue.has_mean_attempt()) {
    const google::protobuf::Duration& mean = queue.mean_attempt();
    facts.emplace_back(
        "mean attempt",
        absl::StrFormat("%.1f s", static_cast<double>(mean.seconds()) +
                                      mean.nanos() * 1e-9));
  }
  PrintFacts(facts);
}

class Queue : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("action", action_,
                   "show; pause: start no job; drain: also hand the running "
                   "ones back; resume")
        ->transform(OneOf({"show", "pause", "drain", "resume"}))
        ->required();
    auto* wait = app.add_flag("--wait", wait_, "Wait until no job runs");
    app.add_option("--timeout", timeout_, "Wait at most so long, e.g. 30m")
        ->needs(wait);
    server_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    static const std::map<std::string, Call> kCalls = {
        {"show", &Client::GetQueue},
        {"pause", &Client::PauseQueue},
        {"drain", &Client::DrainQueue},
        {"resume", &Client::ResumeQueue}};
    if (wait_ && action_ == "resume") {
      return InvalidSpec("--wait: jobs run in a queue that is resumed");
    }
    auto deadline = steady_clock::time_point::max();
    if (!timeout_.empty()) {
      QUANT_ASSIGN_OR_RETURN(const std::chrono::milliseconds timeout,
                             ParseDuration("--timeout", timeout_));
      deadline = steady_clock::now() + timeout;
    }
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    QUANT_ASSIGN_OR_RETURN(v1::Queue queue,
                           (client.get()->*kCalls.at(action_))());
    InterruptScope interrupt;
    while (wait_ && queue.running() + queue.cancelling() > 0) {
      if (steady_clock::now() >= deadline) {
        Print(queue, format_);
        return kExitWaitTimeout;
      }
      if (!SleepUnlessStopped(kPoll, interrupt.token())) {
        return kExitInterrupted;
      }
      QUANT_ASSIGN_OR_RETURN(queue, client->GetQueue());
    }
    Print(queue, format_);
    return kExitOk;
  }

 private:
  std::string action_;
  bool wait_ = false;
  std::string timeout_;
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeQueue() { return std::make_unique<Queue>(); }

}  // namespace quant::cli
