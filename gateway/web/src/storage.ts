// What a tab keeps of a session, so that a reload comes back without a link: the resume ticket, the page token and a
// name for itself. sessionStorage where the browser allows it (it is per tab, so two tabs with different roles do not
// mix), else memory: in a sandboxed or cookie-less iframe even touching it may throw.

import type { CopyConsent } from './program-copy';

export interface Kept {
  ticket: string | null;
  pageToken: string | null;
  client: string;
  /** Whether the program may put text on the clipboard; absent until the person was asked. */
  copies?: CopyConsent;
}

export type StorageLike = Pick<Storage, 'getItem' | 'setItem'>;

export class TabStore {
  private kept: Kept;
  private readonly key: string;

  constructor(sessionId: string, private readonly storage: StorageLike | null = browserStorage()) {
    this.key = `cliscale:${sessionId}`;
    this.kept = this.read() ?? { ticket: null, pageToken: null, client: randomName() };
  }

  get(): Readonly<Kept> {
    return this.kept;
  }

  keepTickets(ticket: string, pageToken: string): void {
    this.update({ ticket, pageToken });
  }

  /** A refused ticket is of no more use. */
  dropTicket(): void {
    this.update({ ticket: null });
  }

  keepCopyConsent(copies: CopyConsent): void {
    this.update({ copies });
  }

  private update(change: Partial<Kept>): void {
    this.kept = { ...this.kept, ...change };
    try {
      this.storage?.setItem(this.key, JSON.stringify(this.kept));
    } catch {
      // Full or forbidden: memory holds it until the tab is closed.
    }
  }

  private read(): Kept | null {
    try {
      const kept: unknown = JSON.parse(this.storage?.getItem(this.key) ?? 'null');
      return isKept(kept) ? kept : null;
    } catch {
      return null;
    }
  }
}

function isKept(value: unknown): value is Kept {
  if (typeof value !== 'object' || value === null) return false;
  const { ticket, pageToken, client, copies } = value as Record<string, unknown>;
  const textOrNull = (field: unknown) => field === null || typeof field === 'string';
  return textOrNull(ticket) && textOrNull(pageToken) && typeof client === 'string' && (copies === undefined || copies === 'allowed' || copies === 'refused');
}

function browserStorage(): StorageLike | null {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null;
  }
}

// Not crypto.randomUUID: it is absent on plain http.
function randomName(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
