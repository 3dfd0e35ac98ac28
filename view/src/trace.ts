// SPDX-License-Identifier: GPL-2.0-or-later
// The trace that is in the page: columns of all events, and their lines in pieces that are unpacked
// when somebody looks at them. emu/observe/view/trace_page.cc writes both.

export interface Part {
  low: number;
  width: number;
  key: string;
  names?: string[];
}
export interface PartList {
  mask?: number;
  value?: number;
  vector?: number;
  parts: Part[];
}
export interface EntryBit {
  bit: number;
  name: string;
  page?: boolean;
}
export interface Facts {
  frequency: number; // cycles per second of the virtual clock
  kinds: Record<string, { meaning: string; fields: Record<string, string> }>;
  qualifications: Record<string, PartList[]>; // by basic exit reason
  vmcsFields: Record<string, string>; // the manual's names, by the trace's
  guestBits: EntryBit[];
  eptBits: EntryBit[];
  memoryTypes: string[];
}
export interface Step {
  dimension: "guest" | "EPT" | "SPP";
  level: number;
  address: string;
  machine_address: string;
  entry: string;
  written_back: string;
}
export type Fields = Record<string, unknown> & { event: string; cycle: number };

// What lasts on a lane, from one event to another.
export interface Spans {
  event: Uint32Array; // the one that begins it
  start: Float64Array;
  end: Float64Array;
  sum: Float64Array; // the time of all spans before each, and of all
}
export interface Lane {
  name: string;
  processor: number;
  level: number;
  spans: Spans;
  // What happens there beside VM entries and VM exits: all of it, and the failures among it.
  marks: Uint32Array;
  failures: Uint32Array;
}

interface Meta {
  name: string;
  events: number;
  kinds: string[];
  whats: string[];
  pieces: number[];
  notes: string[];
}

const PIECES_KEPT = 24;
const FAILURES = new Set(["check-failed", "vm-instruction-error", "triple-fault", "vmx-abort", "stale-translation"]);

