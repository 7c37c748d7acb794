// Threads and planning for the commands that work here, without a server.
#ifndef QUANT_CLIENT_CLI_LOCAL_WORK_H_
#define QUANT_CLIENT_CLI_LOCAL_WORK_H_

#include <memory>
#include <string>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "client/cli/recipe_flags.h"
#include "core/container/model_reader.h"
#include "core/pipeline/plan.h"
#include "quant/v1/job.pb.h"

namespace quant::cli {

class ThreadFlag {
 public:
  void Add(CLI::App& app);
  // As given, else one per processor.
  int Get() const;

 private:
  int threads_ = 0;
};

struct LocalPlan {
  std::unique_ptr<ModelReader> model;
  PlanRequest request;  // its pool is gone
  Plan plan;
};

// Opens the model and plans the spec's outputs. Reads headers only, and the
// files beside the model.
absl::StatusOr<LocalPlan> PlanHere(const std::string& model,
                                   const v1::JobSpec& spec, int threads,
                                   const RecipeFiles& files);

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_LOCAL_WORK_H_
