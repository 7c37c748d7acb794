// Data for stdout: tables for people; JSON, YAML and names for scripts.
#ifndef QUANT_CLIENT_CLI_OUTPUT_H_
#define QUANT_CLIENT_CLI_OUTPUT_H_

#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace quant::cli {

enum class OutputFormat { kTable, kJson, kYaml, kName };

// Declares `-o table|json|yaml|name`.
void AddFormatFlag(CLI::App& app, OutputFormat& format);

// For kJson: proto-JSON as protobuf's own printer writes it (lowerCamelCase
// names, 64-bit integers as strings, absent fields left out). For kYaml: the
// same document in YAML.
void PrintMessage(const google::protobuf::Message& message,
                  OutputFormat format);
// One line of JSON, for streams.
void PrintJsonLine(const google::protobuf::Message& message);

// The text with control characters (C0, DEL, C1) written
// as \xNN: names and labels come from outside and may not steer a terminal.
std::string Printable(absl::string_view text);

// Rows of cells in aligned columns; cells are made printable.
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  void Add(std::vector<std::string> cells);
  // Columns whose cells are all numbers are aligned to the right.
  std::string ToString() const;
  void Print() const;

 private:
  std::vector<std::vector<std::string>> rows_;  // the header is the first
};

// Prints "key: value" lines with the values aligned.
void PrintFacts(const std::vector<std::pair<std::string, std::string>>& facts);

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_OUTPUT_H_
