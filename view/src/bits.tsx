// SPDX-License-Identifier: GPL-2.0-or-later
// A number bit by bit, and what its bits mean.

export interface Named {
  low: number;
  width: number;
  name: string;
  value?: string; // in words
}

const field = (bits: bigint, low: number, width: number) => (bits >> BigInt(low)) & ((1n << BigInt(width)) - 1n);

export function Bits({ value, width, named, changed = 0n, label }: {
  value: bigint;
  width: number;
  named: Named[];
  changed?: bigint; // bits that are to stand out
  label: string;
}) {
  const owner = new Map<number, Named>();
  for (const one of named) for (let i = 0; i < one.width; i++) owner.set(one.low + i, one);
  // What is 0, and has no word for that, is in one line.
  const clear = named.filter((one) => field(value, one.low, one.width) === 0n && !one.value);
  const shown = named.filter((one) => !clear.includes(one));
  const isChanged = (one: Named) => ((changed >> BigInt(one.low)) & 1n) === 1n;
  const rows = [];
  for (let high = width - 1; high >= 0; high -= 16) {
    const cells = [];
    for (let bit = high; bit > high - 16 && bit >= 0; bit--) {
      const set = field(value, bit, 1) === 1n;
      const name = owner.get(bit)?.name;
      const kind = `${set ? "one" : "zero"}${name ? " named" : ""}${(changed >> BigInt(bit)) & 1n ? " changed" : ""}`;
      cells.push(<span class={kind} title={`bit ${bit}${name ? `: ${name}` : ""}`}>{set ? 1 : 0}</span>);
    }
    rows.push(<div><b>{high}</b>{cells}<b>{Math.max(high - 15, 0)}</b></div>);
  }
  return (
    <div class="bits">
      <div class="strip" role="img" aria-label={`${label}: 0x${value.toString(16)}; its bits are named below`}>
        {rows}
      </div>
      {shown.length > 0 ? (
        <table>
          <caption class="unseen">{label}, by bits</caption>
          <thead><tr><th scope="col">Bits</th><th scope="col">Value</th><th scope="col">Meaning</th></tr></thead>
          <tbody>
            {shown.map((one) => {
              const part = field(value, one.low, one.width);
              return (
                <tr>
                  <td>{one.width > 1 ? `${one.low + one.width - 1}:${one.low}` : one.low}</td>
                  <td>{one.width > 4 ? `0x${part.toString(16)}` : part.toString()}</td>
                  <td>{one.name}{one.value ? <> <em>{one.value}</em></> : null}
                    {isChanged(one) ? <strong> set by this walk</strong> : null}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      ) : null}
      {clear.length > 0 ? (
        <p class="off">Bits that are 0: {clear.map((one) =>
          `${one.name}\u00a0(${one.width > 1 ? `${one.low + one.width - 1}:${one.low}` : one.low})`).join(", ")}</p>
      ) : null}
    </div>
  );
}
