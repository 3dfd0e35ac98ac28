// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest-images/lib/console.h"

#include <stdarg.h>
#include <stdbool.h>

#include "guest-images/abi/machine_ports.h"
#include "guest-images/lib/processor.h"

enum {
  kUartData = 0,
  kUartInterruptEnable = 1,
  kUartFifoControl = 2,
  kUartLineControl = 3,
  kUartLineStatus = 5,
  kUartLineStatusTransmitterEmpty = 1 << 5,
  kUartLineControlDivisorLatch = 1 << 7,
  kUartLineControl8n1 = 3,
};

void console_open(void) {
  port_write8(NESTOR_PORT_COM1 + kUartInterruptEnable, 0);
  port_write8(NESTOR_PORT_COM1 + kUartLineControl, kUartLineControlDivisorLatch);
  port_write8(NESTOR_PORT_COM1 + kUartData, 1);  // divisor 1: 115200 baud
  port_write8(NESTOR_PORT_COM1 + kUartInterruptEnable, 0);
  port_write8(NESTOR_PORT_COM1 + kUartLineControl, kUartLineControl8n1);
  port_write8(NESTOR_PORT_COM1 + kUartFifoControl, 1);
}

static void put(char c) {
  while (!(port_read8(NESTOR_PORT_COM1 + kUartLineStatus) & kUartLineStatusTransmitterEmpty)) {
  }
  port_write8(NESTOR_PORT_COM1 + kUartData, (uint8_t)c);
}

typedef struct {
  bool left, zero, prefix;
  unsigned width;
} Field;

static void put_field(Field field, const char* text, unsigned length) {
  const unsigned padding = field.width > length ? field.width - length : 0;
  if (!field.left) {
    for (unsigned i = 0; i < padding; i++) put(field.zero ? '0' : ' ');
  }
  for (unsigned i = 0; i < length; i++) put(text[i]);
  if (field.left) {
    for (unsigned i = 0; i < padding; i++) put(' ');
  }
}

static void put_number(Field field, uint64_t value, unsigned base) {
  char digits[24];
  unsigned start = sizeof digits;
  do {
    digits[--start] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value);
  if (field.prefix && field.zero) {
    put('0');
    put('x');
    field.width = field.width > 2 ? field.width - 2 : 0;
  } else if (field.prefix) {
    digits[--start] = 'x';
    digits[--start] = '0';
  }
  put_field(field, digits + start, sizeof digits - start);
}

static unsigned text_length(const char* text) {
  unsigned length = 0;
  while (text[length]) length++;
  return length;
}

static void print_list(const char* format, va_list arguments) {
  for (const char* p = format; *p; p++) {
    if (*p == '\n') put('\r');
    if (*p != '%') {
      put(*p);
      continue;
    }
    Field field = {0};
    for (p++; *p == '-' || *p == '0' || *p == '#'; p++) {
      field.left |= *p == '-';
      field.zero |= *p == '0';
      field.prefix |= *p == '#';
    }
    for (; *p >= '0' && *p <= '9'; p++) field.width = field.width * 10 + (unsigned)(*p - '0');
    const bool is_long = *p == 'l';
    if (is_long) p++;
    switch (*p) {
      case 'u':
      case 'x': {
        const uint64_t value = is_long ? va_arg(arguments, uint64_t) : va_arg(arguments, unsigned);
        put_number(field, value, *p == 'x' ? 16 : 10);
        break;
      }
      case 's': {
        const char* text = va_arg(arguments, const char*);
        put_field(field, text, text_length(text));
        break;
      }
      case 'c':
        put((char)va_arg(arguments, int));
        break;
      default:
        put(*p);
        break;
    }
  }
}

void print(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  print_list(format, arguments);
  va_end(arguments);
}

void machine_exit(uint32_t value) {
  port_write32(NESTOR_PORT_DEBUG_EXIT, value);
  for (;;) __asm__ volatile("cli; hlt");
}

void finish(const char* image, unsigned failures) {
  if (failures == 0) {
    print("%s: PASS\n", image);
    machine_exit(NESTOR_EXIT_PASS);
  }
  print("%s: FAIL (%u)\n", image, failures);
  machine_exit(NESTOR_EXIT_FAIL);
}

void machine_lacks(const char* feature) {
  print("this machine does not offer %s, which this image needs\n", feature);
  machine_exit(NESTOR_EXIT_MACHINE_LACKS_FEATURE);
}

void give_up(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  print_list(format, arguments);
  va_end(arguments);
  print("\nFAIL\n");
  machine_exit(NESTOR_EXIT_FAIL);
}
