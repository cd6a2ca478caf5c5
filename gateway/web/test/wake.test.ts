// A sleep is told from a slow minute by the clock alone.
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ASLEEP_MS, watchForSleep } from '../src/wake';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it('notices a sleep once, and no hidden tab’s slow minute', () => {
  const woken = vi.fn();
  watchForSleep(woken);
  vi.advanceTimersByTime(600_000);
  vi.setSystemTime(Date.now() + 60_000);
  vi.advanceTimersByTime(5_000);
  expect(woken).not.toHaveBeenCalled();
  vi.setSystemTime(Date.now() + ASLEEP_MS);
  vi.advanceTimersByTime(5_000);
  vi.advanceTimersByTime(600_000);
  expect(woken).toHaveBeenCalledOnce();
});

it('looks at once when something hints at a sleep', () => {
  const woken = vi.fn();
  const look = watchForSleep(woken);
  vi.setSystemTime(Date.now() + ASLEEP_MS + 1);
  look();
  expect(woken).toHaveBeenCalledOnce();
});
