/** The receiver against a real transmitter: all three deliveries, and what goes wrong on the way. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pace } from '../src/delivery.js';
import { UnavailableError, VerifyError } from '../src/errors.js';
import type { Events } from '../src/events.js';
import { Health } from '../src/health.js';
import { protect } from '../src/index.js';
import { Verifier, type VerifierOptions } from '../src/verifier.js';
import { beat, NOW, RESOURCE, SECRET, serving, settings, sign, transmitting, type Transmitter } from './kit.js';

const SESSION_REVOKED = 'https://schemas.openid.net/secevent/caep/event-type/session-revoked';

/** A verifier that listens, while `work` runs. */
async function running(
  transmitter: Transmitter,
  events: Partial<Events>,
  work: (verifier: Verifier) => Promise<void>,
  more: Partial<VerifierOptions> = {},
): Promise<void> {
  const verifier = new Verifier({ ...settings(transmitter, events), ...more });
  verifier.start();
  try {
    await work(verifier);
  } finally {
    await verifier.stop();
  }
}

const listening = (
  transmitter: Transmitter,
  events: Partial<Events>,
  work: (verifier: Verifier) => Promise<void>,
  more?: Partial<VerifierOptions>,
) => {
  const onceLive = async (verifier: Verifier) => {
    await transmitter.until(() => status(verifier).live);
    await work(verifier);
  };
  return running(transmitter, events, onceLive, more);
};

function status(verifier: Verifier) {
  assert(verifier.receiver);
  return verifier.receiver.status();
}

const refused = (verifier: Verifier, token: string) =>
  assert.rejects(verifier.verify(token), (error) => error instanceof VerifyError && /revoked/.test(error.message));

const isQuiet = (transmitter: Transmitter) => [...transmitter.streams.values()].every(({ queue }) => queue.size === 0);

for (const delivery of ['feed', 'poll'] as const) {
  describe(delivery, () => {
    it('a revocation arrives, and is acknowledged', () =>
      transmitting((transmitter) =>
        listening(transmitter, { delivery }, async (verifier) => {
          const token = await transmitter.token();
          assert.equal((await verifier.verify(token)).sub, 'ada');
          await transmitter.revoke();
          await transmitter.until(() => status(verifier).markers);
          await refused(verifier, token);
          await transmitter.until(() => isQuiet(transmitter));
          assert.equal(transmitter.streams.size, 1);
          assert.deepEqual(transmitter.errors, {});
          const { lag = -1 } = status(verifier);
          assert(lag >= 0 && lag < 1);
        })));

    it('a restart forgets nothing', () =>
      transmitting(async (transmitter) => {
        const token = await transmitter.token();
        await listening(transmitter, { delivery }, async (verifier) => {
          await transmitter.revoke();
          await transmitter.until(() => status(verifier).markers);
          await transmitter.until(() => isQuiet(transmitter));
        });
        await listening(transmitter, { delivery }, (verifier) => refused(verifier, token));
        assert.equal(transmitter.streams.size, 1);
      }));

    it('bad SETs are reported and stop nothing', () =>
      transmitting((transmitter) =>
        listening(transmitter, { delivery }, async (verifier) => {
          const [stream = ''] = transmitter.streams.keys();
          transmitter.offer(stream, 'bad', await transmitter.token());
          const [, elsewhere] = await transmitter.set('caep/session-revoked', transmitter.user(), {}, { aud: 'else' });
          transmitter.offer(stream, 'misdirected', elsewhere);
          const [, renamed] = await transmitter.set('caep/session-revoked', transmitter.user());
          transmitter.offer(stream, 'another-jti', renamed);
          await transmitter.revoke('bob');
          await transmitter.until(() => isQuiet(transmitter));
          assert.deepEqual(
            Object.fromEntries(Object.entries(transmitter.errors).map(([jti, { err }]) => [jti, err])),
            { bad: 'invalid_request', misdirected: 'invalid_audience', 'another-jti': 'invalid_request' },
          );
          assert.equal(status(verifier).markers, 1);
        })));
  });
}

