// Every code, slug, stage and reason that a server may send has a text of its own.
import { describe, expect, it } from 'vitest';
import { explainEnd, explainRefusal, mayRetry, mayRetryUnasked, refusalSlug, stageLabel } from '../src/explain';

const SLUGS = [
  'token_used',
  'token_expired',
  'token_invalid',
  'token_missing',
  'ticket_expired',
  'ticket_reused',
  'forbidden_origin',
  'viewer_unsupported',
  'session_unknown',
  'idle',
  'taken_over',
  'sent_away',
  'session_ended',
  'too_many_connections',
];
const REASONS = ['timed_out', 'idle', 'cancelled', 'oom_killed', 'evicted', 'node_lost', 'fetch_failed', 'install_failed', 'start_failed', 'runner_lost'];
const end = (reason: string, code: number | null = null, signal: string | null = null) => explainEnd({ reason, code, signal, message: null });

describe('refusals', () => {
  it.each(SLUGS)('explains %s with what happened and what to do', (slug) => {
    const text = explainRefusal(refusalSlug(4401, slug));
    expect(text).not.toBe(explainRefusal('refused'));
    expect(text.title && text.what && text.todo).toBeTruthy();
  });

  it.each([4401, 4403, 4404, 4408, 4409, 4410, 4429])('explains code %i without a slug', (code) => {
    expect(refusalSlug(code, '')).not.toBe('refused');
  });

  it('has a text for what it never heard of, and is not fooled by the names of object members', () => {
    expect(explainRefusal(refusalSlug(4999, 'brand_new')).title).toBe('The server refused the connection');
    expect(explainRefusal('constructor')).toBe(explainRefusal('refused'));
  });

  it('offers another try only where one can help', () => {
    expect(SLUGS.filter(mayRetry)).toEqual(['idle', 'taken_over', 'sent_away', 'too_many_connections']);
  });

  it('tells being sent away by another operator from being replaced by the same one, and undoes neither unasked', () => {
    expect(refusalSlug(4409, 'another operator has taken over')).toBe('sent_away');
    expect(refusalSlug(4409, 'this client has connected anew')).toBe('taken_over');
    expect(explainRefusal('sent_away').again).toBe('Come back');
    expect(SLUGS.filter(mayRetryUnasked)).toEqual(['idle', 'too_many_connections']);
  });
});

describe('stages', () => {
  it('names each', () => {
    expect(['queued', 'assigned', 'fetching', 'installing', 'running', 'ended'].map(stageLabel)).toEqual([
      'Starting',
      'Starting',
      'Fetching',
      'Installing',
      'Running',
      'Ended',
    ]);
  });
});

describe('ends', () => {
  it.each(REASONS)('explains %s', (reason) => {
    const text = end(reason);
    expect(text.ok).toBe(false);
    expect(text.title).not.toBe('Finished');
    expect(text.detail).not.toBe('');
  });

  it('tells success, failure and a signal apart', () => {
    expect(end('exited', 0)).toEqual({ title: 'Finished', detail: 'exit code 0', ok: true });
    expect(end('exited', 7)).toEqual({ title: 'Finished with an error', detail: 'exit code 7', ok: false });
    expect(end('exited', 137, 'SIGKILL')).toEqual({ title: 'Ended by a signal', detail: 'signal SIGKILL', ok: false });
  });

  it('says the server’s own message where it has one', () => {
    expect(explainEnd({ reason: 'fetch_failed', code: null, signal: null, message: 'no such host' }).detail).toBe('no such host');
  });

  it('has words where nothing is known', () => {
    expect(explainEnd(null).title).toBe('The session has ended');
  });
});
