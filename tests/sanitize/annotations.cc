// Linked into every program of a ThreadSanitizer build: tells it what libgrpc
// and libabsl synchronize, which it can't see in libraries that are not
// instrumented. Each function here is defined in the place of the library's,
// calls that one, and says what was released before it or acquired after it:
//   absl::Mutex      an unlock happens before the lock that follows it;
//   absl::CondVar    waiting unlocks and locks;
//   grpc_call        the start of a batch happens before its tag comes out of
//                    the completion queue, which also serves callbacks.
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>
#include <dlfcn.h>
#include <grpc/grpc.h>
#include <sanitizer/tsan_interface.h>

#include <cstdlib>
#include <string>

namespace {

// The library's own definition of what is defined here.
void* Next(const std::string& symbol) {
  void* const found = dlsym(RTLD_NEXT, symbol.c_str());
  if (found == nullptr) abort();
  return found;
}

#define QUANT_TEXT_OF(x) #x
#define QUANT_TEXT(x) QUANT_TEXT_OF(x)

// Itanium ABI: absl's members are in an inline namespace named by its options.
std::string AbslSymbol(const std::string& member) {
  const std::string space = QUANT_TEXT(ABSL_OPTION_INLINE_NAMESPACE_NAME);
  return "_ZN4absl" + std::to_string(space.size()) + space + member;
}

template <typename Function>
Function* NextOfAbsl(const char* member) {
  return reinterpret_cast<Function*>(Next(AbslSymbol(member)));
}

// The library's definition of a function of C; the type is that of `ours`.
template <typename Function>
Function* NextOfC(Function* /*ours*/, const char* name) {
  return reinterpret_cast<Function*>(Next(name));
}

using OnMutex = void(absl::Mutex*);

// Waiting unlocks `mu`, then locks it.
template <typename Wait>
auto Unlocked(absl::Mutex* mu, const Wait& wait) {
  struct Locks {
    absl::Mutex* mu;
    ~Locks() { __tsan_acquire(mu); }
  } locks{mu};
  __tsan_release(mu);
  return wait();
}

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  static OnMutex* const next = NextOfAbsl<OnMutex>("5Mutex4LockEv");
  next(this);
  __tsan_acquire(this);
}

void Mutex::Unlock() {
  static OnMutex* const next = NextOfAbsl<OnMutex>("5Mutex6UnlockEv");
  __tsan_release(this);
  next(this);
}

bool Mutex::TryLock() {
  static auto* const next = NextOfAbsl<bool(Mutex*)>("5Mutex7TryLockEv");
  const bool locked = next(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

void CondVar::Wait(Mutex* mu) {
  static auto* const next =
      NextOfAbsl<void(CondVar*, Mutex*)>("7CondVar4WaitEPNS0_5MutexE");
  Unlocked(mu, [&] { next(this, mu); });
}

bool CondVar::WaitWithTimeout(Mutex* mu, Duration timeout) {
  static auto* const next = NextOfAbsl<bool(CondVar*, Mutex*, Duration)>(
      "7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  return Unlocked(mu, [&] { return next(this, mu, timeout); });
}

bool CondVar::WaitWithDeadline(Mutex* mu, Time deadline) {
  static auto* const next = NextOfAbsl<bool(CondVar*, Mutex*, Time)>(
      "7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  return Unlocked(mu, [&] { return next(this, mu, deadline); });
}

ABSL_NAMESPACE_END
}  // namespace absl

extern "C" {

grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops,
                                      size_t nops, void* tag, void* reserved) {
  static auto* const next =
      NextOfC(&grpc_call_start_batch, "grpc_call_start_batch");
  __tsan_release(tag);
  return next(call, ops, nops, tag, reserved);
}

grpc_event grpc_completion_queue_next(grpc_completion_queue* queue,
                                      gpr_timespec deadline, void* reserved) {
  static auto* const next =
      NextOfC(&grpc_completion_queue_next, "grpc_completion_queue_next");
  const grpc_event event = next(queue, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}

grpc_event grpc_completion_queue_pluck(grpc_completion_queue* queue, void* tag,
                                       gpr_timespec deadline, void* reserved) {
  static auto* const next =
      NextOfC(&grpc_completion_queue_pluck, "grpc_completion_queue_pluck");
  const grpc_event event = next(queue, tag, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(tag);
  return event;
}

}  // extern "C"