describe('push', () => {
  it('a revocation arrives', () =>
    transmitting((transmitter) => {
      let listener: Parameters<typeof serving>[0] = () => undefined;
      return serving(
        (request, response) => listener(request, response),
        async (origin) => {
          const guard = protect(settings(transmitter, { delivery: { push: `${origin}/events` } }));
          listener = (request, response) => guard(request, response, () => response.end());
          await transmitter.until(() => transmitter.pushed.length);
          const [first] = transmitter.pushed;
          assert(first);
          const push = (token: string) =>
            fetch(first.delivery['endpoint_url'] as string, {
              method: 'POST',
              headers: {
                authorization: first.delivery['authorization_header'] as string,
                'content-type': 'application/secevent+jwt',
              },
              body: token,
            });
          assert.equal(guard.status()?.live, false);
          assert.equal((await push(first.token)).status, 202);
          assert.equal(guard.status()?.live, true);
          const token = await transmitter.token();
          await guard.verifier.verify(token);
          const [, revocation] = await transmitter.set('caep/session-revoked', transmitter.user());
          assert.equal((await push(revocation)).status, 202);
          await refused(guard.verifier, token);
          await guard.close();
        },
      );
    }));

  it('a restart forgets nothing', () =>
    transmitting(async (transmitter) => {
      const delivery = { push: '/events' };
      await running(transmitter, { delivery }, () => transmitter.until(() => transmitter.pushed.length));
      await transmitter.revoke();
      transmitter.pushed.splice(0);
      await running(transmitter, { delivery }, async (verifier) => {
        await transmitter.until(() => transmitter.pushed.length);
        assert.equal(status(verifier).markers, 1);
        await verifier.receiver?.accept(transmitter.pushed[0]?.token ?? '');
        assert(status(verifier).live);
        await refused(verifier, await transmitter.token());
      });
    }));
});

it('a replay that was cut short is begun again', () =>
  transmitting((transmitter) => {
    transmitter.cutsReplays = true;
    return running(transmitter, { delivery: { push: '/events' } }, async (verifier) => {
      await transmitter.until(() => status(verifier).doubt?.includes('before the past was told'));
      await transmitter.until(() => transmitter.count('GET feed') > 1);
      assert.equal(transmitter.pushed.length, 0, 'no verification that proves too much');
      transmitter.cutsReplays = false;
      await transmitter.until(() => transmitter.pushed.length);
    });
  }));

