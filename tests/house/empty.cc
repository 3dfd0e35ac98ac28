// SPDX-License-Identifier: GPL-2.0-or-later
//
// Links all of a folder of emu/ with only what the folder may know.
int main() { return 0; }
