// A certified OpenID provider (npm oidc-provider) on loopback: three clients, each in groups of its name, JWT access tokens for audience aion-os.
// Prints its port. Keys: one EC and one RSA; on SIGHUP it starts again with another pair on the same port, as a provider turns its keys over.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { generateKeyPairSync, randomUUID } from 'node:crypto';

const { Provider } = await import(createRequire(process.cwd() + '/').resolve('oidc-provider'));
const GROUPS = { lead: ['platform'], reader: ['team'], stranger: ['others'] };
const jwk = (kind, options, use) => ({
  ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: use,
});

let serving = (_, answer) => answer.end();
const server = createServer((request, answer) => serving(request, answer));
const begin = () => {
  const provider = new Provider(`http://127.0.0.1:${server.address().port}`, {
    clients: Object.keys(GROUPS).map((name) => ({
      client_id: name, client_secret: 'secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
    })),
    jwks: { keys: [jwk('ec', { namedCurve: 'P-256' }, 'ES256'), jwk('rsa', { modulusLength: 2048 }, 'RS256')] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:aion',
        getResourceServerInfo: (_, __, client) => ({
          scope: '', audience: 'aion-os', accessTokenFormat: 'jwt', accessTokenTTL: 300,
          jwt: { sign: { alg: client.clientId === 'reader' ? 'RS256' : 'ES256' } },
        }),
      },
    },
    extraTokenClaims: (_, token) => ({ groups: GROUPS[token.clientId], sub: token.clientId }),
  });
  serving = provider.callback();
};
server.listen(0, '127.0.0.1', () => {
  begin();
  console.log(server.address().port);
});
process.on('SIGHUP', begin);
