// How long what is typed takes to the runner and back: from a piece of typed input to its confirmation (`K`). It holds
// numbers only.

/** Of this many, the middle one is told: one slow answer is not what the connection is like. */
const REMEMBERED = 5;

export class Latency {
  /** The piece that is measured: where it ends in the input, and when it was sent. */
  private pending: { end: number; at: number } | null = null;
  private readonly recent: number[] = [];

  /** Input up to here was sent now. One piece is measured at a time. */
  sent(end: number, at: number): void {
    this.pending ??= { end, at };
  }

  /** Input up to here is with the runner. Gives the round trip in milliseconds, where that has become known. */
  confirmed(offset: number, at: number): number | null {
    if (this.pending === null || offset < this.pending.end) return null;
    this.recent.push(at - this.pending.at);
    this.pending = null;
    if (this.recent.length > REMEMBERED) this.recent.shift();
    const sorted = [...this.recent].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? null;
  }

  /** The connection is another one. */
  reset(): void {
    this.pending = null;
    this.recent.length = 0;
  }
}
