// Every text that explains something to the person at the terminal: refusals, stages and ends. What happened, then what
// to do. Nothing here decides anything.

export interface Explanation {
  title: string;
  what: string;
  todo: string;
  /** What the button that connects again says, where one is offered. */
  again?: string;
}

const ASK_FOR_LINK = 'Ask whoever gave you this link for a fresh one. Each link opens the terminal once.';

/** By slug: the reasons that a close frame or the refused page's meta element carries. */
const REFUSALS: Record<string, Explanation> = {
  token_used: {
    title: 'This link has already been used',
    what: 'A terminal link works once. It was opened before, here or by somebody else.',
    todo: `${ASK_FOR_LINK} If the terminal is open in another tab, it goes on there.`,
  },
  token_expired: {
    title: 'This link has expired',
    what: 'A terminal link must be opened within a few minutes.',
    todo: ASK_FOR_LINK,
  },
  token_invalid: {
    title: 'This link is not valid',
    what: 'The link is damaged, incomplete, or belongs to another session.',
    todo: 'Check that it was copied whole. If it was, ask for a fresh one.',
  },
  token_missing: {
    title: 'This address needs its link',
    what: 'The address names a session, but it carries nothing that lets you in, and this tab has not been in before.',
    todo: 'Open the whole link that you were given, or ask for a fresh one.',
  },
  ticket_expired: {
    title: 'This tab was away for too long',
    what: 'What let this tab come back to the terminal is no longer valid.',
    todo: ASK_FOR_LINK,
  },
  ticket_reused: {
    title: 'This tab was continued elsewhere',
    what: 'A copy of this tab came back with the same ticket, so both were shut out. That protects the session from a stolen one.',
    todo: ASK_FOR_LINK,
  },
  connection_lost: {
    title: 'The connection was lost',
    what: 'This server offers no way back into the same terminal without a link.',
    todo: ASK_FOR_LINK,
  },
  forbidden_origin: {
    title: 'This site may not show the terminal',
    what: 'The terminal was opened from an address that its server does not allow.',
    todo: 'Open the link in a tab of its own, or have the server’s owner add this site to CLISCALE_EMBED_ORIGINS.',
  },
  viewer_unsupported: {
    title: 'This terminal cannot be watched',
    what: 'The link is for watching only, and the terminal’s server cannot keep a watcher from typing.',
    todo: 'Ask for an operator’s link instead.',
  },
  forbidden: {
    title: 'You may not open this terminal',
    what: 'The server refused the connection.',
    todo: 'Ask whoever gave you the link.',
  },
  session_unknown: {
    title: 'There is no such session',
    what: 'The session in this address does not exist, or was removed some time after it ended.',
    todo: 'Check the address, or start a new session.',
  },
  idle: {
    title: 'Closed after a long silence',
    what: 'Nothing happened in this terminal for a while, so the server closed the connection.',
    todo: 'Connect again to go on, if the session still runs.',
  },
  taken_over: {
    title: 'Continued in another window',
    what: 'The same terminal was opened from another window of yours, which took its place.',
    todo: 'Go on there, or take it back to this window.',
  },
  sent_away: {
    title: 'Another operator has taken over',
    what: 'Whoever took the keyboard over has asked this window to leave. The session goes on without it.',
    todo: 'You can come back to watch. The keyboard stays where it is until you take it over.',
    again: 'Come back',
  },
  session_ended: {
    title: 'This session has ended',
    what: 'Its command is over, and the terminal is no longer kept.',
    todo: 'Start a new session to run it again.',
  },
  too_many_connections: {
    title: 'Too many are connected',
    what: 'This session, or this server, has as many connections as it allows.',
    todo: 'Close another window of this session, then try again.',
  },
  refused: {
    title: 'The server refused the connection',
    what: 'It gave no reason that this page knows.',
    todo: 'Reload the page. If that does not help, ask for a fresh link.',
  },
};

