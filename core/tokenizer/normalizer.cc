#include "core/tokenizer/normalizer.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/base/text_limits.h"
#include "core/tokenizer/unicode.h"

namespace quant {
namespace {

using NormalizerPtr = std::unique_ptr<Normalizer>;

// Puts a text before every segment.
class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string text) : text_(std::move(text)) {}

  absl::Status Apply(Segment& segment) const override {
    if (!segment.text.empty()) segment.text.insert(0, text_);
    return absl::OkStatus();
  }

 private:
  std::string text_;
};

class Replace final : public Normalizer {
 public:
  Replace(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  absl::Status Apply(Segment& segment) const override {
    const absl::string_view text = segment.text;
    std::string out;
    size_t copied = 0;
    bool drops_first = false;
    const auto replace = [&](int64_t begin, int64_t end) {
      if (Size(out) > kMaxNormalizedBytes) return;
      if (begin == 0 && end > 0 && content_.empty()) drops_first = true;
      absl::StrAppend(&out, text.substr(copied, begin - copied));
      out.append(content_);
      copied = end;
    };
    QUANT_ASSIGN_OR_RETURN(const RegexSearch search,
                           RegexSearch::Make(pattern_));
    QUANT_RETURN_IF_ERROR(search.FindAll(text, replace));
    absl::StrAppend(&out, text.substr(copied));
    if (Size(out) > kMaxNormalizedBytes) {
      return MakeError(absl::StatusCode::kResourceExhausted,
                       Reason::kUnsupported,
                       absl::StrCat("normalizer Replace: makes a text of more "
                                    "than ",
                                    kMaxNormalizedBytes, " bytes"));
    }
    segment.text = std::move(out);
    if (drops_first) segment.first = false;
    return absl::OkStatus();
  }

 private:
  static int64_t Size(const std::string& text) {
    return static_cast<int64_t>(text.size());
  }

  Regex pattern_;
  std::string content_;
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}

  absl::Status Apply(Segment& segment) const override {
    absl::string_view rest = segment.text;
    while (left_ && !rest.empty()) {
      const CodePoint c = FirstCodePoint(rest);
      if (!IsWhiteSpace(c.value)) break;
      rest.remove_prefix(c.bytes);
      segment.first = false;
    }
    while (right_ && !rest.empty()) {
      const size_t last = LastCodePointAt(rest);
      if (!IsWhiteSpace(FirstCodePoint(rest.substr(last)).value)) break;
      rest = rest.substr(0, last);
    }
    segment.text = std::string(rest);
    return absl::OkStatus();
  }

 private:
  bool left_, right_;
};

class Form final : public Normalizer {
 public:
  explicit Form(NormalForm form) : form_(form) {}

  absl::Status Apply(Segment& segment) const override {
    QUANT_ASSIGN_OR_RETURN(segment.text, Normalize(segment.text, form_));
    return absl::OkStatus();
  }

 private:
  NormalForm form_;
};

absl::StatusOr<NormalizerPtr> MakePrepend(const JsonStep& step) {
  QUANT_ASSIGN_OR_RETURN(std::string text, step.Text("prepend", ""));
  return std::make_unique<Prepend>(std::move(text));
}

absl::StatusOr<NormalizerPtr> MakeReplace(const JsonStep& step) {
  QUANT_ASSIGN_OR_RETURN(Regex pattern, step.Pattern("pattern"));
  QUANT_ASSIGN_OR_RETURN(std::string content, step.Text("content", ""));
  return std::make_unique<Replace>(std::move(pattern), std::move(content));
}

absl::StatusOr<NormalizerPtr> MakeStrip(const JsonStep& step) {
  QUANT_ASSIGN_OR_RETURN(const bool left, step.Flag("strip_left", true));
  QUANT_ASSIGN_OR_RETURN(const bool right, step.Flag("strip_right", true));
  return std::make_unique<Strip>(left, right);
}

absl::StatusOr<NormalizerPtr> MakeNfc(const JsonStep&) {
  return std::make_unique<Form>(NormalForm::kNfc);
}
absl::StatusOr<NormalizerPtr> MakeNfd(const JsonStep&) {
  return std::make_unique<Form>(NormalForm::kNfd);
}
absl::StatusOr<NormalizerPtr> MakeNfkc(const JsonStep&) {
  return std::make_unique<Form>(NormalForm::kNfkc);
}
absl::StatusOr<NormalizerPtr> MakeNfkd(const JsonStep&) {
  return std::make_unique<Form>(NormalForm::kNfkd);
}

struct Row {
  const char* type;
  absl::StatusOr<NormalizerPtr> (*make)(const JsonStep&);
};

constexpr Row kRows[] = {
#define QUANT_NORMALIZER(type, make) {type, make},
#include "core/tokenizer/normalizers.def"
#undef QUANT_NORMALIZER
};

absl::StatusOr<NormalizerPtr> MakeOne(const JsonStep& step) {
  std::vector<std::string> known = {"Sequence"};
  for (const Row& row : kRows) {
    if (step.type() == row.type) return row.make(step);
    known.push_back(row.type);
  }
  return UnknownStep(step, "normalizer", known);
}

}  // namespace

absl::StatusOr<std::vector<NormalizerPtr>> MakeNormalizers(
    const nlohmann::json& root) {
  QUANT_ASSIGN_OR_RETURN(const std::vector<JsonStep> steps,
                         StepsOf("normalizer", root, "normalizers"));
  std::vector<NormalizerPtr> normalizers;
  for (const JsonStep& step : steps) {
    QUANT_ASSIGN_OR_RETURN(NormalizerPtr normalizer, MakeOne(step));
    normalizers.push_back(std::move(normalizer));
  }
  return normalizers;
}

}  // namespace quant
