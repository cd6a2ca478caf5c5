// What the page says around the terminal: the bar, notices, the card that explains a refusal, the end banner. The only
// module that touches those elements; each change of note is also said once to assistive technology.

import type { ConnectionState } from './connection';
import { explainEnd, explainRefusal, stageLabel } from './explain';
import type { Exit, Role } from './protocol';

const NOTICE_MS = 8_000;

export class Status {
  private readonly announce = element('announce');
  private readonly notices = element('notice');
  /** Of the notice that is shown: its end, or its next look at the clock. */
  private timer: ReturnType<typeof setTimeout> | null = null;
  private link: ConnectionState = { kind: 'connecting', attempt: 0 };
  private retryAt = 0;
  private isOffline = false;
  private outputSeen = false;
  private ending = false;

  /** Hears of the program's title. */
  titled: (title: string) => void = () => {};

  /** `retry` is what both "try now" buttons do. */
  constructor(retry: () => void) {
    element('notice-button').addEventListener('click', retry);
    element('card-button').addEventListener('click', retry);
  }

  stage(stage: string): void {
    const pill = element('stage');
    pill.hidden = false;
    document.body.dataset.stage = stage;
    if (pill.dataset.stage === stage) return;
    pill.dataset.stage = stage;
    pill.textContent = stageLabel(stage);
    this.say(stageLabel(stage));
    // From here on the program has the screen, whether it prints or not.
    if (stage === 'running' || stage === 'ended') this.showWaiting('');
  }

  role(role: Role): void {
    element('role').hidden = role !== 'viewer';
    document.body.dataset.role = role;
  }

  /** What is being waited for; once there is output, the terminal itself tells it. */
  waiting(text: string): void {
    if (!this.outputSeen) this.showWaiting(text);
  }

  hasOutput(): void {
    if (this.outputSeen) return;
    this.outputSeen = true;
    this.showWaiting('');
  }

  title(title: string): void {
    this.titled(title);
    document.title = title === '' ? 'CLI Scale' : `${title} · CLI Scale`;
  }

  selection(selected: boolean): void {
    (element('copy') as HTMLButtonElement).disabled = !selected;
  }

  linkHint(uri: string | null): void {
    const hint = element('link-hint');
    hint.hidden = uri === null;
    hint.textContent = uri ?? '';
  }

  /** Something to know for a while; what the connection has to say comes back afterwards. */
  notice(text: string): void {
    this.showNotice(text, false);
    this.timer = setTimeout(() => this.showLink(), NOTICE_MS);
    this.say(text);
  }

  ended(exit: Exit | null): void {
    if (this.ending) return;
    this.ending = true;
    const { title, detail, ok } = explainEnd(exit);
    const banner = element('end');
    banner.classList.toggle('failed', !ok);
    element('end-title').textContent = title;
    element('end-detail').textContent = detail;
    banner.hidden = false;
    this.say(`${title}. ${detail}`);
  }

  /** The round trip of what is typed; null where it is not known. */
  latency(milliseconds: number | null): void {
    const badge = element('latency');
    badge.hidden = milliseconds === null;
    badge.textContent = milliseconds === null ? '' : `${Math.max(1, Math.round(milliseconds))} ms`;
  }

  /** What the browser believes of its network. It may be wrong, so attempts go on. */
  offline(offline: boolean): void {
    if (this.isOffline === offline) return;
    this.isOffline = offline;
    this.showLink();
  }

  connection(state: ConnectionState): void {
    this.link = state;
    this.retryAt = Date.now() + (state.kind === 'waiting' ? state.delayMs : 0);
    element('card').hidden = true;
    const link = element('link');
    link.dataset.link = document.body.dataset.link = state.kind;
    element('link-text').textContent = linkText(state);
    this.showLink();
    switch (state.kind) {
      case 'open':
        return this.say('Connected');
      case 'waiting':
        return this.say(`${this.why(state)} Trying again.`);
      case 'refused':
        return this.showCard(state.slug, state.retry);
      case 'ended':
        this.showWaiting('');
        return;
    }
  }

  /** The notice that the connection's state asks for, if it asks for any. */
  private showLink(): void {
    this.hideNotice();
    const state = this.link;
    if (state.kind === 'waiting') {
      this.showNotice('', true);
      const tell = () => {
        const seconds = Math.max(0, Math.ceil((this.retryAt - Date.now()) / 1000));
        const next = seconds > 0 ? `Attempt ${state.attempt} in ${seconds} s.` : `Attempt ${state.attempt}.`;
        element('notice-text').textContent = `${this.why(state)} ${next}`;
      };
      tell();
      this.timer = setInterval(tell, 250);
    } else if (state.kind === 'connecting' && state.attempt > 0) {
      this.showNotice(`Connecting again, attempt ${state.attempt}.`, false);
    } else if (state.kind === 'open' && this.isOffline) {
      this.showNotice('This browser has no network. The terminal goes on when it is back.', false);
    }
  }

  private why(state: Extract<ConnectionState, { kind: 'waiting' }>): string {
    if (this.isOffline) return 'This browser has no network.';
    switch (state.why) {
      case 'lost':
        return this.outputSeen || state.attempt === 1 ? 'The connection was lost.' : 'The server cannot be reached.';
      case 'unavailable':
        return 'The server cannot take this connection just now.';
      case 'draining':
        return 'The server is being replaced; the session goes on.';
    }
  }

  private showCard(slug: string, retry: boolean): void {
    const { title, what, todo, again } = explainRefusal(slug);
    const card = element('card');
    card.dataset.slug = slug;
    // What has been printed stays readable beside the explanation.
    card.classList.toggle('below', this.outputSeen);
    element('card-title').textContent = title;
    element('card-what').textContent = what;
    element('card-todo').textContent = todo;
    element('card-button').hidden = !retry;
    element('card-button').textContent = again ?? 'Connect again';
    card.hidden = false;
    this.showWaiting('');
    if (!this.outputSeen) {
      element('stage').hidden = true;
    }
  }

  private showWaiting(text: string): void {
    element('waiting').hidden = text === '';
    element('waiting-text').textContent = text;
  }

  private showNotice(text: string, withButton: boolean): void {
    this.hideNotice();
    element('notice-text').textContent = text;
    element('notice-button').hidden = !withButton;
    this.notices.hidden = false;
  }

  private hideNotice(): void {
    // One kind of number in browsers, and either function clears both.
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.notices.hidden = true;
  }

  /** Tells assistive technology. */
  say(text: string): void {
    this.announce.textContent = text;
  }

  /** The same at once, whatever it is just reading. */
  alert(text: string): void {
    element('alert').textContent = text;
  }
}

function linkText(state: ConnectionState): string {
  switch (state.kind) {
    case 'connecting':
      return state.attempt === 0 ? 'Connecting' : 'Reconnecting';
    case 'open':
      return 'Connected';
    case 'waiting':
      return 'Reconnecting';
    case 'refused':
      return 'Not connected';
    case 'ended':
      return 'Closed';
  }
}

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}
