import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { awsClientConfig, openAwsCalls } from '../../../platform/aws/calls.ts';
import { getSecretValue } from '../../../platform/aws/secret-values.ts';
import { listen } from '../../../platform/listen.ts';

describe('calls of AWS', () => {
  let server: Server;
  let endpoint: string;

  before(async () => {
    // Takes every request, and answers none.
    server = createServer(() => undefined);
    const port = await listen(server, { host: '127.0.0.1', port: 0, variable: 'no setting' });
    endpoint = `http://127.0.0.1:${port}`;
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  it('end at their time limit when AWS takes them and does not answer', async () => {
    const patience = { maxAttempts: 1, connectMs: 500, requestMs: 50 };
    const credentials = { accessKeyId: 'x', secretAccessKey: 'x' };
    const client = new SecretsManagerClient(
      awsClientConfig('eu-central-1', { endpoint, credentials }, patience),
    );
    const calls = openAwsCalls('eu-central-1');
    try {
      const read = calls.call('Secrets Manager', 'secretsmanager:GetSecretValue', () =>
        getSecretValue(client, { name: 'x', versionId: 'v' }),
      );
      await assert.rejects(read, { code: 'aws_unavailable', retryable: true });
    } finally {
      client.destroy();
      calls.close();
    }
  });
});