// The first of 0 ... size - 1 for which something holds that holds for all after it; size: none.
export function firstThat(size: number, holds: (i: number) => boolean): number {
  let low = 0;
  let high = size;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function decode(letters: string): Uint8Array<ArrayBuffer> {
  const binary = atob(letters);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function unpack(letters: string): Promise<ArrayBuffer> {
  const stream = new Blob([decode(letters)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

// The content of an element that holds data, which then leaves the page.
function take(id: string): string {
  const element = document.getElementById(id)!;
  const text = element.textContent!;
  element.remove();
  return text;
}

class SpanBuilder {
  private readonly rows: number[] = [];
  add(event: number, start: number, end: number) {
    this.rows.push(event, start, end);
  }
  build(): Spans {
    const size = this.rows.length / 3;
    const spans = {
      event: new Uint32Array(size), start: new Float64Array(size), end: new Float64Array(size), sum: new Float64Array(size + 1),
    };
    for (let i = 0; i < size; i++) {
      spans.event[i] = this.rows[3 * i];
      spans.start[i] = this.rows[3 * i + 1];
      spans.end[i] = this.rows[3 * i + 2];
      spans.sum[i + 1] = spans.sum[i] + spans.end[i] - spans.start[i];
    }
    return spans;
  }
}

export class Trace {
  readonly level: Uint8Array; // where each event happens: 0, 1 or 2
  readonly cost: Float64Array; // of VM exits: cycles until the next VM entry; -1: there is none
  readonly lanes: Lane[] = [];
  readonly processors: number;
  readonly vmExit: number;
  readonly vmEntry: number;
  private readonly kept = new Map<number, Promise<string[]>>();
  private readonly ready = new Map<number, string[]>();

  private constructor(
    readonly meta: Meta,
    readonly facts: Facts,
    private readonly packed: string[],
    readonly cycle: Float64Array,
    readonly ripLow: Uint32Array,
    readonly ripHigh: Uint32Array,
    readonly count: Uint32Array,
    readonly what: Uint16Array,
    readonly kind: Uint8Array,
    readonly processor: Uint8Array,
  ) {
    this.vmExit = meta.kinds.indexOf("vm-exit");
    this.vmEntry = meta.kinds.indexOf("vm-entry");
    this.level = new Uint8Array(meta.events);
    this.cost = new Float64Array(meta.events).fill(-1);
    this.processors = processor.reduce((most, one) => Math.max(most, one), 0) + 1;
    this.findLevels();
  }

  static async load(): Promise<Trace> {
    const facts = JSON.parse(take("facts")) as Facts;
    const meta = JSON.parse(take("trace")) as Meta;
    const packed = take("pieces").trim().split("\n");
    const bytes = await unpack(take("columns"));
    const n = meta.events;
    let at = 0;
    const next = <T>(type: { new (buffer: ArrayBuffer, at: number, size: number): T; BYTES_PER_ELEMENT: number }): T => {
      const column = new type(bytes, at, n);
      at += n * type.BYTES_PER_ELEMENT;
      return column;
    };
    return new Trace(meta, facts, packed, next(Float64Array), next(Uint32Array), next(Uint32Array),
      next(Uint32Array), next(Uint16Array), next(Uint8Array), next(Uint8Array));
  }

  get events(): number {
    return this.meta.events;
  }
  get first(): number {
    return this.events ? this.cycle[0] : 0;
  }
  get last(): number {
    return this.events ? this.cycle[this.events - 1] : 0;
  }
  kindName(event: number): string {
    return this.meta.kinds[this.kind[event]];
  }
  whatName(event: number): string {
    return this.meta.whats[this.what[event]];
  }
  rip(event: number): string {
    const high = this.ripHigh[event];
    const low = this.ripLow[event].toString(16);
    return high ? `0x${high.toString(16)}${low.padStart(8, "0")}` : `0x${low}`;
  }
  // The end of it, which tells one from another.
  shortRip(event: number): string {
    return this.ripHigh[event] ? `\u2026${this.ripLow[event].toString(16).padStart(8, "0")}` : this.rip(event);
  }
  hasRip(event: number): boolean {
    return this.ripLow[event] !== 0 || this.ripHigh[event] !== 0;
  }

  // The first event at or after a time.
  atCycle(cycle: number): number {
    return firstThat(this.events, (i) => this.cycle[i] >= cycle);
  }

  isFailure(event: number): boolean {
    const kind = this.kindName(event);
    return FAILURES.has(kind) || (kind === "walk" && this.whatName(event) !== "translated");
  }

  // All of an event. The number of pieces that are kept unpacked is limited.
  async fields(event: number): Promise<Fields> {
    const piece = this.pieceOf(event);
    return JSON.parse((await this.lines(piece))[event - this.meta.pieces[piece]]) as Fields;
  }
  private lines(piece: number): Promise<string[]> {
    let lines = this.kept.get(piece);
    if (lines) {
      this.kept.delete(piece); // it becomes the youngest
    } else {
      lines = unpack(this.packed[piece]).then((bytes) => {
        const text = new TextDecoder().decode(bytes).split("\n");
        this.ready.set(piece, text);
        return text;
      });
    }
    this.kept.set(piece, lines);
    if (this.kept.size > PIECES_KEPT) {
      const oldest = this.kept.keys().next().value!;
      this.kept.delete(oldest);
      this.ready.delete(oldest);
    }
    return lines;
  }
  // The same if it is unpacked already.
  fieldsNow(event: number): Fields | undefined {
    const piece = this.pieceOf(event);
    const lines = this.ready.get(piece);
    return lines && (JSON.parse(lines[event - this.meta.pieces[piece]]) as Fields);
  }
  // The next event behind `from`, or before it if `by` is -1, whose line in the trace has the text,
  // in letters of either case; of those in `shown`, or of all. After the last one comes the first.
  // -1: there is none, or `stopped` has become true.
  async find(text: string, from: number, by: 1 | -1, shown: Uint32Array | undefined, stopped: () => boolean): Promise<number> {
    const size = shown ? shown.length : this.events;
    const wanted = text.toLowerCase();
    const start = shown ? firstThat(size, (i) => (by > 0 ? shown[i] > from : shown[i] >= from)) : by > 0 ? from + 1 : Math.max(from, 0);
    let piece = -1;
    let lines: string[] = [];
    for (let i = 0; i < size; i++) {
      const place = (((by > 0 ? start + i : start - 1 - i) % size) + size) % size;
      const event = shown ? shown[place] : place;
      if (this.pieceOf(event) !== piece) {
        piece = this.pieceOf(event);
        lines = await this.lines(piece);
        if (stopped()) return -1;
      }
      if (lines[event - this.meta.pieces[piece]].toLowerCase().includes(wanted)) return event;
    }
    return -1;
  }
  private pieceOf(event: number): number {
    const starts = this.meta.pieces;
    return firstThat(starts.length, (i) => starts[i] > event) - 1;
  }

  private findLevels() {
    const l0Exit = this.meta.kinds.indexOf("l0-exit");
    const level = new Uint8Array(this.processors);
    const since = new Float64Array(this.processors).fill(this.first);
    const opened = new Int32Array(this.processors).fill(-1);
    const spans = Array.from({ length: this.processors }, () => [0, 1, 2].map(() => new SpanBuilder()));
    const marks: number[][] = Array.from({ length: 3 * this.processors }, () => []);
    let hasL0 = false;
    for (let i = 0; i < this.events; i++) {
      const p = this.processor[i];
      const kind = this.kind[i];
      const now = this.cycle[i];
      if (kind === this.vmExit) {
        // A trace may begin while L2 runs.
        if (level[p] === 0) spans[p][2].add(i, since[p], now);
        if (level[p] === 2) spans[p][2].add(opened[p], since[p], now);
        this.level[i] = 2;
        level[p] = 1;
        opened[p] = i;
        since[p] = now;
      } else if (kind === this.vmEntry) {
        if (opened[p] >= 0 && level[p] === 1) {
          this.cost[opened[p]] = now - since[p];
          spans[p][1].add(opened[p], since[p], now);
        }
        this.level[i] = 1;
        level[p] = 2;
        opened[p] = i;
        since[p] = now;
      } else {
        if (kind === l0Exit) hasL0 = true;
        this.level[i] = kind === l0Exit ? 0 : level[p] || 1;
        marks[3 * p + this.level[i]].push(i);
      }
    }
    for (let p = 0; p < this.processors; p++) {
      if (opened[p] >= 0) spans[p][level[p]].add(opened[p], since[p], this.last);
      for (const one of hasL0 ? [0, 1, 2] : [1, 2]) {
        const name = this.processors > 1 ? `CPU ${p} L${one}` : `L${one}`;
        const all = marks[3 * p + one];
        this.lanes.push({
          name, processor: p, level: one, spans: spans[p][one].build(), marks: Uint32Array.from(all),
          failures: Uint32Array.from(all.filter((event) => this.isFailure(event))),
        });
      }
    }
  }
}
