#include "server/auth/auth_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/digest.h"

namespace quant {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string Hashed(const std::string& token) {
  return "sha256:" + Sha256Hex(token);
}

TEST(AuthFileTest, WhatItSays) {
  const auto table = ParseAuthFile(
      "# who may do what\n\n"
      "ci  submitter team-a " +
          Hashed("one") +
          "  # until May\n"
          "ci  submitter team-a " +
          Hashed("two") +
          "\n"
          "\tops operator team-b cert:ops.example.com\r\n"
          "root admin x " +
          Hashed("three"),
      "auth");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->principals.size(), 3);
  ASSERT_EQ(table->tokens.size(), 3);
  EXPECT_EQ(table->tokens[0].second, table->tokens[1].second);
  EXPECT_EQ(table->tokens[0].second->role, Role::kSubmitter);
  EXPECT_EQ(table->tokens[0].second->tenant, "team-a");
  EXPECT_EQ(table->certificates.at("ops.example.com")->role, Role::kOperator);
  EXPECT_TRUE(SameDigest(table->tokens[2].first, DigestOfToken("three")));
}

TEST(AuthFileTest, AllProblemsAtOnceAndNoSecretRepeated) {
  const auto table = ParseAuthFile("ci submitter team-a " + Hashed("one") +
                                       "\n"
                                       "ci viewer team-a " +
                                       Hashed("two") +
                                       "\n"
                                       "Ci! chief . quant_my-secret\n"
                                       "a viewer t quant_my-secret\n"
                                       "b viewer t sha256:quant_my-secret\n"
                                       "c viewer t " +
                                       Hashed("one") +
                                       "\n"
                                       "too few\n",
                                   "auth");
  ASSERT_FALSE(table.ok());
  const std::string message(table.status().message());
  for (const char* expected :
       {"auth:2: ci was submitter of team-a above", "auth:3: name \"Ci!\"",
        "auth:3: role \"chief\"", "auth:3: tenant \".\"",
        "auth:4: the credential is neither", "auth:5: sha256: want 64",
        "auth:6: the token of ci again", "auth:7: 2 words"}) {
    EXPECT_THAT(message, HasSubstr(expected));
  }
  EXPECT_THAT(message, Not(HasSubstr("my-secret")));
}

TEST(AuthFileTest, AFileThatLetsNobodyInIsAMistake) {
  EXPECT_FALSE(ParseAuthFile("", "auth").ok());
  EXPECT_FALSE(ParseAuthFile("# nobody\n", "auth").ok());
}

TEST(AuthFileTest, ALineOfATokenIsReadBack) {
  const Principal principal = {
      .name = "ci", .tenant = "team-a", .role = Role::kViewer};
  const auto table =
      ParseAuthFile(AuthLine(principal, DigestOfToken("secret")), "auth");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_TRUE(SameDigest(table->tokens[0].first, DigestOfToken("secret")));
  EXPECT_EQ(table->tokens[0].second->role, Role::kViewer);
}

TEST(AuthFileTest, TenantsAreSafeAsNamesOfDirectories) {
  for (const char* bad :
       {"", ".", "..", "a/b", ".hidden", "A", "a b", "\xff"}) {
    EXPECT_FALSE(IsPrincipalName(bad)) << bad;
  }
  EXPECT_FALSE(IsPrincipalName(std::string(64, 'a')));
  EXPECT_TRUE(IsPrincipalName("team-a.eu_1"));
}

TEST(TokenTest, TokensAreLongAndDiffer) {
  const std::string one = *NewToken();
  const std::string two = *NewToken();
  EXPECT_EQ(one.size(), std::string("quant_").size() + 43);
  EXPECT_NE(one, two);
  EXPECT_EQ(DigestToHex(DigestOfToken(one)), Sha256Hex(one));
  EXPECT_FALSE(SameDigest(DigestOfToken(one), DigestOfToken(two)));
}

}  // namespace
}  // namespace quant
