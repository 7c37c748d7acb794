// A job that is done here, in a directory, as quantize and its relatives do it:
// plan, execute or take up again, gates, publication, report.
#ifndef QUANT_CLIENT_CLI_LOCAL_JOB_H_
#define QUANT_CLIENT_CLI_LOCAL_JOB_H_

#include <string>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "client/cli/local_work.h"
#include "client/cli/output.h"
#include "client/cli/recipe_flags.h"
#include "core/pipeline/execute.h"
#include "quant/v1/job.pb.h"

namespace quant::cli {

class LocalJob {
 public:
  // Where the result goes, and how the work is done and reported.
  void Add(CLI::App& app);

  // Answers the exit code. An error means that no work was begun.
  absl::StatusOr<int> Run(const std::string& model, const v1::JobSpec& spec,
                          const RecipeFiles& files = {});

 private:
  absl::StatusOr<ExecuteResult> Work(const LocalPlan& local, int threads) const;
  int Failed(const absl::Status& status) const;
  absl::StatusOr<int> Finish(const ExecuteResult& result) const;
  absl::StatusOr<int> FinishedBefore(const std::string& report) const;
  int Verdict(const v1::Job& job) const;
  v1::Job ToJob(const ExecuteResult& result) const;
  void Print(const v1::Job& job, const ExecuteResult* result) const;

  std::string model_;
  std::string output_;
  bool overwrite_ = false;
  bool no_fsync_ = false;
  ThreadFlag threads_;
  OutputFormat format_ = OutputFormat::kTable;
  v1::JobSpec spec_;
  std::string work_dir_;
  std::string fingerprint_;
};

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_LOCAL_JOB_H_
