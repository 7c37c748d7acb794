#include "server/api/job_request.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "server/api/page_token.h"

namespace quant {
namespace {

constexpr size_t kMaxLabels = 64;
constexpr size_t kMaxLabelKeyBytes = 63;
constexpr size_t kMaxLabelValueBytes = 256;
constexpr size_t kMaxRequestIdBytes = 64;

bool IsLabelKey(absl::string_view key) {
  return !key.empty() && key.size() <= kMaxLabelKeyBytes &&
         std::all_of(key.begin(), key.end(), [](char c) {
           return absl::ascii_islower(static_cast<unsigned char>(c)) ||
                  absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
                  c == '.' || c == '_' || c == '/' || c == '-';
         });
}

bool IsRequestIdCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' ||
         c == '.' || c == ':' || c == '/' || c == '-';
}

// With lengths, so that no two lists are the same text.
void AppendField(std::string& out, absl::string_view text) {
  absl::StrAppend(&out, text.size(), ":", text);
}

std::string FilterText(const ListQuery& query) {
  std::string out = absl::StrCat("jobs", TenantText(query.tenant));
  for (JobState state : query.states) {
    absl::StrAppend(&out, " ", static_cast<int>(state));
  }
  for (const auto& [key, value] : query.labels) {
    AppendField(out, key);
    AppendField(out, value);
  }
  return out;
}

}  // namespace

absl::Status CheckLabels(const LabelMap& labels) {
  if (labels.size() > kMaxLabels) {
    return InvalidSpec(
        absl::StrCat(labels.size(), " labels; at most ", kMaxLabels), "labels");
  }
  for (const auto& [key, value] : labels) {
    if (!IsLabelKey(key)) {
      return InvalidSpec(
          absl::StrCat("label key \"", key.substr(0, 100),
                       "\"; expected [a-z0-9._/-]{1,", kMaxLabelKeyBytes, "}"),
          "labels");
    }
    if (value.size() > kMaxLabelValueBytes) {
      return InvalidSpec(absl::StrCat("label \"", key, "\" has ", value.size(),
                                      " bytes; at most ", kMaxLabelValueBytes),
                         absl::StrCat("labels[", key, "]"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckRequestId(absl::string_view id) {
  if (id.size() <= kMaxRequestIdBytes &&
      std::all_of(id.begin(), id.end(), IsRequestIdCharacter)) {
    return absl::OkStatus();
  }
  return InvalidSpec(
      absl::StrCat("request_id \"", id.substr(0, 100), "\"; expected 1..",
                   kMaxRequestIdBytes, " characters of [A-Za-z0-9_.:/-]"),
      "request_id");
}

std::string RequestDigest(absl::string_view canonical_spec,
                          const std::map<std::string, std::string>& labels) {
  std::string text;
  AppendField(text, canonical_spec);
  for (const auto& [key, value] : labels) {
    AppendField(text, key);
    AppendField(text, value);
  }
  return Sha256Hex(text);
}

absl::StatusOr<ListJobsQuery> ParseListJobs(const v1::ListJobsRequest& request,
                                            std::optional<std::string> tenant,
                                            absl::string_view token_key) {
  ListJobsQuery out;
  out.query.tenant = std::move(tenant);
  QUANT_ASSIGN_OR_RETURN(out.page_size, PageSize(request.page_size()));
  std::set<JobState> states;
  for (int i = 0; i < request.states_size(); ++i) {
    const int state = request.states(i);
    if (state == v1::Job::STATE_UNSPECIFIED || !v1::Job::State_IsValid(state)) {
      return InvalidSpec(absl::StrCat("states[", i, "] is ", state,
                                      "; expected a state of Job.State"),
                         absl::StrCat("states[", i, "]"));
    }
    states.insert(static_cast<JobState>(state));
  }
  out.query.states.assign(states.begin(), states.end());
  QUANT_RETURN_IF_ERROR(CheckLabels(request.labels()));
  out.query.labels.insert(request.labels().begin(), request.labels().end());
  out.filter = FilterText(out.query);
  QUANT_ASSIGN_OR_RETURN(
      out.query.before_id,
      ParsePageToken(token_key, out.filter, request.page_token()));
  out.query.limit = out.page_size + 1;
  return out;
}

}  // namespace quant
