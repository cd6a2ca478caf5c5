// Whose the keyboard is, as far as this page knows: whether what is typed here is for the program, what the person has
// to be told, and when a keyboard that nobody has is asked for. It shows nothing.

import type { Presence, Role } from './protocol';

/** A holder that reloads or changes networks gets the keyboard back before anybody else asks for it; pages that see it
 *  free in one moment do not ask in one moment. */
const CLAIM_AFTER_MS = 1_500;
const CLAIM_SPREAD_MS = 1_500;

/** What has just become of the keyboard, where that is news to this page's person. */
export type KeyboardNews = 'taken' | 'elsewhere' | null;

export interface KeyboardDeps {
  /** Asks for the keyboard that nobody has. */
  claim: () => void;
  /** Whether somebody can see this page: a tab in the background asks for nothing. */
  visible: () => boolean;
  random?: () => number;
}

export class Keyboard {
  /** The last that the server said; kept while disconnected, since that is how the person left it. */
  private known: Presence | null = null;
  private role: Role = 'operator';
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly deps: KeyboardDeps) {}

  /** Another operator has it: what is typed here would be typed to nobody. */
  get elsewhere(): boolean {
    return this.known !== null && this.known.held && !this.known.holds;
  }

  update(now: Presence, role: Role): KeyboardNews {
    const before = this.known;
    this.known = now;
    this.role = role;
    this.waitOrNot();
    if (role !== 'operator' || !this.elsewhere) return null;
    if (before === null) return 'elsewhere';
    return before.holds ? 'taken' : null;
  }

  /** The server has sent this page away for another operator. */
  lost(): void {
    if (this.known) this.known = { ...this.known, holds: false, held: true };
    this.stop();
  }

  /** The page is seen (again). */
  seen(): void {
    this.waitOrNot();
  }

  /** Nothing is asked for without a connection, nor after the end. */
  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  private get free(): boolean {
    return this.role === 'operator' && this.known !== null && !this.known.held;
  }

  private waitOrNot(): void {
    if (!this.free) this.stop();
    else this.timer ??= setTimeout(() => this.claim(), CLAIM_AFTER_MS + (this.deps.random ?? Math.random)() * CLAIM_SPREAD_MS);
  }

  private claim(): void {
    this.timer = null;
    if (this.free && this.deps.visible()) this.deps.claim();
  }
}
