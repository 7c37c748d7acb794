#include <algorithm>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/command.h"
#include "client/cli/dataset_flags.h"
#include "client/cli/interrupt.h"
#include "client/cli/local_work.h"
#include "client/cli/output.h"
#include "client/cli/progress.h"
#include "core/base/status_macros.h"
#include "core/base/thread_pool.h"
#include "core/evaluate/evaluate.h"
#include "core/pipeline/value_network.h"
#include "quant/v1/evaluation.pb.h"

namespace quant::cli {
namespace {

v1::ModelEvaluation ToProto(const Evaluation& result) {
  v1::ModelEvaluation out;
  out.set_windows(result.windows);
  out.set_sequence_length(result.sequence_length);
  out.set_predicted_tokens(result.predicted_tokens);
  out.set_nll(result.nll);
  out.set_perplexity(result.perplexity);
  if (result.reference_nll) {
    out.set_reference_nll(*result.reference_nll);
    out.set_reference_perplexity(*result.reference_perplexity);
    out.set_perplexity_ratio(result.perplexity / *result.reference_perplexity);
    out.set_perplexity_delta(result.perplexity - *result.reference_perplexity);
  }
  if (result.divergence) {
    out.set_kl_mean(result.divergence->mean);
    out.set_kl_median(result.divergence->median);
    out.set_kl_p90(result.divergence->p90);
    out.set_kl_p99(result.divergence->p99);
    out.set_kl_max(result.divergence->max);
    out.set_top1_agreement(result.divergence->top1_agreement);
  }
  for (const LayerFigures& figures : result.layers) {
    v1::ModelEvaluation::Layer& layer = *out.add_layers();
    if (const auto sqnr = figures.SqnrDb()) layer.set_output_sqnr_db(*sqnr);
    layer.mutable_expert_tokens()->Assign(figures.expert_tokens.begin(),
                                          figures.expert_tokens.end());
  }
  return out;
}

class Eval : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("model", model_,
                   "Model directory or .gguf file, quantized or not")
        ->required();
    app.add_option("--reference", reference_,
                   "Model directory or .gguf file to compare with: adds KL "
                   "divergence");
    app.add_option("--evaluation", evaluation_,
                   "Text, .jsonl, or token ids in .npy or .safetensors")
        ->required();
    bos_.Add(app);
    app.add_option("--sequence-length", length_,
                   "Tokens per window (default: the model's context, at most "
                   "2048)");
    app.add_option("--spill-dir", spill_.directory,
                   "Where hidden states go that don't fit 4 GiB")
        ->capture_default_str();
    app.add_flag("--weights-only", weights_only_,
                 "Leave activations as they are where the checkpoint says that "
                 "loaders quantize them");
    threads_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const ValueNetwork model,
                           ValueNetwork::Open(model_, weights_only_));
    const int64_t length =
        length_ > 0 ? length_ : DefaultSequenceLength(model.network->config());
    QUANT_ASSIGN_OR_RETURN(const Dataset data, Load(model, length));
    ValueNetwork reference;
    if (!reference_.empty()) {
      QUANT_ASSIGN_OR_RETURN(reference,
                             ValueNetwork::Open(reference_, weights_only_));
    }
    InterruptScope interrupt;
    ThreadPool pool(threads_.Get());
    ProgressMeter meter("eval");
    EvaluateOptions options;
    options.sequence_length = length;
    options.run.pool = &pool;
    options.run.stop = interrupt.token();
    options.run.spill = spill_;
    options.run.progress = [&](double fraction) {
      meter.Show("evaluate", fraction, "");
    };
    QUANT_ASSIGN_OR_RETURN(
        const Evaluation result,
        Evaluate(*model.network, reference.network.get(), data.ids, options));
    meter.End();
    Print(result);
    return 0;
  }

 private:
  absl::StatusOr<Dataset> Load(const ValueNetwork& model,
                               int64_t length) const {
    DatasetOptions options;
    options.sequence_length = length;
    options.vocabulary = model.network->config().vocabulary;
    QUANT_ASSIGN_OR_RETURN(options.bos, bos_.Get());
    return LoadDatasetFor(model_, evaluation_, options);
  }

  void Print(const Evaluation& result) const {
    if (format_ == OutputFormat::kTable || format_ == OutputFormat::kName) {
      Table table({"METRIC", "VALUE"});
      for (const auto& [name, value] : result.Metrics()) {
        table.Add({name, absl::StrFormat("%.8g", value)});
      }
      table.Print();
      return PrintLayers(result.layers);
    }
    PrintMessage(ToProto(result), format_);
  }

  static void PrintLayers(const std::vector<LayerFigures>& layers) {
    Table table({"LAYER", "OUTPUT_SQNR_DB", "EXPERTS_WITH_TOKENS",
                 "FEWEST_TOKENS", "MOST_TOKENS"});
    for (size_t i = 0; i < layers.size(); ++i) {
      const std::optional<double> sqnr = layers[i].SqnrDb();
      const std::vector<int64_t>& tokens = layers[i].expert_tokens;
      std::vector<std::string> row = {
          absl::StrCat(i), sqnr ? absl::StrFormat("%.2f", *sqnr) : "-"};
      if (tokens.empty()) {
        row.insert(row.end(), 3, "-");
      } else {
        const auto [least, most] =
            std::minmax_element(tokens.begin(), tokens.end());
        const auto unseen = std::count(tokens.begin(), tokens.end(), 0);
        row.push_back(absl::StrCat(tokens.size() - unseen, "/", tokens.size()));
        row.push_back(absl::StrCat(*least));
        row.push_back(absl::StrCat(*most));
      }
      table.Add(std::move(row));
    }
    std::cout << "\n";
    table.Print();
  }

  std::string model_;
  std::string reference_;
  std::string evaluation_;
  BosFlag bos_;
  int64_t length_ = 0;
  bool weights_only_ = false;
  SpillOptions spill_;
  ThreadFlag threads_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeEval() { return std::make_unique<Eval>(); }

}  // namespace quant::cli
