// The one thing that this page takes from xterm.js beyond its public interface: an event just before each piece of
// typed text. The public onData gives typed text and answers to a program's queries alike.

import type { Terminal } from '@xterm/xterm';

/** The private `onUserInput` event of the pinned version; a unit test fails when another version lacks it. */
export function userInputOf(term: Terminal): (listener: () => void) => void {
  const core = (term as unknown as { _core: { coreService: { onUserInput: (listener: () => void) => unknown } } })._core;
  return (listener) => void core.coreService.onUserInput(listener);
}
