// Notices that the computer has slept: no event says so, but the clock has gone on without this page.

/** Hidden tabs are woken once a minute at least; and the server has let go of a client that it missed for this long. */
export const ASLEEP_MS = 90_000;
const LOOK_EVERY_MS = 5_000;

/** Calls `woken` after a sleep. Gives what looks at once, for when something hints at one. */
export function watchForSleep(woken: () => void): () => void {
  let last = Date.now();
  const look = () => {
    const now = Date.now();
    const slept = now - last > ASLEEP_MS;
    last = now;
    if (slept) woken();
  };
  setInterval(look, LOOK_EVERY_MS);
  return look;
}
