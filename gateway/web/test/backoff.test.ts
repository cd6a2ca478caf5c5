// The back-off's bounds.
import { describe, expect, it } from 'vitest';
import { backoffMs } from '../src/backoff';

describe('the back-off', () => {
  it('is never below half a second nor above ten', () => {
    for (let attempt = 0; attempt < 2000; attempt++) {
      const delay = backoffMs(attempt);
      expect(delay).toBeGreaterThanOrEqual(500);
      expect(delay).toBeLessThanOrEqual(10_000);
    }
  });

  it('doubles its ceiling with each attempt, and spreads over all of it', () => {
    expect([0, 1, 2, 3, 4, 5].map((attempt) => backoffMs(attempt, () => 1))).toEqual([1000, 2000, 4000, 8000, 10_000, 10_000]);
    expect(backoffMs(9, () => 0)).toBe(500);
    expect(backoffMs(9, () => 0.5)).toBe(5250);
  });
});
