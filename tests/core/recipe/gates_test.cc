#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/recipe/recipe.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

TEST(ParseGate, TakesEveryOperatorAndUnit) {
  struct Row {
    const char* text;
    v1::Gate::Comparison comparison;
    double threshold;
  };
  for (const Row& row : {
           Row{"size_bytes <= 5e9", v1::Gate::LESS_OR_EQUAL, 5e9},
           Row{"size_bytes<4.6GB", v1::Gate::LESS, 4.6e9},
           Row{" size_bytes  <=  1 KiB ", v1::Gate::LESS_OR_EQUAL, 1024},
           Row{"min_sqnr_db>=18", v1::Gate::GREATER_OR_EQUAL, 18},
           Row{"min_sqnr_db > -3.5", v1::Gate::GREATER, -3.5},
           Row{"size_bytes <= 4599999999", v1::Gate::LESS_OR_EQUAL, 4599999999},
           Row{"bits_per_weight<4.25", v1::Gate::LESS, 4.25},
       }) {
    const auto gate = ParseGate(row.text);
    ASSERT_TRUE(gate.ok()) << row.text << " " << gate.status();
    EXPECT_EQ(gate->comparison(), row.comparison) << row.text;
    EXPECT_DOUBLE_EQ(gate->threshold(), row.threshold) << row.text;
    const auto again = ParseGate(GateToString(*gate));
    ASSERT_TRUE(again.ok()) << GateToString(*gate);
    EXPECT_EQ(again->SerializeAsString(), gate->SerializeAsString());
  }
}

TEST(ParseGate, RefusesWhatIsNoGate) {
  for (const char* text :
       {"", "size_bytes", "size_bytes <=", "size_bytes = 5", "<= 5",
        "size_bytes <= five", "size_bytes <= 5 <= 6", "size_bytes == 5",
        "min_sqnr_db >= nan", "min_sqnr_db >= inf", "size_bytes <= 1e400"}) {
    const auto gate = ParseGate(text);
    EXPECT_FALSE(gate.ok()) << text;
    EXPECT_EQ(gate.status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_THAT(std::string(ParseGate("min_sqnr_bd >= 3").status().message()),
              HasSubstr("did you mean \"min_sqnr_db\""));
}

ExecuteResult Result() {
  ExecuteResult result;
  result.outputs.push_back(
      {.name = "a",
       .directory = "",
       .files = {},
       .metrics = {{"size_bytes", 100}, {"min_sqnr_db", 20}}});
  // Nothing was lossy: no ratio at all.
  result.outputs.push_back({.name = "b",
                            .directory = "",
                            .files = {},
                            .metrics = {{"size_bytes", 300}}});
  return result;
}

std::vector<bool> Verdicts(const std::string& gate,
                           const std::string& output = "") {
  v1::JobSpec spec;
  *spec.add_gates() = *ParseGate(gate);
  spec.mutable_gates(0)->set_output(output);
  std::vector<bool> passed;
  for (const v1::GateResult& verdict : EvaluateGates(spec, Result())) {
    passed.push_back(verdict.passed());
  }
  return passed;
}

TEST(EvaluateGates, OneVerdictPerOutput) {
  using V = std::vector<bool>;
  EXPECT_EQ(Verdicts("size_bytes <= 100"), V({true, false}));
  EXPECT_EQ(Verdicts("size_bytes < 100"), V({false, false}));
  EXPECT_EQ(Verdicts("size_bytes >= 100"), V({true, true}));
  EXPECT_EQ(Verdicts("size_bytes > 100"), V({false, true}));
  EXPECT_EQ(Verdicts("size_bytes <= 100", "b"), V({false}));
  EXPECT_EQ(Verdicts("min_sqnr_db >= 20"), V({true, true}));
  EXPECT_EQ(Verdicts("min_sqnr_db >= 20.5"), V({false, true}));
}

}  // namespace
}  // namespace quant
