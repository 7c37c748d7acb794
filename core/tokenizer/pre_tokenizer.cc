#include "core/tokenizer/pre_tokenizer.h"

#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/base/text_limits.h"
#include "core/tokenizer/byte_alphabet.h"
#include "core/tokenizer/model.h"
#include "core/tokenizer/split.h"

namespace quant {
namespace {

using PreTokenizerPtr = std::unique_ptr<PreTokenizer>;

// How GPT-2 cuts (Radford et al. 2019): contractions, words, numbers and signs,
// each with a space before it.
constexpr char kGpt2Pattern[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+)"
    R"(|\s+(?!\S)|\s+)";

// Rewrites every piece: `rewrite` appends the new text of one.
template <typename Rewrite>
absl::Status RewriteAll(CutText& pieces, Rewrite rewrite) {
  CutText out;
  out.text.reserve(pieces.text.size() + 8);
  out.pieces.reserve(pieces.pieces.size());
  for (const Piece& piece : pieces.pieces) {
    const int64_t begin = static_cast<int64_t>(out.text.size());
    rewrite(pieces.Of(piece), piece.first, out.text);
    const int64_t end = static_cast<int64_t>(out.text.size());
    out.pieces.push_back({begin, end, piece.first});
    if (end > kMaxNormalizedBytes) {
      return MakeError(absl::StatusCode::kResourceExhausted,
                       Reason::kUnsupported,
                       absl::StrCat("pre-tokenizer: makes a text of more than ",
                                    kMaxNormalizedBytes, " bytes"));
    }
  }
  pieces = std::move(out);
  return absl::OkStatus();
}

class Cut final : public PreTokenizer {
 public:
  explicit Cut(SplitRule rule) : rule_(std::move(rule)) {}

  absl::Status Apply(CutText& pieces) const override {
    return Split(rule_, pieces);
  }

 private:
  SplitRule rule_;
};

// To bytes, spelled as characters.
class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, std::optional<SplitRule> rule)
      : add_prefix_space_(add_prefix_space), rule_(std::move(rule)) {}

  absl::Status Apply(CutText& pieces) const override {
    if (add_prefix_space_) {
      const auto prefix = [](absl::string_view piece, bool, std::string& out) {
        absl::StrAppend(&out, absl::StartsWith(piece, " ") ? "" : " ", piece);
      };
      QUANT_RETURN_IF_ERROR(RewriteAll(pieces, prefix));
    }
    if (rule_) QUANT_RETURN_IF_ERROR(Split(*rule_, pieces));
    return RewriteAll(pieces,
                      [](absl::string_view piece, bool, std::string& out) {
                        AppendSpelled(piece, out);
                      });
  }

 private:
  bool add_prefix_space_;
  std::optional<SplitRule> rule_;
};

// Spaces as a visible sign, and words with that sign before them.
class Metaspace final : public PreTokenizer {
 public:
  enum class Scheme { kAlways, kFirst, kNever };

  Metaspace(std::string sign, Scheme scheme, std::optional<SplitRule> rule)
      : sign_(std::move(sign)), scheme_(scheme), rule_(std::move(rule)) {}

  absl::Status Apply(CutText& pieces) const override {
    const auto respell = [&](absl::string_view piece, bool first,
                             std::string& out) {
      const size_t begin = out.size();
      for (char c : piece) {
        if (c == ' ') {
          out += sign_;
        } else {
          out += c;
        }
      }
      if (scheme_ == Scheme::kNever || (scheme_ == Scheme::kFirst && !first)) {
        return;
      }
      if (out.compare(begin, sign_.size(), sign_) != 0) {
        out.insert(begin, sign_);
      }
    };
    QUANT_RETURN_IF_ERROR(RewriteAll(pieces, respell));
    return rule_ ? Split(*rule_, pieces) : absl::OkStatus();
  }

 private:
  std::string sign_;
  Scheme scheme_;
  std::optional<SplitRule> rule_;
};

absl::StatusOr<PreTokenizerPtr> SplitBy(absl::StatusOr<Regex> pattern,
                                        SplitBehavior behavior,
                                        bool invert = false) {
  if (!pattern.ok()) return pattern.status();
  return std::make_unique<Cut>(
      SplitRule{*std::move(pattern), behavior, invert});
}

absl::StatusOr<PreTokenizerPtr> MakeByteLevel(const JsonStep& step) {
  QUANT_ASSIGN_OR_RETURN(const bool prefix,
                         step.Flag("add_prefix_space", true));
  QUANT_ASSIGN_OR_RETURN(const bool use_regex, step.Flag("use_regex", true));
  std::optional<SplitRule> rule;
  if (use_regex) {
    QUANT_ASSIGN_OR_RETURN(Regex pattern, Regex::Compile(kGpt2Pattern));
    rule = SplitRule{std::move(pattern), SplitBehavior::kIsolated, false};
  }
  return std::make_unique<ByteLevel>(prefix, std::move(rule));
}

