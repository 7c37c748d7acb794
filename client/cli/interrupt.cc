#include "client/cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "client/cli/exit_code.h"

namespace quant::cli {
namespace {

std::atomic<int> scopes = 0;

// Never destroyed: the thread below outlives main.
std::stop_source& Source() {
  static auto* source = new std::stop_source;
  return *source;
}

void WaitForSignals(sigset_t signals) {
  while (true) {
    int signal_number = 0;
    if (sigwait(&signals, &signal_number) != 0) continue;
    if (scopes.load() == 0 || Source().stop_requested()) {
      _exit(kExitInterrupted);
    }
    Source().request_stop();
  }
}

bool IsIgnored(int signal_number) {
  struct sigaction action;
  return sigaction(signal_number, nullptr, &action) == 0 &&
         action.sa_handler == SIG_IGN;
}

}  // namespace

void HandleInterrupts() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  if (!IsIgnored(SIGINT)) sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  Source();
  std::thread(WaitForSignals, signals).detach();
}

bool WasInterrupted() { return Source().stop_requested(); }

InterruptScope::InterruptScope() { ++scopes; }
InterruptScope::~InterruptScope() { --scopes; }
std::stop_token InterruptScope::token() const { return Source().get_token(); }

}  // namespace quant::cli