describe('doubt', () => {
  it('without replay older tokens are unknown', () =>
    transmitting((transmitter) => {
      transmitter.metadata = { feed_endpoint: null };
      return listening(transmitter, { delivery: 'poll' }, async (verifier) => {
        const old = await transmitter.token();
        await assert.rejects(verifier.verify(old), UnavailableError);
        transmitter.clock.now += 61;
        await beat(transmitter, verifier);
        assert.equal((await verifier.verify(await transmitter.token())).sub, 'ada');
        await assert.rejects(verifier.verify(old), UnavailableError);
      });
    }));

  it('silence, and who is asked then', () =>
    transmitting((transmitter) =>
      listening(transmitter, { whenStale: 'introspect' }, async (verifier) => {
        const token = await transmitter.token({ jti: 'in-doubt' });
        await verifier.verify(token);
        assert.equal(transmitter.count('POST introspect'), 0);
        transmitter.clock.now += 91;
        assert.equal(status(verifier).doubt, 'nothing was heard for too long');
        await verifier.verify(token);
        assert.equal(transmitter.count('POST introspect'), 1);
        transmitter.inactive.add('in-doubt');
        await refused(verifier, token);
        transmitter.down.add('introspect');
        await assert.rejects(verifier.verify(token), UnavailableError);
        await beat(transmitter, verifier);
        assert.equal((await verifier.verify(token)).sub, 'ada', 'what was revoked would have arrived');
      })));

  it('silence, also when the clock is set back', (test) =>
    transmitting((transmitter) =>
      listening(transmitter, {}, async (verifier) => {
        transmitter.clock.now -= 3600;
        assert(status(verifier).live);
        const now = performance.now();
        test.mock.method(performance, 'now', () => now + 71_000);
        assert.equal(status(verifier).doubt, 'nothing was heard for too long');
        test.mock.restoreAll();
      })));

  it('a verification without echo', () =>
    transmitting((transmitter) =>
      listening(transmitter, {}, async (verifier) => {
        verifier.receiver?.health.asked('never echoed');
        transmitter.clock.now += 9;
        assert(status(verifier).live);
        transmitter.clock.now += 2;
        assert.equal(status(verifier).doubt, 'a verification was not echoed');
        await beat(transmitter, verifier);
        assert(status(verifier).live);
      })));

  for (const down of ['ssf-configuration', 'configuration', 'status', 'verification', 'feed']) {
    it(`from the start, while ${down} is away`, () =>
      transmitting((transmitter) => {
        transmitter.down.add(down);
        return running(transmitter, {}, async (verifier) => {
          await transmitter.until(() => status(verifier).doubt?.includes('503'));
          await assert.rejects(verifier.verify(await transmitter.token()), UnavailableError);
          if (down === 'verification') return; // asked for again after ten seconds
          transmitter.down.clear();
          await transmitter.until(() => status(verifier).live);
        });
      }));
  }

  it('wrong credentials', () =>
    transmitting((transmitter) =>
      running(transmitter, { clientSecret: 'wrong' }, (verifier) =>
        transmitter.until(() => status(verifier).doubt?.includes('401')))));

  for (const says of [{ iss: 'https://evil.example' }, { aud: 'https://other.example/mcp' }]) {
    it(`a stream that is not ours is deleted: ${Object.keys(says)}`, () =>
      transmitting(async (transmitter) => {
        transmitter.streamSays = says;
        await running(transmitter, {}, (verifier) =>
          transmitter.until(() => status(verifier).doubt?.includes('not for')));
        assert.equal(transmitter.count('DELETE configuration'), 1);
        assert.equal(transmitter.streams.size, 0);
      }));
  }

  it('endpoints of elsewhere are not believed', () =>
    transmitting((transmitter) => {
      transmitter.metadata = { configuration_endpoint: 'http://auth.example/streams' };
      return running(transmitter, {}, (verifier) =>
        transmitter.until(() => status(verifier).doubt?.includes('https is needed')));
    }));

  it('a SET whose key cannot be fetched comes again', () =>
    transmitting((transmitter) => {
      transmitter.algorithms = ['RS256'];
      return listening(transmitter, {}, async (verifier) => {
        transmitter.down.add('jwks');
        transmitter.clock.now += 60;
        const events = { [SESSION_REVOKED]: {} };
        const base = { iss: transmitter.issuer, aud: RESOURCE, iat: NOW, jti: 'rotated', sub_id: transmitter.user(), events };
        const [stream = ''] = transmitter.streams.keys();
        transmitter.offer(stream, 'rotated', await sign({ typ: 'secevent+jwt' }, base, 'ES256'));
        await transmitter.until(() => status(verifier).doubt?.includes('keys'));
        assert(transmitter.stream().queue.has('rotated'));
        transmitter.algorithms = ['RS256', 'ES256'];
        transmitter.clock.now += 60;
        transmitter.down.clear();
        await transmitter.until(() => isQuiet(transmitter));
        assert.equal(status(verifier).markers, 1);
      });
    }));

  /** A revocation by a key that no receiver has fetched yet. */
  const offerWithNewKey = async (transmitter: Transmitter) => {
    const events = { [SESSION_REVOKED]: {} };
    const base = { iss: transmitter.issuer, aud: RESOURCE, iat: NOW, jti: 'new-key', sub_id: transmitter.user(), events };
    const [stream = ''] = transmitter.streams.keys();
    transmitter.offer(stream, 'new-key', await sign({ typ: 'secevent+jwt' }, base, 'ES256'));
  };

  for (const delivery of ['feed', 'poll'] as const) {
    it(`a SET whose key is too new to be fetched, by ${delivery}`, () =>
      transmitting((transmitter) => {
        transmitter.algorithms = ['RS256'];
        transmitter.clock.run();
        const work = async (verifier: Verifier) => {
          transmitter.algorithms = ['RS256', 'ES256'];
          await offerWithNewKey(transmitter);
          await transmitter.until(() => status(verifier).markers);
          await transmitter.until(() => isQuiet(transmitter));
          assert.deepEqual(transmitter.errors, {});
          await transmitter.until(() => status(verifier).live);
          await refused(verifier, await transmitter.token({ iat: NOW - 1 }));
        };
        return listening(transmitter, { delivery }, work, { refetchFloor: 0.3 });
      }));

    it(`a SET whose key never comes puts every token in doubt, by ${delivery}`, () =>
      transmitting((transmitter) => {
        transmitter.algorithms = ['RS256'];
        transmitter.clock.run();
        const work = async (verifier: Verifier) => {
          await offerWithNewKey(transmitter);
          await transmitter.until(() => isQuiet(transmitter));
          assert.equal(transmitter.errors['new-key']?.err, 'invalid_key');
          await assert.rejects(verifier.verify(await transmitter.token()), UnavailableError);
        };
        return listening(transmitter, { delivery }, work, { refetchFloor: 0.1 });
      }));
  }

  it('made-up keys of tokens do not keep those of SETs from being fetched', () =>
    transmitting((transmitter) => {
      transmitter.algorithms = ['RS256'];
      return listening(transmitter, {}, async (verifier) => {
        transmitter.clock.now += 10;
        const made = await transmitter.token({}, 'RS256', { kid: 'made-up' });
        await assert.rejects(verifier.verify(made), /no such key/);
        transmitter.algorithms = ['RS256', 'ES256'];
        await offerWithNewKey(transmitter);
        await transmitter.until(() => status(verifier).markers);
      });
    }));

  it('keys of SETs are where the transmitter says', () =>
    transmitting((transmitter) => {
      transmitter.metadata = { jwks_uri: null };
      return running(transmitter, {}, async (verifier) => {
        await transmitter.until(() => status(verifier).doubt?.includes('the keys'));
        await verifier.loadKeys();
      });
    }));

  it('what the metadata says is asked again for each subscription', () =>
    transmitting((transmitter) =>
      listening(transmitter, {}, async (verifier) => {
        transmitter.metadata = { critical_subject_members: ['device'] };
        transmitter.endFeeds();
        await transmitter.until(() => verifier.receiver?.critical[0] === 'device');
      })));

  it('a revocation that arrives while the answer is on its way', () =>
    transmitting(async (transmitter) => {
      const verifier = new Verifier(settings(transmitter, { whenStale: 'introspect' }));
      transmitter.meanwhile = async () => {
        const [, token] = await transmitter.set('caep/session-revoked', transmitter.user());
        await verifier.receiver?.accept(token);
      };
      await refused(verifier, await transmitter.token());
      assert.equal(transmitter.count('POST introspect'), 1);
    }));

  for (const introspect of [undefined, { clientId: 'weather', clientSecret: SECRET }]) {
    it(`a token that expires while the answer is on its way${introspect ? ', asked about each time' : ''}`, () =>
      transmitting(async (transmitter) => {
        const options = settings(transmitter, { whenStale: 'introspect' });
        const verifier = new Verifier({ ...options, ...(introspect && { introspect }) });
        transmitter.meanwhile = async () => void (transmitter.clock.now += 400);
        await assert.rejects(verifier.verify(await transmitter.token()), /expired/);
        assert.equal(transmitter.count('POST introspect'), 1);
      }));
  }

  it('an echo of what was asked before a failure proves nothing', () => {
    const health = new Health(() => NOW, 70);
    health.asked('before');
    health.fail('it broke');
    assert(health.echo('before'));
    assert.equal(health.doubt(), 'it broke');
    health.asked('after');
    assert(health.echo('after'));
    assert.equal(health.doubt(), undefined);
    assert(!health.echo('never'));
  });

  it('after the end', () =>
    transmitting(async (transmitter) => {
      const verifier = new Verifier(settings(transmitter, {}));
      verifier.start();
      await transmitter.until(() => status(verifier).live);
      await verifier.stop();
      await assert.rejects(verifier.verify(await transmitter.token()), UnavailableError);
    }));
});

