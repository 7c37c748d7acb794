#include "core/pipeline/rules.h"

#include <re2/re2.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/names.h"

namespace quant {
namespace {

constexpr absl::string_view kPatternPrefix = "re:";

std::string FullName(const TensorRole& role) {
  return role.module.empty() ? role.leaf
                             : absl::StrCat(role.module, ".", role.leaf);
}

}  // namespace

RuleSet::RuleSet() = default;
RuleSet::RuleSet(RuleSet&&) noexcept = default;
RuleSet& RuleSet::operator=(RuleSet&&) noexcept = default;
RuleSet::~RuleSet() = default;

absl::StatusOr<RuleSet> RuleSet::Compile(const std::vector<TensorRule>& rules) {
  RuleSet set;
  set.rules_ = rules;
  set.matched_.resize(rules.size());
  for (size_t i = 0; i < rules.size(); ++i) {
    set.patterns_.emplace_back();
    if (!absl::StartsWith(rules[i].match, kPatternPrefix)) continue;
    re2::RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(1 << 20);
    auto pattern = std::make_unique<re2::RE2>(
        rules[i].match.substr(kPatternPrefix.size()), options);
    if (!pattern->ok()) {
      return InvalidSpec(
          absl::StrCat("pattern \"", rules[i].match, "\": ", pattern->error()),
          absl::StrCat("rules[", i, "].match"));
    }
    set.patterns_.back() = std::move(pattern);
  }
  return set;
}

bool RuleSet::Matches(int index, const TensorRole& role) const {
  const TensorRule& rule = rules_[index];
  if (rule.scheme && !role.is_matrix) return false;
  const std::string name = FullName(role);
  if (const auto& pattern = patterns_[index]) {
    const auto matches = [&](const std::string& text) {
      return pattern->Match(text, 0, text.size(), re2::RE2::ANCHOR_START,
                            nullptr, 0);
    };
    // The module first: "re:.*down_proj$" means the module, as loaders take it.
    return (!role.module.empty() && matches(role.module)) || matches(name);
  }
  return rule.match == name || rule.match == role.module ||
         rule.match == role.role ||
         rule.match == ModuleClassName(role.module_class);
}

int RuleSet::Match(const TensorRole& role) {
  for (size_t i = 0; i < rules_.size(); ++i) {
    if (!Matches(static_cast<int>(i), role)) continue;
    matched_[i] = true;
    return static_cast<int>(i);
  }
  return -1;
}

absl::Status RuleSet::CheckAllMatched(
    const std::vector<TensorRole>& roles) const {
  for (size_t i = 0; i < rules_.size(); ++i) {
    if (matched_[i]) continue;
    bool shadowed = false;
    std::vector<std::string> known = KnownRoles();
    for (const TensorRole& role : roles) {
      shadowed |= Matches(static_cast<int>(i), role);
      if (known.size() < 10000) known.push_back(role.module);
    }
    const std::string nearest = NearestName(rules_[i].match, known);
    return InvalidSpec(
        absl::StrCat("rule \"", rules_[i].match, "\" ",
                     shadowed ? "never decides: earlier rules match first"
                     : rules_[i].scheme ? "matches no weight matrix"
                                        : "matches no tensor",
                     shadowed || nearest.empty()
                         ? ""
                         : absl::StrCat("; did you mean \"", nearest, "\"?")),
        absl::StrCat("rules[", i, "].match"));
  }
  return absl::OkStatus();
}

}  // namespace quant
