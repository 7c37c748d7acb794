#include "core/pipeline/evaluated_stage.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/calibrate/calibration.h"
#include "core/kernels/gemm.h"
#include "core/network/memory.h"
#include "core/pipeline/keep_for.h"
#include "core/pipeline/pass_bounds.h"
#include "core/pipeline/value_network.h"

namespace quant {
namespace {

// Tokens of a part: enough for its products to take far longer than reading the
// weights once more, few enough to lose little with a part.
constexpr int64_t kPartTokens = 1 << 15;
// Of one position: three numbers and whether the likeliest tokens agree.
constexpr int64_t kFigureBytes = 3 * sizeof(double) + 1;
constexpr int64_t kMaxHeaderBytes = 4096;

// Whole batches of the network: windows then don't notice the cut.
int64_t WindowsPerPart(int64_t length) {
  const int64_t batch = SequencesPerBatch(length);
  return std::max<int64_t>(1, kPartTokens / (batch * length)) * batch;
}

int64_t ExpertsOf(const NetworkConfig& config, size_t layer) {
  return config.layers[layer].sparse ? config.experts : 0;
}

// Of PackLayers.
int64_t LayersBytes(const NetworkConfig& config) {
  std::vector<LayerFigures> layers(config.layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    layers[i].expert_tokens.resize(ExpertsOf(config, i));
  }
  return static_cast<int64_t>(PackLayers(layers).size());
}

void Append(const void* values, size_t bytes, std::string& out) {
  out.append(static_cast<const char*>(values), bytes);
}

template <typename T>
absl::string_view Take(absl::string_view bytes, int64_t count,
                       std::vector<T>& out) {
  const size_t taken = static_cast<size_t>(count) * sizeof(T);
  const size_t before = out.size();
  out.resize(before + count);
  std::memcpy(out.data() + before, bytes.data(), taken);
  return bytes.substr(taken);
}

class EvaluatedStage {
 public:
  EvaluatedStage(const ModelReader& source, const Plan& plan,
                 const std::vector<std::string>& directories,
                 const ExecuteOptions& options)
      : source_(source),
        plan_(plan),
        data_(plan.evaluation->text.data),
        directories_(directories),
        options_(options) {}

  absl::StatusOr<std::vector<Evaluation>> Run() {
    const int64_t step = WindowsPerPart(data_.sequence_length);
    std::vector<Part> parts;
    for (int64_t first = 0; first < data_.sequences; first += step) {
      parts.push_back(
          {.first = first, .count = std::min(step, data_.sequences - first)});
      QUANT_RETURN_IF_ERROR(FindMissing(parts.back()));
    }
    for (const Part& part : parts) {
      runs_total_ += static_cast<int64_t>(part.missing.size());
    }
    for (const Part& part : parts) {
      if (!part.missing.empty()) QUANT_RETURN_IF_ERROR(Evaluate(part));
    }
    QUANT_RETURN_IF_ERROR(source_.CheckUnchanged());
    std::vector<Evaluation> results;
    for (size_t i = 0; i < directories_.size(); ++i) {
      Figures figures;
      for (const Part& part : parts) {
        QUANT_ASSIGN_OR_RETURN(const bool sound, Load(part, i, &figures));
        if (!sound) return Vanished(part, i);
      }
      results.push_back(Summarize(figures, data_.sequence_length));
    }
    return results;
  }

 private:
  struct Part {
    int64_t first = 0;
    int64_t count = 0;
    std::vector<size_t> missing = {};  // outputs without sound figures
  };

  absl::Status FindMissing(Part& part) const {
    for (size_t i = 0; i < directories_.size(); ++i) {
      QUANT_ASSIGN_OR_RETURN(const bool sound, Load(part, i, nullptr));
      if (!sound) part.missing.push_back(i);
    }
    return absl::OkStatus();
  }

  absl::Status Evaluate(const Part& part) {
    const Sequences windows{.tokens = absl::MakeConstSpan(data_.ids).subspan(
                                part.first * data_.sequence_length,
                                part.count * data_.sequence_length),
                            .length = data_.sequence_length};
    QUANT_ASSIGN_OR_RETURN(const ValueNetwork source,
                           ValueNetwork::Open(source_.path()));
    for (size_t output : part.missing) {
      const std::string& name = plan_.outputs[output].request.name;
      Report(0, name);
      QUANT_ASSIGN_OR_RETURN(const ValueNetwork made,
                             ValueNetwork::Open(directories_[output]));
      RunOptions run = OptionsFor(name);
      run.keep = KeepFor(options_, plan_, ParentPath(PathOf(part, output)));
      absl::StrAppend(&run.keep.identity, " ", data_.digest, " ", part.first);
      QUANT_ASSIGN_OR_RETURN(
          RanNetworks ran,
          RunNetworks(*made.network, source.network.get(), windows, run));
      ++runs_done_;
      QUANT_ASSIGN_OR_RETURN(const Figures figures,
                             Compare(windows, ran, OptionsFor("")));
      QUANT_RETURN_IF_ERROR(Store(part, output, figures));
      QUANT_RETURN_IF_ERROR(RemoveTree(run.keep.path));
      if (options_.journal) {
        options_.journal(static_cast<int64_t>(plan_.order.size()));
      }
    }
    return absl::OkStatus();
  }

  RunOptions OptionsFor(const std::string& name) const {
    RunOptions run;
    run.pool = options_.pool;
    run.stop = options_.stop;
    run.spill = {.memory_bytes = kHiddenBytes, .directory = options_.work_dir};
    run.progress = [this, name](double fraction) { Report(fraction, name); };
    return run;
  }

