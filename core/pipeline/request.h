// What is asked of the pipeline: recipes in core types (core/recipe makes them
// from protos).
#ifndef QUANT_CORE_PIPELINE_REQUEST_H_
#define QUANT_CORE_PIPELINE_REQUEST_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/artifact/loader.h"
#include "core/base/thread_pool.h"
#include "core/calibrate/stored_statistics.h"
#include "core/codec/scheme.h"
#include "core/container/imatrix.h"
#include "core/method/method.h"
#include "core/network/config.h"
#include "core/pipeline/gates.h"
#include "core/tokenizer/dataset.h"
#include "core/transform/load_rows.h"

namespace quant {

enum class OnMismatch { kFail, kChannel, kSkip };

// The first rule that matches a tensor decides.
struct TensorRule {
  std::string match;             // exact name, "re:" pattern, class or role
  std::optional<Scheme> scheme;  // nothing = leave as it is
};

// An importance matrix, and which file it came from.
struct Importance {
  Imatrix matrix;
  std::string file_name;
  int64_t size_bytes = 0;
  std::string sha256;
};

// How large an output may be; one of the two is set.
struct SizeTarget {
  int64_t bytes = 0;           // of all its files
  double bits_per_weight = 0;  // OutputPlan::bits_per_weight
};

// What a tensor gets whatever rules and targets say; nothing: it stays.
struct Assignment {
  std::optional<Scheme> scheme;
  std::string reason;
};

// A tensor that was given a better scheme because a gate failed.
struct RaisedTensor {
  std::string name;
  std::string from;
  std::string to;             // empty: as it is in the source
  double relative_error = 0;  // of it and what is merged with it, before
};

// One try of an output that failed, and what was raised after it.
struct EscalationStep {
  std::vector<GateVerdict> verdicts;
  std::vector<RaisedTensor> tensors;
};

struct OutputRequest {
  std::string name;
  Scheme scheme;
  std::string method = "rtn";
  std::string format = "compressed-tensors";
  LoaderTarget loader;  // what it does not take is refused
  ScaleRule scale = ScaleRule::kMinmax;
  SearchLevel search = SearchLevel::kDefault;
  // How much inputs matter, for schemes that weigh errors; null: equally.
  // Shared by the outputs of a request.
  std::shared_ptr<const Importance> importance;
  // The same by the calibration text; set while a plan is carried out.
  std::shared_ptr<const Imatrix> measured_importance;
  // For methods that need statistics, static activations, and block types that
  // weigh errors; null: none was given. Shared likewise.
  std::shared_ptr<const DatasetFile> calibration;
  // What the text showed an earlier run, which is then not run again; null: it
  // is. Shared likewise.
  std::shared_ptr<const StoredStatistics> statistics;
  CalibratedOptions calibrated = {};
  // Weights see what quantized weights before them in their block do.
  bool true_sequential = false;
  bool allow_requantize = false;  // take sources that are quantized already
  // Carry the source's codes over as they are: scheme, method and what belongs
  // to them mean nothing then.
  bool keep_codes = false;
  std::vector<TensorRule> rules;
  OnMismatch on_mismatch = OnMismatch::kFail;
  // Then `scheme` only says which family to choose from (candidates.h).
  std::optional<SizeTarget> target;
  int64_t max_shard_bytes = 5'000'000'000;
  Nonfinite nonfinite = Nonfinite::kError;
  bool source_digest = false;
  std::string recipe_json;  // canonical text, for manifest and fingerprint
  std::map<std::string, Assignment> assigned = {};  // by tensor
  std::vector<EscalationStep> steps = {};           // that led to these
};

// What the outputs and the source are run over once the outputs are finished.
struct EvaluationText {
  DatasetFile text;
  NetworkConfig network;  // of the source
};

struct PlanRequest {
  std::vector<OutputRequest> outputs;
  std::shared_ptr<const EvaluationText> evaluation;  // shared with the plan
  std::vector<Gate> gates;                           // judged in the manifest
  bool report = false;  // report.json and report.html in every artifact
  // Bounds hold for what run.h may make of it while gates fail, too.
  bool escalate = false;
  int threads = 1;  // for the memory bound only: bytes never depend on it
  // For what size targets measure; null: the calling thread does it.
  ThreadPool* pool = nullptr;
};

// Whether planning has work for many threads.
inline bool NeedsPool(const PlanRequest& request) {
  for (const OutputRequest& output : request.outputs) {
    if (output.target) return true;
  }
  return false;
}

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_REQUEST_H_
