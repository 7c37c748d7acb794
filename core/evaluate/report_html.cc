// report.h: the page. Everything that comes from a model or a recipe is
// escaped; no script, nothing is fetched. Coordinates have seven characters
// each, and other numbers at most thirteen.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/evaluate/report.h"

namespace quant {
namespace {

constexpr double kCellWidth = 26, kCellHeight = 22, kLabelWidth = 130;
constexpr double kPlotWidth = 300, kPlotHeight = 90;

constexpr char kHead[] = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'">
<title>Quantization report</title>
<style>
body{font:14px/1.4 sans-serif;margin:2em auto;max-width:70em;color:#222}
table{border-collapse:collapse}td,th{padding:.15em .7em;text-align:left;
border-bottom:1px solid #ddd}td.n{text-align:right;font-variant-numeric:
tabular-nums}.plot{overflow-x:auto}svg{font:11px sans-serif}h2{margin-top:2em}
.passed{color:#060}.FAILED{color:#b00;font-weight:bold}
figure{display:inline-block;margin:.5em 1em .5em 0}.s{fill:#9ab}.m{fill:none;
stroke:#c40}pre{white-space:pre-wrap}
</style></head><body>
)";

bool IsPlainAscii(unsigned char c) { return c >= 0x20 && c < 0x7f; }

// Signs of HTML become entities; control characters and whatever is not ASCII
// become numbers in braces, so that no encoding can be broken.
std::string Escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default: {
        const auto byte = static_cast<unsigned char>(c);
        if (IsPlainAscii(byte)) {
          out += c;
        } else {
          absl::StrAppendFormat(&out, "{%02x}", byte);
        }
      }
    }
  }
  return out;
}

std::string Number(double value) { return absl::StrFormat("%.6g", value); }

std::string At(double coordinate) {
  const double bounded =
      std::isfinite(coordinate) ? std::clamp(coordinate, 0.0, 9999.99) : 0;
  return absl::StrFormat("%07.2f", bounded);
}

// Sums of the numbers of LongestNumbers are below 0, as no others are.
double Decibels(double noise, double signal) {
  return noise < 0 ? kLongestNumber : 10 * std::log10(signal / noise);
}

// All tensors of one role in one layer.
struct Cell {
  double noise = 0;
  double signal = 0;
  double bits = 0;
  double weights = 0;
  bool quantized = false;
};
using Grid = std::map<std::string, std::map<int64_t, Cell>>;  // by role, layer

Grid GridOf(const Report& report) {
  Grid grid;
  for (const ReportTensor& tensor : report.tensors) {
    Cell& cell = grid[tensor.role][tensor.layer];
    const auto weights = static_cast<double>(tensor.weights);
    cell.bits += tensor.bits_per_weight * weights;
    cell.weights += weights;
    if (tensor.scheme.empty()) continue;
    cell.quantized = true;
    cell.noise += tensor.noise;
    cell.signal += tensor.signal;
  }
  return grid;
}

class Page {
 public:
  explicit Page(const Report& report) : report_(report), grid_(GridOf(report)) {
    for (const auto& [role, cells] : grid_) {
      for (const auto& [layer, cell] : cells) layers_.insert(layer);
    }
  }

  std::string Make() {
    out_ = kHead;
    absl::StrAppend(&out_, "<h1>Quantization report: ", Escaped(report_.output),
                    "</h1>\n<p>", report_.total_bytes, " bytes, ",
                    Number(report_.bits_per_weight),
                    " bits per weight; made by quantd ",
                    Escaped(report_.engine_version), "</p>\n");
    Verdicts();
    Evaluation();
    Layers();
    Errors();
    Bits();
    Histograms();
    Tensors();
    absl::StrAppend(&out_, "<h2>Recipe</h2>\n<pre>",
                    Escaped(report_.recipe_json), "</pre>\n</body></html>\n");
    return std::move(out_);
  }

