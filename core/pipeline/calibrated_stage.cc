#include "core/pipeline/calibrated_stage.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/calibrate/calibration.h"
#include "core/calibrate/input_spaces.h"
#include "core/network/network.h"
#include "core/pipeline/input_scaling.h"
#include "core/pipeline/keep_for.h"
#include "core/pipeline/pass_bounds.h"
#include "core/pipeline/tensor_job.h"

namespace quant {
namespace {

// Rows that are quantized together: many enough for products, few enough for
// many threads. Part of what fixes the bytes.
constexpr int64_t kTileRows = 128;
// Weights that met fewer tokens than so many times their columns are starved:
// fitted to those, they are worse on others than when rounded to nearest
// (measured: docs/adr/0016).
constexpr int64_t kTokensPerColumn = 2;

// Tokens that a method has to see; largest magnitudes take no more than one.
int64_t TokensFor(Statistics needs, int64_t columns) {
  return needs == Statistics::kHessian ? kTokensPerColumn * columns : 1;
}

class CalibratedStage {
 public:
  CalibratedStage(const ModelReader& model, const Plan& plan, int output,
                  const ExecuteOptions& options, const CalibratedCodes& codes)
      : model_(model),
        plan_(plan),
        request_(plan.outputs[output].request),
        output_(output),
        options_(options),
        codes_(codes) {}

  absl::StatusOr<CalibrationSummary> Run() {
    QUANT_ASSIGN_OR_RETURN(method_, FindMethod(request_.method));
    QUANT_ASSIGN_OR_RETURN(const int64_t missing, FindMissing());
    if (missing < codes_.layers()) QUANT_RETURN_IF_ERROR(Calibrate(missing));
    QUANT_RETURN_IF_ERROR(Summarize());
    return std::move(summary_);
  }

 private:
  // The first block that no earlier attempt finished. Later ones depend on it.
  absl::StatusOr<int64_t> FindMissing() {
    for (int64_t layer = 0; layer < codes_.layers(); ++layer) {
      QUANT_ASSIGN_OR_RETURN(const auto block, codes_.Load(layer));
      if (!block) return layer;
      ++summary_.blocks_resumed;
    }
    return codes_.layers();
  }

  absl::Status Calibrate(int64_t first_missing) {
    QUANT_ASSIGN_OR_RETURN(const auto network, Network::Open(model_));
    if (request_.statistics != nullptr) {
      return CalibrateByStatistics(*network, first_missing);
    }
    const Sequences sequences = SequencesOf(request_.calibration->data);
    QUANT_RETURN_IF_ERROR(network->CheckSequences(sequences));
    run_.pool = options_.pool;
    run_.stop = options_.stop;
    run_.spill = {.memory_bytes = kHiddenBytes, .directory = options_.work_dir};
    run_.keep = KeepFor(options_, plan_, codes_.directory());
    const BlockPasses passes(*network, sequences, run_);
    Report(0, "embeddings");
    QUANT_ASSIGN_OR_RETURN(HiddenStates states,
                           network->Embed(sequences, run_.spill));
    KeptStates kept(run_.keep);
    std::string notes;
    QUANT_ASSIGN_OR_RETURN(summary_.blocks_skipped,
                           kept.Load(first_missing, {&states}, notes));
    for (int64_t layer = summary_.blocks_skipped; layer < codes_.layers();
         ++layer) {
      QUANT_ASSIGN_OR_RETURN(Block block, passes.Load(layer));
      CalibratedBlock found(codes_.block_bytes(layer));
      BlockScaling scaling(network->config(), layer, codes_, block, found);
      if (layer < first_missing) {
        QUANT_ASSIGN_OR_RETURN(auto loaded, codes_.Load(layer));
        if (!loaded) return SourceOfBlockChanged(layer);
        found = *std::move(loaded);
      } else {
        QUANT_RETURN_IF_ERROR(scaling.Begin(network->loader()));
        const auto observe = [&](const std::vector<InputSpace>& phase) {
          return Observe(passes, layer, block, phase, states);
        };
        QUANT_RETURN_IF_ERROR(
            QuantizeBlock(layer, {block, scaling, found}, observe));
      }
      if (layer + 1 == codes_.layers()) break;
      for (const InputSpace& space : InputSpacesOf(block)) {
        Replace(layer, space, found);
      }
      scaling.TakeValues();
      QUANT_RETURN_IF_ERROR(passes.Advance(block, layer, {}, states));
      QUANT_RETURN_IF_ERROR(kept.Store(layer + 1, {&states}, ""));
    }
    return kept.Remove();
  }

