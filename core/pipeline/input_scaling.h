// Methods that scale inputs (QuantMethod::ScalesInputs) in plans, and in the
// blocks of the calibrated stage.
//
//   W x = (W diag(s)) (x / s)
//
// The division goes into what makes x (core/calibrate/folding.h): a norm, which
// is copied otherwise, or rows of another weight and its bias.
#ifndef QUANT_CORE_PIPELINE_INPUT_SCALING_H_
#define QUANT_CORE_PIPELINE_INPUT_SCALING_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/calibrate/folding.h"
#include "core/container/model_reader.h"
#include "core/network/block.h"
#include "core/network/linear.h"
#include "core/pipeline/calibrated_codes.h"
#include "core/pipeline/plan.h"

namespace quant {

// Sets TensorPlan::scaled and ::divided of a plan whose tensors are in the
// model's order, and says in their reasons what can't be scaled, and why.
absl::Status PlanInputScaling(const ModelReader& model, OutputPlan& plan);

// The factors of one block's inputs: on its weights, and in its file.
class BlockScaling {
 public:
  // All are kept, and outlive this.
  BlockScaling(const NetworkConfig& config, int64_t layer,
               const CalibratedCodes& codes, Block& block,
               CalibratedBlock& file);

  // Ones, and values as they are in the source.
  absl::Status Begin(const WeightLoader& loader);

  // Where the inputs of weight `reader` can be divided; null: nowhere.
  const Fold* FoldOf(const Linear& reader) const;

  // Multiplies the columns of all readers by `factors` [I], and divides what
  // makes their inputs. A norm is rounded to its type: `factors` become those
  // that this leaves.
  void Apply(const Fold& fold, std::vector<float>& factors);

  // Norms and biases of the block become those of the file.
  void TakeValues();

 private:
  const CodesPlace* PlaceOf(const std::string& module) const;
  const ValuesPlace* ValuesOf(const std::string& tensor) const;
  Linear* LinearOf(const std::string& module);
  void DivideNorm(const Fold& fold, std::vector<float>& factors);
  void DivideRows(const Fold& fold, const std::vector<float>& factors);
  void MultiplyColumns(Linear& reader, const std::vector<float>& factors);

  const int64_t layer_;
  const CalibratedCodes& codes_;
  Block& block_;
  CalibratedBlock& file_;
  const std::vector<Fold> folds_;
  std::vector<Linear*> linears_;
};

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_INPUT_SCALING_H_
