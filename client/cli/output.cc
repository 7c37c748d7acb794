#include "client/cli/output.h"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/choice.h"
#include "client/cli/yaml.h"
#include "google/protobuf/util/json_util.h"

namespace quant::cli {
namespace {

std::string ToJson(const google::protobuf::Message& message, bool pretty) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = pretty;
  std::string json;
  const auto status =
      google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) std::cerr << "quantctl: " << status.ToString() << "\n";
  return json;
}

bool IsContinuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

// Columns on a terminal, near enough: one per character.
int64_t Width(const std::string& text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return !IsContinuation(c); });
}

bool IsNumber(const std::string& cell) {
  double value;
  return cell.empty() || cell == "-" || absl::SimpleAtod(cell, &value);
}

std::string Padding(int64_t columns) {
  return std::string(static_cast<size_t>(std::max<int64_t>(columns, 0)), ' ');
}

}  // namespace

void AddFormatFlag(CLI::App& app, OutputFormat& format) {
  static const std::map<std::string, OutputFormat> kFormats = {
      {"table", OutputFormat::kTable},
      {"json", OutputFormat::kJson},
      {"yaml", OutputFormat::kYaml},
      {"name", OutputFormat::kName}};
  app.add_option("-o", format, "How to print: table, json, yaml or name")
      ->transform(ValueOf(kFormats).description("FORMAT"));
}

void PrintMessage(const google::protobuf::Message& message,
                  OutputFormat format) {
  if (format == OutputFormat::kYaml) {
    std::cout << JsonToYaml(ToJson(message, false));
  } else {
    std::cout << ToJson(message, true);
  }
  std::cout.flush();
}

void PrintJsonLine(const google::protobuf::Message& message) {
  std::cout << ToJson(message, false) << std::endl;
}

std::string Printable(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    // 0xC2 0x80..0x9F are the C1 control characters.
    const bool c1 = c == 0xC2 && i + 1 < text.size() &&
                    static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c < 0x20 || c == 0x7F || c1) {
      absl::StrAppendFormat(&out, "\\x%02x", c);
      if (c1)
        absl::StrAppendFormat(&out, "\\x%02x",
                              static_cast<unsigned char>(text[++i]));
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

Table::Table(std::vector<std::string> header) {
  rows_.push_back(std::move(header));
}

void Table::Add(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = Printable(cell);
  cells.resize(rows_[0].size());
  rows_.push_back(std::move(cells));
}

std::string Table::ToString() const {
  const size_t columns = rows_[0].size();
  std::vector<int64_t> width(columns, 0);
  std::vector<bool> right(columns, rows_.size() > 1);
  for (size_t r = 0; r < rows_.size(); ++r) {
    for (size_t c = 0; c < columns; ++c) {
      width[c] = std::max(width[c], Width(rows_[r][c]));
      if (r > 0 && !IsNumber(rows_[r][c])) right[c] = false;
    }
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t c = 0; c < columns; ++c) {
      const std::string pad = Padding(width[c] - Width(row[c]));
      absl::StrAppend(&line, right[c] ? pad : "", row[c], right[c] ? "" : pad,
                      c + 1 < columns ? "  " : "");
    }
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&out, line, "\n");
  }
  return out;
}

void Table::Print() const {
  std::cout << ToString();
  std::cout.flush();
}

void PrintFacts(const std::vector<std::pair<std::string, std::string>>& facts) {
  int64_t width = 0;
  for (const auto& [key, value] : facts) width = std::max(width, Width(key));
  for (const auto& [key, value] : facts) {
    std::cout << key << ":" << Padding(width - Width(key) + 1)
              << Printable(value) << "\n";
  }
  std::cout.flush();
}

}  // namespace quant::cli