describe('the stream', () => {
  it('a feed that ends is opened again', () =>
    transmitting((transmitter) =>
      listening(transmitter, {}, async (verifier) => {
        for (let times = 0; times < 3; times++) {
          const feeds = transmitter.stream().feed;
          transmitter.endFeeds();
          await transmitter.until(() => transmitter.stream().feed > feeds + 1);
        }
        await transmitter.revoke();
        await transmitter.until(() => status(verifier).markers);
        await transmitter.until(() => status(verifier).live);
      })));

  it('is enabled again when it was paused', () =>
    transmitting((transmitter) =>
      listening(transmitter, {}, async (verifier) => {
        await transmitter.emit('ssf/stream-updated', { format: 'opaque', id: 'stream-1' }, { status: 'paused' });
        await transmitter.until(() => !status(verifier).live);
        transmitter.stream().status = 'paused';
        await transmitter.revoke();
        transmitter.endFeeds();
        await transmitter.until(() => status(verifier).live);
        assert.equal(transmitter.stream().status, 'enabled');
        assert.equal(status(verifier).markers, 1);
      })));

  it('is made again when it was lost, and its past is awaited', () =>
    transmitting((transmitter) =>
      listening(transmitter, {}, async (verifier) => {
        transmitter.isMute = true;
        transmitter.streams.clear();
        transmitter.notify();
        await transmitter.until(() => transmitter.streams.size === 1 && transmitter.stream().feed > 0);
        await transmitter.until(() => status(verifier).doubt?.startsWith('catching up'));
      })));

  it('each instance has one', () =>
    transmitting((transmitter) =>
      listening(transmitter, {}, (one) =>
        listening(transmitter, { instance: 'two' }, async (two) => {
          assert.equal(transmitter.streams.size, 2);
          assert(status(one).live && status(two).live);
        }))));
});