 private:
  void Verdicts() {
    if (report_.gates.empty()) return;
    out_ += "<h2>Gates</h2>\n<table><tr><th>gate<th>value<th>verdict</tr>\n";
    for (const ReportVerdict& verdict : report_.gates) {
      const char* word = verdict.passed ? "passed" : "FAILED";
      absl::StrAppend(&out_, "<tr><td>", Escaped(verdict.gate), "<td class=n>",
                      Number(verdict.value), "<td class=", word, ">", word,
                      "</tr>\n");
    }
    out_ += "</table>\n";
  }

  void Evaluation() {
    if (report_.evaluation.empty()) return;
    out_ += "<h2>On the evaluation text</h2>\n<table>\n";
    for (const ReportFigure& figure : report_.evaluation) {
      absl::StrAppend(&out_, "<tr><td>", Escaped(figure.name), "<td class=n>",
                      Number(figure.value), "</tr>\n");
    }
    out_ += "</table>\n";
  }

  void Layers() {
    if (report_.layers.empty()) return;
    out_ +=
        "<h2>Outputs of layers</h2>\n<p>After each block, against the "
        "source's; tokens of experts on the evaluation text.</p>\n<table><tr>"
        "<th>layer<th>SQNR, dB<th>tokens of experts</tr>\n";
    for (size_t i = 0; i < report_.layers.size(); ++i) {
      const ReportLayer& layer = report_.layers[i];
      absl::StrAppend(&out_, "<tr><td class=n>", i, "<td class=n>",
                      Number(Decibels(layer.noise, layer.signal)), "<td>",
                      absl::StrJoin(layer.expert_tokens, " "), "</tr>\n");
    }
    out_ += "</table>\n";
  }

  // Cells by layer and role, coloured by `shade` (0: pale, 1: strong).
  template <typename Shade, typename Label>
  void Cells(const Shade& shade, const Label& label) {
    const double width =
        kLabelWidth + kCellWidth * static_cast<double>(layers_.size());
    const double height = kCellHeight * static_cast<double>(grid_.size() + 1);
    absl::StrAppend(&out_, "<div class=plot><svg role=\"img\" width=\"",
                    At(width), "\" height=\"", At(height), "\">\n");
    double x = kLabelWidth;
    for (int64_t layer : layers_) {
      Text(x + 4, kCellHeight - 7,
           layer < 0 ? std::string("-") : absl::StrCat(layer));
      x += kCellWidth;
    }
    double y = kCellHeight;
    for (const auto& [role, cells] : grid_) {
      Text(0, y + 15, Escaped(role));
      x = kLabelWidth;
      for (int64_t layer : layers_) {
        const auto cell = cells.find(layer);
        if (cell != cells.end()) {
          Square(x, y, shade(cell->second),
                 absl::StrCat(Escaped(role), ", layer ", layer, ": ",
                              label(cell->second)));
        }
        x += kCellWidth;
      }
      y += kCellHeight;
    }
    out_ += "</svg></div>\n";
  }

  void Text(double x, double y, const std::string& text) {
    absl::StrAppend(&out_, "<text x=\"", At(x), "\" y=\"", At(y), "\">", text,
                    "</text>\n");
  }

  void Square(double x, double y, double shade, const std::string& title) {
    const double part = std::isfinite(shade) ? std::clamp(shade, 0.0, 1.0) : 1;
    absl::StrAppend(&out_, "<rect x=\"", At(x), "\" y=\"", At(y), "\" width=\"",
                    At(kCellWidth - 2), "\" height=\"", At(kCellHeight - 2),
                    absl::StrFormat("\" fill=\"#c40\" fill-opacity=\"%04.2f\"",
                                    0.06 + 0.94 * part),
                    "><title>", title, "</title></rect>\n");
  }

  void Errors() {
    out_ +=
        "<h2>Error per layer and role</h2>\n<p>Signal to quantization noise "
        "in dB; the stronger the colour, the more noise (10 dB and less: full, "
        "60 dB and copies: pale).</p>\n";
    Cells(
        [](const Cell& cell) {
          if (!cell.quantized || cell.noise == 0) return 0.0;
          return (60 - Decibels(cell.noise, cell.signal)) / 50;
        },
        [](const Cell& cell) {
          return cell.quantized
                     ? absl::StrCat(Number(Decibels(cell.noise, cell.signal)),
                                    " dB")
                     : std::string("copied");
        });
  }

