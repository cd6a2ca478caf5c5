// What the page around the player reads out of a recording (asciicast v3: JSON lines, times since the event before): its
// stages, how long it is, and how it ended. Pure.

/** Pauses longer than this are shortened to it. */
export const IDLE_LIMIT_S = 3;

export interface Marker {
  /** Which of the recording's markers it is, as the player counts them. */
  index: number;
  label: string;
  /** Seconds from the beginning, as it is played. */
  time: number;
}

export interface Cast {
  title: string;
  markers: Marker[];
  /** Seconds, as it is played. */
  duration: number;
  /** Whether there is anything to see. */
  empty: boolean;
  /** The exit event's status: an exit code, as a rule; null while there is none. */
  exit: string | null;
}

/** Without a line at its end that has not come whole; null where this is no recording that the player knows. */
export function wholeLines(text: string): string {
  return text.endsWith('\n') ? text : text.slice(0, text.lastIndexOf('\n') + 1);
}

export function readCast(text: string): Cast | null {
  const headerEnd = text.indexOf('\n');
  const header = parse(headerEnd < 0 ? text : text.slice(0, headerEnd));
  if (!isHeader(header)) return null;
  const cast: Cast = { title: typeof header.title === 'string' ? header.title : '', markers: [], duration: 0, empty: true, exit: null };
  for (let from = headerEnd < 0 ? text.length : headerEnd + 1; from < text.length; ) {
    const at = text.indexOf('\n', from);
    const to = at < 0 ? text.length : at;
    take(cast, text.slice(from, to));
    from = to + 1;
  }
  return cast;
}

/** Most lines are output, of which only the time counts: they are not parsed as JSON a second time. */
function take(cast: Cast, line: string): void {
  const found = /^\[\s*([0-9.eE+-]+)\s*,\s*"([a-z])"/.exec(line);
  if (!found) return;
  cast.duration += Math.min(Math.max(0, Number(found[1]) || 0), IDLE_LIMIT_S);
  const code = found[2]!;
  if (code === 'o') cast.empty = false;
  if (code !== 'm' && code !== 'x') return;
  const event = parse(line);
  const data = Array.isArray(event) ? String(event[2] ?? '') : '';
  if (code === 'x') cast.exit = data;
  else cast.markers.push({ index: cast.markers.length, label: data, time: cast.duration });
}

function isHeader(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && (value as Record<string, unknown>).version === 3;
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    return null;
  }
}

/** As a clock: 1:05, 1:00:05. */
export function clock(seconds: number): string {
  const whole = Math.floor(seconds);
  const two = (part: number) => `${part}`.padStart(2, '0');
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}:${two(whole % 60)}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}