  // The text was run before: blocks do not depend on one another.
  absl::Status CalibrateByStatistics(const Network& network,
                                     int64_t first_missing) {
    for (int64_t layer = first_missing; layer < codes_.layers(); ++layer) {
      QUANT_ASSIGN_OR_RETURN(
          Block block, LoadBlock(network.loader(), network.config(), layer));
      QUANT_ASSIGN_OR_RETURN(const StatisticsBlock stored,
                             request_.statistics->OpenBlock(layer));
      QUANT_RETURN_IF_ERROR(stored.CheckWeights(block));
      CalibratedBlock found(codes_.block_bytes(layer));
      BlockScaling scaling(network.config(), layer, codes_, block, found);
      QUANT_RETURN_IF_ERROR(scaling.Begin(network.loader()));
      const auto read = [&](const std::vector<InputSpace>& phase) {
        return ReadAll(stored, phase);
      };
      QUANT_RETURN_IF_ERROR(
          QuantizeBlock(layer, {block, scaling, found}, read));
    }
    return absl::OkStatus();
  }

  static absl::Status SourceOfBlockChanged(int64_t layer) {
    return MakeError(absl::StatusCode::kDataLoss, Reason::kInternal,
                     absl::StrCat("the codes of block ", layer,
                                  " changed while they were in use"));
  }

  // A block while it is quantized.
  struct OpenBlock {
    Block& block;
    BlockScaling& scaling;
    CalibratedBlock& out;
  };

  bool with_hessians() const {
    return method_->Needs() == Statistics::kHessian;
  }

  // What the inputs of some spaces look like, in their order.
  using Seen = absl::StatusOr<std::vector<InputStatistics>>;
  using See = std::function<Seen(const std::vector<InputSpace>&)>;

  Seen Observe(const BlockPasses& passes, int64_t layer, const Block& block,
               const std::vector<InputSpace>& phase,
               HiddenStates& states) const {
    Collector collector(*options_.pool, phase, with_hessians());
    QUANT_RETURN_IF_ERROR(
        passes.Observe(block, layer, collector.observer(), states));
    return collector.Take();
  }

  Seen ReadAll(const StatisticsBlock& stored,
               const std::vector<InputSpace>& phase) const {
    std::vector<InputStatistics> seen;
    for (const InputSpace& space : phase) {
      QUANT_ASSIGN_OR_RETURN(seen.emplace_back(0, false),
                             stored.Read(space.linears.front()->name,
                                         space.columns(), with_hessians()));
    }
    return seen;
  }

  absl::Status QuantizeBlock(int64_t layer, const OpenBlock& open,
                             const See& see) {
    std::vector<InputSpace> spaces = InputSpacesOf(open.block);
    // Rows are divided for what reads them, before they are quantized.
    if (method_->ScalesInputs()) std::reverse(spaces.begin(), spaces.end());
    const std::vector<std::vector<InputSpace>> phases =
        PhasesToQuantize(layer, std::move(spaces));
    QUANT_RETURN_IF_ERROR(CheckAllThere(layer, phases));
    int64_t done = 0;
    for (const std::vector<InputSpace>& phase : phases) {
      Report(LayerFraction(layer, done++, phases.size()),
             absl::StrCat("block ", layer));
      QUANT_ASSIGN_OR_RETURN(std::vector<InputStatistics> seen, see(phase));
      for (size_t i = 0; i < phase.size(); ++i) {
        QUANT_RETURN_IF_ERROR(QuantizeSpace(layer, phase[i], open, seen[i]));
        seen[i] = InputStatistics(0, false);
        if (request_.true_sequential) Replace(layer, phase[i], open.out);
      }
    }
    QUANT_RETURN_IF_ERROR(codes_.Store(layer, open.out, options_.sync));
    if (options_.journal) options_.journal(layer + 1);
    return absl::OkStatus();
  }

