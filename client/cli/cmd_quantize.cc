#include "client/cli/command.h"
#include "client/cli/local_job.h"
#include "client/cli/recipe_flags.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

class Quantize : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("model", model_,
                   "Model directory, .safetensors or .gguf file")
        ->required();
    recipe_.Add(app);
    job_.Add(app);
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const v1::JobSpec spec, recipe_.Build());
    return job_.Run(model_, spec, recipe_.files());
  }

 private:
  std::string model_;
  RecipeFlags recipe_;
  LocalJob job_;
};

}  // namespace

std::unique_ptr<Command> MakeQuantize() { return std::make_unique<Quantize>(); }

}  // namespace quant::cli
