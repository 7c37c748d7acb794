// SIGTERM, SIGINT and SIGHUP as events instead of interruptions.
#ifndef QUANT_SERVER_SIGNALS_H_
#define QUANT_SERVER_SIGNALS_H_

namespace quant {

// Blocks the signals in this thread and those it will start. Call first.
void BlockSignals();

// Undoes it: for a process that was started by one that blocks them.
void UnblockSignals();

// Returns the next signal. SIGHUP wants the settings to be read again; the
// others are a stop, and from then on a second one ends the process at once
// with exit code 128 + signal.
int WaitForSignal();

}  // namespace quant

#endif  // QUANT_SERVER_SIGNALS_H_