  // Spaces with weights to be quantized, in groups that one run of the block
  // shows.
  std::vector<std::vector<InputSpace>> PhasesToQuantize(
      int64_t layer, std::vector<InputSpace> spaces) const {
    for (InputSpace& space : spaces) {
      std::erase_if(space.linears, [&](const Linear* linear) {
        return PlaceOf(layer, *linear) == nullptr;
      });
    }
    std::erase_if(
        spaces, [](const InputSpace& space) { return space.linears.empty(); });
    return PhasesOf(std::move(spaces), with_hessians(),
                    request_.true_sequential);
  }

  // The network must know every tensor that the plan promises codes of.
  absl::Status CheckAllThere(
      int64_t layer, const std::vector<std::vector<InputSpace>>& phases) const {
    size_t count = 0;
    for (const auto& phase : phases) {
      for (const InputSpace& space : phase) count += space.linears.size();
    }
    if (count == codes_.places(layer).size()) return absl::OkStatus();
    return MakeError(
        absl::StatusCode::kFailedPrecondition, Reason::kUnsupported,
        absl::StrCat("block ", layer, ": ", codes_.places(layer).size(),
                     " weights are to be calibrated, of which the forward "
                     "pass has ",
                     count, "; leave the others out with a rule"));
  }

  const CodesPlace* PlaceOf(int64_t layer, const Linear& linear) const {
    const std::string tensor = absl::StrCat(linear.name, ".weight");
    for (const CodesPlace& place : codes_.places(layer)) {
      if (place.tensor == tensor) return &place;
    }
    return nullptr;
  }

  absl::Status QuantizeSpace(int64_t layer, const InputSpace& space,
                             const OpenBlock& open,
                             InputStatistics& statistics) {
    std::vector<TensorJob> jobs;
    for (const Linear* linear : space.linears) {
      QUANT_ASSIGN_OR_RETURN(
          jobs.emplace_back(),
          MakeTensorJob(model_, plan_, PlaceOf(layer, *linear)->index));
      jobs.back().tasks[output_].options.narrow = false;
    }
    CalibrationFacts facts{.tokens = statistics.tokens(),
                           .damping = request_.calibrated.damping};
    std::unique_ptr<Preparation> preparation;
    if (statistics.tokens() < TokensFor(method_->Needs(), space.columns())) {
      facts.state = CalibrationFacts::kStarved;
    } else {
      facts.scaled = ScaleInputs(space, jobs, open.scaling, statistics);
      preparation = method_->Prepare(*options_.pool, request_.calibrated,
                                     HessianOf(statistics));
    }
    if (preparation != nullptr) {
      facts.dead_columns = preparation->dead_columns;
      facts.damping = preparation->damping;
      if (!preparation->usable) facts.state = CalibrationFacts::kUnfactored;
    }
    for (size_t i = 0; i < jobs.size(); ++i) {
      const CodesPlace& place = *PlaceOf(layer, *space.linears[i]);
      TensorTask& task = jobs[i].tasks[output_];
      task.options.preparation = preparation.get();
      QuantizeLinear(*space.linears[i], task, place, open.out);
      open.out.PutFacts(place, facts);
      if (options_.stop.stop_requested()) {
        return absl::CancelledError("stopped between weights");
      }
    }
    return absl::OkStatus();
  }

  static HessianView HessianOf(const InputStatistics& statistics) {
    return {.n = statistics.columns(), .values = statistics.hessian().data()};
  }

