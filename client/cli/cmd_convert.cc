#include "client/cli/command.h"
#include "client/cli/local_job.h"
#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

class Convert : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("model", model_,
                   "Quantized model: a directory of GPTQ, AWQ or "
                   "compressed-tensors (pack-quantized)")
        ->required();
    app.add_option("--to", format_,
                   "gptq, gptq_v2, awq or compressed-tensors: codes, scales "
                   "and zero points stay what they are; what the format can't "
                   "say so is refused")
        ->required();
    app.add_option("--max-shard-size", max_shard_size_,
                   "Largest weight file, e.g. 2GB [5GB]");
    app.add_flag("--source-digest", source_digest_,
                 "Record the SHA-256 of the source's files in the manifest");
    job_.Add(app);
  }

  absl::StatusOr<int> Run() override {
    v1::JobSpec spec;
    v1::Recipe& recipe = *spec.add_outputs()->mutable_recipe();
    recipe.set_keep_codes(true);
    recipe.set_format(format_);
    recipe.set_source_digest(source_digest_);
    if (!max_shard_size_.empty()) {
      const absl::StatusOr<int64_t> bytes = ParseBytes(max_shard_size_);
      if (!bytes.ok()) return Annotate(bytes.status(), "--max-shard-size");
      recipe.set_max_shard_bytes(*bytes);
    }
    return job_.Run(model_, spec);
  }

 private:
  std::string model_;
  std::string format_;
  std::string max_shard_size_;
  bool source_digest_ = false;
  LocalJob job_;
};

}  // namespace

std::unique_ptr<Command> MakeConvert() { return std::make_unique<Convert>(); }

}  // namespace quant::cli
