// Which rule of a recipe decides about a tensor.
#ifndef QUANT_CORE_PIPELINE_RULES_H_
#define QUANT_CORE_PIPELINE_RULES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/architecture/roles.h"
#include "core/pipeline/request.h"

namespace re2 {
class RE2;
}

namespace quant {

// The rules of one output, with patterns compiled. Patterns are RE2: linear
// time, whatever the pattern.
class RuleSet {
 public:
  // INVALID_ARGUMENT INVALID_SPEC for a pattern that does not compile; the
  // field is "rules[i].match".
  static absl::StatusOr<RuleSet> Compile(const std::vector<TensorRule>& rules);
  RuleSet(RuleSet&&) noexcept;
  RuleSet& operator=(RuleSet&&) noexcept;
  ~RuleSet();

  // Index of the first rule that matches, or -1. A rule that gives a scheme
  // matches matrices only; a skip matches any tensor.
  int Match(const TensorRole& role);
  const TensorRule& rule(int index) const { return rules_[index]; }

  // INVALID_ARGUMENT for the first rule that has matched nothing, with the
  // nearest name.
  absl::Status CheckAllMatched(const std::vector<TensorRole>& roles) const;

 private:
  RuleSet();
  bool Matches(int index, const TensorRole& role) const;

  std::vector<TensorRule> rules_;
  std::vector<std::unique_ptr<re2::RE2>> patterns_;  // null: not a pattern
  std::vector<bool> matched_;
};

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_RULES_H_