  // Whether the method scaled any column.
  bool ScaleInputs(const InputSpace& space, const std::vector<TensorJob>& jobs,
                   BlockScaling& scaling, InputStatistics& statistics) const {
    const Fold* fold = scaling.FoldOf(*space.linears.front());
    if (fold == nullptr) return false;
    std::vector<WeightView> weights;
    for (size_t i = 0; i < jobs.size(); ++i) {
      const TensorTask& task = jobs[i].tasks[output_];
      weights.push_back({.codec = task.codec.get(),
                         .options = &task.options,
                         .x = space.linears[i]->weight.data(),
                         .rows = space.linears[i]->out});
    }
    std::vector<float> absmax(statistics.columns());
    std::vector<int32_t> ties(fold->rows);
    for (size_t i = 0; i < absmax.size(); ++i) {
      absmax[i] = statistics.absmax(static_cast<int64_t>(i));
      ties[i] -= fold->rows.front();
    }
    std::vector<float> factors =
        method_->InputScales(*options_.pool, request_.calibrated,
                             {.hessian = HessianOf(statistics),
                              .absmax = absmax,
                              .ties = ties,
                              .weights = weights});
    scaling.Apply(*fold, factors);
    statistics.Divide(factors);
    return std::any_of(factors.begin(), factors.end(),
                       [](float factor) { return factor != 1; });
  }

  void QuantizeLinear(const Linear& linear, const TensorTask& task,
                      const CodesPlace& place, CalibratedBlock& out) const {
    std::atomic<int64_t> next = 0;
    options_.pool->RunOnAll([&](int) {
      MethodScratch scratch;
      CodeTile tile;
      for (int64_t row = kTileRows * next++; row < linear.out;
           row = kTileRows * next++) {
        tile.first_row = row;
        task.method->Quantize(*task.codec, task.options, {},
                              linear.weight.data() + row * linear.in,
                              std::min(kTileRows, linear.out - row), linear.in,
                              tile, scratch);
        out.Put(place, row, tile);
      }
    });
  }

  // The space's weights become what their codes stand for.
  void Replace(int64_t layer, const InputSpace& space,
               const CalibratedBlock& found) const {
    for (Linear* linear : space.linears) {
      const CodesPlace* place = PlaceOf(layer, *linear);
      if (place == nullptr) continue;
      const TensorPlan& plan = plan_.outputs[output_].tensors[place->index];
      const auto codec = MakeCodec(plan.scheme);
      std::atomic<int64_t> next = 0;
      options_.pool->RunOnAll([&](int) {
        CodeTile tile;
        for (int64_t row = kTileRows * next++; row < linear->out;
             row = kTileRows * next++) {
          const int64_t rows = std::min(kTileRows, linear->out - row);
          found.Get(*place, row, rows, tile);
          for (int64_t r = 0; r < rows; ++r) {
            (*codec)->DecodeTileRow(
                tile, r, linear->weight.data() + (row + r) * linear->in);
          }
        }
      });
    }
  }

  absl::Status Summarize() {
    for (int64_t layer = 0; layer < codes_.layers(); ++layer) {
      for (const CodesPlace& place : codes_.places(layer)) {
        QUANT_ASSIGN_OR_RETURN(const CalibrationFacts facts,
                               codes_.ReadFacts(place));
        Note(place, facts);
      }
    }
    return absl::OkStatus();
  }

