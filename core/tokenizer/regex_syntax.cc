#include "core/tokenizer/regex_syntax.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

constexpr absl::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";

bool IsCategory(absl::string_view name) {
  return !name.empty() && name.size() <= 2 &&
         absl::StrContains("CLMNPSZ", name.substr(0, 1)) &&
         (name.size() == 1 || absl::ascii_islower(name[1]));
}

bool IsBooleanProperty(absl::string_view name) {
  for (absl::string_view known :
       {"Alphabetic", "White_Space", "Lowercase", "Uppercase"}) {
    if (absl::EqualsIgnoreCase(name, known)) return true;
  }
  return false;
}

class Translator {
 public:
  explicit Translator(absl::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> Run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        QUANT_RETURN_IF_ERROR(Escape());
      } else if (in_class_) {
        QUANT_RETURN_IF_ERROR(InClass(c));
      } else {
        QUANT_RETURN_IF_ERROR(Outside(c));
      }
    }
    if (in_class_) return Refuse("a class without its end", 0);
    return std::move(out_);
  }

 private:
  absl::string_view Rest() const { return pattern_.substr(at_); }

  absl::Status Refuse(absl::string_view what, size_t length) const {
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
        absl::StrCat(
            "pattern ", QuotedName(pattern_), ": ", what,
            length == 0 ? "" : " " + QuotedName(pattern_.substr(at_, length)),
            " at byte ", at_,
            "; allowed are classes, \\s \\S \\d \\D \\w \\W \\p{..}, "
            "(?: (?i: (?= (?! (?<= (?<! (?> and repeats"));
  }

  void Take(absl::string_view translated, size_t length) {
    absl::StrAppend(&out_, translated);
    at_ += length;
  }

  absl::Status Outside(char c) {
    if (c == '[') {
      const size_t length = absl::StartsWith(Rest(), "[^") ? 2 : 1;
      in_class_ = true;
      Take(Rest().substr(0, length), length);
      if (absl::StartsWith(Rest(), "]")) return Refuse("an empty class", 1);
      return absl::OkStatus();
    }
    if (c == '(') return Group();
    if (c == '{') return Repeat();
    if (c == '^') return Refuse("an anchor", 1);
    Take(Rest().substr(0, 1), 1);
    return absl::OkStatus();
  }

  absl::Status InClass(char c) {
    if (c == '[') return Refuse("a class inside a class", 1);
    if (absl::StartsWith(Rest(), "&&")) return Refuse("an intersection", 2);
    if (c == ']') in_class_ = false;
    Take(Rest().substr(0, 1), 1);
    return absl::OkStatus();
  }

  absl::Status Group() {
    // "(*" begins verbs of PCRE2.
    if (absl::StartsWith(Rest(), "(*")) return Refuse("the group", 2);
    if (!absl::StartsWith(Rest(), "(?")) {
      // A group whose number nobody uses.
      Take("(?:", 1);
      return absl::OkStatus();
    }
    for (absl::string_view known :
         {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"}) {
      if (!absl::StartsWith(Rest(), known)) continue;
      Take(known, known.size());
      return absl::OkStatus();
    }
    return Refuse("the group", 4);
  }

  // "{n}", "{n,}", "{n,m}", and with "?" after it.
  absl::Status Repeat() {
    size_t end = at_ + 1;
    while (end < pattern_.size() &&
           (absl::ascii_isdigit(pattern_[end]) || pattern_[end] == ',')) {
      ++end;
    }
    const bool is_repeat = end < pattern_.size() && pattern_[end] == '}' &&
                           end > at_ + 1 && pattern_[at_ + 1] != ',';
    if (!is_repeat) return Refuse("a brace that is no repeat", 1);
    if (end + 1 < pattern_.size() && pattern_[end + 1] == '+') {
      return Refuse("a repeat of a repeat", end + 2 - at_);
    }
    Take(pattern_.substr(at_, end + 1 - at_), end + 1 - at_);
    return absl::OkStatus();
  }

  absl::Status Escape() {
    if (at_ + 1 >= pattern_.size()) return Refuse("a lone backslash", 1);
    const char c = pattern_[at_ + 1];
    if (c == 'p' || c == 'P') return Property();
    if (c == 'u' || c == 'x') return CodePoint();
    const std::pair<char, absl::string_view> same[] = {
        {'s', "\\p{White_Space}"},
        {'S', "\\P{White_Space}"},
        {'d', "\\p{Nd}"},
        {'D', "\\P{Nd}"},
        {'r', "\\r"},
        {'n', "\\n"},
        {'t', "\\t"},
        {'f', "\\f"},
        {'v', "\\x{0B}"}};
    for (const auto& [letter, translated] : same) {
      if (c != letter) continue;
      Take(translated, 2);
      return absl::OkStatus();
    }
    if (c == 'w' || (c == 'W' && !in_class_)) {
      Take(in_class_  ? std::string(kWord)
           : c == 'w' ? absl::StrCat("[", kWord, "]")
                      : absl::StrCat("[^", kWord, "]"),
           2);
      return absl::OkStatus();
    }
    if (absl::ascii_isalnum(c) || !absl::ascii_isprint(c)) {
      return Refuse("the escape", 2);
    }
    Take(pattern_.substr(at_, 2), 2);
    return absl::OkStatus();
  }

  // "\p{L}", "\P{L}", "\p{^L}".
  absl::Status Property() {
    const size_t end = pattern_.find('}', at_);
    if (end == absl::string_view::npos || pattern_[at_ + 2] != '{') {
      return Refuse("the escape", 2);
    }
    absl::string_view name = pattern_.substr(at_ + 3, end - at_ - 3);
    bool negated = pattern_[at_ + 1] == 'P';
    if (absl::ConsumePrefix(&name, "^")) negated = !negated;
    for (char n : name) {
      if (!absl::ascii_isalnum(n) && n != '_') {
        return Refuse("the property", end + 1 - at_);
      }
    }
    const bool is_script = !IsCategory(name) && !IsBooleanProperty(name);
    Take(absl::StrCat(negated ? "\\P{" : "\\p{", is_script ? "sc:" : "", name,
                      "}"),
         end + 1 - at_);
    return absl::OkStatus();
  }

  // "\u00A0", "\x{A0}".
  absl::Status CodePoint() {
    const bool braced = absl::StartsWith(Rest(), "\\x{");
    const size_t begin = at_ + (braced ? 3 : 2);
    size_t end = begin;
    while (end < pattern_.size() && absl::ascii_isxdigit(pattern_[end]) &&
           end - begin < (braced ? 6 : 4)) {
      ++end;
    }
    const bool whole =
        braced ? end > begin && end < pattern_.size() && pattern_[end] == '}'
               : pattern_[at_ + 1] == 'u' && end - begin == 4;
    if (!whole) return Refuse("the escape", 2);
    Take(absl::StrCat("\\x{", pattern_.substr(begin, end - begin), "}"),
         end + (braced ? 1 : 0) - at_);
    return absl::OkStatus();
  }

  absl::string_view pattern_;
  size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> PcrePattern(absl::string_view pattern) {
  return Translator(pattern).Run();
}

}  // namespace quant
