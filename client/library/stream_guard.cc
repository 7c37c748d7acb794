#include "client/library/stream_guard.h"

#include "client/library/retry.h"

namespace quant {
namespace {

// Looking twice per silence makes the cut come after 1 to 1.5 silences.
constexpr int kLooks = 2;

}  // namespace

StreamGuard::StreamGuard(grpc::ClientContext* context,
                         std::chrono::milliseconds silence,
                         std::stop_token stop)
    : on_stop_(stop, [context] { context->TryCancel(); }),
      watch_([this, context, silence](std::stop_token end) {
        int quiet = 0;
        while (SleepUnlessStopped(silence / kLooks, end)) {
          quiet = touched_.exchange(false) ? 0 : quiet + 1;
          if (quiet >= kLooks) context->TryCancel();
        }
      }) {}

}  // namespace quant
