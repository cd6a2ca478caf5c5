// Files of the session, as the page shows them: the dialog that chooses, what is dropped onto the terminal, and the strip
// that tells how far a transfer is and asks what has to be asked. The only module that touches those elements.

import { bytesText, download, save } from './download';
import { TooMany, chosenItems, droppedItems, encodePath, MAX_ITEMS, type Item } from './dropped';
import { fileExists, sendFile, upload, type Outcome, type Progress, type Replace } from './uploads';

const DONE_MS = 8_000;
/** Failures that are told by name. */
const TOLD = 3;

export interface FilesDeps {
  /** `.../ws/{id}`, to which the paths are added. */
  baseUrl: string;
  sessionId: string;
  token: () => string | null;
  /** Whether this page may send and have files now; a drop that it may not have is refused in words. */
  possible: () => boolean;
  /** Said once, to assistive technology. */
  say: (text: string) => void;
  notice: (text: string) => void;
  /** The dialog or a question is done with: the terminal has the keys again. */
  closed: () => void;
}

export class Files {
  private readonly dialog = element('files-dialog') as HTMLDialogElement;
  private readonly strip = element('transfer');
  private readonly question = element('transfer-question');
  private readonly bar = element('transfer-progress') as HTMLProgressElement;
  private readonly choice = element('files-choice') as HTMLInputElement;
  private readonly folder = element('files-folder') as HTMLInputElement;
  private readonly path = element('files-path') as HTMLInputElement;
  private running: AbortController | null = null;
  private answer: ((answer: Replace) => void) | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly deps: FilesDeps, private readonly target: HTMLElement) {
    element('files-choose').addEventListener('click', () => this.choice.click());
    element('files-choose-folder').addEventListener('click', () => this.folder.click());
    for (const field of [this.choice, this.folder]) {
      field.addEventListener('change', () => {
        const items = chosenItems(field.files ?? []);
        field.value = '';
        this.dialog.close();
        void this.send(items);
      });
    }
    element('files-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.fetchFile();
    });
    element('files-all').addEventListener('click', () => this.fetchAll());
    element('files-close').addEventListener('click', () => this.dialog.close());
    this.dialog.addEventListener('click', (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    this.dialog.addEventListener('close', () => this.deps.closed());
    element('transfer-cancel').addEventListener('click', () => this.cancel());
    element('transfer-hide').addEventListener('click', () => this.hide());
    for (const button of this.question.querySelectorAll<HTMLElement>('[data-answer]')) {
      button.addEventListener('click', () => this.answered(button.dataset.answer as Replace));
    }
    this.listenForDrops();
  }

  open(): void {
    if (!this.deps.possible()) return this.deps.notice('Files are for operators, while the session runs and shortly after.');
    element('files-problem').textContent = '';
    if (document.querySelector('dialog[open]') === null) this.dialog.showModal();
  }

  private listenForDrops(): void {
    const bringsFiles = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false;
    const over = (shown: boolean) => this.target.classList.toggle('dropping', shown);
    this.target.addEventListener('dragover', (event) => {
      if (!bringsFiles(event)) return;
      // Without this the browser would open the file in place of the terminal.
      event.preventDefault();
      event.dataTransfer!.dropEffect = this.deps.possible() ? 'copy' : 'none';
      over(this.deps.possible());
    });
    this.target.addEventListener('dragleave', (event) => {
      if (!this.target.contains(event.relatedTarget as Node | null)) over(false);
    });
    this.target.addEventListener('drop', (event) => {
      over(false);
      if (!bringsFiles(event)) return;
      event.preventDefault();
      if (!this.deps.possible()) return this.deps.notice('Whoever watches uploads nothing; an operator does.');
      void this.sendDropped(droppedItems(event.dataTransfer!));
    });
    // Beside the terminal: not this page's business, and no reason to leave it.
    for (const type of ['dragover', 'drop'] as const) window.addEventListener(type, (event) => bringsFiles(event) && event.preventDefault());
  }

  private async sendDropped(dropped: Promise<Item[]>): Promise<void> {
    try {
      await this.send(await dropped);
    } catch (error) {
      const text = error instanceof TooMany ? `More than ${MAX_ITEMS.toLocaleString('en')} files: upload an archive of them instead.` : 'The browser could not read what was dropped.';
      this.deps.notice(text);
    }
  }

  private async send(items: Item[]): Promise<void> {
    if (items.length === 0) return;
    if (this.running) return this.deps.notice('Another transfer is under way. Wait for it, or cancel it.');
    const running = this.begin(items.length === 1 ? `Uploading ${items[0]!.path}` : `Uploading ${items.length} files`);
    const outcome = await upload(items, {
      filesUrl: `${this.deps.baseUrl}/files/`,
      token: this.deps.token,
      exists: fileExists,
      send: sendFile,
      ask: (path, several) => this.ask(path, several),
      progress: (progress) => this.show(progress),
      pause: (ms) => new Promise((next) => setTimeout(next, ms)),
    }, running.signal);
    this.end(outcomeText(outcome), outcome.failed.length > 0);
  }

  private fetchFile(): void {
    const path = this.path.value.trim().replace(/^(\.?\/)+/, '');
    if (path === '') {
      element('files-problem').textContent = 'Name a file, as report.txt or out/report.txt.';
      this.path.focus();
      return;
    }
    void this.fetch(`/files/${encodePath(path)}`, path.slice(path.lastIndexOf('/') + 1));
  }

  private fetchAll(): void {
    void this.fetch('/files.tar.gz', `${this.deps.sessionId}.tar.gz`);
  }

  private async fetch(path: string, name: string): Promise<void> {
    if (this.running) {
      element('files-problem').textContent = 'Another transfer is under way. Wait for it, or cancel it.';
      return;
    }
    this.dialog.close();
    const running = this.begin(`Downloading ${name}`);
    const answer = await download(this.deps.baseUrl + path, {
      token: this.deps.token() ?? '',
      signal: running.signal,
      progress: (done, total) => {
        if (total) this.bar.value = done / total;
        element('transfer-text').textContent = `Downloading ${name}: ${bytesText(done)}${total ? ` of ${bytesText(total)}` : ''}`;
      },
    });
    if (answer.kind === 'file') save(answer.blob, name);
    const text = answer.kind === 'file' ? `${name} was downloaded.` : answer.kind === 'cancelled' ? 'Cancelled.' : `${name}: ${answer.refusal.text}`;
    this.end(text, answer.kind === 'refused');
  }

  private begin(text: string): AbortController {
    const running = new AbortController();
    this.running = running;
    this.hide();
    element('transfer-text').textContent = text;
    this.bar.hidden = false;
    this.bar.removeAttribute('value');
    element('transfer-cancel').hidden = false;
    element('transfer-hide').hidden = true;
    this.strip.classList.remove('failed');
    this.strip.hidden = false;
    this.deps.say(text);
    return running;
  }

  private show({ path, number, count, bytes, totalBytes }: Progress): void {
    const which = count === 1 ? `Uploading ${path}` : `Uploading ${number} of ${count}: ${path}`;
    element('transfer-text').textContent = totalBytes > 0 ? `${which}, ${bytesText(bytes)} of ${bytesText(totalBytes)}` : which;
    this.bar.value = totalBytes > 0 ? Math.min(1, bytes / totalBytes) : number / count;
  }

  private end(text: string, failed: boolean): void {
    this.running = null;
    this.question.hidden = true;
    this.bar.hidden = true;
    element('transfer-cancel').hidden = true;
    element('transfer-hide').hidden = false;
    element('transfer-text').textContent = text;
    this.strip.classList.toggle('failed', failed);
    this.deps.say(text);
    // What went wrong stays until it was read.
    if (!failed) this.timer = setTimeout(() => this.hide(), DONE_MS);
  }

  private cancel(): void {
    this.running?.abort();
    this.answered('cancel');
  }

  private ask(path: string, several: boolean): Promise<Replace> {
    const text = `${path} is there already. Replace it?`;
    element('transfer-asked').textContent = text;
    for (const button of this.question.querySelectorAll<HTMLElement>('[data-answer$="-all"]')) button.hidden = !several;
    this.question.hidden = false;
    this.deps.say(text);
    return new Promise((answer) => (this.answer = answer));
  }

  private answered(answer: Replace): void {
    if (!this.question.hidden) this.deps.closed();
    this.question.hidden = true;
    this.answer?.(answer);
    this.answer = null;
  }

  private hide(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.strip.hidden = true;
    this.question.hidden = true;
  }
}

/** What became of an upload, in a sentence or two. */
export function outcomeText({ sent, skipped, failed, cancelled }: Outcome): string {
  const parts: string[] = [];
  if (cancelled) parts.push(sent.length > 0 ? `Cancelled, after ${counted(sent.length)}.` : 'Cancelled.');
  else if (sent.length === 1) parts.push(`${sent[0]} was uploaded.`);
  else if (sent.length > 1) parts.push(`${counted(sent.length)} were uploaded.`);
  if (skipped > 0) parts.push(`${counted(skipped)} left as ${skipped === 1 ? 'it is' : 'they are'}.`);
  for (const { path, text } of failed.slice(0, TOLD)) parts.push(`${path}: ${text}`);
  if (failed.length > TOLD) parts.push(`And ${failed.length - TOLD} more were not uploaded.`);
  return parts.join(' ');
}

function counted(files: number): string {
  return files === 1 ? '1 file' : `${files.toLocaleString('en')} files`;
}

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}
