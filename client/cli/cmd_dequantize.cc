#include "client/cli/command.h"
#include "client/cli/local_job.h"
#include "core/base/status_macros.h"
#include "core/container/model_reader.h"

namespace quant::cli {
namespace {

class Dequantize : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("artifact", artifact_,
                   "Quantized model: a directory or a file")
        ->required();
    app.add_option("--dtype", dtype_,
                   "Type of the weights: F32 (every value as loaders compute "
                   "it), BF16 or F16")
        ->transform(CLI::IsMember({"F32", "BF16", "F16"}, CLI::ignore_case))
        ->capture_default_str();
    job_.Add(app);
  }

  // A cast of what the codes stand for. GGUF stays GGUF: no loader of plain
  // safetensors knows its names and row orders.
  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const auto model, OpenModel(artifact_));
    v1::JobSpec spec;
    v1::Recipe& recipe = *spec.add_outputs()->mutable_recipe();
    recipe.set_scheme(dtype_);
    recipe.set_format(model->kvs().empty() ? "safetensors" : "gguf");
    return job_.Run(artifact_, spec);
  }

 private:
  std::string artifact_;
  std::string dtype_ = "F32";
  LocalJob job_;
};

}  // namespace

std::unique_ptr<Command> MakeDequantize() {
  return std::make_unique<Dequantize>();
}

}  // namespace quant::cli
