#include "core/kernels/ggml_k_blocks.h"

#include <cstring>

namespace quant {
namespace {

// Eight codes at a time, a byte each: shifts stay inside bytes because the bits
// that would cross are masked away.
uint64_t Load8(const uint8_t* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, 8);
  return word;
}

void Store8(uint64_t word, uint8_t* bytes) { std::memcpy(bytes, &word, 8); }

constexpr uint64_t EachByte(uint8_t value) {
  return value * uint64_t{0x0101010101010101};
}

constexpr uint64_t kLow1 = EachByte(0x01);
constexpr uint64_t kLow2 = EachByte(0x03);
constexpr uint64_t kLow4 = EachByte(0x0F);

void Store16(uint16_t value, uint8_t* bytes) {
  bytes[0] = static_cast<uint8_t>(value);
  bytes[1] = static_cast<uint8_t>(value >> 8);
}

uint16_t Load16(const uint8_t* bytes) {
  return static_cast<uint16_t>(bytes[0] | bytes[1] << 8);
}

// Quarters of each half of the block, 32 values apart, share a byte.
void PackTwoBits(const uint8_t* code, uint8_t* bytes) {
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 32; i += 8) {
      const uint8_t* at = code + 128 * half + i;
      Store8((Load8(at) & kLow2) | (Load8(at + 32) & kLow2) << 2 |
                 (Load8(at + 64) & kLow2) << 4 | (Load8(at + 96) & kLow2) << 6,
             bytes + 32 * half + i);
    }
  }
}

void UnpackTwoBits(const uint8_t* bytes, uint8_t* code) {
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 32; i += 8) {
      const uint64_t word = Load8(bytes + 32 * half + i);
      for (int quarter = 0; quarter < 4; ++quarter) {
        Store8(word >> 2 * quarter & kLow2,
               code + 128 * half + 32 * quarter + i);
      }
    }
  }
}

// Bit `shift` of every code: value n is bit n / 32 of byte n % 32.
void PackTopBit(const uint8_t* code, int shift, uint8_t* bytes) {
  for (int i = 0; i < 32; i += 8) {
    uint64_t word = 0;
    for (int slice = 0; slice < 8; ++slice) {
      word |= (Load8(code + 32 * slice + i) >> shift & kLow1) << slice;
    }
    Store8(word, bytes + i);
  }
}

void AddTopBit(const uint8_t* bytes, int shift, uint8_t* code) {
  for (int i = 0; i < 32; i += 8) {
    const uint64_t word = Load8(bytes + i);
    for (int slice = 0; slice < 8; ++slice) {
      uint8_t* at = code + 32 * slice + i;
      Store8(Load8(at) | (word >> slice & kLow1) << shift, at);
    }
  }
}

// Pairs of slices of 32 share 32 bytes, low nibbles first.
void PackNibbles(const uint8_t* code, uint8_t* bytes) {
  for (int pair = 0; pair < 4; ++pair) {
    for (int i = 0; i < 32; i += 8) {
      const uint8_t* at = code + 64 * pair + i;
      Store8((Load8(at) & kLow4) | (Load8(at + 32) & kLow4) << 4,
             bytes + 32 * pair + i);
    }
  }
}

void UnpackNibbles(const uint8_t* bytes, uint8_t* code) {
  for (int pair = 0; pair < 4; ++pair) {
    for (int i = 0; i < 32; i += 8) {
      const uint64_t word = Load8(bytes + 32 * pair + i);
      uint8_t* at = code + 64 * pair + i;
      Store8(word & kLow4, at);
      Store8(word >> 4 & kLow4, at + 32);
    }
  }
}

// Eight scales and eight mins of 6 bits in 12 bytes: the first four of each
// whole, with the top two bits of the last four above them.
void PackSixBits(const KBlock& block, uint8_t* bytes) {
  for (int j = 0; j < 4; ++j) {
    const int scale = block.scale[j + 4], min = block.min[j + 4];
    bytes[j] = static_cast<uint8_t>(block.scale[j] | scale >> 4 << 6);
    bytes[j + 4] = static_cast<uint8_t>(block.min[j] | min >> 4 << 6);
    bytes[j + 8] = static_cast<uint8_t>((scale & 15) | (min & 15) << 4);
  }
}

void UnpackSixBits(const uint8_t* bytes, KBlock& block) {
  for (int j = 0; j < 4; ++j) {
    const int scale = bytes[j], min = bytes[j + 4], low = bytes[j + 8];
    block.scale[j] = static_cast<int8_t>(scale & 63);
    block.min[j] = static_cast<uint8_t>(min & 63);
    block.scale[j + 4] = static_cast<int8_t>((low & 15) | scale >> 6 << 4);
    block.min[j + 4] = static_cast<uint8_t>(low >> 4 | min >> 6 << 4);
  }
}

}  // namespace

