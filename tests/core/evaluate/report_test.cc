// Reports: bounded before the numbers are known, the same bytes for the same
// facts, and nothing of what they quote is markup.
#include "core/evaluate/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <set>

#include "absl/strings/str_cat.h"

namespace quant {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Report Example() {
  Report report{.engine_version = "1.2.3",
                .output = "W4A16",
                .recipe_json = R"({"scheme":"W4A16"})",
                .total_bytes = 12345,
                .bits_per_weight = 4.25};
  for (int layer = 0; layer < 3; ++layer) {
    for (const char* role : {"attention.q", "mlp.down"}) {
      report.tensors.push_back(
          {.name = absl::StrCat("model.layers.", layer, ".", role, ".weight"),
           .role = role,
           .layer = layer,
           .scheme = "W4A16",
           .method = "rtn",
           .reason = "default",
           .bits_per_weight = 4.125,
           .bytes = 66,
           .weights = 128,
           .noise = 0.01 * (layer + 1),
           .signal = 4,
           .max_abs_error = 0.05});
    }
  }
  report.tensors.push_back({.name = "model.norm.weight",
                            .role = "norm",
                            .reason = "skipped: norm",
                            .bits_per_weight = 16,
                            .bytes = 32,
                            .weights = 16});
  report.histograms = {{.role = "attention.q"}, {.role = "mlp.down"}};
  report.histograms[0].source[20] = 100;
  report.histograms[0].made[20] = 90;
  report.histograms[0].made[21] = 10;
  report.evaluation = {{"perplexity", 4.5}, {"kl_mean", 0.0123}};
  report.layers = {{.noise = 0.04, .signal = 4},
                   {.noise = 0, .signal = 4, .expert_tokens = {5, 0, 7}}};
  report.gates = {{"kl_mean <= 0.02", 0.0123, true}};
  return report;
}

TEST(Report, SaysItInJson) {
  const auto json = nlohmann::json::parse(ReportToJson(Example()));
  EXPECT_EQ(json["output"], "W4A16");
  EXPECT_EQ(json["recipe"]["scheme"], "W4A16");
  EXPECT_EQ(json["evaluation"]["kl_mean"], 0.0123);
  EXPECT_NEAR(json["layers"][0]["output_sqnr_db"].get<double>(), 20, 1e-9);
  EXPECT_TRUE(json["layers"][1]["output_sqnr_db"].is_null());
  EXPECT_FALSE(json["layers"][0].contains("expert_tokens"));
  EXPECT_EQ(json["layers"][1]["expert_tokens"],
            (std::vector<int64_t>{5, 0, 7}));
  EXPECT_EQ(json["gates"][0]["passed"], true);
  ASSERT_EQ(json["tensors"].size(), 7u);
  EXPECT_NEAR(json["tensors"][0]["sqnr_db"].get<double>(), 26.0206, 1e-4);
  EXPECT_FALSE(json["tensors"][6].contains("scheme"));
  EXPECT_EQ(json["histograms"]["roles"][0]["quantized"][21], 10);
}

TEST(Report, PageNeedsNothingBesideItself) {
  const std::string page = ReportToHtml(Example());
  EXPECT_EQ(page, ReportToHtml(Example()));
  for (const char* text : {"http:", "https:", "src=", "url(", "@import",
                           "<script", "<link", "<img"}) {
    EXPECT_THAT(page, Not(HasSubstr(text))) << text;
  }
  for (const char* text : {"attention.q, layer 2", "<svg", "kl_mean &lt;= 0.02",
                           "class=passed>passed", "skipped: norm", "perplexity",
                           "26.0206 dB", "Outputs of layers", "5 0 7"}) {
    EXPECT_THAT(page, HasSubstr(text));
  }
}

// Every tag of the page is one of its own.
TEST(Report, WhatItQuotesIsNoMarkup) {
  Report report = Example();
  const std::string hostile =
      "</td><script>alert(1)</script>&\"'\x01\x1b[2J\xff\xe2\x80\xae";
  report.output = report.engine_version = report.recipe_json = hostile;
  for (ReportTensor& tensor : report.tensors) {
    tensor.name += hostile;
    tensor.role += hostile;
    tensor.reason += hostile;
    if (!tensor.scheme.empty()) tensor.scheme += hostile;
  }
  for (ReportHistogram& histogram : report.histograms) {
    histogram.role += hostile;
  }
  report.evaluation[0].name += hostile;
  report.gates[0].gate += hostile;
  const std::string page = ReportToHtml(report);
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;"));
  const std::regex tag("<(/?)([a-zA-Z0-9]+)");
  const std::set<std::string> own = {
      "html",   "head",       "meta", "title",   "style",  "body",
      "h1",     "h2",         "p",    "table",   "tr",     "th",
      "td",     "div",        "svg",  "text",    "rect",   "polyline",
      "figure", "figcaption", "pre",  "details", "summary"};
  for (auto it = std::sregex_iterator(page.begin(), page.end(), tag);
       it != std::sregex_iterator(); ++it) {
    EXPECT_EQ(own.count((*it)[2]), 1u) << (*it)[0];
  }
  for (const char c : page) {
    EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f)) << static_cast<int>(c);
  }
  EXPECT_TRUE(nlohmann::json::accept(ReportToJson(report)));
}

// Whatever numbers work finds, files are as long as was planned.
TEST(Report, IsNeverLongerThanWithTheLongestNumbers) {
  Report planned = Example();
  LongestNumbers(planned);
  const auto json_bytes = static_cast<int64_t>(ReportToJson(planned).size());
  const auto html_bytes = static_cast<int64_t>(ReportToHtml(planned).size());
  std::mt19937_64 random(11);
  const auto number = [&] {
    const double specials[] = {0,
                               -0.0,
                               1e-320,
                               -1.7976931348623157e308,
                               std::numeric_limits<double>::infinity(),
                               std::numeric_limits<double>::quiet_NaN()};
    if (random() % 4 == 0) return specials[random() % 6];
    const double mantissa = static_cast<double>(random()) / 1.1e19;
    return std::ldexp(mantissa, static_cast<int>(random() % 2000) - 1000);
  };
  for (int round = 0; round < 200; ++round) {
    Report report = Example();
    report.total_bytes = static_cast<int64_t>(random() >> 1);
    report.bits_per_weight = std::abs(number());
    for (ReportTensor& tensor : report.tensors) {
      tensor.noise = std::abs(number());
      tensor.signal = std::abs(number());
      tensor.max_abs_error = std::abs(number());
    }
    for (ReportHistogram& histogram : report.histograms) {
      for (int64_t& count : histogram.source) count = random() >> 1;
      for (int64_t& count : histogram.made) count = random() >> 1;
    }
    for (ReportFigure& figure : report.evaluation) figure.value = number();
    report.gates[0].value = number();
    report.gates[0].passed = random() % 2 == 0;
    const std::string json = ReportToJson(report, json_bytes);
    EXPECT_EQ(static_cast<int64_t>(json.size()), json_bytes);
    EXPECT_TRUE(nlohmann::json::accept(json));
    EXPECT_EQ(static_cast<int64_t>(ReportToHtml(report, html_bytes).size()),
              html_bytes);
  }
}

}  // namespace
}  // namespace quant