  void Report(double fraction, const std::string& name) const {
    if (!options_.progress) return;
    const double part = (static_cast<double>(runs_done_) + fraction) /
                        static_cast<double>(runs_total_);
    const int64_t tensors = static_cast<int64_t>(plan_.order.size());
    ProgressUpdate update{.stage = "EVALUATING",
                          .tensors_done = tensors,
                          .tensors_total = tensors,
                          .bytes_total = plan_.source_bytes,
                          .tensor = name};
    update.bytes_done =
        static_cast<int64_t>(part * static_cast<double>(plan_.source_bytes));
    options_.progress(update);
  }

  std::string PathOf(const Part& part, size_t output) const {
    const std::string directory =
        JoinPath(JoinPath(options_.work_dir, "evaluated"),
                 plan_.outputs[output].request.name);
    return JoinPath(directory, absl::StrCat("part-", part.first));
  }

  int64_t Positions(const Part& part) const {
    return part.count * (data_.sequence_length - 1);
  }

  // Figures of other work are not taken for those of this one.
  std::string HeaderOf(const Part& part, absl::string_view body) const {
    return absl::StrCat("quant-figures 3 ", plan_.fingerprint, " ",
                        data_.digest, " ", GemmIsa(), " ", part.first, " ",
                        part.count, " ", Xxh3Hex(body), "\n");
  }

  absl::Status Store(const Part& part, size_t output,
                     const Figures& figures) const {
    std::string body;
    for (const auto* values :
         {&figures.nll, &figures.reference_nll, &figures.kl}) {
      Append(values->data(), values->size() * sizeof(double), body);
    }
    Append(figures.agrees.data(), figures.agrees.size(), body);
    body += PackLayers(figures.layers);
    const std::string path = PathOf(part, output);
    QUANT_RETURN_IF_ERROR(MakeDirectories(ParentPath(path)));
    return WriteFileAtomically(path, HeaderOf(part, body) + body,
                               options_.sync);
  }

  // Whether there are sound figures; puts them behind `out`, unless it is null.
  absl::StatusOr<bool> Load(const Part& part, size_t output,
                            Figures* out) const {
    const int64_t count = Positions(part);
    const int64_t size =
        count * kFigureBytes + LayersBytes(plan_.evaluation->network);
    const std::string path = PathOf(part, output);
    const auto identity = IdentityOf(path);
    if (!identity.ok() || identity->size_bytes <= size ||
        identity->size_bytes > size + kMaxHeaderBytes) {
      return false;
    }
    QUANT_ASSIGN_OR_RETURN(const std::string bytes,
                           ReadFile(path, size + kMaxHeaderBytes));
    absl::string_view body = bytes;
    body.remove_prefix(std::min(body.find('\n'), body.size() - 1) + 1);
    if (static_cast<int64_t>(body.size()) != size ||
        !absl::StartsWith(bytes, HeaderOf(part, body))) {
      return false;
    }
    if (out == nullptr) return true;
    body = Take(body, count, out->nll);
    body = Take(body, count, out->reference_nll);
    body = Take(body, count, out->kl);
    body = Take(body, count, out->agrees);
    const auto layers = UnpackLayers(body);
    if (!layers) return false;
    AddLayers(*layers, *out);
    return true;
  }

  // The sums of another part.
  static void AddLayers(const std::vector<LayerFigures>& more, Figures& out) {
    out.layers.resize(more.size());
    for (size_t i = 0; i < more.size(); ++i) {
      LayerFigures& layer = out.layers[i];
      layer.noise += more[i].noise;
      layer.signal += more[i].signal;
      layer.expert_tokens.resize(more[i].expert_tokens.size());
      for (size_t e = 0; e < layer.expert_tokens.size(); ++e) {
        layer.expert_tokens[e] += more[i].expert_tokens[e];
      }
    }
  }

  absl::Status Vanished(const Part& part, size_t output) const {
    return MakeError(
        absl::StatusCode::kDataLoss, Reason::kInternal,
        absl::StrCat(PathOf(part, output), ": changed while it was in use"));
  }

  const ModelReader& source_;
  const Plan& plan_;
  const Dataset& data_;
  const std::vector<std::string>& directories_;
  const ExecuteOptions& options_;
  // Of an output beside the source, over one part.
  int64_t runs_done_ = 0;
  int64_t runs_total_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<Evaluation>> RunEvaluatedStage(
    const ModelReader& source, const Plan& plan,
    const std::vector<std::string>& directories,
    const ExecuteOptions& options) {
  return EvaluatedStage(source, plan, directories, options).Run();
}

EvaluatedBounds BoundsOfEvaluatedStage(const Plan& plan, int threads) {
  const NetworkConfig& config = plan.evaluation->network;
  const Dataset& data = plan.evaluation->text.data;
  const int64_t length = data.sequence_length;
  const int64_t windows = std::min(WindowsPerPart(length), data.sequences);
  const int64_t hidden = windows * length * config.hidden * sizeof(float);
  const int64_t positions = data.sequences * (length - 1);
  EvaluatedBounds bounds;
  // Two networks whose heads are there, one of which still runs; then sums, for
  // which divergences are sorted.
  bounds.memory_bytes =
      BlockBytes(config) + BatchBytes(config, length) +
      2 * (HeadBytes(config) + std::min(hidden, kHiddenBytes) +
           ComparisonBytes(config)) +
      threads * ThreadBytes(length) + positions * (2 * kFigureBytes + 8) +
      static_cast<int64_t>(data.ids.size()) * 4;
  bounds.disk_bytes = static_cast<int64_t>(plan.outputs.size()) *
                          (positions * kFigureBytes +
                           (data.sequences / windows + 1) *
                               (LayersBytes(config) + kMaxHeaderBytes)) +
                      (hidden > kHiddenBytes ? 2 * hidden : 0) +
                      2 * BytesOfKept(hidden);
  return bounds;
}

}  // namespace quant
