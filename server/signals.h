// SIGTERM and SIGINT as events instead of interruptions.
#ifndef QUANT_SERVER_SIGNALS_H_
#define QUANT_SERVER_SIGNALS_H_

namespace quant {

// Blocks the signals in this thread and those it will start. Call first.
void BlockStopSignals();

// Undoes it: for a process that was started by one that blocks them.
void UnblockStopSignals();

// Returns the first signal. From then on a second one ends the process at once
// with exit code 128 + signal.
int WaitForStopSignal();

}  // namespace quant

#endif  // QUANT_SERVER_SIGNALS_H_
