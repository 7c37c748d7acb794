#include <map>
#include <regex>
#include <set>

#include "tests/tidy/rules.h"

namespace quant::tidy {
namespace {

// The house. A room may include itself, rooms of a lower floor of the same
// wing, and what `also` names.
struct Room {
  int floor = 0;
  std::set<std::string> also;
};

const std::set<std::string> kAllCore = {"core/*"};

const std::map<std::string, Room>& Rooms() {
  static const auto* rooms = new std::map<std::string, Room>{
      {"core/base", {0, {}}},
      {"core/tensor", {1, {}}},
      {"core/kernels", {2, {}}},
      {"core/container", {2, {}}},
      {"core/codec", {3, {}}},
      {"core/architecture", {4, {}}},
      {"core/method", {5, {}}},
      {"core/transform", {5, {}}},
      {"core/tokenizer", {5, {}}},
      {"core/network", {5, {}}},
      {"core/artifact", {5, {}}},
      {"core/calibrate", {6, {}}},
      {"core/evaluate", {6, {}}},
      {"core/pipeline", {7, {}}},
      // The only room of the core that knows protobuf.
      {"core/recipe", {8, {"quant/v1", "google/rpc"}}},

      {"server/telemetry", {0, {"core/base"}}},
      {"server/config", {1, {"core/base", "quant/server"}}},
      {"server/auth", {1, {"core/base"}}},
      {"server/queue", {1, {"core/base"}}},
      {"server/store", {1, {"core/base"}}},
      {"server/planner", {1, {"core/*", "quant/v1"}}},
      {"server/maintenance",
       {2, {"core/base", "core/pipeline", "core/recipe", "quant/v1"}}},
      {"server/worker", {2, {"core/*", "quant/v1", "quant/worker"}}},
      {"server/api",
       {2,
        {"core/base", "core/recipe", "quant/v1", "quant/worker", "google/rpc",
         "google/bytestream", "grpc/health"}}},
      {"server", {3, {"core/*", "quant/v1", "quant/worker"}}},

      {"client/library",
       {0,
        {"core/base", "quant/v1", "google/rpc", "google/bytestream",
         "grpc/health"}}},
      {"client/cli", {1, {"core/*", "quant/v1", "google/rpc"}}},
  };
  return *rooms;
}

// "server/queue/job.h" -> "server/queue"; "server/main.cc" -> "server".
std::string RoomOf(const std::string& path) {
  const size_t first = path.find('/');
  if (first == std::string::npos) return "";
  const size_t second = path.find('/', first + 1);
  return path.substr(0, second == std::string::npos ? first : second);
}

std::string WingOf(const std::string& room) {
  return room.substr(0, room.find('/'));
}

bool IsOurs(const std::string& wing) {
  static const std::set<std::string> wings = {
      "core", "server", "client", "tests", "quant", "grpc", "google", "deploy"};
  return wings.count(wing) > 0;
}

bool MayInclude(const std::string& from, const std::string& to) {
  const Room& room = Rooms().at(from);
  if (from == to || room.also.count(to) > 0) return true;
  if (room.also.count(WingOf(to) + "/*") > 0) return true;
  const auto target = Rooms().find(to);
  return target != Rooms().end() && WingOf(from) == WingOf(to) &&
         target->second.floor < room.floor;
}

}  // namespace

Breaches CheckLayers(const SourceFile& file) {
  static const std::regex include(R"re(^\s*#\s*include\s+["<]([^">]+)[">])re");
  Breaches breaches;
  if (!IsCpp(file)) return breaches;
  const std::string from = RoomOf(file.path);
  if (WingOf(from) == "tests" || !IsOurs(WingOf(from))) return breaches;
  if (Rooms().count(from) == 0) {
    return {file.path + ": no such room; add it to the table of layers"};
  }
  for (size_t i = 0; i < file.lines.size(); ++i) {
    std::smatch match;
    if (!std::regex_search(file.lines[i], match, include)) continue;
    const std::string to = RoomOf(match[1]);
    // google/protobuf comes with the system.
    if (!IsOurs(WingOf(to)) || to == "google/protobuf") continue;
    if (MayInclude(from, to)) continue;
    breaches.push_back(file.path + ":" + std::to_string(i + 1) + ": " + from +
                       " includes " + match[1].str() +
                       "; arrows only point down");
  }
  return breaches;
}

}  // namespace quant::tidy
