// The child's side: one attempt at one job, in a process of its own.
#ifndef QUANT_SERVER_WORKER_ATTEMPT_MAIN_H_
#define QUANT_SERVER_WORKER_ATTEMPT_MAIN_H_

namespace quant {

// Reads an AttemptRequest from `fd`, carries it out, and sends AttemptEvents:
// at last a result or an error. Stops between tiles when the server shuts down
// its end, and on SIGTERM. Returns the exit code of the process.
int RunAttempt(int fd);

}  // namespace quant

#endif  // QUANT_SERVER_WORKER_ATTEMPT_MAIN_H_
