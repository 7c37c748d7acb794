// Names of the state machine's parts, and its description for people.
#include "absl/strings/str_cat.h"
#include "server/queue/state_machine.h"

namespace quant {

const char* CauseName(Cause cause) {
  switch (cause) {
    case Cause::kClaim:
      return "claim";
    case Cause::kRequestCancel:
      return "cancel";
    case Cause::kRetry:
      return "retry";
    case Cause::kSucceeded:
      return "succeeded";
    case Cause::kGateFailed:
      return "gate failed";
    case Cause::kPermanentFailure:
      return "permanent failure";
    case Cause::kRetryableFailure:
      return "retryable failure";
    case Cause::kCrashed:
      return "crashed";
    case Cause::kDrained:
      return "drained";
    case Cause::kCancelled:
      return "acknowledged cancel";
    case Cause::kOwnerLost:
      return "owner lost";
    case Cause::kLeaseExpired:
      return "lease expired";
  }
  return "";
}

const char* GuardName(Guard guard) {
  switch (guard) {
    case Guard::kAlways:
      return "";
    case Guard::kPoisoned:
      return "poisoned";
    case Guard::kBudgetLeft:
      return "attempts left";
    case Guard::kBudgetSpent:
      return "no attempts left";
  }
  return "";
}

const char* EffectName(Effect effect) {
  switch (effect) {
    case Effect::kKeep:
      return "unchanged";
    case Effect::kStart:
      return "attempt + 1, new lease token";
    case Effect::kMark:
      return "lease stays";
    case Effect::kBackoff:
      return "lease ends; waits for a backoff with jitter";
    case Effect::kHandBack:
      return "lease ends; due at once; the attempt does not count";
    case Effect::kEnd:
      return "lease ends; terminal";
    case Effect::kReset:
      return "due at once; fresh budget of attempts";
  }
  return "";
}

Cause CauseOf(Outcome outcome) {
  switch (outcome) {
    case Outcome::kSucceeded:
      return Cause::kSucceeded;
    case Outcome::kPermanentFailure:
      return Cause::kPermanentFailure;
    case Outcome::kRetryableFailure:
      return Cause::kRetryableFailure;
    case Outcome::kCrashed:
      return Cause::kCrashed;
    case Outcome::kCancelled:
      return Cause::kCancelled;
    case Outcome::kDrained:
      return Cause::kDrained;
    case Outcome::kGateFailed:
      return Cause::kGateFailed;
  }
  return Cause::kCrashed;
}

namespace {

constexpr char kIntro[] =
    R"(# The states of a job

This page is written from the table in `server/queue/state_machine.cc`; a test
fails when they differ. `QUANT_UPDATE_DOCS=1 test_server_queue` writes it anew.

)";

constexpr char kRules[] = R"(
Rules that the table does not show:

* A claim takes a new lease token, and every later write of that attempt names
  it. A write with another token is answered ABORTED `LEASE_LOST`: stop, and
  publish nothing.
* Three crashes in a row without a new journal line poison a job. A crash that
  wrote one resets the row and costs no attempt; a drained attempt and a lost
  owner neither count nor reset.
* The backoff starts at 5 s, doubles per used attempt up to 15 min, and is
  spread by 20 % either way.
* Every change of state, start of an attempt, gate and artifact is an event,
  numbered 1, 2, 3, ... per job in the transaction that made it. An unchanged
  job makes none.
* Tenants take turns: the next job is one of the tenant whose last claim is
  longest ago. So a tenant's first job waits for at most one job of each other
  tenant, beside those that run.
* First to be claimed, of a tenant's jobs that are due, is the one that has
  waited for longest since its creation, or since it was retried by a caller;
  each step of priority counts as 30 minutes of waiting. So an urgent job
  overtakes what came less than 90 minutes before it, and nothing starves.
* An attempt that takes longer than the job's timeout ends as a permanent
  failure, `JOB_TIMEOUT`. Its work stays, and a retry goes on with it.
* Only terminal jobs can be deleted.
)";

std::string Edges() {
  std::string text;
  for (const Transition& row : Transitions()) {
    if (row.effect == Effect::kKeep) continue;
    absl::StrAppend(&text, "    ", JobStateName(row.from), " --> ",
                    JobStateName(row.to), ": ", CauseName(row.cause));
    if (*GuardName(row.guard) != '\0') {
      absl::StrAppend(&text, ", ", GuardName(row.guard));
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

std::string ReasonText(const char* reason) {
  absl::string_view text = reason;
  if (text.empty()) return "";
  return text == "*" ? "the attempt's" : absl::StrCat("`", text, "`");
}

}  // namespace

std::string DescribeStateMachine() {
  std::string text = absl::StrCat(
      kIntro, "```mermaid\nstateDiagram-v2\n    [*] --> QUEUED: enqueue\n",
      Edges(),
      "    SUCCEEDED --> [*]\n    FAILED --> [*]\n    CANCELLED --> [*]\n"
      "```\n\n| from | cause | if | to | reason | effect |\n"
      "|---|---|---|---|---|---|\n");
  for (const Transition& row : Transitions()) {
    absl::StrAppend(&text, "| ", JobStateName(row.from), " | ",
                    CauseName(row.cause), " | ", GuardName(row.guard), " | ",
                    JobStateName(row.to), " | ", ReasonText(row.reason), " | ",
                    EffectName(row.effect), " |\n");
  }
  return absl::StrCat(text, kRules);
}

}  // namespace quant
