// SPDX-License-Identifier: GPL-2.0-or-later
//
// Why something is ignored or missing, where several tables say the same.
#pragma once

namespace nestor::emu::qemu {

inline constexpr const char* kIsThere = "it is there in any case";
inline constexpr const char* kNoHyperV = "there are no interfaces of Hyper-V";
inline constexpr const char* kNoIommu = "there is no IOMMU";
inline constexpr const char* kNoNetwork = "the network card is a virtio-net-pci";
inline constexpr const char* kNoSound = "there is no sound card";
inline constexpr const char* kNoUsb = "there is no USB controller";
inline constexpr const char* kNoXen = "there is no Xen below the machine";
inline constexpr const char* kOtherDisplay = "the display is the standard VGA";

}  // namespace nestor::emu::qemu
