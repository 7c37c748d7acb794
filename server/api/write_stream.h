// What the reactors of streams to the caller have in common: one message in
// flight, and the next one when it is written.
#ifndef QUANT_SERVER_API_WRITE_STREAM_H_
#define QUANT_SERVER_API_WRITE_STREAM_H_

#include "core/base/error.h"
#include "server/api/stream_reactor.h"

namespace quant {

template <typename Message>
class WriteStream : public StreamReactor<grpc::ServerWriteReactor<Message>> {
 protected:
  WriteStream(const ApiEnv& env, const CallInfo& method,
              grpc::CallbackServerContext* context)
      : StreamReactor<grpc::ServerWriteReactor<Message>>(env, method, context),
        last_write_(env.clock.MonotonicMicros()) {}

  // Sends what comes next, if there is anything and nothing is in flight.
  // Under mutex_; after every write, and when the stream itself asks for it.
  virtual void PumpLocked() = 0;

  // Sends current_, which must stay as it is until it is written.
  void StartWriteLocked() {
    writing_ = true;
    last_write_ = this->env_.clock.MonotonicMicros();
    this->StartWrite(&current_);
  }

  // Ends a stream of bytes whose reader takes none of them; whether it did.
  bool EndIfStalledLocked(int64_t now) {
    if (!writing_ ||
        now - last_write_ <= this->env_.options.read_stall_micros) {
      return false;
    }
    this->EndLocked(MakeError(absl::StatusCode::kUnavailable,
                              Reason::kSlowConsumer,
                              "the reader takes no bytes; read on from where "
                              "it stands"));
    return true;
  }

  // Under mutex_.
  bool writing_ = false;
  Message current_;     // in flight, while writing_
  int64_t last_write_;  // when it began; at first when the stream did

 private:
  void OnWriteDone(bool ok) final {
    std::lock_guard lock(this->mutex_);
    writing_ = false;
    if (!ok) {
      return this->EndLocked(MakeError(absl::StatusCode::kCancelled,
                                       Reason::kCancelled,
                                       "the caller has left"));
    }
    PumpLocked();
  }
};

}  // namespace quant

#endif  // QUANT_SERVER_API_WRITE_STREAM_H_