void PackQ2K(const KBlock& block, uint8_t* bytes) {
  for (int j = 0; j < 16; ++j) {
    bytes[j] = static_cast<uint8_t>(block.scale[j] | block.min[j] << 4);
  }
  PackTwoBits(block.code, bytes + 16);
  Store16(block.d, bytes + 80);
  Store16(block.dmin, bytes + 82);
}

void UnpackQ2K(const uint8_t* bytes, KBlock& block) {
  for (int j = 0; j < 16; ++j) {
    block.scale[j] = static_cast<int8_t>(bytes[j] & 15);
    block.min[j] = static_cast<uint8_t>(bytes[j] >> 4);
  }
  UnpackTwoBits(bytes + 16, block.code);
  block.d = Load16(bytes + 80);
  block.dmin = Load16(bytes + 82);
}

void PackQ3K(const KBlock& block, uint8_t* bytes) {
  PackTopBit(block.code, 2, bytes);
  PackTwoBits(block.code, bytes + 32);
  uint8_t* scales = bytes + 96;
  std::memset(scales, 0, 12);
  for (int j = 0; j < 16; ++j) {
    const int scale = block.scale[j] + 32;
    scales[j % 8] |= static_cast<uint8_t>((scale & 15) << j / 8 * 4);
    scales[8 + j % 4] |= static_cast<uint8_t>(scale >> 4 << j / 4 * 2);
  }
  Store16(block.d, bytes + 108);
}

void UnpackQ3K(const uint8_t* bytes, KBlock& block) {
  UnpackTwoBits(bytes + 32, block.code);
  AddTopBit(bytes, 2, block.code);
  const uint8_t* scales = bytes + 96;
  for (int j = 0; j < 16; ++j) {
    const int low = scales[j % 8] >> j / 8 * 4 & 15;
    const int high = scales[8 + j % 4] >> j / 4 * 2 & 3;
    block.scale[j] = static_cast<int8_t>((low | high << 4) - 32);
  }
  block.d = Load16(bytes + 108);
}

void PackQ4K(const KBlock& block, uint8_t* bytes) {
  Store16(block.d, bytes);
  Store16(block.dmin, bytes + 2);
  PackSixBits(block, bytes + 4);
  PackNibbles(block.code, bytes + 16);
}

void UnpackQ4K(const uint8_t* bytes, KBlock& block) {
  block.d = Load16(bytes);
  block.dmin = Load16(bytes + 2);
  UnpackSixBits(bytes + 4, block);
  UnpackNibbles(bytes + 16, block.code);
}

void PackQ5K(const KBlock& block, uint8_t* bytes) {
  Store16(block.d, bytes);
  Store16(block.dmin, bytes + 2);
  PackSixBits(block, bytes + 4);
  PackTopBit(block.code, 4, bytes + 16);
  PackNibbles(block.code, bytes + 48);
}

void UnpackQ5K(const uint8_t* bytes, KBlock& block) {
  block.d = Load16(bytes);
  block.dmin = Load16(bytes + 2);
  UnpackSixBits(bytes + 4, block);
  UnpackNibbles(bytes + 48, block.code);
  AddTopBit(bytes + 16, 4, block.code);
}

void PackQ6K(const KBlock& block, uint8_t* bytes) {
  for (int half = 0; half < 2; ++half) {
    const uint8_t* code = block.code + 128 * half;
    for (int i = 0; i < 64; i += 8) {
      Store8((Load8(code + i) & kLow4) | (Load8(code + 64 + i) & kLow4) << 4,
             bytes + 64 * half + i);
    }
    for (int i = 0; i < 32; i += 8) {
      uint64_t word = 0;
      for (int quarter = 0; quarter < 4; ++quarter) {
        word |= (Load8(code + 32 * quarter + i) >> 4 & kLow2) << 2 * quarter;
      }
      Store8(word, bytes + 128 + 32 * half + i);
    }
  }
  std::memcpy(bytes + 192, block.scale, 16);
  Store16(block.d, bytes + 208);
}

void UnpackQ6K(const uint8_t* bytes, KBlock& block) {
  for (int half = 0; half < 2; ++half) {
    uint8_t* code = block.code + 128 * half;
    for (int i = 0; i < 64; i += 8) {
      const uint64_t word = Load8(bytes + 64 * half + i);
      Store8(word & kLow4, code + i);
      Store8(word >> 4 & kLow4, code + 64 + i);
    }
    for (int i = 0; i < 32; i += 8) {
      const uint64_t word = Load8(bytes + 128 + 32 * half + i);
      for (int quarter = 0; quarter < 4; ++quarter) {
        uint8_t* at = code + 32 * quarter + i;
        Store8(Load8(at) | (word >> 2 * quarter & kLow2) << 4, at);
      }
    }
  }
  std::memcpy(block.scale, bytes + 192, 16);
  block.d = Load16(bytes + 208);
}

}  // namespace quant
