#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/interrupt.h"
#include "client/cli/output.h"
#include "client/cli/server_flags.h"
#include "client/library/job_log.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

using Json = nlohmann::ordered_json;

// Text that is one plain word stays so.
std::string ValueText(const Json& value) {
  if (!value.is_string()) return value.dump();
  const std::string text = Printable(value.get<std::string>());
  const bool plain = !text.empty() && text.find(' ') == std::string::npos;
  return plain ? text : absl::StrCat("\"", text, "\"");
}

// "<time> <level> <event> key=value..."; what is no such line as it is.
std::string ForPeople(const std::string& line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Printable(line);
  std::string out;
  for (const auto& [key, value] : json.items()) {
    if (key == "job" || key == "trace_id") continue;
    const bool head = key == "ts" || key == "level" || key == "event";
    absl::StrAppend(&out, out.empty() ? "" : " ",
                    head ? "" : absl::StrCat(Printable(key), "="),
                    ValueText(value));
  }
  return out;
}

class Logs : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("job", job_, "jobs/ID, or ID")->required();
    app.add_flag("--follow", follow_, "Go on until the job has ended");
    server_.Add(app);
    AddFormatFlag(app, format_);
    app.footer("-o json prints the lines as the server keeps them.");
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    InterruptScope interrupt;
    const absl::StatusOr<int64_t> read =
        ReadJobLog(*client, FullName("jobs", job_),
                   {.follow = follow_, .stop = interrupt.token()},
                   [this](absl::string_view bytes) { Take(bytes); });
    if (!read.ok() && WasInterrupted()) return kExitInterrupted;
    if (!read.ok()) return read.status();
    if (!rest_.empty()) Print(rest_);
    return 0;
  }

 private:
  void Take(absl::string_view bytes) {
    absl::StrAppend(&rest_, bytes);
    std::vector<std::string> lines = absl::StrSplit(rest_, '\n');
    rest_ = std::move(lines.back());
    lines.pop_back();
    for (const std::string& line : lines) Print(line);
  }

  void Print(const std::string& line) const {
    const bool raw = format_ == OutputFormat::kJson;
    std::cout << (raw ? Printable(line) : ForPeople(line)) << std::endl;
  }

  std::string job_;
  bool follow_ = false;
  std::string rest_;  // a line whose end has not come
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeLogs() { return std::make_unique<Logs>(); }

}  // namespace quant::cli