/** By close code, for closes without a known slug. */
const CODE_SLUGS: Record<number, string> = {
  4401: 'token_invalid',
  4403: 'forbidden',
  4404: 'session_unknown',
  4408: 'idle',
  4409: 'taken_over',
  4410: 'session_ended',
  4429: 'too_many_connections',
};

/** By a close frame's own words, where they say more than its code. */
const REASON_SLUGS: Record<string, string> = {
  'another operator has taken over': 'sent_away',
};

/** The refusals after which the same tab may simply try again. */
const RETRYABLE = new Set(['idle', 'taken_over', 'sent_away', 'too_many_connections']);
/** Of these, those that only a person may undo: two pages that did so by themselves would fight. */
const BY_HAND_ONLY = new Set(['taken_over', 'sent_away']);

export function refusalSlug(code: number, reason: string): string {
  if (Object.hasOwn(REFUSALS, reason)) return reason;
  if (Object.hasOwn(REASON_SLUGS, reason)) return REASON_SLUGS[reason]!;
  return CODE_SLUGS[code] ?? 'refused';
}

export function explainRefusal(slug: string): Explanation {
  return Object.hasOwn(REFUSALS, slug) ? REFUSALS[slug]! : REFUSALS.refused!;
}

export function mayRetry(slug: string): boolean {
  return RETRYABLE.has(slug);
}

/** Whether a tab that is seen again, or a network that is back, may try again without being told to. */
export function mayRetryUnasked(slug: string): boolean {
  return mayRetry(slug) && !BY_HAND_ONLY.has(slug);
}

/** By stage: the pill's word. */
const STAGES: Record<string, string> = {
  queued: 'Starting',
  assigned: 'Starting',
  fetching: 'Fetching',
  installing: 'Installing',
  running: 'Running',
  ended: 'Ended',
};

export function stageLabel(stage: string): string {
  return Object.hasOwn(STAGES, stage) ? STAGES[stage]! : 'Starting';
}

const SENTENCES: Record<string, string> = {
  timed_out: 'The session’s time was up.',
  idle: 'Nobody was here and nothing was printed for a long time.',
  cancelled: 'The session was ended on request.',
  oom_killed: 'It needed more memory than it may use.',
  evicted: 'The machine needed its resources and moved the session out.',
  node_lost: 'The machine that it ran on went away.',
  fetch_failed: 'The code could not be fetched. The terminal shows why.',
  install_failed: 'The install command failed. The terminal shows why.',
  start_failed: 'The command could not be started.',
  runner_lost: 'What ran the command was lost.',
};

const REASON_TITLES: Record<string, string> = {
  timed_out: 'Time is up',
  idle: 'Ended for inactivity',
  cancelled: 'Cancelled',
  oom_killed: 'Out of memory',
  evicted: 'Evicted',
  node_lost: 'Machine lost',
  fetch_failed: 'Fetching failed',
  install_failed: 'Installing failed',
  start_failed: 'Could not start',
  runner_lost: 'Runner lost',
};

export interface EndText {
  title: string;
  detail: string;
  ok: boolean;
}

export interface End {
  code: number | null;
  signal: string | null;
  reason: string;
  message: string | null;
}

/** The end banner: why it ended, with the exit code or the signal. */
export function explainEnd(end: End | null): EndText {
  if (!end) return { title: 'The session has ended', detail: '', ok: true };
  const outcome = end.signal !== null ? `signal ${end.signal}` : end.code !== null ? `exit code ${end.code}` : '';
  if (!Object.hasOwn(REASON_TITLES, end.reason)) {
    const title = end.signal !== null ? 'Ended by a signal' : end.code ? 'Finished with an error' : 'Finished';
    return { title, detail: sentence(outcome, end.message ?? ''), ok: end.signal === null && !end.code };
  }
  return {
    title: REASON_TITLES[end.reason]!,
    detail: sentence(outcome, end.message ?? SENTENCES[end.reason] ?? ''),
    ok: false,
  };
}

function sentence(outcome: string, text: string): string {
  return [outcome, text].filter((part) => part !== '').join(' · ');
}
