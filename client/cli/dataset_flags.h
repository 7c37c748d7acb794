// Texts and token ids for the commands that run networks.
#ifndef QUANT_CLIENT_CLI_DATASET_FLAGS_H_
#define QUANT_CLIENT_CLI_DATASET_FLAGS_H_

#include <string>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/tokenizer/dataset.h"
#include "quant/v1/job.pb.h"

namespace quant::cli {

// --bos document|sequence|none
class BosFlag {
 public:
  void Add(CLI::App& app);
  absl::StatusOr<BosPolicy> Get() const { return ParseBosPolicy(name_); }
  // The same for requests; the default says nothing.
  absl::StatusOr<v1::Bos> Proto() const;

 private:
  std::string name_ = "document";
};

// LoadDataset with the tokenizer of the model at `model`, where the file needs
// one.
absl::StatusOr<Dataset> LoadDatasetFor(const std::string& model,
                                       const std::string& file,
                                       const DatasetOptions& options);

// What tokens stand for, for people: control characters, and bytes that are no
// UTF-8, as \xNN.
std::string ShownText(absl::string_view bytes);

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_DATASET_FLAGS_H_
