// What the terminal's page and the page around it say to each other by postMessage. Both ends read with the functions
// here: a message of another source, version or shape is none. Within a version, types and members are only added.

export const SOURCE = 'cliscale';
export const VERSION = 1;

/** `waiting`: a connection is lost and will be tried again. `refused`: it will not, unless something changes. */
export type LinkState = 'connecting' | 'open' | 'waiting' | 'refused' | 'ended';
export type Role = 'operator' | 'viewer';
export type ThemeChoice = 'system' | 'dark' | 'light';

export interface Ready {
  type: 'ready';
  /** The session's id. */
  session: string;
}

export interface State {
  type: 'state';
  state: LinkState;
  /** `queued`, `assigned`, `fetching`, `installing`, `running` or `ended`; null before the server has said. */
  stage: string | null;
  role: Role;
  /** Why it was refused, a word as in docs/errors.md; else null. */
  reason: string | null;
}

export interface Exit {
  type: 'exit';
  code: number | null;
  signal: string | null;
  /** `exited`, or why the session was ended. */
  reason: string;
}

export interface TokenNeeded {
  type: 'token-needed';
  /** What became of the credential that there was; `token_missing` where there was none. */
  reason: string;
}

export interface Title {
  type: 'title';
  /** The terminal's title as the program sets it: text of the program's choice. */
  title: string;
}

export interface Keep {
  type: 'keep';
  /** To be given back with `token` when the frame was loaded again; null: forget it. It lets its holder in. */
  kept: string | null;
}

/** What the terminal's page says. */
export type FromTerminal = Ready | State | Exit | TokenNeeded | Title | Keep;

/** What it understands. */
export type ToTerminal =
  | { type: 'token'; token: string | null; kept?: string | null }
  | { type: 'focus' }
  | { type: 'theme'; theme: ThemeChoice }
  /** In CSS pixels; null is what suits the window. */
  | { type: 'font'; size: number | null };

/** As it is sent. */
export type Sent<M> = M & { source: typeof SOURCE; version: typeof VERSION };

export function toSend<M extends FromTerminal | ToTerminal>(message: M): Sent<M> {
  return { ...message, source: SOURCE, version: VERSION };
}

const LINK_STATES: readonly unknown[] = ['connecting', 'open', 'waiting', 'refused', 'ended'];
const ROLES: readonly unknown[] = ['operator', 'viewer'];
const THEMES: readonly unknown[] = ['system', 'dark', 'light'];

const isText = (value: unknown): value is string => typeof value === 'string';
const isTextOrNull = (value: unknown): value is string | null => value === null || isText(value);
const isNumberOrNull = (value: unknown): value is number | null => value === null || (typeof value === 'number' && Number.isFinite(value));

/** A message of the terminal's page, with the members that are known and no others. */
export function readFromTerminal(data: unknown): FromTerminal | null {
  const message = membersOf(data);
  switch (message?.type) {
    case 'ready': {
      const { session } = message;
      return isText(session) ? { type: 'ready', session } : null;
    }
    case 'state': {
      const { state, stage, role, reason } = message;
      if (!LINK_STATES.includes(state) || !isTextOrNull(stage) || !ROLES.includes(role) || !isTextOrNull(reason)) return null;
      return { type: 'state', state: state as LinkState, stage, role: role as Role, reason };
    }
    case 'exit': {
      const { code, signal, reason } = message;
      return isNumberOrNull(code) && isTextOrNull(signal) && isText(reason) ? { type: 'exit', code, signal, reason } : null;
    }
    case 'token-needed': {
      const { reason } = message;
      return isText(reason) ? { type: 'token-needed', reason } : null;
    }
    case 'title': {
      const { title } = message;
      return isText(title) ? { type: 'title', title } : null;
    }
    case 'keep': {
      const { kept } = message;
      return isTextOrNull(kept) ? { type: 'keep', kept } : null;
    }
    default:
      return null;
  }
}

/** A message of the page around the terminal. */
export function readToTerminal(data: unknown): ToTerminal | null {
  const message = membersOf(data);
  switch (message?.type) {
    case 'token': {
      const { token, kept = null } = message;
      return isTextOrNull(token) && isTextOrNull(kept) ? { type: 'token', token: token || null, kept } : null;
    }
    case 'focus':
      return { type: 'focus' };
    case 'theme': {
      const { theme } = message;
      return THEMES.includes(theme) ? { type: 'theme', theme: theme as ThemeChoice } : null;
    }
    case 'font': {
      const { size } = message;
      return isNumberOrNull(size) ? { type: 'font', size } : null;
    }
    default:
      return null;
  }
}

function membersOf(data: unknown): Record<string, unknown> | null {
  if (typeof data !== 'object' || data === null) return null;
  const message = data as Record<string, unknown>;
  return message.source === SOURCE && message.version === VERSION ? message : null;
}
