// How long to wait before the next attempt: "full jitter", so that a thousand tabs do not come back in one moment.

export const MIN_MS = 500;
export const MAX_MS = 10_000;

/** A random time from MIN_MS up to a ceiling that doubles with each failed attempt (0, 1, 2, ...) and ends at MAX_MS. */
export function backoffMs(attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(MAX_MS, MIN_MS * 2 ** (attempt + 1));
  return Math.round(MIN_MS + random() * (ceiling - MIN_MS));
}
