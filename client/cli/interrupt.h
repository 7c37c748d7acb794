// Ctrl-C. Commands that can stop in an orderly way say so with a scope; without
// one, and at the second Ctrl-C, the process ends at once with 130.
#ifndef QUANT_CLIENT_CLI_INTERRUPT_H_
#define QUANT_CLIENT_CLI_INTERRUPT_H_

#include <stop_token>

namespace quant::cli {

// Call once, before any thread starts. SIGTERM is treated likewise. A SIGINT
// that the parent process had ignored stays ignored.
void HandleInterrupts();

// Whether there was a Ctrl-C.
bool WasInterrupted();

class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  // Stops at the first Ctrl-C.
  std::stop_token token() const;
};

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_INTERRUPT_H_