for (const delivery of ['feed', 'poll'] as const) {
  describe(`what a stream does not bring, by ${delivery}`, () => {
    it('without a name each has a stream, which ends with it', () =>
      transmitting(async (transmitter) => {
        const nameless = { delivery, instance: undefined };
        await listening(transmitter, nameless, async (one) => {
          await listening(transmitter, nameless, async (two) => {
            assert.equal(transmitter.streams.size, 2);
            await transmitter.revoke();
            await transmitter.until(() => status(one).markers && status(two).markers);
          });
          assert.equal(transmitter.streams.size, 1);
          assert(status(one).live);
        });
        assert.equal(transmitter.streams.size, 0);
      }));

    /** A revocation that another receiver took away, and a verification that one asked for. */
    const elsewhere = async (transmitter: Transmitter) => {
      const [stream = ''] = transmitter.streams.keys();
      const [jti, token] = await transmitter.set('caep/session-revoked', transmitter.user());
      transmitter.stream().log.set(jti, token);
      await transmitter.emit('ssf/verification', { format: 'opaque', id: stream }, { state: 'of another receiver' });
    };

    it('what others took from a shared stream is told again', (test) => {
      const warn = test.mock.method(console, 'warn');
      return transmitting((transmitter) =>
        listening(transmitter, { delivery }, async (verifier) => {
          await elsewhere(transmitter);
          await transmitter.until(() => status(verifier).markers);
          await transmitter.until(() => status(verifier).live);
          await elsewhere(transmitter);
          await transmitter.until(() => !status(verifier).live);
          await transmitter.until(() => status(verifier).live);
          const codes = () => Object.values(transmitter.errors).map(({ err }) => err);
          await transmitter.until(() => codes().length === 2);
          assert.deepEqual(codes(), ['invalid_state', 'invalid_state']);
          const words = warn.mock.calls.map(({ arguments: [said] }) => String(said));
          assert.equal(words.filter((said) => said.includes('each process needs an own instance')).length, 1);
        }));
    });

    it('what it threw away while it was disabled is told when it is enabled', () =>
      transmitting((transmitter) =>
        listening(transmitter, { delivery }, async (verifier) => {
          transmitter.disable();
          await transmitter.revoke();
          transmitter.stream().status = 'enabled';
          const [id = ''] = transmitter.streams.keys();
          await transmitter.emit('ssf/stream-updated', { format: 'opaque', id }, { status: 'enabled' });
          await transmitter.until(() => status(verifier).markers);
          await transmitter.until(() => status(verifier).live);
        })));

    it('it is enabled when it was disabled silently, and echoes nothing', (test) => {
      pace.retry = 0.1;
      test.after(() => (pace.retry = 10));
      return transmitting((transmitter) =>
        listening(transmitter, { delivery, maxAge: 15 }, async (verifier) => {
          transmitter.disable();
          transmitter.notify();
          await transmitter.revoke();
          await transmitter.until(() => status(verifier).markers, 15);
          await transmitter.until(() => status(verifier).live);
        }));
    });
  });
}

