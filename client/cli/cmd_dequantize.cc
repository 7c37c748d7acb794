#include "client/cli/choice.h"
#include "client/cli/command.h"
#include "client/cli/local_job.h"

namespace quant::cli {
namespace {

class Dequantize : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("artifact", artifact_,
                   "Quantized model: a directory or a .gguf file")
        ->required();
    app.add_option("--dtype", dtype_,
                   "Type of the weights: F32 (every value as loaders compute "
                   "it), BF16 or F16")
        ->transform(OneOf({"F32", "BF16", "F16"}))
        ->capture_default_str();
    app.add_option("--format", form_,
                   "safetensors (GGUF files then become a checkpoint: its "
                   "names, config.json and tokenizer), or gguf")
        ->transform(OneOf({"safetensors", "gguf"}))
        ->capture_default_str();
    job_.Add(app);
  }

  // A cast of what the codes stand for.
  absl::StatusOr<int> Run() override {
    v1::JobSpec spec;
    v1::Recipe& recipe = *spec.add_outputs()->mutable_recipe();
    recipe.set_scheme(dtype_);
    recipe.set_format(form_);
    return job_.Run(artifact_, spec);
  }

 private:
  std::string artifact_;
  std::string dtype_ = "F32";
  std::string form_ = "safetensors";
  LocalJob job_;
};

}  // namespace

std::unique_ptr<Command> MakeDequantize() {
  return std::make_unique<Dequantize>();
}

}  // namespace quant::cli
