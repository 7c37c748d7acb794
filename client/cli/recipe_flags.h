// The flags that recipes are made of, the same for quantize, submit and plan.
#ifndef QUANT_CLIENT_CLI_RECIPE_FLAGS_H_
#define QUANT_CLIENT_CLI_RECIPE_FLAGS_H_

#include <optional>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "client/cli/dataset_flags.h"
#include "quant/v1/job.pb.h"

namespace quant::cli {

// Arguments of --imatrix, --calibration and --evaluate.
struct RecipeFiles {
  std::string imatrix;
  std::string calibration;
  std::string evaluation;
};

class RecipeFlags {
 public:
  void Add(CLI::App& app);

  // The outputs and gates that file and flags ask for, without a source. Flags
  // override every recipe of --recipe; several --scheme make several outputs
  // of a recipe. Names are not checked here, only shapes.
  absl::StatusOr<v1::JobSpec> Build();
  // Files beside the model, of flags or of what Build found in --recipe: empty
  // when not given.
  const RecipeFiles& files() const { return files_; }

 private:
  absl::StatusOr<v1::JobSpec> FromFile();
  absl::Status TakeSettings(const v1::RecipeFile& file, v1::JobSpec& spec);
  absl::Status ApplySchemes(v1::JobSpec& spec) const;
  absl::Status Override(v1::Recipe& recipe) const;
  absl::Status SetTarget(v1::Recipe& recipe) const;
  absl::Status SetGranularity(v1::Recipe& recipe) const;
  void SetCalibrated(v1::Recipe& recipe) const;
  absl::Status AddRules(v1::Recipe& recipe) const;
  void AddCalibrationFlags(CLI::App& app);
  void AddEvaluationFlags(CLI::App& app);
  absl::Status SetTexts(v1::JobSpec& spec) const;

  std::string recipe_file_;
  std::vector<std::string> schemes_;
  std::string method_;
  std::string format_;
  std::string loader_;
  int tensor_parallel_ = 0;
  std::string group_size_;
  bool symmetric_ = false;
  bool asymmetric_ = false;
  std::string scale_;
  std::string search_;
  RecipeFiles files_;
  int64_t calibration_sequences_ = 0;
  int64_t sequence_length_ = 0;
  BosFlag bos_;
  bool report_ = false;
  std::optional<v1::JobSpec::OnGateFailure> on_gate_failure_;
  int64_t evaluation_sequences_ = 0;
  int64_t evaluation_length_ = 0;
  bool act_order_ = false;
  bool static_groups_ = false;
  bool true_sequential_ = false;
  double damping_ = 0;
  double smoothing_ = 0;
  bool allow_requantize_ = false;
  bool keep_codes_ = false;
  std::vector<std::string> rules_;
  std::optional<v1::OnMismatch> on_mismatch_;
  std::string max_shard_size_;
  std::string target_size_;
  double target_bpw_ = 0;
  std::optional<v1::Nonfinite> nonfinite_;
  bool source_digest_ = false;
  std::vector<std::string> gates_;
};

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_RECIPE_FLAGS_H_
