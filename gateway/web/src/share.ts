// The read-only link: asks the server for one, shows it, and has it copied. Each is for one person, so each opening of
// the dialog asks for another.

import { copyText } from './clipboard';

const ANSWER_MS = 20_000;

export type ShareAnswer =
  | { kind: 'link'; url: string; expiresAt: Date }
  /** `forbidden`: this session hands none out, now or later. */
  | { kind: 'refused'; text: string; forbidden: boolean };

/** Asks for a link to watch with. Never throws. */
export async function askForLink(url: string, pageToken: string, ask: typeof fetch = fetch): Promise<ShareAnswer> {
  try {
    const headers = { Authorization: `Bearer ${pageToken}` };
    const signal = AbortSignal.timeout(ANSWER_MS);
    const answer = await ask(url, { method: 'POST', headers, credentials: 'omit', cache: 'no-store', signal });
    const body: unknown = await answer.json().catch(() => null);
    return answer.ok ? readLink(body) : refused(answer.status, body);
  } catch {
    return { kind: 'refused', text: 'The server did not answer. Try again in a moment.', forbidden: false };
  }
}

function readLink(body: unknown): ShareAnswer {
  const { url, expiresAt } = (body ?? {}) as Record<string, unknown>;
  const until = new Date(typeof expiresAt === 'string' ? expiresAt : NaN);
  if (typeof url !== 'string' || !/^https?:/.test(url) || Number.isNaN(until.getTime())) return refused(502, null);
  return { kind: 'link', url, expiresAt: until };
}

function refused(status: number, body: unknown): ShareAnswer {
  const { type } = (body ?? {}) as Record<string, unknown>;
  const slug = typeof type === 'string' ? type.slice(type.search(/[a-z_]*$/)) : '';
  const forbidden = slug === 'share_forbidden';
  return { kind: 'refused', text: refusalText(status, forbidden), forbidden };
}

function refusalText(status: number, forbidden: boolean): string {
  if (forbidden) return 'This session hands out no links.';
  switch (status) {
    case 401:
      return 'This tab is no longer known to the server. Reload it, then try again.';
    case 403:
      return 'You may not hand out links to this terminal.';
    case 404:
    case 410:
      return 'This session has ended, and there is nothing to watch any more.';
    case 429:
      return 'Many links were made just now. Try again in a minute.';
    default:
      return 'The server cannot make a link just now. Try again in a moment.';
  }
}

export interface ShareDeps {
  ask: () => Promise<ShareAnswer>;
  /** The dialog is closed: the terminal has the keys again. */
  closed: () => void;
}

/** The bar's button and its dialog. The only class that touches those elements. */
export class Share {
  private readonly button = element('share');
  private readonly dialog = element('share-dialog') as HTMLDialogElement;
  private readonly field = element('share-url') as HTMLInputElement;
  private forbidden = false;
  /** Counts the openings: an answer that comes late is not for the dialog that is open now. */
  private opening = 0;

  constructor(private readonly deps: ShareDeps) {
    this.button.addEventListener('click', () => void this.open());
    element('share-copy').addEventListener('click', () => void this.copy());
    element('share-close').addEventListener('click', () => this.dialog.close());
    this.field.addEventListener('focus', () => this.field.select());
    this.dialog.addEventListener('close', () => {
      this.opening += 1;
      // A link lets somebody in: it does not stay in a page that nobody looks at.
      this.field.value = '';
      this.deps.closed();
    });
  }

  /** Whether there is something to share, and this page may. */
  offer(possible: boolean): void {
    this.button.hidden = !possible || this.forbidden;
  }

  private async open(): Promise<void> {
    const opening = ++this.opening;
    this.show('Making a link…', null);
    if (!this.dialog.open) this.dialog.showModal();
    const answer = await this.deps.ask();
    if (opening !== this.opening) return;
    if (answer.kind === 'refused') {
      this.show(answer.text, null);
      this.forbidden ||= answer.forbidden;
      if (this.forbidden) this.offer(false);
      return;
    }
    const until = answer.expiresAt.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    this.show(`Whoever opens this link watches the terminal, and can neither type nor change its size. It works once, until ${until}.`, answer.url);
    this.field.focus();
    // What is seen of a long link is its beginning.
    this.field.scrollLeft = 0;
  }

  private show(text: string, url: string | null): void {
    element('share-text').textContent = text;
    element('share-copied').textContent = '';
    element('share-link').hidden = url === null;
    this.field.value = url ?? '';
  }

  private async copy(): Promise<void> {
    const copied = await copyText(this.field.value, this.dialog);
    const text = copied ? 'Copied.' : 'This browser did not allow copying. Select the link and copy it.';
    element('share-copied').textContent = text;
    if (!copied) this.field.focus();
  }
}

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}
