// OSC 52: what the program puts on the person's clipboard. Asked about once per tab; what it asks to read is never
// answered, and neither is anything that is replayed, or that another page's terminal answers. The only module that
// touches the elements of the question.

import type { Terminal } from '@xterm/xterm';

/** As much text as somebody may want to paste somewhere else; a longer one is not a copy but a download. */
export const MAX_COPY_BASE64 = 1024 * 1024;
const PREVIEW_CHARS = 60;
const OFFER_MS = 15_000;

export type CopyConsent = 'allowed' | 'refused';

/** What an OSC 52 sequence puts on the clipboard; null where it asks, clears, is malformed or too large. */
export function copiedText(data: string): string | null {
  const found = /^[cps0-7]*;([A-Za-z0-9+/]+={0,2})$/.exec(data);
  if (!found || found[1]!.length > MAX_COPY_BASE64) return null;
  try {
    const bytes = Uint8Array.from(atob(found[1]!), (char) => char.charCodeAt(0));
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

export interface ProgramCopyDeps {
  consent: () => CopyConsent | null;
  keep: (consent: CopyConsent) => void;
  copy: (text: string) => Promise<boolean>;
  say: (text: string) => void;
  /** A button was pressed: the terminal has the keys again. */
  done: () => void;
}

export class ProgramCopy {
  private readonly notice = element('program-copy');
  private readonly never = element('program-copy-never');
  private readonly yes = element('program-copy-yes');
  /** The newest text that waits for the person: earlier ones would be overwritten at once anyway. */
  private waiting: string | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly deps: ProgramCopyDeps) {
    this.yes.addEventListener('click', () => void this.allow());
    this.never.addEventListener('click', () => this.refuse());
    element('program-copy-later').addEventListener('click', () => this.dismiss());
  }

  /** The program has copied this, just now. */
  async offer(text: string): Promise<void> {
    const consent = this.deps.consent();
    if (consent === 'refused') return;
    if (consent === 'allowed' && (await this.deps.copy(text))) {
      this.deps.say('The program has copied text to the clipboard.');
      this.hide();
      return;
    }
    this.ask(text, consent);
  }

  /** With consent this is a browser that copies only when a button is pressed. */
  private ask(text: string, consent: CopyConsent | null): void {
    const repeated = !this.notice.hidden;
    this.hide();
    this.waiting = text;
    const known = consent === 'allowed';
    const question = known ? 'The program has copied:' : 'The program wants to put text on your clipboard, now and later:';
    element('program-copy-question').textContent = question;
    element('program-copy-text').textContent = preview(text);
    this.yes.textContent = known ? 'Copy' : 'Allow';
    this.never.hidden = known;
    this.notice.hidden = false;
    // A question stays until it is answered; an offer has its time.
    if (known) this.timer = setTimeout(() => this.hide(), OFFER_MS);
    if (!repeated) this.deps.say(`${question} ${preview(text)}`);
  }

  private async allow(): Promise<void> {
    const text = this.waiting;
    this.deps.keep('allowed');
    this.hide();
    if (text !== null) this.deps.say((await this.deps.copy(text)) ? 'Copied.' : 'This browser did not allow copying.');
    this.deps.done();
  }

  private refuse(): void {
    this.deps.keep('refused');
    this.dismiss();
  }

  private dismiss(): void {
    this.hide();
    this.deps.done();
  }

  private hide(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.waiting = null;
    this.notice.hidden = true;
  }
}

/** Takes OSC 52 up; whatever it says, xterm.js and add-ons see nothing of it. */
export function listenForCopies(term: Terminal, offer: (text: string) => void): void {
  term.parser.registerOscHandler(52, (data) => {
    const text = copiedText(data);
    if (text !== null && text !== '') offer(text);
    return true;
  });
}

/** One line of it: line breaks and what cannot be seen are shown as a dot. */
function preview(text: string): string {
  const shown = Array.from(text.slice(0, 2 * PREVIEW_CHARS)).slice(0, PREVIEW_CHARS).join('');
  return shown.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, '·') + (shown.length < text.length ? '…' : '');
}

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}