absl::StatusOr<PreTokenizerPtr> MakeDigits(const JsonStep& step) {
  QUANT_ASSIGN_OR_RETURN(const bool each,
                         step.Flag("individual_digits", false));
  return SplitBy(Regex::Compile("\\p{N}"),
                 each ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
}

absl::StatusOr<PreTokenizerPtr> MakePunctuation(const JsonStep& step) {
  QUANT_ASSIGN_OR_RETURN(const std::string name,
                         step.Text("behavior", "Isolated"));
  QUANT_ASSIGN_OR_RETURN(const SplitBehavior behavior,
                         ParseSplitBehavior(name));
  return SplitBy(Regex::Compile("[\\p{P}!-/:-@\\[-`\\{-~]"), behavior);
}

absl::StatusOr<PreTokenizerPtr> MakeSplit(const JsonStep& step) {
  QUANT_ASSIGN_OR_RETURN(Regex pattern, step.Pattern("pattern"));
  QUANT_ASSIGN_OR_RETURN(const std::string name, step.Text("behavior", ""));
  QUANT_ASSIGN_OR_RETURN(const SplitBehavior behavior,
                         ParseSplitBehavior(name));
  QUANT_ASSIGN_OR_RETURN(const bool invert, step.Flag("invert", false));
  return SplitBy(std::move(pattern), behavior, invert);
}

// Words and runs of signs; joiners belong to words.
absl::StatusOr<PreTokenizerPtr> MakeWhitespace(const JsonStep&) {
  return SplitBy(
      Regex::Compile("[\\w\\u200C\\u200D]+|[^\\w\\s\\u200C\\u200D]+"),
      SplitBehavior::kRemoved, true);
}

absl::StatusOr<PreTokenizerPtr> MakeWhitespaceSplit(const JsonStep&) {
  return SplitBy(Regex::Compile("\\s"), SplitBehavior::kRemoved);
}

absl::StatusOr<PreTokenizerPtr> MakeMetaspace(const JsonStep& step) {
  QUANT_ASSIGN_OR_RETURN(std::string sign,
                         step.Text("replacement", kSpaceSign));
  QUANT_ASSIGN_OR_RETURN(const bool split, step.Flag("split", true));
  // Older files say only whether there is a sign before the text.
  QUANT_ASSIGN_OR_RETURN(const bool prefix,
                         step.Flag("add_prefix_space", true));
  QUANT_ASSIGN_OR_RETURN(const std::string scheme,
                         step.Text("prepend_scheme", "always"));
  auto chosen = Metaspace::Scheme::kAlways;
  if (scheme == "never" || !prefix) {
    chosen = Metaspace::Scheme::kNever;
  } else if (scheme == "first") {
    chosen = Metaspace::Scheme::kFirst;
  } else if (scheme != "always") {
    return step.Malformed("prepend_scheme is not always, first or never");
  }
  std::optional<SplitRule> rule;
  if (split) {
    QUANT_ASSIGN_OR_RETURN(Regex pattern, Regex::Literal(sign));
    rule = SplitRule{std::move(pattern), SplitBehavior::kMergedWithNext, false};
  }
  return std::make_unique<Metaspace>(std::move(sign), chosen, std::move(rule));
}

struct Row {
  const char* type;
  absl::StatusOr<PreTokenizerPtr> (*make)(const JsonStep&);
};

constexpr Row kRows[] = {
#define QUANT_PRE_TOKENIZER(type, make) {type, make},
#include "core/tokenizer/pre_tokenizers.def"
#undef QUANT_PRE_TOKENIZER
};

absl::StatusOr<PreTokenizerPtr> MakeOne(const JsonStep& step) {
  std::vector<std::string> known = {"Sequence"};
  for (const Row& row : kRows) {
    if (step.type() == row.type) return row.make(step);
    known.push_back(row.type);
  }
  return UnknownStep(step, "pre-tokenizer", known);
}

}  // namespace

absl::StatusOr<std::vector<PreTokenizerPtr>> MakePreTokenizers(
    const nlohmann::json& root) {
  QUANT_ASSIGN_OR_RETURN(const std::vector<JsonStep> steps,
                         StepsOf("pre-tokenizer", root, "pretokenizers"));
  std::vector<PreTokenizerPtr> out;
  for (const JsonStep& step : steps) {
    QUANT_ASSIGN_OR_RETURN(PreTokenizerPtr pre_tokenizer, MakeOne(step));
    out.push_back(std::move(pre_tokenizer));
  }
  return out;
}

}  // namespace quant