  void Note(const CodesPlace& place, const CalibrationFacts& facts) {
    ++summary_.tensors;
    summary_.rounded += facts.state != CalibrationFacts::kCalibrated;
    summary_.dead_columns += facts.dead_columns;
    summary_.scaled += facts.scaled;
    const auto add = [&](const std::string& what) {
      summary_.notes.push_back(absl::StrCat(place.tensor, ": ", what));
    };
    if (facts.state == CalibrationFacts::kStarved) {
      add(with_hessians()
              ? absl::StrCat("met ", facts.tokens, " tokens, fewer than ",
                             kTokensPerColumn, " for each of its ", place.cols,
                             " columns: rounded to nearest")
              : "met no token: rounded to nearest");
    } else if (facts.state == CalibrationFacts::kUnfactored) {
      add("no damping made its Hessian positive definite: rounded to nearest");
    } else if (facts.damping > request_.calibrated.damping) {
      add(absl::StrFormat("its Hessian took a damping of %g", facts.damping));
    }
    if (facts.dead_columns > 0 && facts.state != CalibrationFacts::kStarved) {
      add(absl::StrCat(facts.dead_columns, " of its ", place.cols,
                       " columns met only zeros: rounded to nearest"));
    }
  }

  double LayerFraction(int64_t layer, int64_t phase, size_t phases) const {
    return (static_cast<double>(layer) +
            static_cast<double>(phase) / static_cast<double>(phases)) /
           static_cast<double>(codes_.layers());
  }

  void Report(double fraction, const std::string& what) const {
    if (!options_.progress) return;
    ProgressUpdate update{
        .stage = "CALIBRATING",
        .tensors_total = static_cast<int64_t>(plan_.order.size()),
        .bytes_total = plan_.source_bytes,
        .tensor = what};
    update.bytes_done = static_cast<int64_t>(
        fraction * static_cast<double>(plan_.source_bytes));
    options_.progress(update);
  }

  const ModelReader& model_;
  const Plan& plan_;
  const OutputRequest& request_;
  const int output_;
  const ExecuteOptions& options_;
  const CalibratedCodes& codes_;
  const QuantMethod* method_ = nullptr;
  RunOptions run_;
  CalibrationSummary summary_;
};

}  // namespace

absl::StatusOr<CalibrationSummary> RunCalibratedStage(
    const ModelReader& model, const Plan& plan, int output,
    const ExecuteOptions& options, const CalibratedCodes& codes) {
  return CalibratedStage(model, plan, output, options, codes).Run();
}

absl::StatusOr<CalibratedBounds> BoundsOfCalibratedStage(
    const ModelReader& model, const Plan& plan, int output, int threads) {
  const OutputRequest& request = plan.outputs[output].request;
  QUANT_ASSIGN_OR_RETURN(const auto network, Network::Open(model));
  const NetworkConfig& config = network->config();
  const Sequences sequences = SequencesOf(request.calibration->data);
  QUANT_ASSIGN_OR_RETURN(const QuantMethod* method, FindMethod(request.method));
  const bool hessians = method->Needs() == Statistics::kHessian;
  const CalibratedCodes codes("", model, plan, output);
  int64_t block = 0, columns = 0, statistics = 0;
  for (int64_t layer = 0; layer < codes.layers(); ++layer) {
    block = std::max(block, codes.block_bytes(layer));
    for (const CodesPlace& place : codes.places(layer)) {
      columns = std::max(columns, place.cols);
      statistics =
          std::max(statistics, InputStatistics::Bytes(place.cols, hessians));
    }
  }
  // Of all spaces of a block: no more than what was decided above.
  const int64_t spaces = 2 + 2 * std::max<int64_t>(1, config.experts);
  const int64_t all =
      std::max(statistics, std::min(spaces * statistics, kStatisticsBytes));
  const int64_t panels =
      hessians ? InputStatistics::ScratchBytes(columns, sequences.length) : 0;
  const int64_t tile = kTileRows * columns * 6;  // codes, scales, zeros
  const PassBounds passes = BoundsOfPasses(config, sequences, threads);
  CalibratedBounds bounds;
  bounds.memory_bytes =
      passes.memory_bytes + 2 * block + all + panels +
      method->PreparationBytes(columns) +
      threads * (method->ScratchBytes(kTileRows, columns) + tile);
  bounds.disk_bytes =
      codes.total_bytes() + passes.disk_bytes + passes.kept_bytes;
  return bounds;
}

}  // namespace quant