it('a stream that cannot be deleted at the end is left behind', (test) => {
  const warn = test.mock.method(console, 'warn');
  return transmitting(async (transmitter) => {
    await listening(transmitter, { instance: undefined }, async () => void transmitter.down.add('configuration'));
    assert(warn.mock.calls.some(({ arguments: [said] }) => String(said).includes('left behind')));
  });
});

it('too many streams', () =>
  transmitting((transmitter) => {
    transmitter.mostStreams = 0;
    return running(transmitter, {}, (verifier) =>
      transmitter.until(() => /`writ stream list`.*`instance`.*403/.test(status(verifier).doubt ?? '')));
  }));

it('a large backlog is polled in parts', () =>
  transmitting((transmitter) =>
    listening(transmitter, { delivery: 'poll' }, async (verifier) => {
      const { queue } = transmitter.stream();
      for (let number = 0; number < 150; number++) {
        const reason = { reason_admin: { en: 'x'.repeat(45_000) } };
        queue.set(...(await transmitter.set('caep/session-revoked', transmitter.user(`user-${number}`), reason)));
      }
      transmitter.notify();
      await transmitter.until(() => status(verifier).markers === 150);
      await transmitter.until(() => queue.size === 0);
    })));

it('the hook sees events, and may end tokens', () => {
  const seen: string[] = [];
  const onEvent: Events['onEvent'] = ({ type }) => {
    seen.push(type.split('/').at(-1) ?? '');
    if (seen.length === 2) throw new Error("a bug of the author's");
    return type.endsWith('credential-change') ? 'end_tokens' : undefined;
  };
  return transmitting((transmitter) =>
    listening(transmitter, { onEvent }, async (verifier) => {
      const asked = transmitter.stream().said['events_requested'] as string[];
      assert(asked.some((uri) => uri.endsWith('credential-change')));
      const token = await transmitter.token();
      for (const name of ['risk-level-change', 'risk-level-change', 'credential-change']) {
        await transmitter.emit(`caep/${name}`, transmitter.user());
      }
      await transmitter.until(() => seen.length === 3);
      assert.deepEqual(seen, ['risk-level-change', 'risk-level-change', 'credential-change']);
      await refused(verifier, token);
    }));
});

it('a repetition has no second effect, for a day', () =>
  transmitting(async (transmitter) => {
    const seen: string[] = [];
    const verifier = new Verifier(settings(transmitter, { clientSecret: SECRET, onEvent: ({ jti }) => void seen.push(jti) }));
    const [jti, token] = await transmitter.set('caep/session-revoked', transmitter.user());
    await verifier.receiver?.accept(token);
    await verifier.receiver?.accept(token);
    assert.deepEqual(seen, [jti]);
    transmitter.clock.now += 24 * 3600;
    await verifier.receiver?.accept(token);
    assert.deepEqual(seen, [jti, jti]);
  }));
