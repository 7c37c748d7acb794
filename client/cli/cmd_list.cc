#include <algorithm>
#include <iostream>
#include <map>

#include "absl/strings/str_cat.h"
#include "client/cli/choice.h"
#include "client/cli/command.h"
#include "client/cli/job_output.h"
#include "client/cli/output.h"
#include "client/cli/server_flags.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

constexpr int kPageSize = 200;

class List : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    static const std::map<std::string, int> kStates = {
        {"queued", v1::Job::QUEUED},         {"running", v1::Job::RUNNING},
        {"cancelling", v1::Job::CANCELLING}, {"succeeded", v1::Job::SUCCEEDED},
        {"failed", v1::Job::FAILED},         {"cancelled", v1::Job::CANCELLED}};
    app.add_option("--state", states_, "Only jobs in this state; repeatable")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->transform(ValueOf(kStates).description("STATE"));
    app.add_option("--label", labels_,
                   "Only jobs with this label, K=V; repeatable")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app.add_option("--limit", limit_, "At most so many; 0 = all")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    server_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const v1::ListJobsResponse jobs, Fetch());
    Print(jobs);
    return 0;
  }

 private:
  absl::StatusOr<v1::ListJobsResponse> Fetch() const {
    v1::ListJobsRequest request;
    for (int state : states_) {
      request.add_states(static_cast<v1::Job::State>(state));
    }
    for (const std::string& label : labels_) {
      const size_t equals = label.find('=');
      if (equals == std::string::npos) {
        return InvalidSpec(
            absl::StrCat("--label: \"", label, "\"; write KEY=VALUE"));
      }
      (*request.mutable_labels())[label.substr(0, equals)] =
          label.substr(equals + 1);
    }
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    v1::ListJobsResponse all;
    do {
      const int left = limit_ == 0 ? kPageSize : limit_ - all.jobs_size();
      request.set_page_size(std::min(left, kPageSize));
      QUANT_ASSIGN_OR_RETURN(const v1::ListJobsResponse page,
                             client->List(request));
      all.mutable_jobs()->MergeFrom(page.jobs());
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty() &&
             (limit_ == 0 || all.jobs_size() < limit_));
    return all;
  }

  void Print(const v1::ListJobsResponse& jobs) const {
    if (format_ == OutputFormat::kName) {
      for (const v1::Job& job : jobs.jobs()) {
        std::cout << Printable(job.name()) << "\n";
      }
      return;
    }
    if (format_ != OutputFormat::kTable) return PrintMessage(jobs, format_);
    Table table({"NAME", "STATE", "SCHEMES", "ATTEMPT", "CREATED", "LABELS"});
    for (const v1::Job& job : jobs.jobs()) {
      const std::map<std::string, std::string> sorted(job.labels().begin(),
                                                      job.labels().end());
      std::string labels;
      for (const auto& [key, value] : sorted) {
        absl::StrAppend(&labels, labels.empty() ? "" : ",", key, "=", value);
      }
      table.Add({job.name(), StateText(job), SchemesOf(job.spec()),
                 absl::StrCat(job.attempt()), TimeText(job.create_time()),
                 labels});
    }
    table.Print();
  }

  std::vector<int> states_;
  std::vector<std::string> labels_;
  int limit_ = 50;
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeList() { return std::make_unique<List>(); }

}  // namespace quant::cli
