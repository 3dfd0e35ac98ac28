// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

// Of 45 instructions each; with what else it does the handler executes some 1050.
#define HANDLER_ROUNDS 22
