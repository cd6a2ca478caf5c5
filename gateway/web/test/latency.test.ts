// The round trip of what is typed.
import { describe, expect, it } from 'vitest';
import { Latency } from '../src/latency';

describe('the latency', () => {
  it('is the time from a piece of input to its confirmation, one piece at a time', () => {
    const latency = new Latency();
    expect(latency.confirmed(0, 5)).toBeNull();
    latency.sent(1, 100);
    latency.sent(2, 150);
    expect(latency.confirmed(0, 120)).toBeNull();
    expect(latency.confirmed(2, 180)).toBe(80);
    expect(latency.confirmed(2, 500)).toBeNull();
  });

  it('is the middle of the last five, so that one slow answer does not count', () => {
    const latency = new Latency();
    let told: number | null = null;
    [9000, 9000, 10, 20, 9000, 30, 40].forEach((took, piece) => {
      latency.sent(piece + 1, 0);
      told = latency.confirmed(piece + 1, took);
    });
    expect(told).toBe(30);
  });

  it('begins anew with a connection', () => {
    const latency = new Latency();
    latency.sent(1, 0);
    latency.reset();
    expect(latency.confirmed(1, 50)).toBeNull();
    latency.sent(2, 60);
    expect(latency.confirmed(2, 70)).toBe(10);
  });
});
