#include <algorithm>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/dataset_flags.h"
#include "client/cli/output.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/text_limits.h"
#include "core/tokenizer/tokenizer.h"
#include "quant/v1/dataset.pb.h"

namespace quant::cli {
namespace {

class Tokenize : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("model", model_, "Model directory, or its tokenizer alone")
        ->required();
    app.add_option("text", path_, "Text file, UTF-8")->required();
    app.add_flag("--plain", plain_,
                 "Without the tokens that begin and end a text");
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Open(model_));
    QUANT_ASSIGN_OR_RETURN(const std::string text,
                           ReadFile(path_, kMaxDocumentBytes));
    auto encoding = tokenizer->Encode(text);
    if (!encoding.ok()) return Annotate(encoding.status(), path_);
    std::vector<int32_t> ids = std::move(encoding->ids);
    if (!plain_) {
      const Frame& frame = tokenizer->frame();
      ids.insert(ids.begin(), frame.before.begin(), frame.before.end());
      ids.insert(ids.end(), frame.after.begin(), frame.after.end());
    }
    Print(*tokenizer, ids, encoding->unknown);
    return 0;
  }

 private:
  void Print(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
             int64_t unknown) const {
    if (format_ == OutputFormat::kName) {
      std::cout << absl::StrJoin(ids, "\n") << "\n";
      return;
    }
    if (format_ == OutputFormat::kTable) {
      Table table({"ID", "TEXT"});
      for (int32_t id : ids) {
        table.Add({absl::StrCat(id),
                   absl::StrCat("\"", ShownText(tokenizer.TextOf(id)), "\"")});
      }
      return table.Print();
    }
    v1::TokenizedText out;
    out.mutable_ids()->Add(ids.begin(), ids.end());
    out.set_unknown_characters(unknown);
    PrintMessage(out, format_);
  }

  std::string model_;
  std::string path_;
  bool plain_ = false;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeTokenize() { return std::make_unique<Tokenize>(); }

}  // namespace quant::cli
