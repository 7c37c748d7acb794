#include "core/codec/nested_scales.h"

#include <algorithm>
#include <cmath>

#include "core/base/checked_math.h"

namespace quant {
namespace {

// For i = 0..6 the midpoints of 2^i equal parts of [0.1, 1], times 10^(i - 6),
// with both signs; 0; and 1.
std::array<float, 256> MakeMap() {
  std::array<float, 256> map = {};
  size_t count = 0;
  for (int i = 0; i < 7; ++i) {
    const int parts = 1 << i;
    const double unit = std::pow(10.0, i - 6);
    for (int k = 0; k < parts; ++k) {
      const double middle = 0.1 + 0.9 * (2 * k + 1) / (2.0 * parts);
      const float value = static_cast<float>(middle * unit);
      map[count++] = value;
      map[count++] = -value;
    }
  }
  map[count++] = 0;
  map[count++] = 1;
  std::sort(map.begin(), map.end());
  return map;
}

// Index of the map's value nearest to `at`; the lower one of two.
int NearestCode(float at) {
  const std::array<float, 256>& map = NestedMap();
  const auto above = std::lower_bound(map.begin(), map.end(), at);
  if (above == map.begin()) return 0;
  if (above == map.end()) return 255;
  const int index = static_cast<int>(above - map.begin());
  return at - map[index - 1] <= map[index] - at ? index - 1 : index;
}

}  // namespace

const std::array<float, 256>& NestedMap() {
  static const std::array<float, 256> map = MakeMap();
  return map;
}

float NestedScale(uint8_t code, float nested_scale, float tensor_scale) {
  return NestedMap()[code] * nested_scale + tensor_scale;
}

void QuantizeScales(float tensor_scale, CodeTile& tile) {
  const int64_t count = static_cast<int64_t>(tile.scales.size());
  tile.tensor_scale = tensor_scale;
  tile.scale_codes.resize(count);
  tile.nested_scales.resize(CeilDiv(count, kNestedScales));
  for (int64_t begin = 0; begin < count; begin += kNestedScales) {
    const int64_t end = std::min(begin + kNestedScales, count);
    float largest = 0;
    for (int64_t i = begin; i < end; ++i) {
      largest = std::max(largest, std::fabs(tile.scales[i] - tensor_scale));
    }
    tile.nested_scales[begin / kNestedScales] = largest;
    for (int64_t i = begin; i < end; ++i) {
      const float offset = tile.scales[i] - tensor_scale;
      int code = largest == 0 ? 127 : NearestCode(offset / largest);
      // A scale is a divisor. The mean itself is positive, and so is 1.
      while (code < 255 && NestedScale(static_cast<uint8_t>(code), largest,
                                       tensor_scale) <= 0) {
        ++code;
      }
      tile.scale_codes[i] = static_cast<uint8_t>(code);
      tile.scales[i] = NestedScale(tile.scale_codes[i], largest, tensor_scale);
    }
  }
}

}  // namespace quant
