// The page inside another site's: it says how it stands, and is given its token, by postMessage. Only with the window
// around it, and only where that is a site of the gateway's list: messages go to exact origins, and what comes from
// anywhere else is not read.

import { readToTerminal, toSend, type FromTerminal, type State, type ThemeChoice } from '../element/src/messages';
import type { ConnectionState } from './connection';
import type { Exit, Role } from './protocol';

/** How long the site around may take to answer before the person is told why there is no terminal. */
const ANSWER_MS = 10_000;

/** The window around this one, as far as it is used. */
export interface Around {
  /** The parent: the one to talk to. */
  readonly parent: Pick<Window, 'postMessage'>;
  /** Sites that the gateway lets embed. */
  readonly listed: readonly string[];
  /** The parent's origin, where this browser tells it (`location.ancestorOrigins`). */
  readonly told: string | null;
  /** `document.referrer`: the parent's, as a rule. */
  readonly referrer: string;
}

export interface EmbeddingDeps {
  session: string;
  around: Around;
  /** A token to enter with, what was kept for this page, or both. */
  enter: (token: string | null, kept: string | null) => void;
  focus: () => void;
  theme: (theme: ThemeChoice) => void;
  font: (px: number | null) => void;
  /** The site around has not answered. */
  unanswered: () => void;
}

/** How the page stands, for the site around. */
export interface Standing {
  connection: ConnectionState;
  stage: string | null;
  role: Role;
  exit: Exit | null;
}

export class Embedding {
  /** Whose message came first; nobody else is listened to or spoken to from then on. */
  private origin: string | null = null;
  private told: State | null = null;
  private exitTold = false;
  private title: string | null = null;
  private unanswered: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly deps: EmbeddingDeps) {}

  /** Whether the site around is one of the list. The browser has seen to that (`frame-ancestors`), where it can tell. */
  get allowed(): boolean {
    const { told, listed } = this.deps.around;
    return told === null || listed.includes(told);
  }

  start(): void {
    this.post({ type: 'ready', session: this.deps.session });
  }

  /** A message event of the window. */
  receive(event: Pick<MessageEvent, 'data' | 'origin' | 'source'>): void {
    const { around } = this.deps;
    if (event.source !== around.parent || !around.listed.includes(event.origin) || (this.origin ?? event.origin) !== event.origin) return;
    const message = readToTerminal(event.data);
    if (message === null) return;
    this.origin = event.origin;
    switch (message.type) {
      case 'token':
        this.settled();
        return this.deps.enter(message.token, message.kept ?? null);
      case 'focus':
        return this.deps.focus();
      case 'theme':
        return this.deps.theme(message.theme);
      case 'font':
        return this.deps.font(message.size);
    }
  }

  /** Asks for a token; `reason` says what became of the last. */
  ask(reason: string): void {
    this.settled();
    this.post({ type: 'token-needed', reason });
    this.unanswered = setTimeout(() => this.deps.unanswered(), ANSWER_MS);
  }

  /** Nobody is waited for any more. */
  settled(): void {
    if (this.unanswered !== null) clearTimeout(this.unanswered);
    this.unanswered = null;
  }

  keep(kept: string | null): void {
    this.post({ type: 'keep', kept });
  }

  titled(title: string): void {
    if (title === this.title) return;
    this.title = title;
    this.post({ type: 'title', title });
  }

  /** Tells what has changed since it was told last, if anything has. */
  report({ connection, stage, role, exit }: Standing): void {
    const reason = connection.kind === 'refused' ? connection.slug : null;
    const { told } = this;
    if (told === null || told.state !== connection.kind || told.stage !== stage || told.role !== role || told.reason !== reason) {
      this.told = { type: 'state', state: connection.kind, stage, role, reason };
      this.post(this.told);
    }
    if (exit !== null && !this.exitTold) {
      this.exitTold = true;
      this.post({ type: 'exit', code: exit.code, signal: exit.signal, reason: exit.reason });
    }
  }

  private post(message: FromTerminal): void {
    for (const origin of this.origin !== null ? [this.origin] : candidates(this.deps.around)) {
      this.deps.around.parent.postMessage(toSend(message), origin);
    }
  }
}

/** Whether a refusal is one that another token undoes. */
export function asksForToken(state: ConnectionState): state is Extract<ConnectionState, { kind: 'refused' }> {
  return state.kind === 'refused' && /^(token_|ticket_|connection_lost$)/.test(state.slug);
}

/** The window around this one; null where this page is nobody's frame. */
export function windowAround(): Around | null {
  if (window.parent === window) return null;
  const listed = document.querySelector<HTMLMetaElement>('meta[name=cliscale-embedders]')?.content ?? '';
  return {
    parent: window.parent,
    listed: listed.split(' ').filter((origin) => origin !== ''),
    told: window.location.ancestorOrigins?.[0] ?? null,
    referrer: document.referrer,
  };
}

/** Which origin the parent may have. A browser hands a message over only where it really has it. */
function candidates({ listed, told, referrer }: Around): readonly string[] {
  if (told !== null) return listed.includes(told) ? [told] : [];
  const from = URL.canParse(referrer) ? new URL(referrer).origin : null;
  return from !== null && listed.includes(from) ? [from] : listed;
}
