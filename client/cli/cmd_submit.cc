#include <iostream>
#include <map>

#include "absl/strings/str_cat.h"
#include "client/cli/choice.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/fetch.h"
#include "client/cli/follow.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_output.h"
#include "client/cli/output.h"
#include "client/cli/recipe_flags.h"
#include "client/cli/server_flags.h"
#include "client/cli/source.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

class Submit : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    static const std::map<std::string, int> kPriorities = {
        {"background", v1::JobSpec::BACKGROUND},
        {"normal", v1::JobSpec::NORMAL},
        {"high", v1::JobSpec::HIGH},
        {"urgent", v1::JobSpec::URGENT}};
    app.add_option("model", model_,
                   "A local model to upload, or server:PATH for one under a "
                   "model root of the server")
        ->required();
    recipe_.Add(app);
    app.add_option("--request-id", request_id_,
                   "Makes repeating this command harmless: the same id and "
                   "request answer the same job");
    app.add_option("--label", labels_, "K=V, repeatable")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app.add_option("--priority", priority_,
                   "background, normal, high or urgent (default normal): each "
                   "step is worth 30 minutes of waiting")
        ->transform(ValueOf(kPriorities).description("PRIORITY"));
    app.add_option("--timeout", timeout_,
                   "An attempt that takes longer fails the job, e.g. 2h");
    app.add_option("--retention", retention_,
                   "Delete the job and its artifacts so long after its end, "
                   "e.g. 720h (default: as the server is set)");
    auto* wait = app.add_flag("--wait", wait_, "Wait for the end of the job");
    app.add_option("--wait-timeout", wait_timeout_,
                   "Wait at most so long, e.g. 30m; the job goes on")
        ->needs(wait);
    app.add_flag("--cancel-on-interrupt", cancel_on_interrupt_,
                 "Ctrl-C cancels the job instead of leaving it alone")
        ->needs(wait);
    auto* output =
        app.add_option("--output", output_, "Download the result to here")
            ->needs(wait);
    app.add_flag("--overwrite", overwrite_,
                 "Replace what is in the output directory")
        ->needs(output);
    server_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    InterruptScope interrupt;
    FollowOptions follow;
    if (!wait_timeout_.empty()) {
      QUANT_ASSIGN_OR_RETURN(follow.timeout,
                             ParseDuration("--wait-timeout", wait_timeout_));
    }
    QUANT_ASSIGN_OR_RETURN(v1::CreateJobRequest request, MakeRequest());
    QUANT_RETURN_IF_ERROR(CheckTarget(output_, overwrite_));
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    if (!IsServerPath(model_)) {
      QUANT_RETURN_IF_ERROR(CheckNames(*client, request.spec()));
    }
    QUANT_ASSIGN_OR_RETURN(*request.mutable_spec()->mutable_source(),
                           ResolveSource(*client, model_));
    QUANT_RETURN_IF_ERROR(
        ResolveFiles(*client, recipe_.files(), *request.mutable_spec()));
    QUANT_ASSIGN_OR_RETURN(
        const v1::Job job,
        client->Submit(std::move(request), interrupt.token()));
    if (!wait_) {
      PrintJob(job, format_);
      return 0;
    }
    std::cerr << "quantctl: submitted " << Printable(job.name()) << "\n";
    follow.cancel_on_interrupt = cancel_on_interrupt_;
    follow.server_flags = server_.ForCommandLine();
    return Follow(*client, job, follow);
  }

 private:
  absl::StatusOr<v1::CreateJobRequest> MakeRequest() {
    v1::CreateJobRequest request;
    QUANT_ASSIGN_OR_RETURN(*request.mutable_spec(), recipe_.Build());
    QUANT_RETURN_IF_ERROR(AddSchedule(*request.mutable_spec()));
    request.set_request_id(request_id_);
    for (const std::string& label : labels_) {
      const size_t equals = label.find('=');
      if (equals == std::string::npos || equals == 0) {
        return InvalidSpec(
            absl::StrCat("--label: \"", label, "\"; write KEY=VALUE"));
      }
      (*request.mutable_labels())[label.substr(0, equals)] =
          label.substr(equals + 1);
    }
    return request;
  }

  absl::Status AddSchedule(v1::JobSpec& spec) const {
    spec.set_priority(static_cast<v1::JobSpec::Priority>(priority_));
    if (!timeout_.empty()) {
      QUANT_ASSIGN_OR_RETURN(*spec.mutable_timeout(),
                             ParseProtoDuration("--timeout", timeout_));
    }
    if (!retention_.empty()) {
      QUANT_ASSIGN_OR_RETURN(*spec.mutable_retention(),
                             ParseProtoDuration("--retention", retention_));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<int> Follow(Client& client, const v1::Job& job,
                             const FollowOptions& options) const {
    QUANT_ASSIGN_OR_RETURN(const Followed followed,
                           FollowJob(client, job.name(), options));
    PrintJob(followed.job.value_or(job), format_);
    if (followed.exit_code != kExitOk || output_.empty()) {
      return followed.exit_code;
    }
    QUANT_ASSIGN_OR_RETURN(const std::vector<Fetched> fetched,
                           FetchArtifacts(client,
                                          {followed.job->artifacts().begin(),
                                           followed.job->artifacts().end()},
                                          output_, overwrite_));
    for (const Fetched& one : fetched) {
      std::cerr << "quantctl: downloaded and verified "
                << Printable(one.directory) << "\n";
    }
    return kExitOk;
  }

  std::string model_;
  RecipeFlags recipe_;
  std::string request_id_;
  std::vector<std::string> labels_;
  bool wait_ = false;
  int priority_ = v1::JobSpec::PRIORITY_UNSPECIFIED;
  std::string timeout_;
  std::string retention_;
  std::string wait_timeout_;
  bool cancel_on_interrupt_ = false;
  std::string output_;
  bool overwrite_ = false;
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeSubmit() { return std::make_unique<Submit>(); }

}  // namespace quant::cli
