// The session's time: a notice before it is up, with more of it where there is more, and the last minute counted down. The
// only module that touches those elements.

import { readRefusal, unreachable } from './refusals';
import type { Deadline, Role } from './protocol';

export const WARN_MS = 5 * 60_000;
export const LAST_MS = 60_000;
const TICK_MS = 500;
/** Not asked for: the request takes its time, and what is above the maximum is refused. */
const SLACK_MS = 3_000;
/** Less is not worth asking for. */
const LEAST_MS = 30_000;
/** More than a timer can wait. */
const LONGEST_MS = 2 ** 31 - 1;
const ANSWER_MS = 20_000;

/** `null` where it was done; else why not, as a sentence. */
export type Extend = (seconds: number) => Promise<string | null>;

/** Asks the server for a deadline so many seconds from now. Never throws. */
export async function askForTime(url: string, pageToken: string, seconds: number, ask: typeof fetch = fetch): Promise<string | null> {
  try {
    const headers = { Authorization: `Bearer ${pageToken}`, 'Content-Type': 'application/json' };
    const signal = AbortSignal.timeout(ANSWER_MS);
    const answer = await ask(url, { method: 'POST', headers, body: JSON.stringify({ seconds }), credentials: 'omit', cache: 'no-store', signal });
    return answer.ok ? null : readRefusal(answer.status, await answer.text()).text;
  } catch {
    return unreachable().text;
  }
}

export interface TimeDeps {
  extend: Extend;
  role: () => Role;
  say: (text: string) => void;
  /** Said at once, whatever is being read. */
  alert: (text: string) => void;
  /** Something was pressed: the terminal has the keys again. */
  done: () => void;
  now?: () => number;
}

export class TimeLeft {
  private readonly strip = element('time');
  private readonly text = element('time-text');
  private readonly more = element('time-extend') as HTMLButtonElement;
  private readonly entry = element('menu-extend') as HTMLButtonElement;
  private readonly now: () => number;
  private ends: number | null = null;
  private latest = 0;
  private timer: ReturnType<typeof setTimeout> | null = null;
  /** The last of these that was said. */
  private said: 'nothing' | 'soon' | 'last' = 'nothing';
  private dismissed: 'nothing' | 'soon' | 'last' = 'nothing';
  private asking = false;
  private failure = '';

  constructor(private readonly deps: TimeDeps) {
    this.now = deps.now ?? (() => Date.now());
    this.more.addEventListener('click', () => void this.extend());
    element('time-hide').addEventListener('click', () => {
      this.dismissed = this.left() <= LAST_MS ? 'last' : 'soon';
      this.look();
      deps.done();
    });
  }

  /** From the server: at the beginning of a connection, and whenever it changes. */
  set(deadline: Deadline): void {
    const now = this.now();
    this.ends = now + deadline.left_ms;
    this.latest = now + Math.max(deadline.left_ms, deadline.max_left_ms);
    this.failure = '';
    if (deadline.left_ms > WARN_MS) this.said = this.dismissed = 'nothing';
    else if (deadline.left_ms > LAST_MS && this.said === 'last') this.said = this.dismissed = 'soon';
    this.look();
  }

  /** The session is over, or nobody tells its time. */
  stop(): void {
    this.ends = null;
    this.look();
  }

  /** By as much as is allowed. */
  async extend(): Promise<void> {
    if (this.asking || this.gain() < LEAST_MS) return;
    const seconds = Math.floor((this.latest - SLACK_MS - this.now()) / 1000);
    const gain = this.gain();
    this.asking = true;
    this.look();
    const failure = await this.deps.extend(seconds);
    this.asking = false;
    this.failure = failure ?? '';
    if (failure === null) {
      // The server says it again, to the millisecond.
      if (this.ends !== null) this.set({ left_ms: seconds * 1000, max_left_ms: this.latest - this.now() });
      this.deps.say(`The session has ${durationText(gain)} more.`);
    } else {
      this.deps.alert(`The time was not extended. ${failure}`);
      this.look();
    }
    this.deps.done();
  }

  private left(): number {
    return this.ends === null ? Infinity : this.ends - this.now();
  }

  /** How much more there is to have. */
  private gain(): number {
    if (this.ends === null || this.deps.role() === 'viewer') return 0;
    return Math.max(0, this.latest - SLACK_MS - Math.max(this.ends, this.now()));
  }

  private look(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const left = this.left();
    const gain = this.gain();
    const offered = gain >= LEAST_MS;
    this.entry.hidden = !offered;
    this.entry.disabled = this.more.disabled = this.asking;
    const phase = left <= LAST_MS ? 'last' : left <= WARN_MS ? 'soon' : 'nothing';
    const shown = phase !== 'nothing' && phase !== this.dismissed && left > 0;
    this.strip.hidden = !shown;
    this.strip.classList.toggle('failed', phase === 'last');
    if (left === Infinity || left <= 0) return;
    this.timer = setTimeout(() => this.look(), phase === 'nothing' ? Math.min(left - WARN_MS, LONGEST_MS) : TICK_MS);
    if (phase === 'nothing') return;
    this.more.hidden = !offered;
    write(this.more, `${this.asking ? 'Extending' : 'Extend'} by ${durationText(gain)}`);
    write(this.text, [`This session ends in ${durationText(left)}.`, this.failure].filter(Boolean).join(' '));
    this.tell(phase, offered);
  }

  private tell(phase: 'soon' | 'last', offered: boolean): void {
    if (this.said === phase) return;
    this.said = phase;
    const how = offered ? ' Press Ctrl+Shift+period for the buttons.' : '';
    if (phase === 'last') this.deps.alert(`This session ends in less than a minute.${how}`);
    else this.deps.say(`This session ends in ${durationText(this.left())}.${how}`);
  }
}

/** How long, for people: to the second in the last minute and a half. */
export function durationText(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds <= LAST_MS / 1000) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return minutes === 1 ? '1 minute' : `${minutes} minutes`;
  const rest = minutes % 60;
  return `${Math.floor(minutes / 60)} h${rest === 0 ? '' : ` ${rest} min`}`;
}

/** Only where it changes: what stays the same is not touched, nor said again. */
function write(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}
