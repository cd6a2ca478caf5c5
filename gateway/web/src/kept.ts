// What is kept of the session beside its terminal: log and recording, by the menu and where output was skipped. The only
// module that touches those elements.

import { bytesText, download, save, showText } from './download';
import { answerOpened } from './player/entry';

export interface KeptDeps {
  /** `.../ws/{id}`, to which the paths are added. */
  baseUrl: string;
  sessionId: string;
  token: () => string | null;
  notice: (text: string) => void;
  /** Said once, to assistive technology. */
  say: (text: string) => void;
  closed: () => void;
}

export class Kept {
  private readonly strip = element('lost');
  private readonly open = element('lost-open') as HTMLButtonElement;
  private fetching = false;

  constructor(private readonly deps: KeptDeps) {
    this.open.addEventListener('click', () => void this.openLog());
    element('lost-hide').addEventListener('click', () => this.hide());
  }

  /** So much output never comes to this page; the server's log has it. */
  lost(bytes: number): void {
    const text = `${bytesText(bytes)} of output were skipped: this is the screen as it is now.`;
    element('lost-text').textContent = text;
    this.strip.hidden = false;
    this.deps.say(text);
  }

  async downloadLog(): Promise<void> {
    const blob = await this.fetch('/log?format=text');
    if (blob) save(blob, `${this.deps.sessionId}.log`);
  }

  async downloadRecording(): Promise<void> {
    const blob = await this.fetch('/recording.cast');
    if (blob) save(blob, `${this.deps.sessionId}.cast`);
  }

  /** In a tab of its own, which takes what it needs from this one's storage. */
  watchRecording(): void {
    const tab = window.open(`${this.deps.baseUrl}/recording`, '_blank');
    if (tab === null) this.deps.notice('The browser did not allow a new tab.');
    else answerOpened(tab, window.location.origin, this.deps.token);
  }

  private async openLog(): Promise<void> {
    const blob = await this.fetch('/log?format=text');
    if (!blob) return;
    showText(blob, `${this.deps.sessionId}.log`);
    this.hide();
  }

  private hide(): void {
    this.strip.hidden = true;
    this.deps.closed();
  }

  private async fetch(path: string): Promise<Blob | null> {
    if (this.fetching) return null;
    this.fetching = this.open.disabled = true;
    const answer = await download(this.deps.baseUrl + path, { token: this.deps.token() ?? '' });
    this.fetching = this.open.disabled = false;
    if (answer.kind === 'file') return answer.blob;
    if (answer.kind === 'refused') this.deps.notice(answer.refusal.text);
    return null;
  }
}

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}
