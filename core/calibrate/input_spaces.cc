#include "core/calibrate/input_spaces.h"

#include <algorithm>
#include <utility>

namespace quant {
namespace {

std::vector<Linear*> PointersTo(std::vector<Linear>& linears) {
  std::vector<Linear*> pointers;
  for (Linear& linear : linears) pointers.push_back(&linear);
  return pointers;
}

}  // namespace

std::vector<InputSpace> InputSpacesOf(Block& block) {
  std::vector<InputSpace> spaces;
  spaces.push_back({.stage = 0, .linears = PointersTo(block.qkv)});
  spaces.push_back({.stage = 1, .linears = {&block.o}});
  const bool experts = block.mlps.size() > 1 || !block.router.weight.empty();
  for (size_t e = 0; e < block.mlps.size(); ++e) {
    const int64_t expert = experts ? static_cast<int64_t>(e) : -1;
    Mlp& mlp = block.mlps[e];
    spaces.push_back(
        {.stage = 2, .expert = expert, .linears = PointersTo(mlp.gate_up)});
    spaces.push_back({.stage = 3, .expert = expert, .linears = {&mlp.down}});
  }
  std::stable_sort(spaces.begin(), spaces.end(),
                   [](const InputSpace& a, const InputSpace& b) {
                     return a.stage < b.stage;
                   });
  return spaces;
}

std::vector<std::vector<InputSpace>> PhasesOf(std::vector<InputSpace> spaces,
                                              bool with_hessians,
                                              bool by_stage) {
  std::vector<std::vector<InputSpace>> phases;
  int64_t bytes = 0;
  for (InputSpace& space : spaces) {
    const int64_t more = InputStatistics::Bytes(space.columns(), with_hessians);
    const bool next_stage = by_stage && !phases.empty() &&
                            phases.back().back().stage != space.stage;
    if (phases.empty() || next_stage || bytes + more > kStatisticsBytes) {
      phases.emplace_back();
      bytes = 0;
    }
    bytes += more;
    phases.back().push_back(std::move(space));
  }
  return phases;
}

Collector::Collector(ThreadPool& pool, const std::vector<InputSpace>& spaces,
                     bool with_hessians)
    : pool_(pool) {
  for (size_t i = 0; i < spaces.size(); ++i) {
    statistics_.emplace_back(spaces[i].columns(), with_hessians);
    index_[spaces[i].linears.front()] = i;
  }
}

LinearObserver Collector::observer() {
  return [this](const Linear& linear, const float* x, int64_t rows) {
    const auto found = index_.find(&linear);
    if (found != index_.end()) statistics_[found->second].Add(pool_, x, rows);
  };
}

}  // namespace quant