  void Bits() {
    out_ +=
        "<h2>Bits per weight</h2>\n<p>Scales and zero points included; full "
        "colour: 16 and more.</p>\n";
    const auto bits = [](const Cell& cell) {
      if (cell.bits < 0) return kLongestNumber;
      return cell.weights == 0 ? 0 : cell.bits / cell.weights;
    };
    Cells([&](const Cell& cell) { return bits(cell) / 16; },
          [&](const Cell& cell) {
            return absl::StrCat(Number(bits(cell)), " bits");
          });
  }

  void Histograms() {
    if (report_.histograms.empty()) return;
    absl::StrAppend(
        &out_,
        "<h2>Weights</h2>\n<p>In parts of each tensor's root mean "
        "square, from ",
        -kHistogramRange, " to ", kHistogramRange,
        "; bars: the source, line: what the codes stand for; of a sample of "
        "rows.</p>\n");
    for (const ReportHistogram& histogram : report_.histograms) {
      double most = 1;
      for (int i = 0; i < kHistogramBins; ++i) {
        most = std::max({most, static_cast<double>(histogram.source[i]),
                         static_cast<double>(histogram.made[i])});
      }
      absl::StrAppend(&out_, "<figure><svg role=\"img\" width=\"",
                      At(kPlotWidth), "\" height=\"", At(kPlotHeight), "\">\n");
      const double step = kPlotWidth / kHistogramBins;
      std::string line;
      for (int i = 0; i < kHistogramBins; ++i) {
        const auto high = [&](int64_t count) {
          return (kPlotHeight - 2) * static_cast<double>(count) / most;
        };
        const double bar = std::max(high(histogram.source[i]), 0.0);
        absl::StrAppend(&out_, "<rect class=s x=\"", At(step * i), "\" y=\"",
                        At(kPlotHeight - bar), "\" width=\"", At(step - 1),
                        "\" height=\"", At(bar), "\"/>");
        absl::StrAppend(&line, i == 0 ? "" : " ", At(step * (i + 0.5)), ",",
                        At(kPlotHeight - high(histogram.made[i])));
      }
      absl::StrAppend(&out_, "<polyline class=m points=\"", line,
                      "\"/></svg><figcaption>", Escaped(histogram.role),
                      "</figcaption></figure>\n");
    }
  }

  void Tensors() {
    out_ +=
        "<h2>Tensors</h2>\n<details><summary>all of them</summary>\n<table><tr>"
        "<th>tensor<th>role<th>scheme<th>bits<th>bytes<th>SQNR, dB<th>largest "
        "error<th>why</tr>\n";
    for (const ReportTensor& tensor : report_.tensors) {
      absl::StrAppend(&out_, "<tr><td>", Escaped(tensor.name), "<td>",
                      Escaped(tensor.role), "<td>", Escaped(tensor.scheme),
                      "<td class=n>", Number(tensor.bits_per_weight),
                      "<td class=n>", tensor.bytes);
      if (tensor.scheme.empty()) {
        out_ += "<td><td>";
      } else {
        absl::StrAppend(&out_, "<td class=n>",
                        Number(Decibels(tensor.noise, tensor.signal)),
                        "<td class=n>", Number(tensor.max_abs_error));
      }
      absl::StrAppend(&out_, "<td>", Escaped(tensor.reason), "</tr>\n");
    }
    out_ += "</table></details>\n";
  }

  const Report& report_;
  const Grid grid_;
  std::set<int64_t> layers_;
  std::string out_;
};

}  // namespace

std::string ReportToHtml(const Report& report, int64_t least_bytes) {
  std::string text = Page(report).Make();
  const int64_t missing = least_bytes - static_cast<int64_t>(text.size());
  if (missing > 0) text.insert(text.size() - 1, missing, ' ');
  return text;
}

}  // namespace quant
