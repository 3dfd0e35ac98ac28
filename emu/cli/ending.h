// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the end of a run means to its user.
#pragma once

#include <string>

#include "emu/machine/machine.h"
#include "emu/observe/report/test_report.h"

namespace nestor::emu {

// The exit status of the process.
int status_of(const RunResult& result);
// One sentence; empty where the guest has chosen the end.
std::string describe(const RunResult& result);
// The same as a test: L1's own end passes where it stands for success, exit status 0 or 1.
RunVerdict verdict_of(const RunResult& result);
// Complains where there is a reason to. Returns the exit status.
int report(const RunResult& result);

}  // namespace nestor::emu
