#include <algorithm>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/dataset_flags.h"
#include "client/cli/output.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/tokenizer/tokenizer.h"
#include "quant/v1/dataset.pb.h"

namespace quant::cli {
namespace {

// How much of the data is shown.
constexpr int64_t kShownSequences = 3;
constexpr int64_t kShownTokens = 32;

class Calibrate : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("model", model_, "Model directory")->required();
    app.add_option("--data,--calibration", path_,
                   "Text, .jsonl, or token ids in .npy or .safetensors")
        ->required();
    app.add_option("--seq-len,--sequence-length", options_.sequence_length,
                   "Tokens per sequence")
        ->default_val(2048);
    app.add_option("--samples,--calibration-sequences", options_.max_sequences,
                   "Sequences at most")
        ->default_val(128);
    bos_.Add(app);
    app.add_flag("--preview", preview_,
                 "Show what the model will see, and run nothing");
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    if (!preview_) {
      return InvalidSpec("calibrate: only --preview is there yet");
    }
    QUANT_ASSIGN_OR_RETURN(options_.bos, bos_.Get());
    std::unique_ptr<const Tokenizer> tokenizer;
    auto opened = Tokenizer::Open(model_);
    if (opened.ok()) {
      tokenizer = *std::move(opened);
    } else if (HoldsText(path_)) {
      return opened.status();
    }
    QUANT_ASSIGN_OR_RETURN(const Dataset data,
                           LoadDataset(path_, tokenizer.get(), options_));
    Print(Describe(data, tokenizer.get()));
    return 0;
  }

 private:
  static v1::DatasetPreview Describe(const Dataset& data,
                                     const Tokenizer* tokenizer) {
    v1::DatasetPreview out;
    out.set_sequences(data.sequences);
    out.set_sequence_length(data.sequence_length);
    out.set_documents(data.documents);
    out.set_tokens(data.tokens);
    out.set_unknown_characters(data.unknown);
    out.set_sha256(data.digest);
    const int64_t shown = std::min(data.sequences, kShownSequences);
    for (int64_t i = 0; i < shown; ++i) {
      auto* first = out.add_first();
      std::string text;
      const int64_t length = std::min(data.sequence_length, kShownTokens);
      for (int64_t k = 0; k < length; ++k) {
        const int32_t id = data.ids[i * data.sequence_length + k];
        first->add_ids(id);
        if (tokenizer != nullptr) text += tokenizer->TextOf(id);
      }
      first->set_text(ShownText(text));
    }
    return out;
  }

  void Print(const v1::DatasetPreview& preview) const {
    if (format_ != OutputFormat::kTable && format_ != OutputFormat::kName) {
      return PrintMessage(preview, format_);
    }
    if (format_ == OutputFormat::kName) {
      std::cout << preview.sha256() << "\n";
      return;
    }
    PrintFacts(
        {{"sequences", absl::StrCat(preview.sequences())},
         {"sequence length", absl::StrCat(preview.sequence_length())},
         {"documents read", absl::StrCat(preview.documents())},
         {"tokens read", absl::StrCat(preview.tokens())},
         {"unknown characters", absl::StrCat(preview.unknown_characters())},
         {"sha256", preview.sha256()}});
    Table table({"SEQUENCE", "FIRST TOKENS"});
    for (int i = 0; i < preview.first_size(); ++i) {
      table.Add(
          {absl::StrCat(i), absl::StrCat("\"", preview.first(i).text(), "\"")});
    }
    std::cout << "\n";
    table.Print();
  }

  std::string model_;
  std::string path_;
  DatasetOptions options_;
  BosFlag bos_;
  bool preview_ = false;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeCalibrate() {
  return std::make_unique<Calibrate>();
}

}  // namespace quant::cli
