#include <iostream>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/output.h"
#include "client/cli/progress.h"
#include "client/cli/server_flags.h"
#include "client/library/upload.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

class UploadCommand : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("model", model_,
                   "Model directory, .safetensors or .gguf file")
        ->required();
    server_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    QUANT_ASSIGN_OR_RETURN(const UploadReport report, Send(*client));
    if (format_ == OutputFormat::kName) {
      std::cout << Printable(report.upload.name()) << "\n";
    } else if (format_ != OutputFormat::kTable) {
      PrintMessage(report.upload, format_);
    } else {
      PrintFacts({{"upload", report.upload.name()},
                  {"files", absl::StrCat(report.upload.files_size())},
                  {"files sent", absl::StrCat(report.files_sent)},
                  {"bytes sent", absl::StrCat(report.bytes_sent)}});
    }
    return 0;
  }

 private:
  absl::StatusOr<UploadReport> Send(Client& client) const {
    InterruptScope interrupt;
    ProgressMeter meter("upload");
    TransferOptions options;
    options.stop = interrupt.token();
    options.progress = [&](const TransferProgress& progress) {
      meter.Show(progress);
    };
    return Upload(client, model_, options);
  }

  std::string model_;
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeUpload() {
  return std::make_unique<UploadCommand>();
}

}  // namespace quant::cli
