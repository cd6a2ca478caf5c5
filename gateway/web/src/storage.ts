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
  private elsewhere: ((kept: string | null) => void) | null = null;

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

  /** Without a ticket: of a page that is in no terminal. */
  keepPageToken(pageToken: string): void {
    this.update({ pageToken });
  }

  /** A refused ticket is of no more use. */
  dropTicket(): void {
    this.update({ ticket: null });
  }

  keepCopyConsent(copies: CopyConsent): void {
    this.update({ copies });
  }

  /**
   * Where the browser keeps nothing for this page, the site around it may: `keep` is given what `adopt` will understand
   * after a reload, and null when that is of no more use.
   */
  keepElsewhere(keep: (kept: string | null) => void): void {
    this.elsewhere = keep;
  }

  /** What was kept elsewhere, unless this page has a way in of its own. */
  adopt(text: string): void {
    const kept = parse(text);
    if (kept !== null && this.kept.ticket === null) this.kept = kept;
  }

  private update(change: Partial<Kept>): void {
    this.kept = { ...this.kept, ...change };
    const text = JSON.stringify(this.kept);
    if (!this.storeHere(text)) this.elsewhere?.(this.kept.ticket === null ? null : text);
  }

  /** Full or forbidden: memory holds it until the tab is closed. */
  private storeHere(text: string): boolean {
    try {
      this.storage?.setItem(this.key, text);
      return this.storage !== null;
    } catch {
      return false;
    }
  }

  private read(): Kept | null {
    try {
      return parse(this.storage?.getItem(this.key) ?? 'null');
    } catch {
      return null;
    }
  }
}

function parse(text: string): Kept | null {
  try {
    const kept: unknown = JSON.parse(text);
    return isKept(kept) ? kept : null;
  } catch {
    return null;
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
