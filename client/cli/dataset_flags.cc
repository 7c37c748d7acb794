#include "client/cli/dataset_flags.h"

#include <algorithm>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/tokenizer/tokenizer.h"
#include "core/tokenizer/unicode.h"

namespace quant::cli {

void BosFlag::Add(CLI::App& app) {
  app.add_option("--bos", name_,
                 "Tokens that begin and end a text: around every document as "
                 "the tokenizer puts them, the beginning one in every "
                 "sequence, or none (document, sequence, none)")
      ->capture_default_str();
}

absl::StatusOr<v1::Bos> BosFlag::Proto() const {
  QUANT_ASSIGN_OR_RETURN(const BosPolicy policy, Get());
  switch (policy) {
    case BosPolicy::kDocument:
      return v1::BOS_UNSPECIFIED;
    case BosPolicy::kSequence:
      return v1::BOS_SEQUENCE;
    case BosPolicy::kNone:
      return v1::BOS_NONE;
  }
  return v1::BOS_UNSPECIFIED;
}

absl::StatusOr<Dataset> LoadDatasetFor(const std::string& model,
                                       const std::string& file,
                                       const DatasetOptions& options) {
  std::unique_ptr<const Tokenizer> tokenizer;
  if (HoldsText(file)) {
    QUANT_ASSIGN_OR_RETURN(tokenizer, Tokenizer::Open(model));
  }
  return LoadDataset(file, tokenizer.get(), options);
}

std::string ShownText(absl::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const size_t good = FirstInvalidUtf8(bytes).value_or(bytes.size());
    absl::StrAppend(&out, absl::Utf8SafeCHexEscape(bytes.substr(0, good)),
                    absl::CHexEscape(bytes.substr(good, 1)));
    bytes.remove_prefix(std::min(good + 1, bytes.size()));
  }
  return out;
}

}  // namespace quant::cli
