#include "core/tokenizer/id_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "tests/core/base/temp_dir.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Npy(const std::string& dictionary, const std::string& data) {
  std::string out("\x93NUMPY\x01\x00", 8);
  out.push_back(static_cast<char>(dictionary.size()));
  out.push_back(static_cast<char>(dictionary.size() >> 8));
  return out + dictionary + data;
}

std::string Header(const std::string& descr, const std::string& shape) {
  return absl::StrCat("{'descr': '", descr,
                      "', 'fortran_order': False, 'shape': (", shape, "), }\n");
}

template <typename T>
std::string Bytes(const std::vector<T>& values) {
  std::string out(values.size() * sizeof(T), '\0');
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

absl::StatusOr<std::vector<int32_t>> Tokens(const std::string& bytes) {
  TempDir dir;
  const std::string path = JoinPath(dir.path(), "tokens.npy");
  EXPECT_TRUE(WriteFileAtomically(path, bytes, false).ok());
  return ReadIdFile(path);
}

TEST(Tokens, AreReadFromBothIntegers) {
  EXPECT_THAT(
      *Tokens(Npy(Header("<i4", "3,"), Bytes<int32_t>({5, 0, 2147483647}))),
      ElementsAre(5, 0, 2147483647));
  EXPECT_THAT(*Tokens(Npy(Header("<i8", "2,"), Bytes<int64_t>({7, 1}))),
              ElementsAre(7, 1));
}

TEST(Tokens, OthersAreRefused) {
  const auto expect = [](const std::string& bytes, const char* text) {
    const auto tokens = Tokens(bytes);
    ASSERT_FALSE(tokens.ok()) << text;
    EXPECT_THAT(tokens.status().message(), HasSubstr(text));
  };
  expect(Npy(Header("<f4", "1,"), Bytes<float>({1})), "<i4 or <i8");
  expect(Npy(Header("<i4", "1, 1, 2"), Bytes<int32_t>({1, 2})),
         "[rows, tokens]");
  expect(Npy(Header("<i4", "2,"), Bytes<int32_t>({1, -1})), "token 1: id -1");
  expect(Npy(Header("<i8", "1,"), Bytes<int64_t>({1LL << 32})), "token 0");
  expect(Npy(Header("<i4", "3,"), Bytes<int32_t>({1, 2})), "8 bytes");
  expect(Npy(Header("<i4", "9223372036854775807, 9"), ""), "at most");
  expect(Npy(Header("<i4", "-1,"), ""), "shape");
  expect(Npy("{'descr': '<i4'}", ""), "no 'shape'");
  expect("not a file of NumPy", "magic");
  expect(std::string("\x93NUMPY\x01\x00\xff\xff", 10) + "{}", "cut");
}

TEST(Tokens, FilesThatAreCutAnywhereAreErrors) {
  const std::string whole = Npy(Header("<i4", "3,"), Bytes<int32_t>({1, 2, 3}));
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_FALSE(Tokens(whole.substr(0, n)).ok()) << n;
  }
}

}  // namespace
}  // namespace quant
