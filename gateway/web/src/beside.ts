// What goes with a session's terminal: its time, its files, its log and recording. Joins them to the session and the menu.

import type { Address } from './address';
import { TimeLeft, askForTime } from './deadline';
import { Files } from './files';
import { Kept } from './kept';
import type { TerminalSession } from './session';
import type { Status } from './status';
import type { TabStore } from './storage';

export interface BesideDeps {
  address: Address;
  status: Status;
  store: TabStore;
  /** The session is made with what is here, so it is asked for when it is needed. */
  session: () => TerminalSession;
  /** The terminal has the keys again. */
  focus: () => void;
}

export class Beside {
  readonly time: TimeLeft;
  readonly kept: Kept;
  private readonly files: Files;

  constructor(private readonly deps: BesideDeps) {
    const { address, status, store, focus } = deps;
    const token = () => store.get().pageToken;
    const notice = (text: string) => status.notice(text);
    const say = (text: string) => status.say(text);
    const common = { baseUrl: address.baseUrl, sessionId: address.sessionId, token, notice, say, closed: focus };
    this.time = new TimeLeft({
      extend: (seconds) => askForTime(`${address.baseUrl}/extend`, token() ?? '', seconds),
      role: () => deps.session().role,
      say,
      alert: (text) => status.alert(text),
      done: focus,
    });
    this.kept = new Kept(common);
    this.files = new Files({ ...common, possible: () => deps.session().canTransfer }, document.getElementById('screen')!);
  }

  /** The menu's entries. */
  get entries(): Record<string, () => void> {
    return {
      'menu-files': () => this.files.open(),
      'menu-watch': () => this.kept.watchRecording(),
      'menu-log': () => void this.kept.downloadLog(),
      'menu-recording': () => void this.kept.downloadRecording(),
      'menu-extend': () => void this.time.extend(),
    };
  }

  /** Shows the entries that are possible now. */
  offerEntries(): void {
    const { canTransfer, canRead } = this.deps.session();
    show('menu-files', canTransfer);
    for (const id of ['menu-watch', 'menu-log', 'menu-recording']) show(id, canRead);
  }
}

/** The first button of what the page asks or tells, for who has no mouse; false where there is none. */
export function focusNews(): boolean {
  const button = Array.from(document.querySelectorAll<HTMLButtonElement>('.notice button')).find((found) => found.offsetParent !== null && !found.disabled);
  button?.focus();
  return button !== undefined;
}

function show(id: string, shown: boolean): void {
  document.getElementById(id)!.hidden = !shown;
}
